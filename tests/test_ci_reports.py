"""What CI is given is what CI reads: valid, unique, cut where it has to be, and no word of data is a command."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from assertions.judge import Verdict
from assertions.model import Broken, Status
from closure.decision import Blocker, Decision, Deferral, Figure, Outcome, Proof, RunUsed
from reports import annotations, gitlab, junit, step_summary, write_all
from reports.annotations import PER_LEVEL_MAX, Level, Note, Place, commands
from reports.step_summary import LIMIT
from reports.story import Story, tell
from tests.support.command import ROOT, Ran, SharedRuns, absence
from tests.support.report_plan import HOSTILE, HOUR, TUESDAY
from tests.support.report_run import Made, make_run
from tests.support.report_verdicts import failing, passing, result, standing, unproven, verdict_of
from tests.support.xsd import Schema

SCHEMA = Schema(ROOT / "tests" / "support" / "junit.xsd")
REPLAY = "absence replay 'runs/a  b' --seed 42 & <x>"
NASTY = "\x00\x07\x1b[31m\ud800 ￿\r\n::error::Zoë paid 100 %, 12:30 ]]> </failure> ☃ 中文 🂡" + HOSTILE
MANY = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("runs"))


def broken(n: int, words: str = "was paid twice") -> Broken:
    return Broken(f"Winner {n} {words} {NASTY}", f"transfers/tr_{n}{NASTY}", TUESDAY + n * HOUR // 100, n)


def nasty(made: Made) -> Verdict:
    """Every status, and in every text what no format likes."""
    return verdict_of(
        made,
        [
            *standing(),
            result("payouts.once", Status.FAIL, claim=NASTY, broken=[broken(1), Broken(NASTY, NASTY)]),
            result("recovery.bites", Status.INCONCLUSIVE, claim=NASTY, missing=[NASTY]),
            result("alerts.raised", Status.NOT_APPLICABLE, claim=NASTY),
        ],
    )


def one_breaks_often(made: Made) -> Verdict:
    """One promise that broke twenty thousand times, as no judge would leave it."""
    return verdict_of(made, [*standing(), result("payouts.once", Status.FAIL, broken=[broken(n) for n in range(MANY)])])


def many_break(made: Made) -> Verdict:
    """Two hundred promises that broke a hundred times each, and two hundred that were not exercised."""
    failed = [
        result(f"payouts.p{n:03}", Status.FAIL, broken=[broken(n * 100 + m, "was paid " * 20) for m in range(100)])
        for n in range(MANY // 100)
    ]
    unsure = [result(f"healing.p{n:03}", Status.INCONCLUSIVE, missing=[NASTY * 40]) for n in range(200)]
    return verdict_of(made, [*failed, *unsure])


VERDICTS = [passing, unproven, failing, nasty, one_breaks_often, many_break]


def files_of(made: Made, verdict: Verdict) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    write_all(made.evidence, tell(made.evidence, verdict), files.__setitem__, replay_command=REPLAY)
    return files


@pytest.fixture(scope="module")
def crowded(made: Made) -> Story:
    return tell(made.evidence, many_break(made))


# --- junit.xml ------------------------------------------------------------------------------------------------------


def cases(document: bytes) -> list[tuple[str | None, str | None]]:
    return [(case.get("classname"), case.get("name")) for case in ET.fromstring(document).iter("testcase")]


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda made: made.__name__)
def test_junit_is_valid_whatever_the_verdict_holds(verdict: Any, made: Made) -> None:
    judged = verdict(made)
    document = junit.render(tell(made.evidence, judged), REPLAY + NASTY, "a run")
    assert SCHEMA.problems(document) == []
    assert len(set(cases(document))) == len(cases(document)) == len(judged.results)
    root = ET.fromstring(document)
    for counted, tag in (("failures", "failure"), ("errors", "error")):
        suites = sum(int(suite.get(counted, "")) for suite in root.iter("testsuite"))
        assert int(root.get(counted, "")) == suites == len(list(root.iter(tag)))
    assert sum(int(suite.get("skipped", "")) for suite in root.iter("testsuite")) == len(list(root.iter("skipped")))


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (b'<testsuites name="', b'<testsuites skipped="2" name="', "/testsuites: skipped is not allowed"),
        (b' classname="absence', b' klass="absence', "/testcase: classname is missing"),
        (b' failures="', b' failures="-', "failures is no xs:nonNegativeInteger: '-"),
        (b"<testcase ", b"<testcase/><testcase ", "/testcase: name is missing"),
        (b"<properties>", b"<properties>text", "/properties: text is not allowed"),
        (b"<property ", b"<system-out/><property ", "/properties: the children ['system-out', 'property'"),
        (b"</properties>", b"</properties><extra/>", "/extra: no such element"),
        (b"<system-out>", b"<system-out/><system-out>", "the children ['failure', 'system-out', 'system-out'] may not"),
    ],
)
def test_the_schema_refuses_what_is_not_so(good: bytes, bad: bytes, told: str, made: Made) -> None:
    document = junit.render(tell(made.evidence, nasty(made)), REPLAY)
    altered = document.replace(good, bad)
    assert altered != document
    assert any(told in problem for problem in SCHEMA.problems(altered)), SCHEMA.problems(altered)


def test_the_files_of_several_runs_share_no_name(made: Made, runs: SharedRuns) -> None:
    judged = failing(made)
    told = [
        (judged, "nightly"), (judged, "on-postgresql"), (judged, ""),
        (replace(judged, seed=7), ""), (replace(judged, plan_sha256="f" * 64), ""),
    ]  # fmt: skip
    names = [case for verdict, name in told for case in
             cases(junit.render(tell(made.evidence, verdict), REPLAY, name))]  # fmt: skip
    assert len(names) == len(set(names)) == len(told) * len(judged.results)


def test_a_name_outlives_a_change_of_the_code_so_that_ci_can_compare(made: Made) -> None:
    story = tell(made.evidence, failing(made))
    own = f"{story.plan.scenario}-s{story.plan.seed}-"
    before, after = (
        cases(junit.render(story, REPLAY, f"{own}{identity}")) for identity in ("0123456789", "abcdef0123")
    )
    assert before == after
    assert before != cases(junit.render(story, REPLAY, f"{own}nightly"))


def test_what_gitlab_shows_stands_in_the_content(made: Made) -> None:
    root = ET.fromstring(junit.render(tell(made.evidence, nasty(made)), REPLAY))
    for tag in ("failure", "error", "skipped"):
        (element,) = root.iter(tag)
        assert (element.text or "").strip()


def test_the_junit_of_a_real_run_is_valid_and_says_which_run(small_run: Ran) -> None:
    document = (small_run.path / "junit.xml").read_bytes()
    assert SCHEMA.problems(document) == []
    plan = small_run.verdict.plan_sha256[:8]
    assert {name for name, _ in cases(document)} == {
        f"absence.small-s1-{plan}.{result.family}" for result in small_run.verdict.results
    }


# --- twenty thousand broken promises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [one_breaks_often, many_break], ids=lambda made: made.__name__)
def test_no_report_grows_beyond_use(verdict: Any, made: Made) -> None:
    mib = {name: len(content) / 2**20 for name, content in files_of(made, verdict(made)).items()}
    assert mib["report.html"] < 10
    assert mib["report.md"] < 10
    assert mib["postmortem.md"] < 5
    assert mib["junit.xml"] < 30, "GitLab reads no larger one"


# --- the summary of a step ------------------------------------------------------------------------------------------


def test_the_summary_fits_and_counts_what_it_leaves_out(crowded: Story) -> None:
    text = step_summary.for_story(crowded, REPLAY)
    assert LIMIT * 0.9 < len(text.encode()) <= LIMIT
    shown, counted = told(text, "Broken promises")
    assert all(re.fullmatch(r"- .*\(`payouts\.p\d{3}`\)", line) for line in shown)
    assert len(shown) + counted == MANY
    assert text.startswith("# ✕ FAIL: ")
    assert "absence replay" in text.partition("## ")[0]


def told(text: str, title: str) -> tuple[list[str], int]:
    """The items of a list of a summary, and how many more it says there are."""
    below = text.partition(f"\n## {title}\n\n")[2].partition("\n## ")[0]
    more = re.search(r"^and ([\d,]+) more ", below, re.MULTILINE)
    return [line for line in below.splitlines() if line.startswith("- ")], int(more[1].replace(",", "")) if more else 0


@pytest.mark.parametrize("limit", [0, 100, 1_500, 3_000, 10_000, 100_000])
def test_the_summary_fits_whatever_room_there_is(limit: int, crowded: Story) -> None:
    text = step_summary.for_story(crowded, REPLAY, limit=limit)
    assert len(text.encode()) <= limit
    if text:
        assert "| ✕ fail | 200 |" in text
    if "\n## " in text:
        for title, total in (("Broken promises", MANY), ("Not exercised", 200)):
            shown, counted = told(text, title)
            assert len(shown) + counted == total


def test_half_a_head_is_no_summary(crowded: Story) -> None:
    whole = step_summary.for_story(crowded, REPLAY)
    assert step_summary.for_story(crowded, REPLAY, limit=200) == ""
    assert whole.partition("\n## ")[0].endswith("`\n")


def test_a_summary_with_room_holds_everything(made: Made) -> None:
    story = tell(made.evidence, failing(made))
    text = step_summary.for_story(story, REPLAY)
    assert told(text, "Broken promises") == (told(text, "Broken promises")[0], 0)
    assert len(told(text, "Broken promises")[0]) == len(story.broken()) == 31
    assert len(told(text, "Not exercised")[0]) == 1
    assert "was paid \\$27.00 twice" in text
    assert "\\<script" in text
    assert not re.search(r"[^\\]<script", text)


# --- annotations ----------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(?P<level>error|warning|notice) (?P<properties>[^:\r\n]*)::(?P<message>[^\r\n]*)")
"""As a runner reads a line."""


def read(line: str) -> tuple[str, dict[str, str], str]:
    found = COMMAND.fullmatch(line)
    assert found, line
    properties = dict(pair.split("=", 1) for pair in found["properties"].split(","))
    return found["level"], {name: decoded(value) for name, value in properties.items()}, decoded(found["message"])


def decoded(text: str) -> str:
    for sign, code in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
        text = text.replace(code, sign)
    return text


def test_there_are_ten_of_a_level_and_the_last_counts_the_rest(crowded: Story) -> None:
    notes = annotations.for_story(crowded)
    assert Counter(note.level for note in notes) == {"error": 200, "warning": 200}
    read_back = [read(line) for line in commands(notes)]
    assert Counter(level for level, _, _ in read_back) == {"error": PER_LEVEL_MAX, "warning": PER_LEVEL_MAX}
    for level in ("error", "warning"):
        titles = [properties["title"] for found, properties, _ in read_back if found == level]
        assert titles[-1] == "and 191 more"
        assert len(set(titles)) == PER_LEVEL_MAX


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 500])
def test_none_is_lost_between_those_shown_and_those_counted(count: int) -> None:
    shown = annotations.within_limits([Note("error", f"a.n{n}", "broke") for n in range(count)])
    assert len(shown) == min(count, PER_LEVEL_MAX)
    counted = re.fullmatch(r"and (\d+) more", shown[-1].id) if shown else None
    assert len(shown) - bool(counted) + (int(counted[1]) if counted else 0) == count


@pytest.mark.parametrize("level", ["error", "warning", "notice"])
def test_an_annotation_is_one_line_that_reads_back_as_it_was(level: Level) -> None:
    place = Place("a dir/100%,b:c.yaml", 12)
    (line,) = commands([Note(level, "a.b,c:d%3A", f"50 %0A, done: {NASTY}", place=place)])
    found, properties, message = read(line)
    assert (found, properties) == (level, {"file": place.file, "line": "12", "title": "a.b,c:d%3A"})
    assert message.startswith("50 %0A, done: ")
    assert "::error::Zoë paid 100 %, 12:30 ]]>" in message
    assert not re.search("[\x00-\x1f\x7f\ud800-\udfff]", message)


def test_the_first_broken_promise_of_the_run_comes_first_and_long_messages_are_cut(made: Made) -> None:
    verdict = verdict_of(
        made,
        [
            result("audit.a", Status.FAIL, broken=[Broken("later " * 2000, "x", TUESDAY + 2 * HOUR)]),
            result("ledger.b", Status.FAIL, broken=[Broken("first", "y", TUESDAY + HOUR, 1234), broken(2), broken(3)]),
        ],
    )
    first, later = [read(line) for line in commands(annotations.for_story(tell(made.evidence, verdict)))]
    assert first[1]["title"] == "ledger.b"
    assert first[2] == "first (day 1 Tue 02 Jun 01:00 UTC. $12.34 at risk.) And 2 more breaches."
    assert len(later[2].encode()) < 4096


# --- a decision of the gate -----------------------------------------------------------------------------------------


def decision(outcome: Outcome = Outcome.HOLD, blockers: int = 2) -> dict[str, Any]:
    run = RunUsed("runs/iteration06", "iteration06", "0" * 64, "iteration06", 1, "PASS")
    decided = Decision(
        outcome, "closure/policies/iteration06.yaml", "a" * 64, [run],
        [Blocker(f"06b.c{n}", "06B", f"no run shows it, 100 % {NASTY}",
                 f"closure/policies/iteration06.yaml:{n + 3}" if n % 2 else "runs/iteration06/books")
         for n in range(blockers)],
        [Proof("06a.table", "06A", "the table exists", 3, "rows", "runs/iteration06")],
        [Deferral("06c.staging", "06C", "a staging run", "no staging | yet", "ops:lee", "2026-12-31")],
        baseline=run, figures=[Figure("entries", 100, 90, "at least 95", holds=False)],
    )  # fmt: skip
    told: dict[str, Any] = json.loads(decided.to_json().encode(errors="replace"))
    return told


def test_a_decision_is_told_with_its_blockers_and_what_it_was_made_of() -> None:
    text = step_summary.for_decision(decision())
    assert text.startswith("# ✕ HOLD: closure/policies/iteration06.yaml\n\n2 blockers, 1 criterion holds, 1 put off.")
    assert len(told(text, "Blockers")[0]) == 2
    assert "| `06c.staging` | a staging run | 2026-12-31 | ops:lee | no staging \\| yet |" in text
    assert "| `entries` | 100 | 90 | at least 95 | ✕ |" in text
    assert text.count("| `iteration06` | iteration06 | 1 | PASS | ") == 2
    assert step_summary.for_decision(decision(Outcome.CLOSE, 0)).startswith("# ✓ CLOSE")


def test_a_decision_with_any_number_of_blockers_fits() -> None:
    whole = decision(blockers=MANY)
    text = step_summary.for_decision(whole)
    assert len(text.encode()) <= LIMIT
    shown, counted = told(text, "Blockers")
    assert len(shown) + counted == MANY
    read_back = [read(line) for line in commands(annotations.for_decision(whole))]
    assert Counter(level for level, _, _ in read_back) == {"error": PER_LEVEL_MAX, "notice": 1}


def test_a_blocker_is_shown_at_the_line_that_it_names() -> None:
    notes = annotations.for_decision(decision())
    assert [note.place for note in notes] == [None, Place("closure/policies/iteration06.yaml", 4), None]


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What a step on GitHub is given: a file for its summary, and where the repository was checked out."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(ROOT))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "summary.md"


def lines_of(stdout: str) -> list[tuple[str, dict[str, str], str]]:
    """The annotations, which come after everything that data could say."""
    first, *lines = stdout.splitlines()
    token = first.removeprefix("::stop-commands::")
    assert token != first
    end = lines.index(f"::{token}::")
    return [read(line) for line in lines[end + 1 :]]


def test_github_is_told_of_a_violation_at_its_line_of_the_scenario(runs: SharedRuns, on_github: Path) -> None:
    ran = runs("violation_row_edited")
    told = absence("report", ran.path, "--ci", "github")
    assert told.exit_code == 10
    scenario = (ROOT / "scenarios" / "violation_row_edited.yaml").read_text().splitlines()
    first = lines_of(told.stdout)[0]
    assert (first[0], first[1]["file"]) == ("error", "scenarios/violation_row_edited.yaml")
    assert "fault: violations.row_edited" in scenario[int(first[1]["line"]) - 1]
    assert on_github.read_text().startswith("# ✕ FAIL: violation\\_row\\_edited, seed 1")


def test_github_is_told_of_a_runbook_at_the_step_that_did_not_fit(runs: SharedRuns, on_github: Path) -> None:
    told = absence("report", runs("handed_on_payouts").path, "--ci", "github")
    (note,) = lines_of(told.stdout)
    step = re.search(r"step (\w+)/(\d+) \((runbooks/\w+\.md):(\d+):", note[2])
    assert step is not None
    assert note[1]["file"] == step[3]
    text = (ROOT / note[1]["file"]).read_text().splitlines()
    line = int(note[1]["line"])
    assert int(step[4]) <= line <= int(step[4]) + 5
    assert any("opsctl" in near for near in text[line - 3 : line + 3])


def test_a_fault_that_never_bit_is_a_warning_at_its_line(runs: SharedRuns, on_github: Path) -> None:
    told = absence("report", runs("never_bites").path, "--ci", "github")
    assert told.exit_code == 12
    (note,) = lines_of(told.stdout)
    assert (note[0], note[1]["file"]) == ("warning", "scenarios/never_bites.yaml")
    scenario = (ROOT / note[1]["file"]).read_text().splitlines()
    assert "fault: provider.outage" in scenario[int(note[1]["line"]) - 1]


def test_a_scenario_that_has_changed_since_is_not_pointed_into(
    runs: SharedRuns, on_github: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = runs("never_bites")
    monkeypatch.setattr("absence.publishing.ROOT", tmp_path)
    (tmp_path / "scenarios").mkdir()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    copy = tmp_path / "scenarios" / "never_bites.yaml"
    copy.write_bytes((ROOT / "scenarios" / "never_bites.yaml").read_bytes())
    assert "file" in lines_of(absence("report", ran.path, "--ci", "github").stdout)[0][1]
    copy.write_bytes(copy.read_bytes() + b"# another one\n")
    assert "file" not in lines_of(absence("report", ran.path, "--ci", "github").stdout)[0][1]


def test_the_summaries_of_a_step_stand_one_below_the_other_until_there_is_no_room(
    small_run: Ran, on_github: Path
) -> None:
    for _ in range(2):
        assert absence("report", small_run.path, "--ci", "github").exit_code == 0
    assert on_github.read_text().count("# ✓ PASS: small, seed 1") == 2
    on_github.write_bytes(b"x" * (LIMIT - 100))
    told = absence("report", small_run.path, "--ci", "github")
    assert (told.exit_code, on_github.stat().st_size) == (0, LIMIT - 100)
    assert "full" in told.stderr


def test_outside_a_step_it_is_said_that_no_summary_was_written(small_run: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    told = absence("report", small_run.path, "--ci", "github")
    assert told.exit_code == 0
    assert "GITHUB_STEP_SUMMARY is not set" in told.stderr


def test_json_on_standard_output_stays_json(runs: SharedRuns, on_github: Path) -> None:
    told = absence("report", runs("never_bites").path, "--ci", "github", "--json")
    assert told.json["status"] == "INCONCLUSIVE"
    assert told.stderr.startswith("::warning ")


def test_gitlab_gets_files_that_it_reads(runs: SharedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_PROJECT_DIR", str(ROOT))
    ran = runs("violation_row_edited")
    assert absence("report", ran.path, "--ci", "gitlab", "--out", tmp_path / "ci").exit_code == 10
    findings = json.loads((tmp_path / "ci" / "codequality.json").read_bytes())
    assert len(findings) == sum(result.status is Status.FAIL for result in ran.verdict.results)
    assert len({finding["fingerprint"] for finding in findings}) == len(findings)
    for finding in findings:
        assert set(finding) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert finding["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert finding["location"]["path"] == "scenarios/violation_row_edited.yaml"
        assert finding["location"]["lines"]["begin"] >= 1
    variables = (tmp_path / "ci" / "verdict.env").read_text()
    assert re.fullmatch(r"([A-Z_]+=[^\s'\"]+\n)+", variables)
    assert "ABSENCE_VERDICT=FAIL\n" in variables
    assert SCHEMA.problems((tmp_path / "ci" / "junit.xml").read_bytes()) == []
    metrics = (tmp_path / "ci" / "metrics.txt").read_text()
    assert metrics.endswith("# EOF\n")
    assert re.search(
        r'^absence_promises\{run="violation_row_edited-s1-\w{8}",status="fail"\} 4$', metrics, re.MULTILINE
    )


def test_metrics_declare_each_name_once_and_escape_labels(made: Made) -> None:
    lines = gitlab.metrics(tell(made.evidence, failing(made)), 'a "run"\\\n').decode().splitlines()
    assert lines[-1] == "# EOF"
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(declared) == len(set(declared))
    for line in lines[:-1]:
        assert re.fullmatch(
            r'# TYPE absence_\w+ gauge|absence_\w+\{run="a \\"run\\"\\\\\\n"(,status="[a-z ]+")?\} \d+', line
        )


def test_a_fingerprint_outlives_a_change_of_words_and_not_of_what_it_is_about() -> None:
    def fingerprint(note: Note) -> str:
        return str(json.loads(gitlab.codequality([note]))[0]["fingerprint"])

    note = Note("error", "payouts.once", "paid twice", "transfers/tr_1")
    assert fingerprint(note) == fingerprint(note._replace(message="paid two times", place=Place("a", 2)))
    assert fingerprint(note) != fingerprint(note._replace(subject="transfers/tr_2"))
    assert fingerprint(note) != fingerprint(note._replace(id="payouts.twice"))


def test_gitlab_files_need_a_place(small_run: Ran) -> None:
    told = absence("report", small_run.path, "--ci", "gitlab")
    assert told.exit_code == 2
    assert "--out" in told.stderr


def test_what_ci_is_told_leaves_the_run_as_it_was(small_run: Ran, on_github: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")}
    assert absence("report", small_run.path, "--ci", "github").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in small_run.path.rglob("*")} == before
    assert absence("verify", small_run.path).exit_code == 0


def test_results_are_the_same_bytes_each_time(made: Made) -> None:
    once, again = (tell(made.evidence, nasty(made)) for _ in range(2))
    assert junit.render(once, REPLAY) == junit.render(again, REPLAY)
    assert step_summary.for_story(once, REPLAY) == step_summary.for_story(again, REPLAY)
    assert commands(annotations.for_story(once)) == commands(annotations.for_story(again))
