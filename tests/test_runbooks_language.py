"""The language of runbooks: what is wrong with one is said at its place, all at once, and ends in exit 20."""

from __future__ import annotations

import shlex
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from absence.opsctl_commands import known_commands
from operations.runbooks import Problem, RunbooksInvalid, check, load, parse
from operations.runbooks.document import Line
from operations.runbooks.match import like
from operations.runbooks.problems import Place
from operations.runbooks.render import Refused, TemplateInvalid, render, tokens
from operations.runbooks.rules import links
from tests.support.command import ROOT, absence
from tests.support.runbook_mistakes import WRONG, Mistake
from tests.support.runbooks import GOOD, KNOWN, parsed

SHIPPED = sorted((ROOT / "runbooks").glob("*.md"))
FILE = "thing_stuck.md"


def problems(source: str, file: str = FILE) -> list[str]:
    """What is wrong with a document, without the file's name."""
    runbook, found = parse(source, file)
    found = sorted({*found, *check([runbook], KNOWN)})
    return [str(problem).removeprefix(f"{file}:") for problem in found]


def line_of(text: str, source: str = GOOD) -> int:
    """The number of the first line that has `text` in it."""
    return next(n for n, line in enumerate(source.split("\n"), start=1) if text in line)


def changed(old: str, new: str, source: str = GOOD) -> str:
    assert old in source
    return source.replace(old, new, 1)


def test_a_runbook_that_is_in_order_has_no_problem() -> None:
    assert problems(GOOD) == []


def test_what_is_parsed_is_what_is_written() -> None:
    runbook = parsed()
    assert [step.id for step in runbook.steps()] == [
        "Diagnosis/1", "Recovery/1", "Recovery/2", "Verification/1", "Rollback/1", "Rollback/2",
    ]  # fmt: skip
    assert (runbook.id.text, runbook.version, runbook.date, runbook.role) == (
        "thing_stuck",
        "1.0.0",
        "2026-06-01",
        "ops",
    )
    poke = next(step for step in runbook.steps() if step.id == "Recovery/1")
    assert poke.command.template == 'opsctl thing poke --reason "it is stuck" --contest {alert.contest_id}'
    assert poke.command.place.line == line_of("thing poke")
    assert (poke.expectation.within_s, poke.expectation.status, poke.expectation.every_s) == (30, 0, None)
    verify = next(step for step in runbook.steps() if step.id == "Verification/1")
    assert (verify.expectation.within_s, verify.expectation.every_s) == (300, 60)
    list_ = next(runbook.steps())
    assert [str(branch.target) for branch in list_.branches] == ["done", "escalate"]
    assert [(capture.name, capture.pattern) for capture in list_.expectation.captures] == [("thing", r"thing_id=(\S+)")]
    assert str(next(step for step in runbook.steps() if step.id == "Rollback/1").after) == "Recovery/2"


# --- the eight of the issue, as the command line tells them ----------------------------------------------------------


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A runbook with the commands that the command line knows, in a folder of its own."""
    source = changed("opsctl thing list", "opsctl transfers list --status RETRYABLE")
    source = changed("opsctl thing list", "opsctl transfers list", source)
    source = changed(
        'thing poke --reason "it is stuck" --contest {alert.contest_id}', "transfers retry {thing}", source
    )
    source = changed("thing change {thing} --to FREE", 'transfers fail {thing} --reason "no way"', source)
    source = changed("thing show {thing} --contest {alert.contest_id}", "transfers show {thing}", source)
    return changed("thing revert {thing}", 'contests lock {alert.contest_id} --reason "as it was"', source)


RULES = """\
groups:
- name: all
  rules:
  - alert: ThingStuck
    expr: things_stuck > 0
    annotations:
      runbook_url: runbooks/thing_stuck.md
