"""Broken ledgers and payouts."""

from __future__ import annotations

from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import CUTOFF, HOUR, PAID

# --- ledger --------------------------------------------------------------------------------------------------------


def post(evidence: FakeEvidence, key: str, *postings: tuple[str, int]) -> None:
    """A transaction past the audit."""
    txn_id = len(evidence.books["platform.ledger_transactions"]) + 1
    evidence.books["platform.ledger_transactions"].append(
        {"txn_id": txn_id, "business_key": key, "kind": key.partition(":")[0], "at": PAID}
    )
    evidence.books["platform.ledger_postings"] += [
        {"txn_id": txn_id, "n": n, "account": account, "amount_cents": cents}
        for n, (account, cents) in enumerate(postings)
    ]


@breaks("ledger.transactions_balance")
def a_transaction_does_not_balance(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_postings"][0]["amount_cents"] += 1


@breaks("ledger.transactions_balance")
def a_transaction_has_no_postings(evidence: FakeEvidence) -> None:
    post(evidence, "prize:x")


@breaks("ledger.transactions_balance")
def a_posting_belongs_to_nothing(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_postings"].append({"txn_id": 999, "n": 1, "account": "x", "amount_cents": 5})


@breaks("ledger.business_keys_unique")
def a_payout_was_posted_twice(evidence: FakeEvidence) -> None:
    post(evidence, "paid:tf-u1", ("liabilities:payout_in_transit:u1", 1_350), ("assets:stripe_available", -1_350))


@breaks("ledger.escrow_empty_after_settlement")
def a_cent_stays_in_escrow(evidence: FakeEvidence) -> None:
    post(evidence, "rake:again", ("liabilities:contest_escrow:c1", -1), ("income:rake:c1", 1))


@breaks("ledger.escrow_empty_after_settlement", Status.INCONCLUSIVE)
def a_contest_was_not_settled(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c1")["status"] = "COMPLETE"


@breaks("ledger.pool_is_conserved")
def too_much_rake_was_taken(evidence: FakeEvidence) -> None:
    for account, cents in (("liabilities:contest_escrow:c1", 100), ("income:rake:c1", -100)):
        txn = row(evidence, "platform.ledger_transactions", business_key="rake:c1")["txn_id"]
        row(evidence, "platform.ledger_postings", txn_id=txn, account=account)["amount_cents"] += cents


@breaks("ledger.pool_is_conserved")
def an_entry_cost_another_fee(evidence: FakeEvidence) -> None:
    row(evidence, "processor.intents", intent_id="pi_c1-u1")["amount_cents"] = 999


@breaks("ledger.reconciles_with_processor")
def the_ledger_has_a_dollar_more(evidence: FakeEvidence) -> None:
    post(evidence, "topup:x", ("assets:stripe_available", 100), ("equity:owner_capital", -100))


@breaks("ledger.reconciles_with_processor")
def the_processor_kept_another_fee(evidence: FakeEvidence) -> None:
    balance = row(evidence, "processor.balance", source_id="pi_c1-u1")
    balance.update(fee_cents=60, net_cents=940)


@breaks("ledger.reconciles_with_processor")
def funds_became_available_and_the_ledger_does_not_know(evidence: FakeEvidence) -> None:
    txn = row(evidence, "platform.ledger_transactions", business_key="available:txn_pi_c1-u1")["txn_id"]
    remove(evidence, "platform.ledger_transactions", txn_id=txn)
    postings = evidence.books["platform.ledger_postings"]
    evidence.books["platform.ledger_postings"] = [one for one in postings if one["txn_id"] != txn]


@breaks("ledger.reconciles_with_processor")
def a_transfer_left_the_processor_that_the_ledger_does_not_know(evidence: FakeEvidence) -> None:
    add(
        evidence, "processor.balance", balance_transaction_id="txn_x", kind="transfer", source_id="tr_x",
        amount_cents=-700, fee_cents=0, net_cents=-700, created_at=PAID, available_at=PAID,
    )  # fmt: skip


@breaks("ledger.reconciles_with_processor")
def a_payment_was_posted_a_day_late(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ledger_transactions", business_key="capture:pi_c1-u1")["at"] += 24 * HOUR


@breaks("ledger.events_are_applied_once")
def an_event_was_noted_as_applied_before_its_effect(evidence: FakeEvidence) -> None:
    row(evidence, "platform.webhook_inbox", event_id="evt_c1-u1")["applied_at"] -= 30


@breaks("ledger.events_are_applied_once")
def an_event_was_never_heard_of(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.webhook_inbox", event_id="evt_c1-u1")


@breaks("ledger.events_are_applied_once")
def twin_events_were_both_applied(evidence: FakeEvidence) -> None:
    event = row(evidence, "platform.webhook_inbox", event_id="evt_c1-u1")
    evidence.books["platform.webhook_inbox"].append({**event, "event_id": "evt_twin"})


@breaks("ledger.participants_balances")
def a_prize_is_in_the_wrong_account(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("liabilities:prize_payable:c1:u2", 10), ("liabilities:prize_payable:c1:u3", -10))


@breaks("ledger.participants_balances")
def a_customer_paid_and_the_processor_does_not_know(evidence: FakeEvidence) -> None:
    add(
        evidence, "entrants.actions", at=PAID, user_id="u3", contest_id="c2", action="paid", amount_cents=1_000,
        intent_id="pi_c2-u3", result="ok",
    )  # fmt: skip


@breaks("ledger.participants_balances")
def a_wallet_is_not_empty(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("liabilities:user_wallet:u4", -10), ("assets:stripe_available", 10))


@breaks("ledger.participants_balances")
def a_refund_is_still_owed(evidence: FakeEvidence) -> None:
    remove(evidence, "processor.refunds", refund_id="re_c1-u4")


@breaks("ledger.participants_balances")
def a_payout_is_still_on_its_way(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("liabilities:payout_in_transit:u3", -10), ("assets:stripe_available", 10))


@breaks("ledger.participants_balances")
def a_customer_received_too_much(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u3")["amount_cents"] += 1


@breaks("ledger.no_rounding_account")
def a_cent_was_rounded_away(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("expenses:rounding", 1), ("assets:stripe_available", -1))


@breaks("ledger.no_rounding_account")
def an_account_only_begins_like_one_of_the_chart(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("assets:stripe_pending_rounding", 1), ("assets:stripe_available", -1))


# --- payouts -------------------------------------------------------------------------------------------------------


@breaks("payouts.right_people_right_amounts")
def a_winner_got_a_cent_too_little(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u3")["amount_cents"] -= 1


@breaks("payouts.right_people_right_amounts")
def a_winner_was_forgotten(evidence: FakeEvidence) -> None:
    remove(evidence, "processor.transfers", transfer_id="tr_u1")


@breaks("payouts.right_people_right_amounts")
def a_payout_was_taken_back(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u1")["reversed_cents"] = 1_350


@breaks("payouts.right_people_right_amounts")
def the_provider_had_corrected_the_winner(evidence: FakeEvidence) -> None:
    add(
        evidence, "provider.publications", event_id="ev1", revision=4, published_at=CUTOFF, golfer_id="g1", round=1,
        hole=1, strokes=9, correction=True,
    )  # fmt: skip


@breaks("payouts.right_people_right_amounts")
def a_payout_was_given_up_although_the_account_is_good(evidence: FakeEvidence) -> None:
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = "rate_limit"


@breaks("payouts.exactly_once")
def a_winner_was_paid_twice(evidence: FakeEvidence) -> None:
    transfer = row(evidence, "processor.transfers", transfer_id="tr_u1")
    evidence.books["processor.transfers"].append({**transfer, "transfer_id": "tr_again", "created_at": PAID + HOUR})


@breaks("payouts.nobody_else_paid")
def somebody_who_had_left_was_paid(evidence: FakeEvidence) -> None:
    paid_at = row(evidence, "processor.transfers", user_id="u1")["created_at"]
    add(evidence, "entrants.actions", at=paid_at - HOUR, user_id="u1", action="deleted_account", result="ok")


@breaks("payouts.nobody_else_paid")
def money_went_to_somebody_who_did_not_win(evidence: FakeEvidence) -> None:
    evidence.books["processor.transfers"].append(
        {
            "transfer_id": "tr_x", "amount_cents": 700, "reversed_cents": 0, "destination": "acct_u4",
            "contest_id": "c1", "entry_id": None, "user_id": "u4", "caller": "founder:ada", "created_at": PAID,
        }
    )  # fmt: skip


@breaks("payouts.nobody_else_paid")
def a_prize_went_to_another_account(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u1")["destination"] = "acct_u4"


@breaks("payouts.nobody_else_paid")
def a_prize_went_to_another_customer(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u1").update(user_id="u4", destination="acct_u4")


def retry(evidence: FakeEvidence, **columns: Any) -> None:
    """The second attempt to pay u1, after an unknown outcome, was another one."""
    row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=2).update(columns)


@breaks("payouts.attempts_follow_idempotency")
def a_new_key_was_used_after_an_unknown_outcome(evidence: FakeEvidence) -> None:
    retry(evidence, idempotency_key="key-new")
    first = row(evidence, "processor.requests", idempotency_key="key-u1")
    first["object_id"] = None
    evidence.books["processor.requests"] = [
        one for one in evidence.books["processor.requests"] if one is first or one["idempotency_key"] != "key-u1"
    ]


@breaks("payouts.attempts_follow_idempotency")
def a_new_key_was_used_after_an_error_that_proves_nothing(evidence: FakeEvidence) -> None:
    a_new_key_was_used_after_an_unknown_outcome(evidence)
    row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=1)["outcome"] = "REJECTED"
    row(evidence, "processor.requests", idempotency_key="key-u1").update(status=400, error_code="idempotency_error")


@breaks("payouts.attempts_follow_idempotency")
def a_refusal_that_is_only_replayed_was_asked_for_again(evidence: FakeEvidence) -> None:
    row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=1)["outcome"] = "REJECTED"
    refused = {"status": 400, "error_code": "balance_insufficient", "object_id": None}
    row(evidence, "processor.requests", idempotency_key="key-u1", answered=False).update(refused)


@breaks("payouts.attempts_follow_idempotency")
def a_new_key_was_used_although_the_old_one_had_paid(evidence: FakeEvidence) -> None:
    retry(evidence, idempotency_key="key-new")
    row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=1)["outcome"] = "REJECTED"


@breaks("payouts.attempts_follow_idempotency")
def a_key_was_used_again_after_its_life(evidence: FakeEvidence) -> None:
    retry(evidence, sent_at=PAID + 25 * HOUR)


@breaks("payouts.attempts_follow_idempotency")
def another_request_was_sent_under_the_same_key(evidence: FakeEvidence) -> None:
    retry(evidence, request_hash="another")


@breaks("payouts.attempts_follow_idempotency")
def the_processor_saw_other_parameters_under_the_same_key(evidence: FakeEvidence) -> None:
    row(evidence, "processor.requests", idempotency_key="key-u1", answered=True)["request_hash"] = "another"


@breaks("payouts.attempts_follow_idempotency")
def an_attempt_left_no_trace_in_the_platform(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.transfer_attempts", transfer_id="tf-u3")


@breaks("payouts.attempts_follow_idempotency")
def a_request_was_sent_again_without_an_attempt(evidence: FakeEvidence) -> None:
    sent = row(evidence, "processor.requests", idempotency_key="key-u3")
    evidence.books["processor.requests"].append({**sent, "n": len(evidence.books["processor.requests"]) + 1})


@breaks("payouts.terminal_failures_have_reasons")
def a_payout_was_given_up_without_a_reason(evidence: FakeEvidence) -> None:
    row(evidence, "platform.transfers", transfer_id="tf-u2")["reason"] = None


@breaks("payouts.terminal_failures_have_reasons")
def a_payout_was_given_up_for_a_reason_the_processor_does_not_confirm(evidence: FakeEvidence) -> None:
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = "balance_insufficient"


@breaks("payouts.amounts_agree")
def the_processor_was_sent_another_amount(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u1")["amount_cents"] = 1


@breaks("payouts.amounts_agree")
def the_ledger_paid_another_amount(evidence: FakeEvidence) -> None:
    txn = row(evidence, "platform.ledger_transactions", business_key="paid:tf-u1")["txn_id"]
    row(evidence, "platform.ledger_postings", txn_id=txn, n=1)["amount_cents"] += 1


@breaks("payouts.amounts_agree")
def the_outcome_says_another_amount(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcomes", outcome_id="oc-u3")["prize_cents"] += 1
