"""Reports say what evidence and verdict say, in forms that other people's readers accept, whatever is in a name."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from beancount import loader
from beancount.core import data as bean
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from assertions.judge import Verdict
from assertions.model import Status
from reports import console, write_all
from reports.beancount import account_name
from reports.history import cut, lives, timeline
from reports.lanes import LANES_MAX, choose, draw
from reports.money import account_for
from reports.story import tell
from reports.words import DAY_MS, decimal, dollars, instant, iso, markdown
from tests.support.command import SharedRuns
from tests.support.report_plan import HOUR, TUESDAY, make_plan
from tests.support.report_run import Made, make_run
from tests.support.report_verdicts import failing, passing, unproven

REPLAY = "absence replay 'runs/a  b' --seed 42 & <x>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("runs"))


def files_of(made: Made, verdict: Verdict) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    write_all(made.evidence, tell(made.evidence, verdict), files.__setitem__, replay_command=REPLAY)
    return files


@pytest.fixture(scope="module")
def failed(made: Made) -> dict[str, bytes]:
    return files_of(made, failing(made))


class Page(HTMLParser):
    """Tags that balance, texts by the id of the nearest element that has one, and every attribute that could load."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str | None]] = []
        self.texts: dict[str | None, str] = {}
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.problems: list[str] = []
        self.ids: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "action", "xlink:href")]
        self.problems += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag not in VOID:
            self.open.append((tag, found.get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for place in {id for _, id in self.open if id}:
            self.texts[place] = self.texts.get(place, "") + data


def test_the_page_is_balanced_loads_nothing_and_lets_no_name_become_markup(failed: dict[str, bytes]) -> None:
    page = Page(failed["report.html"])
    assert page.problems == []
    assert page.open == []
    assert [load for load in page.loads if not load.startswith("href=#")] == []
    assert page.tags.count("script") == 1
    assert len(page.ids) == len(set(page.ids))
    assert {load[6:] for load in page.loads} <= set(page.ids)
    assert not re.search(rb"url\(|@import|https?://", failed["report.html"])
    assert 'O\'Brien </script><script>alert(1)</script> & "sons"' in page.texts["contests"]


def test_the_first_screen_answers_the_ten_second_questions(failed: dict[str, bytes]) -> None:
    screen = " ".join(Page(failed["report.html"]).texts["verdict"].split())
    for answer in (
        "FAIL",
        "2 of 16 promises broken.",
        "was paid $27.00 twice for contest c1.",
        "Promised: Each winner is paid exactly once.",
        "day 8 Tue 09 Jun 18:10 UTC",
        "F1 Transfer applied, answer lost",
        "RB-HOST-01 on app-1",
        "F5 never bit",
        "Not applicable (2): runbooks.rendered, alerts.raised.",
    ):
        assert answer in screen
    assert Page(failed["report.html"]).texts["replay"] == REPLAY
    assert b'<dt>Money at risk</dt><dd class="money">$27.00</dd>' in failed["report.html"]


def test_the_only_script_that_may_run_is_the_one_in_the_page(failed: dict[str, bytes]) -> None:
    import base64
    import hashlib

    page = failed["report.html"].decode()
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_each_verdict_is_told_in_its_own_word_and_shape(made: Made) -> None:
    passed, unsure = files_of(made, passing(made)), files_of(made, unproven(made))
    assert "All 13 promises kept." in Page(passed["report.html"]).texts["verdict"]
    assert 'class="hero pass"' in passed["report.html"].decode()
    assert "No promise that was exercised broke" in Page(unsure["report.html"]).texts["verdict"]
    assert "could not be proven" in Page(unsure["report.html"]).texts["verdict"]
    assert "no host drifted" in Page(unsure["report.html"]).texts["verdict"]


def test_a_post_mortem_is_written_for_every_run_that_is_not_pass(made: Made, failed: dict[str, bytes]) -> None:
    assert "postmortem.md" not in files_of(made, passing(made))
    unsure = files_of(made, unproven(made))["postmortem.md"].decode()
    assert "no host drifted" in unsure
    text = failed["postmortem.md"].decode()
    for heading in (
        "Which step failed, and why",
        "Timeline around it",
        "Faults",
        "What Worked",
        "What Was Harder Than Expected",
        "Assumptions We Purged",
        "Operational Gaps Identified",
        "Runbook Coverage Assessment",
    ):
        assert re.search(rf"^##+ {heading}$", text, re.MULTILINE), heading
    assert "day 8 Tue 09 Jun 18:10 UTC" in text
    assert "F5 Webhook lost for good was planned and never bit" in text
    assert REPLAY in text


def test_the_journal_events_about_the_subject_lead_up_to_the_failure(made: Made) -> None:
    from dataclasses import replace

    verdict = failing(made)
    assert verdict.first_broken is not None
    about = replace(verdict, first_broken=replace(verdict.first_broken, subject="contests/c1"))
    text = files_of(made, about)["postmortem.md"].decode()
    assert re.search(r"`contest.locked` `contests/c1` by system:contests", text)
    assert "contests/c2" not in text.split("## Timeline")[0]


def test_every_promise_is_one_test_case_of_its_own(made: Made, failed: dict[str, bytes]) -> None:
    root = ET.fromstring(failed["junit.xml"])
    cases = {case.get("name"): case for case in root.iter("testcase")}
    verdict = failing(made)
    assert sorted(cases) == sorted(result.id for result in verdict.results)
    assert len(list(root.iter("testcase"))) == len(verdict.results)
    kinds = {Status.FAIL: "failure", Status.INCONCLUSIVE: "error", Status.NOT_APPLICABLE: "skipped", Status.PASS: None}
    for result in verdict.results:
        found = {tag for tag in ("failure", "error", "skipped") if cases[result.id].find(tag) is not None}
        assert found == ({kinds[result.status]} if kinds[result.status] else set())
    failure = cases["payouts.once"].find("failure")
    assert failure is not None
    assert "was paid $27.00 twice" in (failure.get("message") or "")
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("18", "2", "1")
    assert sum(int(suite.get("skipped", "")) for suite in root.iter("testsuite")) == 2


def test_the_trace_tells_of_contests_faults_incarnations_deliveries_and_payouts(
    made: Made, failed: dict[str, bytes]
) -> None:
    events = json.loads(failed["trace.json"])["traceEvents"]
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    live = [event for event in events if event["ph"] == "X" and event["name"] == "LIVE"]
    assert {processes[event["pid"]] for event in live} == {"contests"}
    assert {event["args"]["contest_id"] for event in live} == {"c1", "c2", "c3", "c5"}
    first = next(event for event in live if event["args"]["contest_id"] == "c1")
    assert first["ts"] == (made.plan.contests[0].start_at - made.plan.starts_at) * 1000
    names = {(processes[event["pid"]], event["name"]) for event in events if event["ph"] != "M"}
    assert ("services: incarnations", "running #2") in names
    assert ("faults", "LoseAnswer") in names
    assert ("run", "payouts.once") in names
    begun = [event["id"] for event in events if event["ph"] == "b"]
    ended = [event["id"] for event in events if event["ph"] == "e"]
    assert sorted(begun) == sorted(ended)
    deliveries = [event for event in events if event["ph"] == "b" and processes[event["pid"]] == "webhook deliveries"]
    assert len(deliveries) == made.evidence.count("processor.deliveries")


def test_bean_check_accepts_the_ledger_and_finds_our_balances(made: Made, failed: dict[str, bytes]) -> None:
    entries, errors, _ = loader.load_string(failed["ledger.beancount"].decode())
    assert errors == []
    theirs: dict[str, int] = {}
    for entry in bean.filter_txns(entries):
        for posting in entry.postings:
            theirs[posting.account] = theirs.get(posting.account, 0) + int(posting.units.number * 100)
    assert theirs == {account_name(account): cents for account, cents in made.balances.items()}
    asserted = {entry.account for entry in entries if isinstance(entry, bean.Balance)}
    assert asserted == set(theirs)
    transactions = list(bean.filter_txns(entries))
    assert len(transactions) == made.evidence.count("platform.ledger_transactions")
    assert all({"business_key", "cause", "at"} <= set(entry.meta) for entry in transactions)
    opened = {entry.meta["ledger_account"] for entry in entries if isinstance(entry, bean.Open)}
    assert opened == set(made.balances)


def test_bean_check_refuses_a_ledger_that_lost_a_cent(failed: dict[str, bytes]) -> None:
    text = failed["ledger.beancount"].decode()
    altered = re.sub(r"(  Assets:Stripe-available  )(\d+)\.\d\d USD", r"\g<1>\g<2>.99 USD", text, count=1)
    assert altered != text
    _, errors, _ = loader.load_string(altered)
    assert errors


@given(st.lists(st.text(st.sampled_from("aAbX-_:x09é "), max_size=8), min_size=2, max_size=30, unique=True))
def test_no_two_accounts_share_a_beancount_name(accounts: list[str]) -> None:
    assert len({account_name(account) for account in accounts}) == len(accounts)


@given(st.text(max_size=20))
def test_any_account_has_a_name_that_beancount_reads(component: str) -> None:
    name = account_name(f"liabilities:user_wallet:{component}")
    assert re.fullmatch(r"Liabilities(:[A-Z0-9][A-Za-z0-9\-]*)+", name), name


def test_the_books_of_an_honest_run_agree_to_the_cent(made: Made) -> None:
    accounts = account_for(made.evidence, tell(made.evidence, passing(made)).end_at)
    assert accounts.differing == []
    assert accounts.ledger.unbalanced == []
    scopes = {line.scope for line in accounts.lines}
    assert scopes == {None, "c1", "c2", "c3", "c4", "c5"}
    third = accounts.contests[2]
    assert (third.entries, third.overlay_cents > 0, third.escrow_cents) == (12, True, 0)
    assert third.collected_cents + third.overlay_cents == third.rake_cents + third.prizes_cents
    assert sum(of.paid_cents for of in accounts.contests) > 0


def test_money_that_the_processor_did_not_send_shows_as_a_difference(tmp_path: Path) -> None:
    made = make_run(tmp_path, short_cents=2700)
    files = files_of(made, failing(made))
    accounts = account_for(made.evidence, tell(made.evidence, failing(made)).end_at)
    differing = {(line.scope, line.what): line.difference_cents for line in accounts.differing}
    assert differing == {
        (None, "Stripe, available"): -2700,
        (None, "Paid out to winners"): 2700,
        ("c1", "Prizes paid out"): 2700,
    }
    assert "✕ $27.00" in Page(files["report.html"]).texts["ledger"]
    assert "| $27.00 |" in files["report.md"].decode()


def test_a_name_cannot_break_out_of_markdown(failed: dict[str, bytes]) -> None:
    text = failed["report.md"].decode()
    assert "<script>" not in text.replace("\\<script\\>", "")
    rows = [line for line in text.splitlines() if "O'Brien" in line and line.startswith("| ")]
    assert rows
    for row in rows:
        head = next(line for line in reversed(text[: text.index(row)].splitlines()) if set(line) <= set("|-: "))
        assert len(re.findall(r"(?<!\\)\|", row)) == head.count("|")


@given(st.text(max_size=30))
def test_escaped_markdown_is_one_line_without_live_markup(text: str) -> None:
    escaped = markdown(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|#~&$]", re.sub(r"\\[\\`*_\[\]<>|#~&$!(){}]", "", escaped))


def test_the_terminal_says_it_in_a_few_lines_and_obeys_no_name(made: Made) -> None:
    story = tell(made.evidence, failing(made))
    lines = console.summary(story, replay_command=REPLAY, report_path="runs/x/report.html")
    text = "\n".join(lines)
    assert len(lines) <= console.LINES_MAX
    assert lines[0].startswith("✕ FAIL  2 of 16 promises broken.")
    for answer in ("$27.00", "day 8 Tue 09 Jun 18:10 UTC", "F1 Transfer applied, answer lost", REPLAY,
                   "runs/x/report.html", "recovery.bites", "runbooks.rendered", "RB-HOST-01"):  # fmt: skip
        assert answer in text
    assert "\x07" not in text
    assert "[bold" not in text


def test_markup_for_the_terminal_prints_as_the_plain_lines(made: Made) -> None:
    asked = {"replay_command": REPLAY, "report_path": "runs/[red]x/report.html"}
    story = tell(made.evidence, failing(made))
    plain = console.summary(story, **asked)
    marked = console.summary(story, **asked, markup=True)
    out = io.StringIO()
    terminal = Console(file=out, width=400, highlight=False, emoji=False)
    for line in marked:
        terminal.print(line)
    assert out.getvalue().splitlines() == plain
    assert marked != plain


def test_many_contests_keep_the_picture_readable_and_the_troubled_ones_in_it(tmp_path: Path) -> None:
    made = make_run(tmp_path, make_plan(contests=70, entries=2))
    story = tell(made.evidence, failing(made))
    contests = lives(made.evidence, story.end_at)
    picture = draw(story, contests, frozenset({"c70"}))
    assert [life.contest_id for life in contests] == [f"c{n + 1}" for n in range(70)]
    assert len(picture.left_out) == 70 - LANES_MAX
    assert "c70" not in {life.contest_id for life in picture.left_out}
    shown, left_out = choose(contests[:LANES_MAX], frozenset())
    assert (len(shown), left_out) == (LANES_MAX, [])
    page = files_of(made, failing(made))["report.html"]
    assert "30 more contests not drawn" in Page(page).texts["lanes"]
    assert len(page) < 400_000


def test_a_lane_shows_each_state_of_a_contest_where_it_was(made: Made) -> None:
    story = tell(made.evidence, failing(made))
    contests = lives(made.evidence, story.end_at)
    assert [life.contest_id for life in contests] == [contest.id for contest in made.plan.contests]
    assert [segment.status for segment in contests[0].segments] == [
        "SCHEDULED", "LOCKED", "LIVE", "COMPLETE", "SETTLED", "PAID_OUT"
    ]  # fmt: skip
    assert contests[3].segments[-1].status == "CANCELLED"
    picture = draw(story, contests, frozenset({"c1"}))
    svg = ET.fromstring(f"<svg>{picture.svg}</svg>")
    live = next(rect for rect in svg.iter("rect") if rect.get("class") == "s LIVE")
    begins = (made.plan.contests[0].start_at - TUESDAY) * 100 / (18 * DAY_MS)
    assert float(live.get("x", "").rstrip("%")) == pytest.approx(begins, abs=0.001)
    assert any(line.get("class") == "absence" for line in svg.iter("line"))
    assert any(line.get("class") == "broken" for line in svg.iter("line"))
    assert sum(rect.get("class") == "outage" for rect in svg.iter("rect")) == 1
    assert sum(rect.get("class") == "play" for rect in svg.iter("rect")) == 8
    assert [label.troubled for label in picture.labels if label.sub].count(True) == 1


def test_a_long_timeline_loses_the_least_important_first(made: Made) -> None:
    story = tell(made.evidence, failing(made))
    events = timeline(made.evidence, story, lives(made.evidence, story.end_at))
    assert {event.kind for event in events} >= {"broken", "phase", "violation", "fault", "service", "pager", "healing",
                                                "correction", "contest"}  # fmt: skip
    kept = cut(events, 35)
    assert len(kept) == 35
    assert [event.at for event in kept] == sorted(event.at for event in kept)
    assert sum(event.kind == "broken" for event in kept) == sum(event.kind == "broken" for event in events)
    assert "contest" not in {event.kind for event in kept}


def test_a_broken_promise_without_an_instant_is_said_to_have_none(made: Made) -> None:
    from dataclasses import replace

    verdict = failing(made)
    assert verdict.first_broken is not None
    timeless = replace(verdict, first_broken=replace(verdict.first_broken, at=None))
    screen = Page(files_of(made, timeless)["report.html"]).texts["verdict"]
    assert "at no known instant" in screen
    assert "no book says when it broke" in screen


def test_a_first_breach_without_money_does_not_hide_what_the_others_put_at_risk(made: Made) -> None:
    from dataclasses import replace

    verdict = failing(made)
    assert verdict.first_broken is not None
    harmless = replace(verdict, first_broken=replace(verdict.first_broken, money_cents=0))
    said = "$0.00 by this alone, up to $27.00 by another breach"
    assert said in Page(files_of(made, harmless)["report.html"]).texts["verdict"]
    lines = console.summary(tell(made.evidence, harmless), replay_command="", report_path="")
    assert any(said in line for line in lines)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (TUESDAY, "day 1 Tue 02 Jun 00:00 UTC"),
        (TUESDAY + 4 * DAY_MS + 14 * HOUR + 600_000, "day 5 Sat 06 Jun 14:10 UTC"),
        (TUESDAY + 15 * DAY_MS - 1000, "day 15 Tue 16 Jun 23:59:59 UTC"),
    ],
)
def test_instants_name_day_weekday_date_and_clock(at: int, said: str) -> None:
    assert instant(at, TUESDAY) == said
    assert iso(TUESDAY + 86_399_999) == "2026-06-02T23:59:59.999Z"


def test_amounts_are_exact_at_any_size() -> None:
    assert dollars(123_456) == "$1,234.56"
    assert dollars(-5) == "-$0.05"
    assert decimal(-5) == "-0.05"
    assert decimal(9_007_199_254_740_993) == "90071992547409.93"


def test_the_same_run_gives_the_same_bytes_in_another_process_zone_and_hash_seed(
    made: Made, failed: dict[str, bytes]
) -> None:
    script = (
        "import sys, hashlib; from pathlib import Path; from evidence.run import Evidence;"
        "from reports import tell, write_all;"
        "from tests.support.report_run import Made; from tests.support.report_verdicts import failing;"
        f"evidence = Evidence.open(Path({str(made.evidence.path)!r}));"
        "made = Made(evidence, evidence.plan); found = {};"
        f"write_all(evidence, tell(evidence, failing(made)), found.__setitem__, replay_command={REPLAY!r});"
        "print({name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())})"
    )
    env = os.environ | {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77", "LC_ALL": "C"}
    root = Path(__file__).resolve().parents[1]
    ran = subprocess.run([sys.executable, "-c", script], env=env, cwd=root, capture_output=True, text=True, check=True)
    import hashlib

    ours = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(failed.items())}
    assert ran.stdout.strip() == str(ours)


@pytest.mark.parametrize("fault", ["corrections.after_cutoff", "corrections.after_settled"])
def test_a_correction_that_came_too_late_is_told_with_the_contests_that_it_does_not_count_for(
    fault: str, runs: SharedRuns
) -> None:
    ran = runs("provider", "--only", fault)
    events = {row.tournament_id: row.provider_event_id for row in ran.rows("platform.tournaments")}
    late: list[str] = []
    for row in ran.rows("provider.publications", correction=True):
        contests = [one for one in ran.rows("platform.contests") if events[one.tournament_id] == row.event_id]
        over = sorted((one.cutoff_at, one.contest_id) for one in contests if one.cutoff_at is not None)
        late = late or [contest_id for cutoff_at, contest_id in over if cutoff_at < row.published_at]
    assert late
    told = f"after the cut-off of {', '.join(late)}: it does not count there (on record as late: 1 of 1)"
    for name in ("report.html", "report.md"):
        assert told in (ran.path / name).read_text().replace("\\", ""), name


def test_a_correction_in_time_is_not_told_as_late(runs: SharedRuns) -> None:
    ran = runs("provider", "--only", "corrections.reverted")
    text = (ran.path / "report.md").read_text()
    assert "The provider corrects" in text
    assert "it does not count there" not in text
