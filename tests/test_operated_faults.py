"""Faults that only a run with somebody on call can meet: each through the runbook that it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contest_platform import audit, checkpoints, ledger
from contest_platform.service import Refusal
from contest_platform.services import payout_resolutions, runbooks, settlement_lease
from contest_platform.services.settlement_lease import LEASE_MS
from scenarios import load
from scenarios.errors import ScenarioInvalid
from scenarios.planner import make_plan
from tests.support.command import ROOT, Ran, SharedRuns, bitten, run_into, scenario_with

COMPLETE = "/api/admin/runbooks/complete"


def alone(runs: SharedRuns, name: str) -> Ran:
    return runs("operated", "--only", name)


@pytest.mark.parametrize("name", dict.fromkeys(fault.fault for fault in load("operated").model.faults))
def test_what_needs_somebody_on_call_is_not_planned_where_nobody_is(name: str, tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "operated.yaml").read_text().replace("operations: true\n", "")
    (tmp_path / "alone.yaml").write_text(text)
    with pytest.raises(ScenarioInvalid):
        make_plan(load(str(tmp_path / "alone.yaml")).with_faults([name]), 1)


# --- the record of an execution --------------------------------------------------------------------------------------


def ends_asked(ran: Ran) -> list[Any]:
    return [row for row in ran.rows("platform.access_log", allowed=True) if row.resource == f"POST {COMPLETE}"]


def test_an_end_whose_answer_is_lost_is_told_again_and_stays_the_one_it_was(runs: SharedRuns) -> None:
    ran = alone(runs, "timeouts.complete_answer_lost")
    [fault] = [fault for fault in ran.evidence.plan.faults if fault.fault == "timeouts.complete_answer_lost"]
    [lost] = bitten(ran, fault)
    [ended] = [row for row in ran.rows("platform.runbook_executions") if row.id == lost.execution_id]
    assert ended.status == "completed"
    assert ended.end_time < lost.at, "it was applied before its answer was lost"
    first, second = [row for row in ends_asked(ran) if row.at <= lost.at + 3_600_000][:2]
    assert first.at <= ended.end_time < second.at
    said = [row for row in ran.rows("operator.notebook", execution_id=lost.execution_id) if row.action == "completed"]
    assert len(said) == 1


def test_a_platform_that_refused_the_same_end_again_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = runbooks._complete

    def once(tx: Any, given: Any) -> Any:
        row = runbooks._own(tx, given)
        if not isinstance(row, Refusal) and row["status"] != "in_progress":
            return Refusal(409, "it has ended")
        return end(tx, given)

    monkeypatch.setattr(runbooks, "_complete", once)
    ran = run_into(tmp_path, "operated", "--only", "timeouts.complete_answer_lost")
    assert ran.exit_code == 10
    assert ran.status("runbooks.nothing_escalated") == "FAIL"


# --- a payout that comes back ----------------------------------------------------------------------------------------

REVERSED = "processor.transfer_reversed"


def test_a_payout_that_was_taken_back_is_looked_into_and_stays_owed(runs: SharedRuns) -> None:
    ran = alone(runs, REVERSED)
    [fault] = ran.evidence.plan.faults
    [back] = bitten(ran, fault)
    [payout] = ran.rows("platform.transfers", status="REVERSED")
    [taken] = [row for row in ran.rows("processor.transfers") if row.reversed_cents]
    assert taken.entry_id == payout.entry_id
    assert taken.reversed_cents == payout.amount_cents == back.amount_cents
    [done] = ran.rows("platform.runbook_executions", runbook_name=fault.recovery.runbook)
    assert done.status == "completed"
    assert back.created_at < done.end_time <= back.created_at + fault.recovery.within_s * 1_000
    account = f"liabilities:prize_payable:{payout.contest_id}:{payout.user_id}"
    assert (
        sum(row.amount_cents for row in ran.rows("platform.ledger_postings", account=account)) == -payout.amount_cents
    )


def test_a_payout_that_came_back_and_of_which_nobody_could_take_note_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payout_resolutions, "resolve", lambda *_: Refusal(409, "not now"))
    ran = run_into(tmp_path, "operated", "--only", REVERSED)
    assert ran.exit_code == 10
    for promise in ("recovery.converged", "payouts.right_people_right_amounts", "runbooks.faults_recovered"):
        assert ran.status(promise) == "FAIL", promise


def test_money_that_came_back_and_is_owed_to_nobody_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever noted that it was looked into: the ledger has to owe it."""
    move = ledger.move

    def kept_by_us(tx: Any, ctx: Any, kind: str, key: str, **rest: Any) -> Any:
        kept = {"credit": ledger.CAPITAL} if kind == "reversed" else {}
        return move(tx, ctx, kind, key, **{**rest, **kept})

    def noted(tx: Any, ctx: Any, transfer_id: str, reason: str) -> bool:
        checkpoints.save(tx, payout_resolutions.RESOLVED + transfer_id, {"at": tx.now})
        audit.append(tx, ctx, "transfers.resolve", f"transfers/{transfer_id}", reason=reason)
        return True

    monkeypatch.setattr(ledger, "move", kept_by_us)
    monkeypatch.setattr(payout_resolutions, "resolve", noted)
    ran = run_into(tmp_path, "operated", "--only", REVERSED)
    assert ran.exit_code == 10
    assert ran.status("recovery.converged") == "PASS", "it was noted"
    assert ran.status("ledger.participants_balances") == "FAIL"


