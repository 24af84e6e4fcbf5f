"""Every scenario that is shipped, from its file to its verdict: what it is for is what it comes to, and again.

That each of them comes to the same events again, on either store, is in tests/proof/test_both_stores.py.
"""

from __future__ import annotations

import re

import pytest

from absence.exit_codes import ExitCode
from scenarios import load, make_plan, shipped
from scenarios.load import FOLDER
from tests.support.command import Ran, SharedRuns, absence

PASS, FAIL, INCONCLUSIVE = ExitCode.SUCCESS, ExitCode.BUSINESS_REJECT, ExitCode.INCONCLUSIVE
STUCK, PARTIAL, DELAYED = "payout_transfer_stuck_in_retryable", "payout_partial_batch", "payment_webhook_delayed"
EXPECTED: dict[str, tuple[ExitCode, set[str]]] = {
    "calm": (PASS, set()),
    "chaos_lab": (PASS, set()),
    "chaos_lab_winrm": (PASS, {"host_incident_unmatched", "host_unreachable", "ingestion_lag"}),
    "customers": (PASS, set()),
    "default": (PASS, set()),
    "drills": (
        PASS,
        {"backup_contest_data", "configuration_change", "emergency_rollback", "restart_services",
         "restore_from_backup", "snapshot_ritual"},
    ),
    "healing_promoted": (PASS, {"host_incident_unmatched"}),
    "incident_certificate_expired": (PASS, {"ingestion_lag"}),
    "incident_done_and_failed": (PASS, {STUCK}),
    "incident_double_transfer": (PASS, set()),
    "incident_expired_key": (PASS, {STUCK}),
    "incident_founder_gone": (PASS, set()),
    "incident_host_locked_out": (PASS, set()),
    "incident_paid_twice_by_schedule": (PASS, set()),
    "incident_penalty_next_day": (PASS, set()),
    "incident_poisoned_key": (PASS, {STUCK}),
    "incident_processor_down_twice": (PASS, {"processor_outage"}),
    "incident_two_amounts": (PASS, {"payout_idempotency_conflict"}),
    "incident_webhook_before_row": (PASS, set()),
    "incident_webhooks_queued": (PASS, {DELAYED}),
    "iteration06": (PASS, {STUCK, "duplicate_webhook", DELAYED}),
    "never_bites": (INCONCLUSIVE, set()),
    "operated": (
        PASS, {"payout_not_triggered", "payout_transfer_reversed", "contest_transition_failed", "settlement_overdue"}
    ),
    "outage": (PASS, set()),
    "platform": (PASS, set()),
    "processor": (PASS, set()),
    "provider": (PASS, set()),
    "small": (PASS, set()),
    "thirty_days": (PASS, set()),
    "two_daemons": (PASS, set()),
    "violation_dashboard_payout": (FAIL, set()),
    "violation_founder_login": (FAIL, set()),
    "violation_row_edited": (FAIL, set()),
    "violations": (FAIL, set()),
    "violations_of_ops": (FAIL, set()),
    "webhooks": (PASS, set()),
    "winrm": (PASS, set()),
    "winrm_storm": (PASS, {"host_unreachable", "remediation_order_stuck"}),
}  # fmt: skip
"""Scenario -> how it has to end, and the runbooks that ops has to open and bring to their end in it."""
OPERATIONS = [name for name in shipped() if name.startswith("operations_")]
"""Those that are there for the runbooks: ops is paged, or drills, and everything goes as written."""
HANDED_ON = [name for name in shipped() if name.startswith("handed_on_")]
"""Those in which a runbook does not go as written: it is rolled back and handed on, and the run fails for that."""
EXPECTED |= dict.fromkeys(OPERATIONS, (PASS, set())) | dict.fromkeys(HANDED_ON, (FAIL, set()))
INCIDENTS = [name for name in EXPECTED if name.startswith("incident_")]


def test_no_scenario_is_shipped_of_which_nobody_says_what_it_comes_to() -> None:
    assert sorted(EXPECTED) == shipped()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_comes_to_what_it_is_for_with_its_runbooks(name: str, runs: SharedRuns) -> None:
    exit_code, runbooks = EXPECTED[name]
    ran = runs(name)
    assert ran.exit_code == exit_code, ran.stdout
    executions = ran.rows("platform.runbook_executions")
    assert runbooks <= {execution.runbook_name for execution in executions}
    if ran.evidence.plan.unhealed:  # what may stay as it is is handed on, and nothing else
        failed = {execution.id for execution in executions if execution.status != "completed"}
        assert failed == {row.execution_id for row in ran.rows("operator.escalations")} != set()
    elif name not in HANDED_ON:
        assert {execution.status for execution in executions} <= {"completed"}
        assert ran.rows("operator.escalations") == []
    assert bool(ran.rows("monitoring.alerts")) == ran.evidence.plan.operations


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_gives_the_same_plan_again(name: str, runs: SharedRuns) -> None:
    assert make_plan(load(name), 1).canonical() == (runs(name).path / "plan.json").read_bytes()


@pytest.mark.parametrize("name", ["default", "operations_payouts", "winrm"])
def test_a_plan_gives_the_same_run_again(name: str, runs: SharedRuns) -> None:
    ran = runs(name)
    again = absence("replay", ran.path)
    assert again.exit_code == 0, again.stdout
    assert again.stdout.startswith("REPRODUCED")


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_names_its_source_and_is_imitated_by_faults_that_all_bite(name: str, runs: SharedRuns) -> None:
    header = re.match(r"(# .*\n)+", (FOLDER / f"{name}.yaml").read_text())
    assert header is not None
    assert re.search(r"\b20[12]\d\b", header[0]), "when it was"
    ran = runs(name)
    assert ran.evidence.plan.operations
    bit = ran.result("recovery.every_fault_bit")
    assert bit.saw == bit.owed == len(ran.evidence.plan.faults) > 0


@pytest.mark.parametrize("name", [*OPERATIONS, *HANDED_ON])
def test_in_a_scenario_that_is_there_for_the_runbooks_every_fault_bites(name: str, runs: SharedRuns) -> None:
    bit = runs(name).result("recovery.every_fault_bit")
    assert bit.saw == bit.owed == len(runs(name).evidence.plan.faults)


@pytest.mark.parametrize("name", HANDED_ON)
def test_what_is_handed_on_has_been_rolled_back_and_is_what_the_run_fails_for(name: str, runs: SharedRuns) -> None:
    ran = runs(name)
    escalations = ran.rows("operator.escalations")
    failed = {row.id for row in ran.rows("platform.runbook_executions") if row.status in ("failed", "partial")}
    assert failed == {row.execution_id for row in escalations} != set()
    assert ran.status("runbooks.nothing_escalated") == "FAIL"


def test_thirty_days_without_an_incident_page_nobody(runs: SharedRuns) -> None:
    ran: Ran = runs("thirty_days")
    plan = ran.evidence.plan
    assert plan.absence_until_at - plan.starts_at == 30 * 86_400_000
    assert plan.faults == plan.drills == []
    assert [(alert.alert, alert.state) for alert in ran.rows("monitoring.alerts")] == [("Watchdog", "firing")]
    assert ran.rows("pager.events") == []
    assert {contest.status for contest in ran.rows("platform.contests")} == {"PAID_OUT", "CANCELLED"}