"""


def told(tmp_path: Path, rules: str = RULES, **sources: str) -> list[str]:
    """What `absence runbooks check` has against these documents (by the stems of their files) beside `rules`."""
    (tmp_path / "mine").mkdir()
    for stem, source in sources.items():
        (tmp_path / "mine" / f"{stem}.md").write_text(source)
    (tmp_path / "rules.yml").write_text(rules)
    said = absence("runbooks", "check", tmp_path / "mine", "--alerts", tmp_path / "rules.yml")
    assert said.exit_code in (0, 20), said.stderr
    assert (said.exit_code == 20) is bool(said.stderr)
    return [line.removeprefix(f"{tmp_path}/") for line in said.errors]


def test_good_runbooks_beside_their_alerts_pass_the_command_line(good: str, tmp_path: Path) -> None:
    assert told(tmp_path, thing_stuck=good) == []


def test_a_missing_section_is_located(good: str, tmp_path: Path) -> None:
    source = good[: good.index("## Documentation")]
    assert told(tmp_path, thing_stuck=source) == [
        f"mine/thing_stuck.md:{line_of('kind:', source)}:7: missing section Documentation: a failure runbook has "
        "Detection, Diagnosis, Recovery, Verification, Rollback, Documentation"
    ]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("step 7", "unknown branch target: there is no step Diagnosis/7; Diagnosis has steps 1 to 1"),
        ("Detection", "unknown branch target: there is no step Detection/1; Detection has no steps"),
        ("Recovry", "unknown branch target 'Recovry': expected step N, SECTION step N, done, partial, escalate "
                    "(did you mean Recovery?)"),
        ("Rollback", "Rollback is entered by a step that fails: write escalate, which rolls back first"),
    ],
)  # fmt: skip
def test_an_unknown_branch_target_is_located(target: str, why: str, good: str, tmp_path: Path) -> None:
    source = changed("if exit 3 → escalate", f"if exit 3 → {target}", good)
    (line,) = told(tmp_path, thing_stuck=source)
    assert line.startswith(f"mine/thing_stuck.md:{line_of('if exit 3', source)}:")
    assert line.endswith(why)


def test_an_undefined_placeholder_is_located(good: str, tmp_path: Path) -> None:
    source = changed("transfers show {thing}", "transfers show {thin}", good)
    assert told(tmp_path, thing_stuck=source) == [
        f"mine/thing_stuck.md:{line_of('{thin}', source)}:26: undefined placeholder {{thin}}: "
        "no capture of that name (did you mean thing?)"
    ]


def test_an_unknown_command_is_located(good: str, tmp_path: Path) -> None:
    source = changed("opsctl transfers retry", "opsctl transfers rety", good)
    assert told(tmp_path, thing_stuck=source) == [
        f"mine/thing_stuck.md:{line_of('rety', source)}:11: unknown command opsctl transfers rety "
        "(did you mean transfers retry?)"
    ]


def test_a_duplicate_id_is_located(good: str, tmp_path: Path) -> None:
    found = told(tmp_path, thing_stuck=good, another=good)
    assert len(found) == 2
    assert found[0].startswith("mine/another.md:2:5: the id thing_stuck is not the file's name")
    assert found[1].startswith("mine/thing_stuck.md:2:5: duplicate id thing_stuck: ")
    assert found[1].endswith("mine/another.md:2:5 has it already")


def test_an_unbalanced_fence_is_located_and_costs_no_other_step(good: str, tmp_path: Path) -> None:
    lines = good.split("\n")
    opened = line_of("```expect", good)
    closing = next(n for n in range(opened, len(lines)) if lines[n].strip() == "```")
    source = "\n".join(lines[:closing] + lines[closing + 1 :])
    found = told(tmp_path, thing_stuck=source)
    assert f"mine/thing_stuck.md:{opened}:4: this fence is not closed: end the block with a line ```" in found
    assert all(int(line.split(":")[1]) <= closing + 8 for line in found), "only the step that it stands in is in doubt"


def test_an_alert_without_a_runbook_is_located(good: str, tmp_path: Path) -> None:
    leads = "    annotations:\n      runbook_url: runbooks/"
    rules = RULES + (
        f"  - alert: ThingLost\n    expr: things_lost > 0\n{leads}thing_stuk.md\n"
        "  - alert: ThingGone\n    expr: things_gone > 0\n"
        f"  - alert: ThingBent\n    expr: things_bent > 0\n{leads}thing_stuck.md\n"
    )
    lost = "the alert ThingLost has no runbook: there is no runbooks/thing_stuk.md (did you mean thing_stuck?)"
    assert told(tmp_path, rules, thing_stuck=good) == [
        f"rules.yml:11:20: {lost}",
        "rules.yml:12:12: the alert ThingGone has no runbook: give it annotations.runbook_url",
        "rules.yml:17:20: the alert ThingBent leads to runbooks/thing_stuck.md, whose alerts do not name it",
    ]


SILENT = """\
  - alert: Watchdog
    expr: vector(1)
    labels: {severity: none}
    annotations:
      runbook_url: runbooks/alerting_gone.md
