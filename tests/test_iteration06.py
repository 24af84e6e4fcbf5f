"""The simulation that closes Iteration 06: its failures are so strong that a person recovers them, by the book."""

from __future__ import annotations

import pytest

from tests.support.command import Ran, SharedRuns, bitten

RECOVERED = {
    "timeouts.transfers_unanswered": ("PayoutTransferStuckRetryable", "payout_transfer_stuck_in_retryable"),
    "webhooks.storm": ("WebhookDuplicates", "duplicate_webhook"),
    "webhooks.delayed": ("PaymentWebhookDelayed", "payment_webhook_delayed"),
}
"""Fault -> the alert that it raises, and the runbook that ops opens for it."""


@pytest.fixture(scope="module")
def ran(runs: SharedRuns) -> Ran:
    return runs("iteration06")


def test_the_run_passes_and_each_failure_has_happened(ran: Ran) -> None:
    assert ran.exit_code == 0, ran.stdout
    assert ran.verdict.status.value == "PASS"
    planned = ran.evidence.plan.faults
    assert {fault.fault for fault in planned} == set(RECOVERED)
    assert all(bitten(ran, fault) for fault in planned)
    assert 3 <= len(ran.evidence.plan.contests) <= 5
    assert {contest.status for contest in ran.rows("platform.contests")} == {"PAID_OUT"}


@pytest.mark.parametrize("fault", RECOVERED)
def test_each_failure_is_paged_and_its_runbook_opened_and_completed(ran: Ran, fault: str) -> None:
    alert, runbook = RECOVERED[fault]
    bit_at = min(bite.at for bite in ran.rows("injector.bites", fault=fault))
    [fired] = ran.rows("monitoring.alerts", alert=alert, state="firing")
    [execution] = ran.rows("platform.runbook_executions", runbook_name=runbook)
    assert bit_at < fired.at < execution.start_time < execution.end_time
    assert execution.status == "completed"
    assert ran.rows("monitoring.alerts", alert=alert, state="resolved")


def test_nothing_else_was_opened_and_every_command_is_put_together_again_from_the_documents(ran: Ran) -> None:
    executions = ran.rows("platform.runbook_executions")
    assert {execution.runbook_name for execution in executions} >= {runbook for _, runbook in RECOVERED.values()}
    assert {execution.status for execution in executions} == {"completed"}
    assert ran.rows("operator.escalations") == []
    sent = [step for step in ran.rows("operator.notebook", action="step") if step.sent]
    judged = ran.result("runbooks.sent_as_written")
    assert judged.status.value == "PASS"
    assert judged.saw == len(sent) > 10
    assert ran.status("runbooks.on_record") == "PASS"
