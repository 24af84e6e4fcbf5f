"""Runs in which ops did something else than the runbook says, or nothing at all."""

from __future__ import annotations

from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.operated import INCIDENT, OPS

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
