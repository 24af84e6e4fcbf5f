"""The contest lifecycle up to COMPLETE, and cancellation: each step when its condition holds, and nothing before."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform import ledger
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services.contests import ContestsService
from tests.support.contest_world import CUTOFF_AT, HOLD_S, LOCK_AT, OVER_AT, ContestWorld
from tests.support.stores import on_each_store

pytestmark = on_each_store


def a_contest(**more: Any) -> tuple[ContestWorld, ContestsService]:
    world = ContestWorld()
    world.offer(**more)
    return world, world.life(ContestsService)


def at(world: ContestWorld, contests: ContestsService, instant: int) -> str:
    """The contest's status once its job has worked at `instant`."""
    world.runtime.at = instant
    world.work(contests)
    return world.status()


def locked(**more: Any) -> tuple[ContestWorld, ContestsService]:
    """Two entries paid before the lock, one not paid; the field is not in yet."""
    world, contests = a_contest(**more)
    world.enter("ann")
    world.enter("bob")
    world.enter("cyd", captured_at=None)
    assert at(world, contests, LOCK_AT) == "LOCKED"
    return world, contests


def live(**more: Any) -> tuple[ContestWorld, ContestsService]:
    world, contests = locked(**more)
    world.field("g1")
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT) == "LIVE"
    return world, contests


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_a_contest_locks_at_its_lock_time_and_not_before() -> None:
    world, contests = a_contest()
    assert world.due(contests) == LOCK_AT
    assert at(world, contests, LOCK_AT - 1) == "SCHEDULED"
    assert at(world, contests, LOCK_AT) == "LOCKED"


def test_the_lock_moves_every_paid_fee_into_escrow_in_one_transaction() -> None:
    world, _ = locked()
    assert world.balances() == {ledger.PENDING: 2_000, ledger.escrow("c1"): -2_000}
    assert world.row("ledger_transactions", business_key="lock:c1")["kind"] == "lock"


def test_the_lock_wakes_reconciliation_and_ingestion() -> None:
    world, contests = a_contest()
    before = dict(world.signals.counts)
    at(world, contests, LOCK_AT)
    assert {topic for topic in ("payments", "ingestion") if world.signals.seen(topic) > before.get(topic, 0)} == {
        "payments", "ingestion",
    }  # fmt: skip


def test_a_contest_moves_on_the_grid_of_a_minute() -> None:
    world, contests = a_contest(lock_at=LOCK_AT - 30_000)
    assert world.due(contests) == LOCK_AT - 30_000
    world.step(contests)
    assert (world.status(), world.runtime.at) == ("LOCKED", LOCK_AT)
    assert contests.jobs()[0].period_ms == MINUTE_MS


def test_a_service_that_was_down_at_the_lock_locks_as_soon_as_it_is_back() -> None:
    world, contests = a_contest()
    assert at(world, contests, LOCK_AT + 3 * HOUR_MS) == "LOCKED"


# --- entries are final ------------------------------------------------------------------------------------------------


def test_entries_stay_open_until_a_reconciliation_that_began_after_the_lock() -> None:
    world, contests = locked()
    assert world.due(contests) is None
    world.reconciled(LOCK_AT - 1)
    at(world, contests, LOCK_AT + HOUR_MS)
    assert world.due(contests) is None
    assert world.row("entries", entry_id="c1-cyd")["status"] == "PENDING_PAYMENT"
    world.reconciled(LOCK_AT)
    at(world, contests, LOCK_AT + HOUR_MS)
    assert world.row("entries", entry_id="c1-cyd")["status"] == "ABANDONED"
    assert world.row("checkpoints", name="entries_final:c1")["value"] == "2"


def test_money_captured_before_the_lock_counts_however_late_we_learn_of_it() -> None:
    world, contests = locked()
    world.runtime.at = LOCK_AT + HOUR_MS
    world.capture("c1-cyd", captured_at=LOCK_AT - 1)
    world.reconciled(LOCK_AT)
    world.work(contests)
    assert world.row("checkpoints", name="entries_final:c1")["value"] == "3"
    assert world.balances()[ledger.escrow("c1")] == -3_000


def test_entries_become_final_once() -> None:
    world, contests = locked()
    world.reconciled(LOCK_AT)
    at(world, contests, LOCK_AT)
    world.reconciled(LOCK_AT + HOUR_MS)
    at(world, contests, LOCK_AT + HOUR_MS)
    assert world.row("checkpoints", name="entries_final:c1")["updated_at"] == LOCK_AT


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_a_contest_under_its_minimum_is_cancelled_and_every_fee_owed_back() -> None:
    world, contests = locked(min_entries=3)
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT) == "CANCELLED"
    assert world.row("contests", contest_id="c1")["closed_at"] == LOCK_AT
    assert world.rows("select entry_id, amount_cents, status, reason from refunds order by entry_id") == [
        {"entry_id": "c1-ann", "amount_cents": 1_000, "status": "PENDING", "reason": "contest_cancelled"},
        {"entry_id": "c1-bob", "amount_cents": 1_000, "status": "PENDING", "reason": "contest_cancelled"},
    ]
    assert world.balances() == {
        ledger.PENDING: 2_000, ledger.refund_payable("ann"): -1_000, ledger.refund_payable("bob"): -1_000,
    }  # fmt: skip


