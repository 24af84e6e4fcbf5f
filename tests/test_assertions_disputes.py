"""The judge on disputes and on entries that left before the lock: from the processor's books and the customers' own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assertions.facts import facts
from assertions.judge import discover
from assertions.model import REGISTRY, Status, judge_one
from reports.money import read_ledger
from tests.support.broken_runs.change import add, row
from tests.support.broken_runs.money import post
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import FEE_CENTS, HOUR, LOCK, PAID, small_run

discover()

DISPUTE_FEE_CENTS = 1_500
RECONCILES = "ledger.reconciles_with_processor"
AVAILABLE, CLAIM, LOSS, FEES = (
    "assets:stripe_available", "assets:receivable_disputes", "expenses:dispute_loss", "expenses:stripe_fees",
)  # fmt: skip


def status(evidence: FakeEvidence, assertion: str) -> Status:
    return judge_one(REGISTRY[assertion], evidence).status  # type: ignore[arg-type]


def failing(evidence: FakeEvidence) -> list[str]:
    return [name for name in sorted(REGISTRY) if status(evidence, name) is not Status.PASS]


# --- disputes ------------------------------------------------------------------------------------------------------


def moved(evidence: FakeEvidence, txn: str, amount: int, fee: int, source: str = "dp_1") -> None:
    add(
        evidence, "processor.balance", balance_transaction_id=txn, kind="adjustment", source_id=source,
        amount_cents=amount, fee_cents=fee, net_cents=amount - fee, created_at=PAID, available_at=PAID,
    )  # fmt: skip


def disputed(status_: str, fee_back: int = 0) -> FakeEvidence:
    """An honest run in which u1's payment for c1 was disputed and the bank said `status_`."""
    evidence = small_run()
    evidence.books["processor.disputes"].append(
        {
            "dispute_id": "dp_1", "intent_id": "pi_c1-u1", "amount_cents": FEE_CENTS, "status": status_,
            "fee_cents": DISPUTE_FEE_CENTS - fee_back, "created_at": PAID,
        }
    )  # fmt: skip
    moved(evidence, "txn_dp_1", -FEE_CENTS, DISPUTE_FEE_CENTS)
    post(evidence, "dispute:dp_1", (CLAIM, FEE_CENTS), (AVAILABLE, -FEE_CENTS))
    post(evidence, "dispute_fee:dp_1", (FEES, DISPUTE_FEE_CENTS), (AVAILABLE, -DISPUTE_FEE_CENTS))
    if status_ == "won":
        moved(evidence, "txn_back", FEE_CENTS, -fee_back)
        post(evidence, "dispute_won:dp_1", (AVAILABLE, FEE_CENTS), (CLAIM, -FEE_CENTS))
    if fee_back:
        post(evidence, "dispute_fee_back:dp_1", (AVAILABLE, fee_back), (FEES, -fee_back))
    if status_ == "lost":
        post(evidence, "dispute_lost:dp_1", (LOSS, FEE_CENTS), (CLAIM, -FEE_CENTS))
    return evidence


@pytest.mark.parametrize(
    ("status_", "fee_back"), [("needs_response", 0), ("under_review", 0), ("won", 0), ("won", 1_500), ("lost", 0)]
)
def test_an_honest_ledger_of_a_dispute_reconciles(status_: str, fee_back: int) -> None:
    evidence = disputed(status_, fee_back)
    assert [
        name for name in sorted(REGISTRY) if name.startswith("ledger.") and status(evidence, name) is not Status.PASS
    ] == []


def unpost(evidence: FakeEvidence, key: str) -> None:
    txn = row(evidence, "platform.ledger_transactions", business_key=key)["txn_id"]
    for book in ("platform.ledger_transactions", "platform.ledger_postings"):
        evidence.books[book] = [one for one in evidence.books[book] if one["txn_id"] != txn]


def without(key: str) -> Callable[[FakeEvidence], None]:
    return lambda evidence: unpost(evidence, key)


def twice(key: str) -> Callable[[FakeEvidence], None]:
    """The same fact under another key: only the sums can tell."""

    def change(evidence: FakeEvidence) -> None:
        txn = row(evidence, "platform.ledger_transactions", business_key=key)["txn_id"]
        found = [one for one in evidence.books["platform.ledger_postings"] if one["txn_id"] == txn]
        post(evidence, f"{key}:again", *((one["account"], one["amount_cents"]) for one in found))

    return change


@pytest.mark.parametrize(
    ("status_", "change"),
    [
        ("needs_response", without("dispute:dp_1")),
        ("needs_response", without("dispute_fee:dp_1")),
        ("won", without("dispute_won:dp_1")),
        ("lost", without("dispute_lost:dp_1")),
        ("needs_response", twice("dispute:dp_1")),
        ("lost", twice("dispute_lost:dp_1")),
        ("won", twice("dispute_won:dp_1")),
    ],
    ids=["no-dispute", "no-fee", "no-won", "no-lost", "dispute-twice", "lost-twice", "won-twice"],
)
def test_a_posting_of_a_dispute_too_few_or_too_many_is_found(
    status_: str, change: Callable[[FakeEvidence], None]
) -> None:
    evidence = disputed(status_)
    change(evidence)
    assert status(evidence, RECONCILES) is Status.FAIL


