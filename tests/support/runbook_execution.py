"""Carrying a runbook out against scripted answers, and what has to be on record of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256

from operations.runbooks import Alert, Outcome, Output, Runbook, Step, execute
from tests.support.runbooks import BEGIN, ScriptedControl, finish

ALERT = Alert("ThingStuck", {"contest_id": "c-1", "severity": "critical"}, BEGIN - 60_000)
WELL = {
    "Diagnosis/1": Output(0, "thing_id=t7 status=STUCK\nthing_id=t8 status=STUCK\n"),
    "Recovery/1": Output(0, "done: poked"),
    "Recovery/2": Output(0, "done: thing_id=t7 status=FREE"),
    "Verification/1": Output(0, "thing_id=t7 status=FREE"),
    "Rollback/1": Output(0, "done: back"),
    "Rollback/2": Output(0, "thing_id=t7 status=STUCK"),
}


def carried_out(
    runbook: Runbook, answers: Mapping[str, Output | list[Output]], **more: object
) -> tuple[Outcome, ScriptedControl]:
    """How it ends when steps are answered so; a list is used up, its last answer stays."""
    asked: dict[str, int] = {}

    def answer(step: str, argv: Sequence[str]) -> Output:
        given_ = answers[step]
        if isinstance(given_, Output):
            return given_
        asked[step] = asked.get(step, 0) + 1
        return given_[min(asked[step], len(given_)) - 1]

    control = ScriptedControl(answer, **more)  # type: ignore[arg-type]
    return finish(execute(runbook, ALERT, control)), control


def assert_on_record(outcome: Outcome, control: ScriptedControl, runbook: Runbook) -> None:
    """Whatever was sent is the document's line with its placeholders filled in, and on record before what came next.

    Rendering is done over here, by hand, and the arguments are read by a judge from outside."""
    lines = runbook.source.split("\n")
    for (name, content), (following, record) in zip(control.log, control.log[1:], strict=False):
        if name != "send":
            continue
        step, argv, _ = content
        assert following == "record"
        assert step == f"{record.section}/{record.number}"
        assert lines[record.line - 1].strip() == record.template
        assert record.template_sha256 == sha256(record.template.encode()).hexdigest()
        by_hand = record.template
        for placeholder, value in record.bindings.items():
            by_hand = by_hand.replace("{" + placeholder + "}", value)
        assert record.sent == by_hand
        assert shlex.split(record.sent) == ["opsctl", *argv]
    assert list(outcome.records) == control.of("record")
    begins = [record.began_at for record in outcome.records]
    assert begins == sorted(begins)
    leads = [record.next for record in outcome.records]
    for lead, record in zip(leads, outcome.records[1:], strict=False):
        assert lead in (f"{record.section}/{record.number}", "rollback", "partial")
        if lead in ("rollback", "partial"):
            assert record.section == "Rollback"


def runbook_step(runbook: Runbook, name: str) -> Step:
    return next(step for step in runbook.steps() if step.id == name)
