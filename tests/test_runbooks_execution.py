"""Carrying runbooks out: to the letter, every step on record before the next, and what is not as written undone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.runbooks import Alert, Output, StepRecord, execute
from operations.runbooks.execute import VISITS
from operations.runbooks.match import judge
from tests.support.runbook_execution import ALERT, WELL, assert_on_record, carried_out, runbook_step
from tests.support.runbooks import (
    BEGIN,
    GOOD,
    LINES,
    TELLING,
    ScriptedControl,
    apply_patch,
    finish,
    parsed,
)

FORWARD = ["Diagnosis/1", "Recovery/1", "Recovery/2", "Verification/1"]


# --- as it should go --------------------------------------------------------------------------------------------------


def test_a_runbook_that_goes_as_written_is_sent_line_by_line_and_completed() -> None:
    outcome, control = carried_out(parsed(), WELL)
    assert (outcome.status, outcome.escalation) == ("completed", None)
    assert control.of("send") == [
        ("Diagnosis/1", ("thing", "list"), 60),
        ("Recovery/1", ("thing", "poke", "--reason", "it is stuck", "--contest", "c-1"), 30),
        ("Recovery/2", ("thing", "change", "t7", "--to", "FREE"), 60),
        ("Verification/1", ("thing", "show", "t7", "--contest", "c-1"), 60),
    ]
    assert_on_record(outcome, control, parsed())
    assert [record.matched for record in outcome.records] == ["expected", "expected", "otherwise", "expected"]
    assert [step.ways for step in parsed().path()] == [
        ("branch 1", "branch 2", "expected"), ("expected",), ("branch 1", "otherwise"), ("expected",),
    ]  # fmt: skip
    assert [record.next for record in outcome.records] == ["Recovery/1", "Recovery/2", "Verification/1", "done"]
    assert [name for name, _ in control.log][-1] == "complete"
    assert control.of("complete") == [("completed", None, {"asked": len(control.log) - 1})]
    assert control.of("start") == [("thing_stuck", "1.0.0", {"asked": 1})]


def test_a_person_thinks_before_opening_it_and_before_every_step() -> None:
    _, control = carried_out(parsed(), WELL)
    assert control.of("think") == ["open thing_stuck", *FORWARD]


def test_the_first_branch_that_holds_is_taken_before_the_expectation_is_looked_at() -> None:
    outcome, control = carried_out(parsed(), {"Diagnosis/1": Output(0, "none\n")})
    assert (outcome.status, control.sent) == ("completed", ["Diagnosis/1"])
    assert (outcome.records[0].matched, outcome.records[0].next) == ("branch 1", "done")


def test_a_branch_may_go_back_and_captures_are_bound_anew() -> None:
    answers = {
        **WELL,
        "Recovery/2": [Output(1, "error: not poked enough"), Output(0, "done: thing_id=t7 status=FREE")],
    }
    outcome, control = carried_out(parsed(), answers)
    assert outcome.status == "completed"
    assert control.sent == ["Diagnosis/1", "Recovery/1", "Recovery/2", "Recovery/1", "Recovery/2", "Verification/1"]
    assert outcome.records[2].matched == "branch 1"


def test_a_loop_that_does_not_end_is_not_as_expected() -> None:
    outcome, control = carried_out(parsed(), {**WELL, "Recovery/2": Output(1, "error: not poked enough")})
    assert outcome.status == "failed"
    assert control.sent.count("Recovery/1") == VISITS
    assert outcome.escalation is not None
    assert "does not end" in outcome.escalation.reason


def test_a_line_of_output_is_a_condition_only_with_the_exit_status_that_it_is_said_with() -> None:
    outcome, _ = carried_out(parsed(), {**WELL, "Diagnosis/1": Output(1, "none")})
    assert outcome.records[0].matched == "mismatch"


def test_a_command_is_sent_again_by_the_clock_until_it_fits_each_time_on_record() -> None:
    waiting = Output(0, "thing_id=t7 status=STUCK")
    answers = {**WELL, "Verification/1": [waiting, waiting, Output(0, "thing_id=t7 status=GONE")]}
    outcome, control = carried_out(parsed(), answers)
    assert outcome.status == "completed"
    assert [record.matched for record in outcome.records][3:] == ["not yet", "not yet", "expected"]
    assert [record.next for record in outcome.records][3:] == ["Verification/1", "Verification/1", "done"]
    assert control.of("wait") == [60, 60]
    assert_on_record(outcome, control, parsed())


def test_a_command_is_sent_again_no_longer_than_the_document_says() -> None:
    outcome, _ = carried_out(parsed(), {**WELL, "Verification/1": Output(0, "thing_id=t7 status=STUCK")})
    assert outcome.status == "failed"
    began = [record.began_at for record in outcome.records if record.section == "Verification"]
    assert len(began) == 5
    assert began[-1] - began[0] <= 300_000


class Called(ScriptedControl):
    """Whoever has this one is called away for two hours before the first time that a step is sent."""

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        self.at += 0 if step in self.sent else 7_200_000
        sent_at = self.at
        return replace(await super().send(execution_id, step, argv, timeout_s), sent_at=sent_at)


def test_whoever_is_called_away_before_a_command_has_not_waited_for_its_answer() -> None:
    stuck, gone = Output(0, "thing_id=t7 status=STUCK"), Output(0, "thing_id=t7 status=GONE")
    _, scripted = carried_out(parsed(), {**WELL, "Verification/1": [gone, stuck, gone]})
    outcome = finish(execute(parsed(), ALERT, Called(scripted.answer)))
    assert outcome.status == "completed", outcome.escalation
    assert [record.matched for record in outcome.records][-2:] == ["not yet", "expected"]
    assert all(record.ended_at - record.began_at == 1_000 for record in outcome.records)


# --- as it should not -------------------------------------------------------------------------------------------------

WRONG_ANSWERS = {
    "another line": Output(0, "done: pokd"),
    "a line too many": Output(0, "done: poked\nand more"),
    "a line too few": Output(0, ""),
    "another exit status": Output(1, "done: poked"),
    "no answer": Output(3, "error: the platform did not answer"),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=list(WRONG_ANSWERS))
def test_a_step_that_is_not_as_expected_rolls_back_fails_and_escalates(answer: Output) -> None:
    outcome, control = carried_out(parsed(), {**WELL, "Recovery/1": answer})
    assert outcome.status == "failed"
    assert control.sent == ["Diagnosis/1", "Recovery/1", "Rollback/2"]
    assert [(record.matched, record.next) for record in outcome.records] == [
        ("expected", "Recovery/1"), ("mismatch", "rollback"), ("not needed", "Rollback/2"), ("expected", "escalate"),
    ]  # fmt: skip
    assert_on_record(outcome, control, parsed())
    ((status, reason, _),) = control.of("complete")
    assert status == "failed"
    assert reason.startswith("step Recovery/1 (runbooks/thing_stuck.md:35:1): ")


def test_what_may_have_been_done_is_undone_even_if_no_answer_came() -> None:
    _, control = carried_out(parsed(), {**WELL, "Recovery/2": Output(3, "error: no answer")})
    assert control.sent == ["Diagnosis/1", "Recovery/1", "Recovery/2", "Rollback/1", "Rollback/2"]
    assert control.of("send")[3][1] == ("thing", "revert", "t7")


def test_an_escalation_holds_what_somebody_needs_who_was_not_there() -> None:
    answers = {**WELL, "Recovery/2": Output(1, "error: thing_id=t7 belongs to contest_id=c-9")}
    outcome, _ = carried_out(parsed(), answers)
    escalation = outcome.escalation
    assert escalation is not None
    assert escalation.alert == ALERT
    assert (escalation.runbook, escalation.version, escalation.execution_id) == ("thing_stuck", "1.0.0", "execution-1")
    assert escalation.failed_step == "Recovery/2"
    assert "expected exit 0, got exit 1: error: thing_id=t7" in escalation.reason
    assert escalation.rolled_back
    assert escalation.affected_contests == ("c-1", "c-9")
    assert escalation.steps_tried == outcome.records
    assert (escalation.state_before, escalation.state_after) != ({}, {})
    package = json.loads(json.dumps(escalation.package()))
    assert [one["step"] for one in package["diagnostics"]] == [
        "Diagnosis/1", "Recovery/1", "Recovery/2", "Rollback/1", "Rollback/2",
    ]  # fmt: skip
    assert package["diagnostics"][2]["output"] == "error: thing_id=t7 belongs to contest_id=c-9"


def test_the_patch_shows_the_expected_line_as_it_really_came() -> None:
    outcome, _ = carried_out(parsed(), {**WELL, "Recovery/1": Output(0, "done: poked twice")})
    assert outcome.escalation is not None
    assert outcome.escalation.patch == (
        "--- a/runbooks/thing_stuck.md\n+++ b/runbooks/thing_stuck.md\n@@ -39,7 +39,7 @@\n"
        "    ```\n \n    ```expect\n-   done: poked\n+   done: poked twice\n    within 30s\n    ```\n \n"
    )


def test_the_patch_shows_another_exit_status_a_late_answer_and_a_capture_that_finds_nothing() -> None:
    def patch(step: str, answer: Output, **more: object) -> list[str]:
        outcome, _ = carried_out(parsed(), {**WELL, step: answer}, **more)
        assert outcome.escalation is not None
        return [
            line[4:] if line[0] == "+" else line
            for line in outcome.escalation.patch.split("\n")[3:]
            if line[:1] in ("+", "-")
        ]

    assert patch("Recovery/1", Output(1, "done: poked")) == ["exit 1"]
    assert patch("Recovery/1", Output(0, "done: poked"), takes_ms=40_500) == ["-   within 30s", "within 41s"]
    source = parsed(GOOD.replace(r"/thing_id=(\S+)/", r"/thing_id=(x\S+)/"))
    outcome, _ = carried_out(source, WELL)
    assert outcome.escalation is not None
    assert r"-   capture thing: /thing_id=(x\S+)/" in outcome.escalation.patch
    assert "capture thing looks for" in outcome.escalation.reason


def assert_a_patch_fits(answer: Output) -> None:
    outcome, _ = carried_out(parsed(), {**WELL, "Recovery/1": answer})
    assert outcome.escalation is not None
    mended = parsed(apply_patch(GOOD, outcome.escalation.patch))
    assert judge(runbook_step(mended, "Recovery/1"), answer, outcome.records[1].bindings, 1_000).matched == "expected"
    again, _ = carried_out(mended, {**WELL, "Recovery/1": answer})
    assert again.status == "completed"


@pytest.mark.parametrize("line", TELLING)
def test_a_line_that_means_something_to_the_language_is_quoted_in_the_patch(line: str) -> None:
    assert_a_patch_fits(Output(0, line))
    assert_a_patch_fits(Output(0, f"done: poked\n{line}\nend"))


@given(LINES, st.integers(0, 9))
def test_whatever_came_the_patch_makes_it_the_expected(lines: list[str], status: int) -> None:
    if (lines, status) != (["done: poked"], 0):
        assert_a_patch_fits(Output(status, "\n".join(lines)))


@pytest.mark.parametrize("way", ["escalate", "partial"])
def test_a_branch_that_hands_on_rolls_back_and_fails_too(way: str) -> None:
    runbook = parsed(GOOD.replace("otherwise → Verification", f"otherwise → {way}"))
    outcome, control = carried_out(runbook, WELL)
    assert outcome.status == ("partial" if way == "partial" else "failed")
    assert control.sent[-2:] == ["Rollback/1", "Rollback/2"]
    assert outcome.records[2].next == ("partial" if way == "partial" else "rollback")
    assert control.of("complete")[0][0] == outcome.status
    assert outcome.escalation is not None
    assert_on_record(outcome, control, runbook)


def test_a_rollback_that_fails_stops_and_is_said_to_have_failed() -> None:
    answers = {**WELL, "Recovery/2": Output(1, "error: no"), "Rollback/1": Output(1, "error: cannot")}
    outcome, control = carried_out(parsed(), answers)
    assert control.sent[-1] == "Rollback/1"
    assert outcome.escalation is not None
    assert not outcome.escalation.rolled_back
    assert "Recovery/2" in outcome.escalation.reason
    assert "then step Rollback/1" in outcome.escalation.reason


def test_what_recovered_in_part_and_did_not_roll_back_has_failed() -> None:
    runbook = parsed(GOOD.replace("otherwise → Verification", "otherwise → partial"))
    outcome, control = carried_out(runbook, {**WELL, "Rollback/1": Output(1, "error: cannot")})
    assert outcome.status == control.of("complete")[0][0] == "failed"


@pytest.mark.parametrize("label", ["c-1 --all", "--all", "", 'c"1', "c\n1", "c;1", "ü"])
def test_a_label_that_would_split_or_add_an_argument_is_never_sent(label: str) -> None:
    control = ScriptedControl(lambda step, _: WELL[step])
    outcome = finish(execute(parsed(), Alert("ThingStuck", {"contest_id": label}, BEGIN), control))
    assert (outcome.status, control.sent) == ("failed", ["Diagnosis/1", "Rollback/2"])
    refused = outcome.records[1]
    assert (refused.matched, refused.sent, refused.status, refused.ok) == ("refused", "", None, False)


def test_a_label_that_the_alert_lacks_is_never_made_up() -> None:
    control = ScriptedControl(lambda step, _: WELL[step])
    outcome = finish(execute(parsed(), None, control))
    assert control.sent == ["Diagnosis/1", "Rollback/2"]
    assert outcome.escalation is not None
    assert "nothing has been bound to {alert.contest_id}" in outcome.escalation.reason


@pytest.mark.parametrize(("lost", "sent"), [("start", 0), ("record", 1), ("complete", 4)])
def test_nothing_is_done_off_the_record(lost: str, sent: int) -> None:
    outcome, control = carried_out(parsed(), WELL, lost=frozenset({lost}))
    assert outcome.status == "failed"
    assert len(control.sent) == sent
    assert outcome.escalation is not None
    assert f"could not be recorded: {lost} was not answered" in outcome.escalation.reason


def test_a_record_that_is_lost_does_not_hide_what_failed_before() -> None:
    answers = {**WELL, "Recovery/1": Output(1, "error: no")}
    runbook, seen = parsed(), 0

    class Losing(ScriptedControl):
        async def record(self, execution_id: str, step: StepRecord) -> None:
            nonlocal seen
            seen += 1
            self.lost = frozenset({"record"} if seen > 2 else ())
            await super().record(execution_id, step)

    control = Losing(lambda step, _: answers[step])
    outcome = finish(execute(runbook, ALERT, control))
    assert outcome.escalation is not None
    assert outcome.escalation.failed_step == "Recovery/1"
    assert not outcome.escalation.rolled_back
    assert "expected exit 0, got exit 1" in outcome.escalation.reason
    assert "could not be recorded" in outcome.escalation.reason