def test_a_loss_written_off_before_the_bank_decided_is_found() -> None:
    evidence = disputed("lost")
    row(evidence, "processor.disputes", dispute_id="dp_1")["status"] = "under_review"
    assert status(evidence, RECONCILES) is Status.FAIL


def test_an_adjustment_that_no_dispute_explains_is_found() -> None:
    evidence = small_run()
    moved(evidence, "txn_x", -700, 0, "ach_1")
    assert status(evidence, RECONCILES) is Status.FAIL


def test_a_row_of_a_dispute_that_was_never_audited_is_found() -> None:
    evidence = small_run()
    evidence.books["platform.disputes"].append({"dispute_id": "dp_1", "amount_cents": 1, "status": "lost"})
    assert status(evidence, "audit.rows_match_images") is Status.FAIL


# --- entries that left before the lock -----------------------------------------------------------------------------


def refunded(captured_at: int, refunded_at: int, by: str = "customer:u4") -> FakeEvidence:
    """u4 paid for c1 at `captured_at` and got all of it back at `refunded_at`; he never played."""
    evidence = small_run()
    row(evidence, "processor.intents", intent_id="pi_c1-u4")["captured_at"] = captured_at
    row(evidence, "processor.refunds", refund_id="re_c1-u4").update(created_at=refunded_at, caller=by)
    return evidence


def test_a_payment_given_back_before_the_lock_makes_no_entry() -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK - HOUR)
    # Who gave it back at the dashboard has broken another promise.
    assert set(failing(evidence)) - {"absence.processor_dashboard"} == set(failing(small_run()))
    assert [intent.user_id for intent in facts(evidence).valid["c1"]] == ["u1", "u2", "u3"]  # type: ignore[arg-type]


def test_what_the_platform_gives_back_unasked_before_the_lock_excuses_nothing() -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK - HOUR, by="platform")
    assert {"settlement.packs_are_terminal", "ledger.pool_is_conserved"} <= set(failing(evidence))


def test_a_payment_given_back_after_the_lock_had_made_one() -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK)
    assert {"settlement.packs_are_terminal", "ledger.pool_is_conserved", "ledger.participants_balances"} <= set(
        failing(evidence)
    )


def test_a_payment_given_back_in_part_before_the_lock_makes_an_entry() -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK - HOUR)
    refund = row(evidence, "processor.refunds", refund_id="re_c1-u4")
    half = {"amount_cents": FEE_CENTS // 2}
    refund.update(half)
    evidence.books["processor.refunds"].append({**refund, **half, "refund_id": "re_late", "created_at": LOCK})
    assert "u4" in [intent.user_id for intent in facts(evidence).valid["c1"]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked_at", "result", "plays"),
    [(LOCK - 1, "ok", False), (LOCK + 2 * 60_000, "ok", True), (LOCK - 1, "too_late", True)],
)
def test_a_customer_who_was_promised_his_fee_before_the_lock_does_not_play(
    asked_at: int, result: str, plays: bool
) -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK + HOUR)
    add(
        evidence, "entrants.actions", at=asked_at, user_id="u4", contest_id="c1", action="refund_requested",
        amount_cents=FEE_CENTS, result=result,
    )  # fmt: skip
    assert (status(evidence, "ledger.pool_is_conserved") is Status.FAIL) == plays
    assert ("u4" in [intent.user_id for intent in facts(evidence).valid["c1"]]) == plays  # type: ignore[arg-type]


def test_a_promise_that_was_not_kept_is_found() -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK + HOUR)
    add(
        evidence, "entrants.actions", at=LOCK - 1, user_id="u4", contest_id="c1", action="refund_requested", result="ok"
    )
    evidence.books["processor.refunds"] = [
        one for one in evidence.books["processor.refunds"] if one["refund_id"] != "re_c1-u4"
    ]
    assert "ledger.participants_balances" in failing(evidence)


@pytest.mark.parametrize("unlocked", [False, True])
def test_what_was_locked_and_unlocked_again_is_not_in_the_pool(unlocked: bool) -> None:
    evidence = refunded(LOCK - 2 * HOUR, LOCK - HOUR)
    escrow, wallet = "liabilities:contest_escrow:c1", "liabilities:user_wallet:u4"
    post(evidence, "lock:c1:en-c1-u4", (wallet, FEE_CENTS), (escrow, -FEE_CENTS))
    if unlocked:
        post(evidence, "unlock:c1:en-c1-u4", (escrow, FEE_CENTS), (wallet, -FEE_CENTS))
    assert (status(evidence, "ledger.pool_is_conserved") is Status.PASS) == unlocked
    reported = read_ledger(evidence).contests["c1"].collected_cents  # type: ignore[arg-type]
    assert (reported == 3 * FEE_CENTS) == unlocked
