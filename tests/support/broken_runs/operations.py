"""Runs in which ops did something else than the runbook says, or nothing at all."""

from __future__ import annotations

from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.operated import INCIDENT, OPS, SUNDAY_14_00

STEP = {"action": "step", "step": "Recovery/1"}


@breaks("runbooks.nothing_escalated")
def _a_page_without_a_runbook(evidence: FakeEvidence) -> None:
    add(evidence, "operator.escalations", at=evidence.plan.starts_at, principal=OPS, incident=INCIDENT, runbook="",
        execution_id="", reason="the page links to no runbook", package="{}")  # fmt: skip


@breaks("runbooks.sent_as_written")
def _another_transfer_than_the_one_captured(evidence: FakeEvidence) -> None:
    step = row(evidence, "operator.notebook", **STEP)
    step.update(sent="opsctl transfers retry tf-u2", bindings='{"transfer":"tf-u2"}')


@breaks("runbooks.sent_as_written")
def _a_word_more_than_the_line_has(evidence: FakeEvidence) -> None:
    row(evidence, "operator.notebook", **STEP)["sent"] += " --force"


@breaks("runbooks.sent_as_written")
def _another_line_than_the_documents(evidence: FakeEvidence) -> None:
    row(evidence, "operator.notebook", **STEP)["line"] = 3


@breaks("runbooks.drills_performed")
def _an_order_that_nobody_carried_out(evidence: FakeEvidence) -> None:
    remove(evidence, "operator.notebook", execution_id="drilled", action="started")


@breaks("runbooks.on_record")
def _a_step_that_the_platform_never_heard_of(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.runbook_execution_steps", section="Recovery")


@breaks("runbooks.on_record")
def _an_execution_that_failed(evidence: FakeEvidence) -> None:
    row(evidence, "operator.notebook", action="completed")["action"] = "failed"
    row(evidence, "platform.runbook_executions")["status"] = "failed"


@breaks("runbooks.on_record")
def _an_execution_that_no_notebook_tells_of(evidence: FakeEvidence) -> None:
    evidence.books["operator.notebook"].clear()


@breaks("runbooks.faults_recovered")
def _a_runbook_carried_out_too_late(evidence: FakeEvidence) -> None:
    row(evidence, "platform.runbook_executions")["end_time"] += 10 * 3_600_000


PROCEDURES, HOUR = "runbooks.procedures_done", 3_600_000


def _begun(evidence: FakeEvidence, action: str = "started") -> dict[str, Any]:
    return row(evidence, "operator.notebook", runbook="weekly_look", action=action)


@breaks(PROCEDURES)
def _a_sunday_on_which_nobody_looked_around(evidence: FakeEvidence) -> None:
    for action in ("started", "completed"):
        remove(evidence, "operator.notebook", execution_id="look_2", action=action)
    remove(evidence, "platform.runbook_executions", id="look_2")


@breaks(PROCEDURES)
def _a_procedure_that_was_begun_a_day_late(evidence: FakeEvidence) -> None:
    for action in ("started", "completed"):
        _begun(evidence, action)["at"] += 24 * HOUR


@breaks(PROCEDURES)
def _a_procedure_that_was_begun_before_it_was_due(evidence: FakeEvidence) -> None:
    _begun(evidence)["at"] = SUNDAY_14_00[0] - 1


@breaks(PROCEDURES)
def _a_procedure_that_took_all_day(evidence: FakeEvidence) -> None:
    _begun(evidence, "completed")["at"] += 6 * HOUR


@breaks(PROCEDURES)
def _a_procedure_that_did_not_go_as_written(evidence: FakeEvidence) -> None:
    _begun(evidence, "completed")["action"] = "failed"
    row(evidence, "platform.runbook_executions", id="look_1")["status"] = "failed"


@breaks(PROCEDURES)
def _a_procedure_that_only_the_notebook_tells_of(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.runbook_executions", id="look_1")


@breaks(PROCEDURES)
def _a_procedure_that_failed_on_record(evidence: FakeEvidence) -> None:
    row(evidence, "platform.runbook_executions", id="look_1")["status"] = "failed"


@breaks(PROCEDURES)
def _a_procedure_that_ended_late_on_record(evidence: FakeEvidence) -> None:
    row(evidence, "platform.runbook_executions", id="look_1")["end_time"] += 6 * HOUR


@breaks(PROCEDURES)
def _a_record_of_another_runbook(evidence: FakeEvidence) -> None:
    row(evidence, "platform.runbook_executions", id="look_1")["runbook_name"] = "payout_stuck"


@breaks(PROCEDURES)
def _a_procedure_done_twice(evidence: FakeEvidence) -> None:
    for action in ("started", "completed"):
        again = {**_begun(evidence, action), "execution_id": "look_9", "n": 100}
        add(evidence, "operator.notebook", **again)


@breaks(PROCEDURES, Status.INCONCLUSIVE)
def _a_schedule_that_nobody_can_read(evidence: FakeEvidence) -> None:
    texts = evidence.texts["runbooks"]
    texts["weekly_look.md"] = texts["weekly_look.md"].replace("weekly on sunday", "now and then")
    for action in ("started", "completed"):
        for execution in ("look_1", "look_2"):
            remove(evidence, "operator.notebook", execution_id=execution, action=action)
