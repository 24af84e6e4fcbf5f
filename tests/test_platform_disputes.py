"""Disputed payments and refunds on request: one set of postings whatever tells of it, and who leaves a contest when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contest_platform import ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import BalanceTransaction, DeadlineExceeded, ProcessorError, ProcessorEvent
from contest_platform.services import contests, disputes, entries
from tests.support.platform_ports import (
    CHARGE_FEE_CENTS,
    DISPUTE_FEE_CENTS,
    ESCROW,
    FEE_CENTS,
    LOCK_AT,
    OWED,
    WALLET,
    Platform,
    dispute_object,
)

CTX = Context("system:contests", "c1")
PAID = {ledger.PENDING: FEE_CENTS, WALLET: -FEE_CENTS}
OPEN = PAID | {
    ledger.DISPUTED: FEE_CENTS, ledger.FEES: DISPUTE_FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS - DISPUTE_FEE_CENTS,
}  # fmt: skip
WON = PAID | {ledger.FEES: DISPUTE_FEE_CENTS, ledger.AVAILABLE: -DISPUTE_FEE_CENTS}
LOST = PAID | {
    ledger.DISPUTE_LOSS: FEE_CENTS, ledger.FEES: DISPUTE_FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS - DISPUTE_FEE_CENTS,
}  # fmt: skip


@pytest.fixture
def platform() -> Platform:
    """One customer, ann, has paid pi_1 for her entry."""
    made = Platform()
    _, intent_id = made.entered()
    made.deliver(made.processor.pay(intent_id))
    return made


def told(platform: Platform) -> list[ProcessorEvent]:
    """What the processor has told of disputes so far."""
    return [event for event in platform.processor.events if event.type.startswith("charge.dispute.")]


def deliver_all(platform: Platform) -> None:
    for event in told(platform):
        assert platform.deliver(event).status == 200


def only_dispute_money(platform: Platform) -> dict[str, int]:
    """The balances without what reconciliation posts of the charge itself."""
    balances = platform.balances()
    balances[ledger.PENDING] += CHARGE_FEE_CENTS
    balances[ledger.FEES] -= CHARGE_FEE_CENTS
    return {account: cents for account, cents in balances.items() if cents}


def reconcile(platform: Platform) -> None:
    due = platform.due("payments.reconciliation")
    assert due is not None
    platform.runtime.at = max(platform.runtime.at, due)
    platform.work("payments.reconciliation")


def row(platform: Platform) -> dict[str, Any]:
    return platform.row("disputes", dispute_id="dp_1")


def lock(platform: Platform) -> None:
    def advance(tx: Any) -> None:
        tx.run("update contests set status = 'LOCKED'")
        entries.post_lock(tx, CTX, "c1")

    platform.runtime.at = max(platform.runtime.at, LOCK_AT)
    platform.write(advance)


# --- what a dispute posts ------------------------------------------------------------------------------------------


def test_a_dispute_takes_the_amount_as_a_claim_and_the_fee_as_an_expense(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    deliver_all(platform)
    assert platform.balances() == OPEN
    found = row(platform)
    entry = platform.row("entries", user_id="ann")
    assert (found["entry_id"], found["intent_id"]) == (entry["entry_id"], "pi_1")
    assert (found["amount_cents"], found["fee_cents"]) == (FEE_CENTS, DISPUTE_FEE_CENTS)
    assert (found["status"], found["closed_at"]) == ("needs_response", None)
    keys = [one["business_key"] for one in platform.rows("select business_key from ledger_transactions order by 1")]
    assert keys == ["capture:pi_1", "dispute:dp_1", "dispute_fee:dp_1"]


def test_a_dispute_that_is_won_brings_the_money_back_and_keeps_the_fee(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "won")
    deliver_all(platform)
    assert platform.balances() == WON
    assert (row(platform)["status"], row(platform)["closed_at"]) == ("won", platform.runtime.at)


def test_the_fee_comes_back_only_if_the_balance_says_so(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "won", fee_back_cents=DISPUTE_FEE_CENTS)
    deliver_all(platform)
    assert platform.balances() == PAID
    assert row(platform)["fee_cents"] == 0


def test_a_dispute_that_is_lost_is_our_loss(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    deliver_all(platform)
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    assert platform.balances() == LOST
    assert (row(platform)["status"], row(platform)["closed_at"]) == ("lost", platform.runtime.at)


@pytest.mark.parametrize("late", [False, True])
def test_a_lost_dispute_that_is_won_after_all_leaves_no_loss(platform: Platform, late: bool) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "lost")
    if not late:
        deliver_all(platform)
        assert platform.balances() == LOST
    platform.processor.decide("dp_1", "won")
    for event in reversed(told(platform)):
        platform.deliver(event)
    assert platform.balances() == WON
    assert row(platform)["status"] == "won"


def refused(platform: Platform) -> None:
    """ann's fee is owed back, and the processor will never refund it: her bank has it in its hands."""
    lock(platform)
    platform.write(lambda tx: tx.run("update contests set status = 'CANCELLED'"))
    assert platform.write(lambda tx: entries.refund_all(tx, CTX, "c1", "contest_cancelled")) == 1
    problem = ProcessorError(400, "invalid_request_error", "charge_disputed", "the bank has it")
    platform.processor.troubles["refunds.create"] = [(problem, False)]
    platform.work("refunds")
    assert platform.row("refunds", intent_id="pi_1")["status"] == "FAILED_TERMINAL"


