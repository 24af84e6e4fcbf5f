"""Each way in which whoever is on call does what no runbook says: the run fails, and says who did what, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from assertions.words import instant
from evidence.plan import FaultPlan
from fault_injectors import registry
from fault_injectors.ops import LINES
from scenarios import load
from tests.support.command import ROOT, Ran, SharedRuns, bitten, run_into

SCENARIO = "violations_of_ops"
BY_OPS = [name for name in registry() if name.startswith("ops.")]
BY_HAND = ("ops.acts_outside_runbook", "ops.starts_by_hand")
ENDPOINTS = {
    "lock": "POST /api/admin/contests/lock",
    "settlement": "POST /api/admin/settlement/rerun",
    "payout": "POST /api/admin/payouts/start",
    "configuration": "POST /api/admin/config/apply",
    "promotion": "POST /api/admin/env/promote",
}


def alone(runs: SharedRuns, name: str) -> Ran:
    return runs(SCENARIO, "--only", name)


def violations(ran: Ran) -> list[FaultPlan]:
    return [fault for fault in ran.evidence.plan.faults if fault.kind == "violation"]


def told(ran: Ran, promise: str) -> list[Any]:
    return list(ran.result(promise).broken)


def test_the_scenario_holds_each_of_them_in_every_choice() -> None:
    planned = [(fault.fault, fault.params.get("job")) for fault in load(SCENARIO).model.faults]
    jobs = get_args(registry()["ops.starts_by_hand"].Params.model_fields["job"].annotation)
    assert set(jobs) == set(ENDPOINTS)
    assert sorted(planned, key=str) == sorted(
        [*((n, j) for n in BY_HAND for j in jobs), ("ops.runbook_altered", None)], key=str
    )


@pytest.mark.parametrize("name", BY_OPS)
def test_the_run_fails_of_it_and_nothing_breaks_before(name: str, runs: SharedRuns) -> None:
    ran = alone(runs, name)
    assert ran.exit_code == 10, ran.stdout
    assert ran.stdout.startswith("✕ FAIL")
    done = violations(ran)
    assert {fault.fault for fault in done} == {name}
    for fault in done:
        assert bitten(ran, fault)
    assert ran.status("recovery.every_fault_bit") == "PASS"
    first = ran.verdict.first_broken
    assert first is not None
    assert first.at is not None
    assert first.at >= min(fault.from_at or 0 for fault in done)
    assert str(done[0].entity) in first.message
    assert str(done[0].entity).startswith("ops:")
    assert done[0].title in ran.stdout


@pytest.mark.parametrize("name", BY_HAND)
def test_what_was_called_by_hand_is_told_with_who_and_when(name: str, runs: SharedRuns) -> None:
    ran = alone(runs, name)
    said = [broken.message for broken in told(ran, "absence.acts_in_steps")]
    assert len(said) == len(ENDPOINTS)
    for fault in violations(ran):
        assert fault.from_at is not None
        [message] = [message for message in said if ENDPOINTS[fault.params["job"]] in message]
        assert message.startswith(f"{fault.entity} called")
        minutes = [instant(fault.from_at + after_ms)[:16] for after_ms in (0, 60_000)]
        assert any(minute in message for minute in minutes)


def test_the_platform_refuses_what_has_no_execution_and_that_alone_excuses_nobody(runs: SharedRuns) -> None:
    ran = alone(runs, "ops.acts_outside_runbook")
    refused = [row for row in ran.rows("platform.audit_log") if row.action.startswith("refuse.")]
    assert {row.reason for row in refused} == {"no runbook-execution header: ops acts only in a step of a runbook"}
    assert len(refused) == len(ENDPOINTS)


def test_an_execution_of_which_no_notebook_tells_is_told_of(runs: SharedRuns) -> None:
    ran = alone(runs, "ops.starts_by_hand")
    noted = {row.execution_id for row in ran.rows("operator.notebook")}
    assert noted.isdisjoint(bitten(ran, fault)[0].id for fault in violations(ran))
    assert len(told(ran, "runbooks.on_record")) == len(ENDPOINTS)


def test_a_command_that_is_not_the_documents_is_told_with_both(runs: SharedRuns) -> None:
    ran = alone(runs, "ops.runbook_altered")
    written, altered = LINES["command"]
    opened, sent = told(ran, "runbooks.sent_as_written")
    assert "not the document in force" in opened.message
    assert instant(opened.at) in opened.message
    assert f"sent {altered!r}" in sent.message
    assert f"says {written!r}" in sent.message
    [step] = [row for row in ran.rows("operator.notebook") if row.at == sent.at and row.action == "step"]
    assert step.sent == altered
    assert ran.status("runbooks.nothing_escalated") == "PASS", "it went as altered"


def test_an_expectation_that_is_not_the_documents_is_told_though_every_command_is(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / f"{SCENARIO}.yaml").read_text()
    assert "line: command" in text
    (tmp_path / "altered.yaml").write_text(text.replace("line: command", "line: expectation"))
    ran = run_into(tmp_path / "out", tmp_path / "altered.yaml", "--only", "ops.runbook_altered")
    assert ran.exit_code == 10
    [broken] = told(ran, "runbooks.sent_as_written")
    [violation] = violations(ran)
    [opened] = bitten(ran, violation)
    assert (broken.at, broken.message.split()[0]) == (opened.at, violation.entity)
    assert "not the document in force" in broken.message
    assert {result.id for result in ran.verdict.results if result.status.value == "FAIL"} == {
        "runbooks.sent_as_written"
    }


def test_all_of_them_at_once_fail(tmp_path: Path) -> None:
    ran = run_into(tmp_path / "out", SCENARIO)
    assert ran.exit_code == 10
    assert ran.status("recovery.every_fault_bit") == "PASS"
    for promise in ("absence.acts_in_steps", "runbooks.on_record", "runbooks.sent_as_written"):
        assert ran.status(promise) == "FAIL", promise


def test_ops_who_keeps_to_the_runbooks_breaks_nothing(runs: SharedRuns) -> None:
    """The same scenario, the same page and the same runbook: it is the alteration that fails."""
    ran = runs("operated", "--only", "timeouts.complete_answer_lost")
    assert ran.exit_code == 0
    assert "ingestion_lag" in {row.runbook for row in ran.rows("operator.notebook")}