# --- what does not happen by itself ----------------------------------------------------------------------------------


def test_a_daemon_that_lives_and_hangs_is_restarted_by_its_runbook_and_settles(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.scheduler_stopped")
    [fault] = ran.evidence.plan.faults
    [hung] = bitten(ran, fault)
    states = [(row.state, row.by) for row in ran.rows("hosts.services", service="settlement")]
    assert states == [("running", "boot"), ("stopped", "command"), ("running", "command")], "nothing else stopped it"
    [restarted] = [row for row in ran.rows("operator.notebook") if (row.sent or "").startswith("opsctl services")]
    assert restarted.runbook == fault.recovery.runbook
    settled = [row.terminalized_at for row in ran.rows("platform.settlement_packs")]
    assert hung.at < restarted.at <= min(settled)


def test_a_scheduler_of_payouts_that_lives_and_hangs_is_restarted_by_its_runbook_and_pays(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.payouts_hang")
    [fault] = ran.evidence.plan.faults
    [hung] = bitten(ran, fault)
    states = [(row.state, row.by) for row in ran.rows("hosts.services", service="app")]
    assert states == [("running", "boot"), ("stopped", "command"), ("running", "command")], "nothing else stopped it"
    [restarted] = [row for row in ran.rows("operator.notebook") if (row.sent or "").startswith("opsctl services")]
    assert restarted.runbook == fault.recovery.runbook
    made_at = min(row.created_at for row in ran.rows("platform.transfers"))
    assert made_at > hung.at + 2 * 3_600_000, "it did not wake"
    assert restarted.at < made_at + 600_000, "no answer to a restart of what answers, and none was waited for longer"
    assert {row.status for row in ran.rows("platform.transfers")} == {"PAID"}


def test_a_daemon_that_hangs_with_nobody_on_call_settles_nothing(tmp_path: Path) -> None:
    """The restart is ops' doing: nothing else gets over it."""
    bound = "platform.scheduler_stopped, bind: {entity: settlement.ready, occurrence: 1}"
    ran = run_into(tmp_path / "out", scenario_with(tmp_path, bound))
    assert ran.exit_code == 10
    assert ran.status("lifecycle.every_contest_ends") == "FAIL"
    assert ran.rows("platform.settlement_packs") == []


def test_a_contest_that_the_job_cannot_lock_is_locked_by_hand(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.lock_transition_fails")
    [fault] = ran.evidence.plan.faults
    assert len(bitten(ran, fault)) > 10
    [lock] = [row for row in ran.rows("platform.audit_log", action="contests.update") if '"LOCKED"' in row.after]
    [locked] = [row for row in ran.rows("operator.notebook") if (row.sent or "").startswith("opsctl contests lock")]
    assert (lock.actor, lock.correlation) == (locked.principal, locked.execution_id)
    assert fault.until_at is not None
    assert lock.at < fault.until_at, "the job could not have"


def test_the_next_daemon_waits_for_the_lease_of_the_dead_one_and_takes_it(runs: SharedRuns) -> None:
    ran = runs("platform", "--only", "platform.lease_stale")
    [fault] = ran.evidence.plan.faults
    [died] = bitten(ran, fault)
    after = [row for row in ran.rows("platform.settlement_packs") if row.terminalized_at > died.at]
    assert min(row.terminalized_at for row in after) == died.at + LEASE_MS
    before = {row.lease_epoch for row in ran.rows("platform.settlement_packs") if row.terminalized_at < died.at}
    assert {row.lease_epoch for row in after}.isdisjoint(before)


def test_with_no_lease_to_wait_for_the_next_daemon_settles_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the wait is for the lease, and for nothing else."""
    monkeypatch.setattr(settlement_lease, "LEASE_MS", 1_000)
    ran = run_into(tmp_path / "out", "platform", "--only", "platform.lease_stale")
    [fault] = ran.evidence.plan.faults
    [died] = bitten(ran, fault)
    settled = [row.terminalized_at for row in ran.rows("platform.settlement_packs")]
    assert min(at for at in settled if at > died.at) < died.at + LEASE_MS