@pytest.mark.parametrize("refused_last", [False, True])
def test_what_a_bank_gives_to_whom_we_owe_it_is_owed_no_more_and_no_loss(
    platform: Platform, refused_last: bool
) -> None:
    owed = ledger.refund_payable("ann")
    platform.processor.dispute("pi_1")
    if not refused_last:
        refused(platform)
        assert platform.balances()[owed] == -FEE_CENTS
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    if refused_last:
        assert platform.balances()[ledger.DISPUTE_LOSS] == FEE_CENTS
        refused(platform)
    assert {owed, ledger.DISPUTE_LOSS, ledger.DISPUTED}.isdisjoint(platform.balances())
    platform.processor.decide("dp_1", "won")
    deliver_all(platform)
    assert platform.balances()[owed] == -FEE_CENTS, "the bank has taken it back from her"
    assert {ledger.DISPUTE_LOSS, ledger.DISPUTED}.isdisjoint(platform.balances())


def test_a_refund_that_is_refused_after_its_dispute_came_back_stays_owed(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    for decision in ("lost", "won"):
        platform.processor.decide("dp_1", decision)
        deliver_all(platform)
    refused(platform)
    assert platform.balances()[ledger.refund_payable("ann")] == -FEE_CENTS
    assert ledger.DISPUTE_LOSS not in platform.balances()


def test_money_that_has_come_back_is_not_written_off_by_old_news(platform: Platform) -> None:
    """The balance told of both movements before the event of the bank's first decision came."""
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "lost")
    lost = told(platform)[-1]
    platform.processor.decide("dp_1", "won")
    for movement in platform.processor.disputes["dp_1"].movements:
        platform.write(lambda tx, movement=movement: disputes.moved(tx, CTX, movement))
    platform.deliver(lost)
    assert row(platform)["status"] == "lost"
    assert platform.balances() == WON


def test_an_inquiry_moves_no_money_and_may_become_a_dispute(platform: Platform) -> None:
    asked = platform.processor.disputes
    platform.processor.dispute("pi_1", "warning_needs_response")
    deliver_all(platform)
    assert (platform.balances(), row(platform)["status"]) == (PAID, "warning_needs_response")
    platform.deliver(platform.processor.tell_dispute("updated", replace(asked["dp_1"], status="needs_response")))
    assert (platform.balances(), row(platform)["status"]) == (PAID, "needs_response")
    platform.deliver(platform.processor.tell_dispute("updated", replace(asked["dp_1"], status="under_review")))
    assert row(platform)["status"] == "under_review"


def test_an_inquiry_that_is_closed_costs_nothing(platform: Platform) -> None:
    platform.processor.dispute("pi_1", "warning_needs_response")
    platform.processor.decide("dp_1", "warning_closed")
    deliver_all(platform)
    assert platform.balances() == PAID
    assert (row(platform)["status"], row(platform)["closed_at"]) == ("warning_closed", platform.runtime.at)


def test_a_lost_dispute_without_a_withdrawal_loses_nothing(platform: Platform) -> None:
    """The charge had been refunded in full before: nothing was left to withdraw."""
    platform.processor.dispute("pi_1", "warning_needs_response")
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    assert platform.balances() == PAID