def test_a_guaranteed_contest_runs_below_its_minimum() -> None:
    world, contests = locked(min_entries=3, guaranteed_cents=50_000)
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT) == "LOCKED"
    assert world.rows("select * from refunds") == []


@pytest.mark.parametrize("guaranteed_cents", [None, 50_000])
def test_a_contest_that_nobody_can_win_is_cancelled(guaranteed_cents: int | None) -> None:
    world, contests = a_contest(min_entries=1, guaranteed_cents=guaranteed_cents)
    at(world, contests, LOCK_AT)
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT) == "CANCELLED"


def test_exactly_the_minimum_is_enough() -> None:
    world, contests = locked(min_entries=2)
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT) == "LOCKED"


def test_a_live_contest_is_still_cancelled_when_its_entries_turn_out_too_few() -> None:
    world, contests = locked(min_entries=3)
    world.field("g1")
    assert at(world, contests, LOCK_AT) == "LIVE"
    world.reconciled(LOCK_AT)
    assert at(world, contests, LOCK_AT + HOUR_MS) == "CANCELLED"


def test_a_contest_does_not_complete_before_its_entries_are_final_so_a_complete_one_is_never_cancelled() -> None:
    world, contests = locked(min_entries=3)
    world.field("g1")
    world.event_over()
    assert at(world, contests, OVER_AT + HOUR_MS) == "LIVE"
    world.reconciled(LOCK_AT)
    assert at(world, contests, OVER_AT + 2 * HOUR_MS) == "CANCELLED"


# --- play -------------------------------------------------------------------------------------------------------------


def test_a_contest_goes_live_when_the_field_is_in_and_play_starts() -> None:
    start_at = LOCK_AT + HOUR_MS
    world, contests = locked(start_at=start_at)
    assert at(world, contests, start_at) == "LOCKED"
    world.field("g1")
    world.runtime.at = start_at + 7 * MINUTE_MS
    assert at(world, contests, start_at + 7 * MINUTE_MS) == "LIVE"


def test_a_field_that_is_in_early_does_not_start_play() -> None:
    start_at = LOCK_AT + HOUR_MS
    world, contests = locked(start_at=start_at)
    world.field("g1")
    assert at(world, contests, start_at - 1) == "LOCKED"
    assert world.due(contests) == start_at
    assert at(world, contests, start_at) == "LIVE"


def test_a_contest_completes_on_the_providers_signal() -> None:
    world, contests = live()
    assert at(world, contests, OVER_AT - 1) == "LIVE"
    world.event_over(OVER_AT)
    assert at(world, contests, OVER_AT) == "COMPLETE"
    assert world.audited("contests.update")[-1]["reason"] == "the provider completed the event"


def test_a_contest_completes_at_its_end_time_without_a_signal() -> None:
    world, contests = live()
    end_at = world.row("contests", contest_id="c1")["end_at"]
    assert world.due(contests) == end_at
    assert at(world, contests, end_at - 1) == "LIVE"
    assert at(world, contests, end_at) == "COMPLETE"
    assert world.audited("contests.update")[-1]["reason"] == "the end time has come"


def test_the_cutoff_is_the_completion_plus_the_hold() -> None:
    world, contests = live()
    world.event_over(OVER_AT)
    at(world, contests, OVER_AT)
    row = world.row("contests", contest_id="c1")
    assert (row["completed_at"], row["cutoff_at"]) == (OVER_AT, OVER_AT + HOLD_S * 1_000)
    assert row["cutoff_at"] == CUTOFF_AT
    assert world.signals.seen("settlement") > 0


def test_a_complete_contest_is_none_of_this_services_business_any_more() -> None:
    world, contests = live()
    world.event_over(OVER_AT)
    at(world, contests, OVER_AT)
    assert world.due(contests) is None
    assert at(world, contests, OVER_AT + 100 * HOUR_MS) == "COMPLETE"


def test_every_state_is_passed_in_order_even_when_all_is_due_at_once() -> None:
    world, contests = a_contest()
    world.enter("ann")
    world.enter("bob")
    world.runtime.at = OVER_AT + HOUR_MS
    world.field("g1")
    world.event_over(OVER_AT)
    world.reconciled(OVER_AT)
    world.work(contests)
    changes = [row["after"] for row in world.audited("contests.update")]
    assert [change.split('"status":"')[1].split('"')[0] for change in changes] == ["LOCKED", "LIVE", "COMPLETE"]
    assert {row["actor"] for row in world.audited("contests.update")} == {"system:contests"}


def test_contests_do_not_move_each_other() -> None:
    world, contests = a_contest()
    world.offer("c2", lock_at=LOCK_AT + HOUR_MS, start_at=LOCK_AT + HOUR_MS)
    at(world, contests, LOCK_AT)
    assert (world.status("c1"), world.status("c2")) == ("LOCKED", "SCHEDULED")
    assert world.due(contests) == LOCK_AT + HOUR_MS