"""


def test_an_alert_that_pages_nobody_says_which_page_is_sent_when_it_is_missed(good: str, tmp_path: Path) -> None:
    gone = changed("id: thing_stuck", "id: alerting_gone", changed("[ThingStuck]", "[AlertingGone]", good))
    missed = SILENT + "      when_missed: AlertingGone\n"
    for n, (rules, runbook, expected) in enumerate((
        (missed, gone, []),
        (SILENT, gone, [
            "mine/alerting_gone.md:7:10: there is no alert AlertingGone in the rules",
            "rules.yml:12:20: the alert Watchdog pages nobody, and nobody hears when it is missed: give it another "
            "severity, or name in annotations.when_missed the page that is sent then",
        ]),
        (missed, changed("[AlertingGone]", "[Watchdog]", gone), [
            "mine/alerting_gone.md:7:10: there is no alert Watchdog in the rules: that rule pages nobody",
            "rules.yml:12:20: the alert AlertingGone leads to runbooks/alerting_gone.md, whose alerts do not name it",
        ]),
        # One that pages is known by its own name, whatever is said of its absence.
        (missed.replace("severity: none", "severity: error"), gone, [
            "mine/alerting_gone.md:7:10: there is no alert AlertingGone in the rules",
            "rules.yml:12:20: the alert Watchdog leads to runbooks/alerting_gone.md, whose alerts do not name it",
        ]),
    )):  # fmt: skip
        folder = tmp_path / str(n)
        folder.mkdir()
        assert told(folder, RULES + rules, thing_stuck=good, alerting_gone=runbook) == expected


def test_a_page_that_is_sent_when_an_alert_is_missed_needs_its_runbook(good: str, tmp_path: Path) -> None:
    assert told(tmp_path, RULES + SILENT + "      when_missed: AlertingGone\n", thing_stuck=good) == [
        "rules.yml:12:20: the alert AlertingGone has no runbook: there is no runbooks/alerting_gone.md"
    ]


def test_a_runbook_without_an_alert_is_located(good: str, tmp_path: Path) -> None:
    other = changed("id: thing_stuck", "id: other", changed("[ThingStuck]", "[ThingStock]", good))
    elsewhere = changed("id: thing_stuck", "id: elsewhere", good)
    found = told(tmp_path, thing_stuck=good, other=other, elsewhere=elsewhere)
    assert found[1:] == ["mine/other.md:7:10: there is no alert ThingStock in the rules (did you mean ThingStuck?)"]
    assert found[0].startswith(
        "mine/elsewhere.md:7:10: the alert ThingStuck leads to runbooks/thing_stuck.md, not here"
    )


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file(good: str, tmp_path: Path) -> None:
    source = good
    for old, new in (
        ("version: 1.0.0", "version: one"),
        ("[ThingStuck]", "[ThingStock]"),
        ("opsctl transfers list", "opsctl transfers lst"),
        ("exit 3 → escalate", "exit 3 → step 9"),
        ("transfers show {thing}", "transfers show {nothing}"),
    ):
        source = changed(old, new, source)
    found = told(tmp_path, thing_stuck=source)
    assert [int(line.split(":")[1]) for line in found if line.startswith("mine/")] == [
        line_of(text, source) for text in ("version: one", "ThingStock", "transfers lst", "step 9", "{nothing}")
    ]


# --- the rest of the language ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_at_its_line_and_column(mistake: Mistake) -> None:
    source = changed(mistake.old, mistake.new)
    line = mistake.line + (line_of(mistake.near, source) if mistake.near else 0)
    found = problems(source)
    place = f"{line}:{mistake.column}: "
    assert any(one.startswith(place) and mistake.says in one for one in found), (place, found)


def test_what_a_rollback_captures_where_it_may_not_be_needed_is_not_known_after() -> None:
    source = changed("   glob: done: *\n", "   glob: done: *\n   capture back: /(done)/\n")
    rollback = source.index("## Rollback")
    source = source[:rollback] + changed("thing list", "thing show {back}", source[rollback:])
    assert problems(source) == [
        f"{line_of('{back}', source)}:22: undefined placeholder {{back}}: captured in Rollback/1, which may not have "
        "been taken; say `only after` a step before which it is always bound"
    ]
    assert problems(changed("   - only after Recovery step 2\n", "", source))[0].startswith(
        f"{line_of('thing revert', source)}:24: undefined placeholder {{thing}}"
    )


@pytest.mark.parametrize("kind", ["line", "glob", "regex"])
def test_a_value_in_an_expected_line_is_text_and_never_a_pattern(kind: Literal["line", "glob", "regex"]) -> None:
    line = Line(kind, "id={thing}", Place("x.md", 1))
    for value, other in (("t.7", "t-7"), ("t+", "tt"), ("t*", "tx"), ("[t]", "t")):
        assert like(line, f"id={value}", {"thing": value})
        assert not like(line, f"id={other}", {"thing": value})


def test_a_branch_may_look_for_an_arrow_and_its_own_is_the_last() -> None:
    runbook = parsed(changed("if line: none → done", "if regex: .* -> x → done"))
    (branch, _) = next(runbook.steps()).branches
    assert branch.condition is not None
    assert branch.condition.line is not None
    assert (branch.condition.line.text, str(branch.target)) == (".* -> x", "done")


def test_other_runbooks_may_not_be_named_but_words_like_them_may() -> None:
    def named(text: str, other: str) -> list[Problem]:
        second = parsed(changed("id: thing_stuck", f"id: {other}"), f"{other}.md")
        return check([parsed(changed("Nothing.", text)), second], KNOWN)

    assert [p.message for p in named("Then other_thing.", "other_thing")] == [
        "no runbook depends on another: put the steps of other_thing here"
    ]
    assert named("Then runbook restore.", "restore")
    assert named("Then `restore`.", "restore")
    assert named("We restore it.", "restore") == []
    assert named("The metric other_thing_seconds.", "other_thing") == []


def test_a_file_that_is_no_text_and_one_that_is_not_there_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\xff")
    with pytest.raises(RunbooksInvalid) as caught:
        load([tmp_path / "a.md", tmp_path / "b.md"], KNOWN)
    assert [problem.message.partition(":")[0] for problem in caught.value.problems] == [
        "expected UTF-8 text", "there is no such file",
    ]  # fmt: skip


def test_rule_files_that_cannot_be_read_are_located(good: str, tmp_path: Path) -> None:
    assert told(tmp_path, "groups: [\n", thing_stuck=good)[0].startswith("mine/thing_stuck.md:7:10: there is no alert")
    broken, found = links(tmp_path / "rules.yml")
    assert broken == []
    assert found[0].place.line == 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_whatever_is_torn_from_a_shipped_runbook_the_check_ends_and_points_into_the_file(path: Path) -> None:
    random, whole = Random(path.stem), path.read_text().split("\n")
    for _ in range(150):
        lines = list(whole)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(lines))
            how = random.randrange(4)
            if how == 0:
                del lines[at]
            elif how == 1:
                lines[at] = lines[at][: random.randint(0, len(lines[at]))]
            elif how == 2:
                lines[at] = lines[at].lstrip()
            else:
                lines.insert(random.randrange(len(lines)), lines[at])
        runbook, found = parse("\n".join(lines), str(path))
        for problem in [*found, *check([runbook], known_commands())]:
            assert 1 <= problem.place.line <= len(lines)
            assert 1 <= problem.place.column <= max(map(len, lines)) + 2


# --- templates --------------------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(ANY_TEXT, ANY_TEXT)
def test_no_value_whatever_changes_the_number_of_arguments(one: str, two: str) -> None:
    template = 'opsctl thing show {one} --reason "for {one} and {alert.two}" --contest={alert.two}'
    try:
        rendered = render(template, {"one": one, "alert.two": two})
    except Refused:
        assert not (one.isascii() and two.isascii() and one.isalnum() and two.isalnum())
        return
    assert rendered.argv == ("thing", "show", one, "--reason", f"for {one} and {two}", f"--contest={two}")
    assert shlex.split(rendered.sent.decode()) == ["opsctl", *rendered.argv]
    assert not one.startswith("-")


@given(st.text("ops ctl\"'|{}$<é\\\t", max_size=14))
def test_a_line_is_a_command_only_if_another_reader_splits_it_alike(line: str) -> None:
    template = f"opsctl {line}"
    try:
        found = tokens(template)
    except TemplateInvalid:
        return
    assert [token.text for token in found] == shlex.split(template)
    assert all(template[token.offset :].lstrip('"').startswith(token.text) for token in found)


# --- what is shipped, and the command line ----------------------------------------------------------------------------


def test_the_shipped_runbooks_send_known_commands_and_make_sense() -> None:
    library = load([ROOT / "runbooks"], known_commands(), root=ROOT)
    assert [runbook.file for runbook in library.values()] == [f"runbooks/{path.name}" for path in SHIPPED]
    assert library.keys() >= {"payout_transfer_stuck_in_retryable", "ingestion_lag", "score_discrepancy"}


def test_every_shipped_alert_has_its_runbook_and_every_runbook_its_alerts() -> None:
    said = absence("runbooks", "check")
    assert (said.exit_code, said.stderr) == (0, "")
    assert len(said.stdout.splitlines()) == len(SHIPPED) >= 51
    found = [link for path in sorted((ROOT / "alerts").glob("*.yml")) for link in links(path)[0]]
    assert len({link.rule for link in found}) >= 43
    paged = {link.alert for link in found}
    assert paged == {alert.text for one in load([ROOT / "runbooks"], known_commands()).values() for alert in one.alerts}
    assert "AlertingDown" in paged
    assert "Watchdog" not in paged


def test_the_example_of_the_readme_is_written_in_the_language() -> None:
    readme = (ROOT / "README.md").read_text()
    example = readme.partition("````markdown\n")[2].partition("````\n")[0]
    runbook, found = parse(example, "payout_transfer_stuck_in_retryable.md")
    assert found == []
    assert [step.command.template.split()[1:3] for step in runbook.steps()] == [["transfers", "list"]]
    for problem in check([runbook], known_commands()):  # the rest of the document is left out
        assert problem.message.startswith(("missing section", "unknown branch target: there is no step Verification/1"))


def test_the_list_and_a_runbook_are_shown_to_people_and_programs() -> None:
    listed = absence("runbooks", "list", "--json").json
    assert [one["id"] for one in listed] == [path.stem for path in SHIPPED]
    told = absence("runbooks", "list").stdout
    assert all(one["id"] in told for one in listed)
    shown = absence("runbooks", "show", "ingestion_lag", "--json").json
    steps = [step for section in shown["sections"].values() for step in section]
    assert len(steps) == shown["steps"] == next(one["steps"] for one in listed if one["id"] == "ingestion_lag")
    text = absence("runbooks", "show", "ingestion_lag").stdout
    assert all(step["command"] in text for step in steps)


def test_a_runbook_that_is_not_shipped_is_told_with_the_nearest_that_is() -> None:
    said = absence("runbooks", "show", "ingestion_lagg")
    assert said.exit_code == 20
    assert said.errors == [
        "ingestion_lagg:1:1: no such file, and no runbook of that id is shipped (did you mean ingestion_lag?)"
    ]


def test_problems_are_told_as_json_too(tmp_path: Path) -> None:
    path = tmp_path / "thing_stuck.md"
    path.write_text(changed("kind: failure", "kind: failur"))
    said = absence("runbooks", "check", path, "--json")
    assert said.exit_code == said.json["exit_code"] == 20
    assert said.json["error"] == said.errors != []