def test_a_status_that_we_do_not_know_is_refused_in_the_open(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    event = platform.processor.tell_dispute("updated", replace(platform.processor.disputes["dp_1"], status="prevented"))
    assert platform.deliver(event).body["status"] == "IGNORED"
    assert "prevented" in platform.audited("refuse.dispute")[0]["reason"]
    assert platform.rows("select * from disputes") == []


# --- whoever tells, however often, in any order ---------------------------------------------------------------------


def test_twin_events_apply_once_and_a_repeat_is_counted(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    withdrawn = told(platform)[-1]
    twin = platform.processor.event(withdrawn.type, dict(withdrawn.body["data"]["object"]))
    statuses = [platform.deliver(event).body["status"] for event in (withdrawn, twin, withdrawn)]
    assert statuses == ["APPLIED", "DUPLICATE", "APPLIED"]
    assert platform.row("webhook_inbox", event_id=withdrawn.id)["deliveries"] == 2
    assert platform.balances() == OPEN


@pytest.mark.parametrize(("decision", "expected"), [(None, OPEN), ("won", WON), ("lost", LOST)])
def test_reconciliation_alone_comes_to_the_same_postings(
    platform: Platform, decision: str | None, expected: dict[str, int]
) -> None:
    platform.processor.dispute("pi_1")
    if decision:
        platform.processor.decide("dp_1", decision)
    for _ in range(3):
        reconcile(platform)
        platform.runtime.at += 1
    assert only_dispute_money(platform) == expected
    assert row(platform)["status"] == (decision or "needs_response")
    assert platform.audited("refuse.balance_transaction") == []


@pytest.mark.parametrize(("decision", "expected"), [(None, OPEN), ("won", WON), ("lost", LOST)])
def test_no_event_need_ever_be_made(platform: Platform, decision: str | None, expected: dict[str, int]) -> None:
    """The balance tells of the money, and the processor is asked what it does not tell: whose, and whether lost."""
    platform.processor.dispute("pi_1")
    platform.processor.events.clear()
    reconcile(platform)
    assert only_dispute_money(platform) == OPEN
    assert row(platform)["intent_id"] == "pi_1"
    if decision:
        platform.processor.decide("dp_1", decision)
        platform.processor.events.clear()
        platform.runtime.at += 1
        reconcile(platform)
    assert only_dispute_money(platform) == expected
    assert row(platform)["status"] == (decision or "needs_response")
    assert row(platform)["entry_id"] == platform.row("entries", user_id="ann")["entry_id"]


def test_what_is_decided_is_not_asked_about_again(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    reconcile(platform)
    assert ("disputes.retrieve", "") not in platform.processor.calls


def test_a_pass_that_got_no_answer_about_a_dispute_is_made_again(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.events.clear()
    platform.processor.troubles["disputes.retrieve"] = [(DeadlineExceeded("lost"), False)]
    reconcile(platform)
    assert platform.rows("select * from checkpoints where name = 'payments.reconciled'") == []
    reconcile(platform)
    assert row(platform)["intent_id"] == "pi_1"
    assert only_dispute_money(platform) == OPEN


def test_a_dispute_told_before_its_payment_is_ours_waits() -> None:
    platform = Platform()
    platform.entered()
    platform.processor.pay("pi_1")
    platform.processor.dispute("pi_1")
    platform.write(lambda tx: tx.run("update payments set intent_id = null"))
    assert [platform.deliver(event).body["status"] for event in told(platform)] == ["WAITING", "WAITING"]
    assert platform.rows("select * from disputes") == []
    platform.deliver(platform.processor.events[0])
    platform.work("webhooks.waiting")
    assert platform.statuses() == ["APPLIED", "APPLIED", "APPLIED"]
    assert platform.balances() == OPEN


def test_another_adjustment_is_not_taken_for_a_dispute() -> None:
    def movement(kind: str, source_id: str) -> BalanceTransaction:
        return BalanceTransaction("txn_1", kind, source_id, -1, 0, -1, 0, 0)

    assert disputes.is_of_dispute(movement("adjustment", "dp_1"))
    assert disputes.is_of_dispute(movement("adjustment", "du_1"))
    assert not disputes.is_of_dispute(movement("adjustment", "ach_1"))
    assert not disputes.is_of_dispute(movement("transfer", "dp_1"))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=3), st.integers(0, 9), st.booleans())
def test_in_any_order_a_dispute_leaves_the_same_books(order: list[int], more: list[int], at: int, won: bool) -> None:
    """Capture, created, withdrawn, a twin, reinstated or updated, closed: any order, repeats, a pass somewhere."""
    platform = Platform()
    platform.entered()
    captured = platform.processor.pay("pi_1")
    platform.processor.dispute("pi_1")
    withdrawn = told(platform)[-1]
    platform.processor.event(withdrawn.type, dict(withdrawn.body["data"]["object"]))
    if not won:
        reviewed = replace(platform.processor.disputes["dp_1"], status="under_review")
        platform.processor.tell_dispute("updated", reviewed)
    platform.processor.decide("dp_1", "won" if won else "lost")
    events = [captured, *told(platform)]
    assert len(events) == 6
    for n, place in enumerate([*order, *more]):
        if n == at:
            reconcile(platform)
        assert platform.deliver(events[place]).status == 200
    platform.work("webhooks.waiting") if platform.due("webhooks.waiting") else None
    platform.runtime.at += HOUR_MS
    reconcile(platform)
    assert only_dispute_money(platform) == (WON if won else LOST)
    found = row(platform)
    assert (found["status"], found["fee_cents"]) == ("won" if won else "lost", DISPUTE_FEE_CENTS)
    assert "WAITING" not in platform.statuses()


def test_an_effect_and_its_dispute_are_one_transaction(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.store.fail_next["webhooks.record"] = 1
    assert platform.deliver(told(platform)[-1]).status == 503
    assert (platform.balances(), platform.rows("select * from disputes")) == (PAID, [])
    assert platform.deliver(told(platform)[-1]).status == 200
    assert platform.balances() == OPEN


def test_every_row_of_a_dispute_is_audited(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    told_by = [one["subject"] for action in ("disputes.insert", "disputes.update") for one in platform.audited(action)]
    assert set(told_by) == {"disputes/dp_1"}
    assert len(platform.audited("disputes.insert")) == 1


def test_a_disputed_entry_stays_in_its_contest(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    platform.processor.decide("dp_1", "lost")
    deliver_all(platform)
    lock(platform)
    assert platform.row("entries", user_id="ann")["status"] == "VALID"
    assert platform.balances()[ESCROW] == -FEE_CENTS


def test_an_object_that_is_no_dispute_is_not_taken_for_one() -> None:
    with pytest.raises(KeyError):
        disputes.of_object({"id": "ch_1", "payment_intent": "pi_1"})


def test_the_snapshot_of_an_event_is_the_dispute_as_it_stood(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    made = platform.processor.disputes["dp_1"]
    assert disputes.of_object(dispute_object(made)) == made


# --- a customer asks for his fee back -------------------------------------------------------------------------------


def ask(platform: Platform, user_id: str = "ann", entry_id: str | None = None) -> tuple[int, dict[str, Any]]:
    entry_id = entry_id or platform.row("entries", user_id="ann")["entry_id"]
    response = platform.call("POST", "/api/entries/refund", f"customer:{user_id}", {"entry_id": entry_id})
    return response.status, dict(response.body)


def entry_of(platform: Platform) -> dict[str, Any]:
    return platform.row("entries", user_id="ann")


def test_a_fee_asked_back_before_the_lock_is_owed_at_once_and_then_sent(platform: Platform) -> None:
    status, body = ask(platform)
    entry = entry_of(platform)
    assert (status, body) == (202, {"entry_id": entry["entry_id"], "status": "WITHDRAWN"})
    assert (entry["status"], entry["closed_at"]) == ("WITHDRAWN", None)
    refund = platform.row("refunds", entry_id=entry["entry_id"])
    assert (refund["status"], refund["reason"], refund["amount_cents"]) == ("PENDING", "requested", FEE_CENTS)
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, OWED: -FEE_CENTS}
    platform.work("refunds")
    assert [one.amount_cents for one in platform.processor.refunds] == [FEE_CENTS]
    assert (entry_of(platform)["status"], entry_of(platform)["closed_at"]) == ("REFUNDED", platform.runtime.at)
    assert platform.row("payments", entry_id=entry["entry_id"])["status"] == "REFUNDED"
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


def test_asking_again_is_answered_and_changes_nothing(platform: Platform) -> None:
    assert ask(platform)[0] == 202
    before = platform.rows("select count(*) as n from audit_log where action not like 'access%'")
    assert ask(platform) == (202, {"entry_id": entry_of(platform)["entry_id"], "status": "WITHDRAWN"})
    assert platform.rows("select count(*) as n from audit_log where action not like 'access%'") == before
    platform.work("refunds")
    platform.runtime.at = LOCK_AT + HOUR_MS
    assert ask(platform) == (200, {"entry_id": entry_of(platform)["entry_id"], "status": "REFUNDED"})
    assert len(platform.processor.refunds) == 1


@pytest.mark.parametrize("sent_before_lock", [True, False])
def test_an_entry_that_has_left_is_neither_counted_nor_locked(platform: Platform, sent_before_lock: bool) -> None:
    bob, intent_id = platform.entered("bob")
    platform.deliver(platform.processor.pay(intent_id))
    ask(platform)
    if sent_before_lock:
        platform.work("refunds")
    lock(platform)
    assert platform.balances()[ESCROW] == -FEE_CENTS
    assert platform.write(lambda tx: entries.valid_count(tx, "c1")) == 1
    if not sent_before_lock:
        platform.work("refunds")
    assert entry_of(platform)["status"] == "REFUNDED"
    assert WALLET not in platform.balances()
    assert platform.row("entries", user_id="bob")["entry_id"] == bob


def test_a_contest_cancelled_afterwards_refunds_nobody_twice(platform: Platform) -> None:
    ask(platform)
    lock(platform)
    platform.write(lambda tx: tx.run("update contests set status = 'CANCELLED'"))
    assert platform.write(lambda tx: entries.refund_all(tx, CTX, "c1", "contest_cancelled")) == 0
    platform.work("refunds")
    assert [one.amount_cents for one in platform.processor.refunds] == [FEE_CENTS]
    assert entry_of(platform)["status"] == "REFUNDED"


def test_the_seat_of_an_entry_that_left_is_free_and_it_does_not_come_back(platform: Platform) -> None:
    for user in ("bob", "cyd"):
        platform.entered(user)
    platform.sign_up("dan")
    assert platform.enter("dan").body == {"error": "contest_full"}
    ask(platform)
    ask(platform)
    assert platform.enter("dan").status == 201
    platform.sign_up("eve")
    assert platform.enter("eve").body == {"error": "contest_full"}
    assert (platform.enter("ann").status, platform.enter("ann").body) == (409, {"error": "entry_closed"})


def test_an_entry_not_yet_paid_is_abandoned_and_its_intent_cancelled() -> None:
    platform = Platform()
    platform.entered()
    assert ask(platform) == (200, {"entry_id": entry_of(platform)["entry_id"], "status": "ABANDONED"})
    assert ask(platform)[0] == 200
    assert platform.signals.seen("entries.cancellations") == 1
    platform.work("entries.cancellations")
    assert platform.processor.intents["pi_1"].status == "canceled"
    assert platform.row("payments", intent_id="pi_1")["status"] == "CANCELED"
    assert (platform.rows("select * from refunds"), platform.balances()) == ([], {})


def test_money_that_crossed_the_request_on_its_way_is_sent_back() -> None:
    platform = Platform()
    platform.entered()
    captured = platform.processor.pay("pi_1")
    assert ask(platform)[1]["status"] == "ABANDONED"
    platform.deliver(captured)
    platform.work("refunds")
    assert [one.amount_cents for one in platform.processor.refunds] == [FEE_CENTS]
    assert entry_of(platform)["status"] == "ABANDONED"


def at_lock(platform: Platform) -> None:
    platform.runtime.at = LOCK_AT


def locked(platform: Platform) -> None:
    platform.write(lambda tx: tx.run("update contests set status = 'LOCKED'"))


def unpaid_at_lock(platform: Platform) -> None:
    platform.write(lambda tx: tx.run("update entries set status = 'ABANDONED'"))
    at_lock(platform)


def disputed(platform: Platform) -> None:
    platform.processor.dispute("pi_1")
    deliver_all(platform)


@pytest.mark.parametrize(
    ("prepare", "status", "refused"),
    [
        (at_lock, 409, "too_late"),
        (locked, 409, "too_late"),
        (unpaid_at_lock, 409, "too_late"),
        (disputed, 409, "payment_disputed"),
    ],
)
def test_a_request_too_late_or_for_a_disputed_payment_is_refused_in_the_open(
    platform: Platform, prepare: Callable[[Platform], None], status: int, refused: str
) -> None:
    prepare(platform)
    before = entry_of(platform)
    assert ask(platform) == (status, {"error": refused})
    assert platform.audited("refuse.refund_request")[0]["reason"] == f"{refused}: ann"
    assert entry_of(platform) == before
    assert platform.rows("select * from refunds") == []


def test_somebody_elses_entry_and_no_entry_are_the_same_to_a_customer(platform: Platform) -> None:
    platform.sign_up("bob")
    assert ask(platform, "bob") == ask(platform, "bob", "entry_none") == (404, {"error": "unknown_entry"})
    assert entry_of(platform)["status"] == "VALID"


def test_nobody_asks_without_a_customers_token(platform: Platform) -> None:
    body = {"entry_id": entry_of(platform)["entry_id"]}
    assert platform.call("POST", "/api/entries/refund", "ops:kim", body).status in (401, 403)
    assert entry_of(platform)["status"] == "VALID"


def test_what_went_back_before_is_not_given_back_again(platform: Platform) -> None:
    platform.processor.refund("pi_1", 600, {})
    platform.deliver(platform.processor.events[-1])
    ask(platform)
    platform.work("refunds")
    assert [one.amount_cents for one in platform.processor.refunds] == [600, FEE_CENTS - 600]
    assert entry_of(platform)["status"] == "REFUNDED"
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


def test_a_refund_that_can_never_be_made_leaves_the_money_owed_and_the_entry_out(platform: Platform) -> None:
    ask(platform)
    refused = ProcessorError(400, "invalid_request_error", "charge_disputed", "no")
    platform.processor.troubles["refunds.create"] = [(refused, False)]
    platform.work("refunds")
    assert entry_of(platform)["status"] == "WITHDRAWN"
    assert platform.balances()[OWED] == -FEE_CENTS


# --- refunded in full by a human, before the lock ------------------------------------------------------------------


def test_an_entry_refunded_in_full_in_the_dashboard_leaves_its_contest(platform: Platform) -> None:
    for user in ("bob", "cyd"):
        platform.entered(user)
    platform.processor.refund("pi_1", FEE_CENTS, {})
    platform.deliver(platform.processor.events[-1])
    assert entry_of(platform)["status"] == "REFUNDED"
    platform.sign_up("dan")
    assert platform.enter("dan").status == 201
    assert ask(platform)[0] == 200


@pytest.mark.parametrize("final", [False, True])
def test_learnt_of_after_the_lock_it_still_leaves_until_entries_are_final(platform: Platform, final: bool) -> None:
    platform.processor.refund("pi_1", FEE_CENTS, {})
    lock(platform)
    if final:
        [contest] = platform.rows("select *, 0 as entries_final from contests")
        platform.write(lambda tx: contests._finalise_entries(tx, contest))
    platform.deliver(platform.processor.events[-1])
    assert entry_of(platform)["status"] == ("VALID" if final else "REFUNDED")
    assert platform.balances() == ({ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS} if not final else
                                   {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS, WALLET: FEE_CENTS,
                                    ESCROW: -FEE_CENTS})  # fmt: skip


def test_refunded_in_full_after_the_lock_the_entry_plays_on(platform: Platform) -> None:
    lock(platform)
    platform.processor.refund("pi_1", FEE_CENTS, {})
    platform.deliver(platform.processor.events[-1])
    assert entry_of(platform)["status"] == "VALID"
    assert platform.balances()[ESCROW] == -FEE_CENTS


def test_the_last_part_before_the_lock_decides(platform: Platform) -> None:
    platform.processor.refund("pi_1", 600, {})
    lock(platform)
    platform.processor.refund("pi_1", FEE_CENTS - 600, {})
    for event in platform.processor.events[-4:]:
        platform.deliver(event)
    assert entry_of(platform)["status"] == "VALID"
