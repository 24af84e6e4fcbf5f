"""Every assertion passes on an honest run and catches each of its own broken ones. Adding an assertion without a broken
run here fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from assertions.judge import discover
from assertions.model import REGISTRY, Result, Status, judge_one
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import COMPLETED, CUTOFF, END, HOUR, LOCK, PAID, SETTLED, T0, encode, plan, rechain, small_run

Break = Callable[[FakeEvidence], None]

BREAKS: list[tuple[str, Status, Break]] = []
ONLY_INCONCLUSIVE = {"absence.revocation_probed", "recovery.every_fault_bit"}
"""What was not exercised breaks no promise, it leaves one unproven."""


def breaks(assertion: str, status: Status = Status.FAIL) -> Callable[[Break], Break]:
    def register(change: Break) -> Break:
        BREAKS.append((assertion, status, change))
        return change

    return register


def row(evidence: FakeEvidence, book: str, **match: Any) -> dict[str, Any]:
    """The first row of a book that matches."""
    return next(r for r in evidence.books[book] if all(r.get(name) == value for name, value in match.items()))


def remove(evidence: FakeEvidence, book: str, **match: Any) -> None:
    evidence.books[book].remove(row(evidence, book, **match))


def add(evidence: FakeEvidence, book: str, **columns: Any) -> None:
    evidence.books[book].append({"n": len(evidence.books[book]) + 1, **columns})


def result(evidence: FakeEvidence, assertion: str) -> Result:
    discover()
    return judge_one(REGISTRY[assertion], evidence)  # type: ignore[arg-type]


# --- audit ---------------------------------------------------------------------------------------------------------


@breaks("audit.chain_holds")
def a_row_was_altered(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"][5]["actor"] = "system:nobody"


@breaks("audit.chain_holds")
def a_row_was_deleted(evidence: FakeEvidence) -> None:
    del evidence.books["platform.audit_log"][5]


@breaks("audit.chain_holds")
def a_row_was_deleted_and_the_rest_numbered_anew(evidence: FakeEvidence) -> None:
    log = evidence.books["platform.audit_log"]
    del log[5]
    for seq, one in enumerate(log, 1):
        one["seq"] = seq


@breaks("audit.head_matches_anchor")
def the_tail_was_cut_off(evidence: FakeEvidence) -> None:
    del evidence.books["platform.audit_log"][-3:]


@breaks("audit.head_matches_anchor")
def the_log_was_written_anew(evidence: FakeEvidence) -> None:
    heads = evidence.books["anchor.heads"]
    evidence.books["platform.audit_log"][5]["actor"] = "system:nobody"
    rechain(evidence)
    evidence.books["anchor.heads"] = heads


@breaks("audit.head_matches_anchor")
def the_anchor_was_left_alone_for_a_day(evidence: FakeEvidence) -> None:
    for head in evidence.books["anchor.heads"][-20:]:
        head["at"] += 24 * HOUR


@breaks("audit.head_matches_anchor")
def the_last_rows_were_never_anchored(evidence: FakeEvidence) -> None:
    del evidence.books["anchor.heads"][-20:]


@breaks("audit.rows_match_images")
def a_row_was_edited_by_hand(evidence: FakeEvidence) -> None:
    row(evidence, "platform.transfers", transfer_id="tf-u1")["amount_cents"] += 1


@breaks("audit.rows_match_images")
def a_score_was_edited_from_minus_one_to_minus_two(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcomes", outcome_id="oc-u1")["score"] = -2


@breaks("audit.rows_match_images")
def a_row_was_inserted_without_audit(evidence: FakeEvidence) -> None:
    evidence.books["platform.users"].append({"user_id": "u9"})


@breaks("audit.rows_match_images")
def a_row_was_deleted_by_hand(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.webhook_inbox", event_id="evt_c1-u1")


@breaks("audit.rows_match_images")
def a_posting_was_edited(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_postings"][0]["amount_cents"] += 1


@breaks("audit.rows_match_images")
def a_transaction_was_posted_without_audit(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_transactions"].append(
        {"txn_id": 999, "business_key": "prize:x", "kind": "prize", "at": PAID}
    )


@breaks("audit.rows_match_images")
def a_transaction_has_gone(evidence: FakeEvidence) -> None:
    gone = evidence.books["platform.ledger_transactions"].pop()["txn_id"]
    postings = evidence.books["platform.ledger_postings"]
    evidence.books["platform.ledger_postings"] = [one for one in postings if one["txn_id"] != gone]


@breaks("audit.rows_match_images")
def a_receipt_was_edited(evidence: FakeEvidence) -> None:
    evidence.books["platform.ingestion_receipts"][3]["strokes"] += 1


@breaks("audit.rows_match_images")
def a_batch_was_edited(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_batches", batch_id=2)["admitted"] += 1


@breaks("audit.rows_match_images")
def a_row_was_inserted_twice_in_the_log(evidence: FakeEvidence) -> None:
    inserted = row(evidence, "platform.audit_log", action="users.insert")
    log = evidence.books["platform.audit_log"]
    log.append({**inserted, "seq": len(log) + 1, "at": PAID})
    rechain(evidence)


@breaks("audit.external_effects_are_audited")
def a_transfer_was_made_and_not_recorded(evidence: FakeEvidence) -> None:
    transfer = row(evidence, "processor.transfers", transfer_id="tr_u1")
    evidence.books["processor.transfers"].append({**transfer, "transfer_id": "tr_other"})


@breaks("audit.external_effects_are_audited")
def a_refund_was_made_and_not_recorded(evidence: FakeEvidence) -> None:
    refund = evidence.books["processor.refunds"][0]
    evidence.books["processor.refunds"].append({**refund, "refund_id": "re_other"})


@breaks("audit.every_row_has_a_cause")
def a_row_has_no_cause(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"][5]["cause"] = None


@breaks("audit.every_row_has_a_cause")
def a_cause_is_not_in_the_journal(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"][5]["cause"] = "e9999"


@breaks("audit.every_row_has_a_cause")
def a_cause_came_after_its_effect(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"][5]["cause"] = f"e{len(evidence.events)}"


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


@breaks("ledger.participants_balances")
def a_prize_is_in_the_wrong_account(evidence: FakeEvidence) -> None:
    post(evidence, "x:1", ("liabilities:prize_payable:c1:u2", 10), ("liabilities:prize_payable:c1:u3", -10))


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


# --- absence -------------------------------------------------------------------------------------------------------


def identify(evidence: FakeEvidence, at: int, action: str, principal: str, allowed: bool) -> None:
    add(evidence, "identity.events", at=at, action=action, principal=principal, allowed=allowed)


@breaks("absence.identity")
def a_founder_logged_in(evidence: FakeEvidence) -> None:
    identify(evidence, PAID, "login", "founder:ada", True)


@breaks("absence.identity")
def an_engineer_nobody_knew_logged_in(evidence: FakeEvidence) -> None:
    identify(evidence, PAID, "login", "engineer:eve", True)


@breaks("absence.identity")
def a_founder_came_in_the_moment_he_was_revoked(evidence: FakeEvidence) -> None:
    identify(evidence, T0, "login", "founder:ada", True)


@breaks("absence.identity", Status.INCONCLUSIVE)
def an_engineer_was_never_revoked(evidence: FakeEvidence) -> None:
    remove(evidence, "identity.events", action="revoked", principal="engineer:bob")


def access(evidence: FakeEvidence, principal: str | None, allowed: bool) -> None:
    add(evidence, "platform.access_log", at=PAID, principal=principal, action="GET", resource="/x", allowed=allowed)


@breaks("absence.access_log")
def the_platform_let_a_founder_in(evidence: FakeEvidence) -> None:
    access(evidence, "founder:ada", True)


@breaks("absence.access_log")
def the_platform_let_somebody_in_without_asking_who(evidence: FakeEvidence) -> None:
    access(evidence, None, True)


@breaks("absence.access_log")
def the_platform_let_in_an_operator_who_is_not_on_shift(evidence: FakeEvidence) -> None:
    access(evidence, "ops:mallory", True)


@breaks("absence.database_sessions")
def a_founder_opened_a_database_session(evidence: FakeEvidence) -> None:
    add(
        evidence, "database.sessions", at=PAID, principal="founder:ada", role="superuser", purpose="edit", statements=1,
        writes=1,
    )  # fmt: skip


@breaks("absence.database_sessions")
def ops_opened_a_database_session(evidence: FakeEvidence) -> None:
    add(
        evidence, "database.sessions", at=PAID, principal="ops:kim", role="reader", purpose="look", statements=1,
        writes=0,
    )  # fmt: skip


@breaks("absence.processor_dashboard")
def a_founder_sent_money_from_the_dashboard(evidence: FakeEvidence) -> None:
    add(
        evidence, "processor.requests", at=PAID, caller="founder:ada", operation="transfers.create", status=200,
        object_id="tr_x",
    )  # fmt: skip


@breaks("absence.processor_dashboard")
def a_refund_was_made_by_a_human_without_a_request(evidence: FakeEvidence) -> None:
    evidence.books["processor.refunds"][0]["caller"] = "founder:ada"


@breaks("absence.revocation_probed", Status.INCONCLUSIVE)
def nobody_tried_the_revoked_credential(evidence: FakeEvidence) -> None:
    remove(evidence, "identity.events", action="denied", principal="founder:ada")


@breaks("absence.revocation_probed", Status.INCONCLUSIVE)
def the_platform_never_saw_the_probe(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.access_log", allowed=False, principal="engineer:bob")


@breaks("absence.revocation_probed", Status.INCONCLUSIVE)
def the_probe_came_only_days_later(evidence: FakeEvidence) -> None:
    row(evidence, "platform.access_log", allowed=False, principal="engineer:bob")["at"] += 48 * HOUR


@breaks("absence.fingerprints_constant")
def the_code_changed(evidence: FakeEvidence) -> None:
    row(evidence, "deployment.fingerprints", at=END, what="code")["sha256"] = "f" * 64


@breaks("absence.fingerprints_constant")
def the_configuration_changed_and_changed_back(evidence: FakeEvidence) -> None:
    add(evidence, "deployment.fingerprints", at=PAID, what="configuration", sha256="f" * 64)


@breaks("absence.fingerprints_constant", Status.INCONCLUSIVE)
def the_schema_was_not_looked_at_in_the_end(evidence: FakeEvidence) -> None:
    remove(evidence, "deployment.fingerprints", at=END, what="schema")


@breaks("absence.changes_trace_to_the_system")
def a_founder_changed_a_contest(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="contests.update")["actor"] = "founder:ada"


@breaks("absence.changes_trace_to_the_system")
def ops_settled_a_pack(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="settlement_packs.update")["actor"] = "ops:kim"


@breaks("absence.changes_trace_to_the_system")
def a_customer_made_a_transfer(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="transfers.insert")["actor"] = "customer:u1"


# --- lifecycle -----------------------------------------------------------------------------------------------------


def transition(evidence: FakeEvidence, contest: str, status: str) -> dict[str, Any]:
    """The audit row with which a contest entered a state."""
    return next(
        one
        for one in evidence.books["platform.audit_log"]
        if one["subject"] == f"contests/{contest}" and json.loads(one["after"]).get("status") == status
    )


@breaks("lifecycle.states_in_order")
def a_contest_left_out_a_state(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"].remove(transition(evidence, "c1", "LIVE"))


@breaks("lifecycle.states_in_order")
def a_contest_went_into_error(evidence: FakeEvidence) -> None:
    transition(evidence, "c1", "SETTLED")["after"] = encode({"status": "ERROR"})


@breaks("lifecycle.states_in_order")
def a_contest_is_in_a_state_that_nobody_audited(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c1")["status"] = "SETTLED"


@breaks("lifecycle.states_in_order", Status.INCONCLUSIVE)
def a_contest_stopped_half_way(evidence: FakeEvidence) -> None:
    for status in ("PAID_OUT", "SETTLED"):
        evidence.books["platform.audit_log"].remove(transition(evidence, "c1", status))
    row(evidence, "platform.contests", contest_id="c1")["status"] = "COMPLETE"


@breaks("lifecycle.on_time")
def a_contest_locked_three_minutes_late(evidence: FakeEvidence) -> None:
    transition(evidence, "c1", "LOCKED")["at"] = LOCK + 180_000


@breaks("lifecycle.on_time")
def a_contest_was_settled_before_its_cutoff(evidence: FakeEvidence) -> None:
    transition(evidence, "c1", "SETTLED")["at"] = CUTOFF - 1


@breaks("lifecycle.on_time")
def a_contest_was_complete_only_after_an_hour(evidence: FakeEvidence) -> None:
    transition(evidence, "c1", "COMPLETE")["at"] = COMPLETED + HOUR


@breaks("lifecycle.on_time")
def a_contest_was_never_paid_out(evidence: FakeEvidence) -> None:
    evidence.books["platform.audit_log"].remove(transition(evidence, "c1", "PAID_OUT"))


@breaks("lifecycle.on_time")
def a_contest_was_cancelled_a_day_late(evidence: FakeEvidence) -> None:
    transition(evidence, "c2", "CANCELLED")["at"] += 24 * HOUR


@breaks("lifecycle.every_contest_ends")
def a_contest_is_stuck(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c1")["status"] = "SETTLED"


@breaks("lifecycle.every_contest_ends")
def a_contest_does_not_exist(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.contests", contest_id="c1")


@breaks("lifecycle.cancelled_are_refunded")
def a_refund_was_only_partial(evidence: FakeEvidence) -> None:
    row(evidence, "processor.refunds", refund_id="re_c2-u1")["amount_cents"] -= 1


@breaks("lifecycle.cancelled_are_refunded")
def a_refund_was_made_twice(evidence: FakeEvidence) -> None:
    refund = row(evidence, "processor.refunds", refund_id="re_c2-u1")
    evidence.books["processor.refunds"].append({**refund, "refund_id": "re_again"})


@breaks("lifecycle.cancelled_are_refunded")
def a_late_payment_was_kept(evidence: FakeEvidence) -> None:
    remove(evidence, "processor.refunds", refund_id="re_c1-u4")


@breaks("lifecycle.cancelled_are_refunded")
def a_contest_that_should_have_run_was_cancelled_without_refunds(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c1")["status"] = "CANCELLED"


@breaks("lifecycle.under_minimum_is_cancelled_guaranteed_runs")
def a_full_contest_was_cancelled(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c1")["status"] = "CANCELLED"


@breaks("lifecycle.under_minimum_is_cancelled_guaranteed_runs")
def a_contest_below_its_minimum_ran(evidence: FakeEvidence) -> None:
    row(evidence, "platform.contests", contest_id="c2")["status"] = "PAID_OUT"


@breaks("lifecycle.under_minimum_is_cancelled_guaranteed_runs")
def a_guaranteed_contest_was_cancelled(evidence: FakeEvidence) -> None:
    small = evidence.plan.contests[1].model_copy(update={"guaranteed_cents": 2_000})
    evidence.plan = evidence.plan.model_copy(update={"contests": [evidence.plan.contests[0], small]})


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


# --- ingestion -----------------------------------------------------------------------------------------------------


@breaks("ingestion.every_publication_has_a_receipt")
def a_publication_was_missed(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.ingestion_receipts", batch_id=2, golfer_id="g1", hole=1)
    remove(evidence, "platform.ingestion_receipts", batch_id=3, golfer_id="g1", hole=1)


@breaks("ingestion.every_publication_has_a_receipt")
def a_correction_was_missed(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.ingestion_receipts", verdict="CORRECTION")


@breaks("ingestion.scores_equal_official")
def a_score_is_not_the_official_one(evidence: FakeEvidence) -> None:
    row(evidence, "platform.hole_scores", golfer_id="g2", hole=1)["strokes"] = 4


@breaks("ingestion.scores_equal_official")
def a_score_is_missing(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.hole_scores", golfer_id="g2", hole=1)


@breaks("ingestion.scores_equal_official")
def a_score_was_made_up(evidence: FakeEvidence) -> None:
    score = row(evidence, "platform.hole_scores", golfer_id="g2", hole=1)
    evidence.books["platform.hole_scores"].append({**score, "round": 2})


@breaks("ingestion.official_at_cutoff")
def an_outcome_has_another_prize(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcomes", outcome_id="oc-u1")["prize_cents"] += 1


@breaks("ingestion.official_at_cutoff")
def an_outcome_is_missing(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.outcomes", outcome_id="oc-u1")


@breaks("ingestion.official_at_cutoff")
def somebody_who_paid_late_has_an_outcome(evidence: FakeEvidence) -> None:
    outcome = row(evidence, "platform.outcomes", outcome_id="oc-u1")
    evidence.books["platform.outcomes"].append({**outcome, "outcome_id": "oc-u4", "entry_id": "en-c1-u4"})


@breaks("ingestion.official_at_cutoff")
def the_correction_before_the_cutoff_was_not_taken(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcomes", outcome_id="oc-u2")["score"] = 0


@breaks("ingestion.replay_reproduces")
def a_score_has_no_receipt(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.ingestion_receipts", batch_id=2, golfer_id="g1", hole=2)


@breaks("ingestion.replay_reproduces")
def a_correction_was_not_applied(evidence: FakeEvidence) -> None:
    row(evidence, "platform.hole_scores", golfer_id="g2", hole=1)["strokes"] = 4


@breaks("ingestion.replay_reproduces")
def an_admitted_hole_has_no_score(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.hole_scores", golfer_id="g1", hole=1)


@breaks("ingestion.no_quarantine_left")
def a_quarantine_was_never_resolved(evidence: FakeEvidence) -> None:
    evidence.books["platform.quarantine_resolutions"].clear()


@breaks("ingestion.no_quarantine_left")
def a_quarantine_was_resolved_by_itself(evidence: FakeEvidence) -> None:
    evidence.books["platform.quarantine_resolutions"][0]["resolved_by_batch_id"] = 1


@breaks("ingestion.nothing_rejected_silently")
def a_quarantine_has_no_reason(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", verdict="QUARANTINE")["reason"] = ""


@breaks("ingestion.nothing_rejected_silently")
def a_batch_counts_a_receipt_that_is_not_there(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.ingestion_receipts", verdict="DUPLICATE")


@breaks("ingestion.nothing_rejected_silently")
def a_receipt_belongs_to_no_batch(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.ingestion_batches", batch_id=1)


@breaks("ingestion.no_readmission")
def a_hole_was_admitted_again(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", verdict="DUPLICATE")["verdict"] = "ADMIT"


# --- settlement ----------------------------------------------------------------------------------------------------


@breaks("settlement.packs_are_terminal")
def a_pack_is_pending(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1").update(status="PENDING", terminalized_at=None)


@breaks("settlement.packs_are_terminal")
def a_pack_was_settled_by_somebody_else(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1")["settled_by"] = "ops:kim"


@breaks("settlement.packs_are_terminal")
def the_audit_says_that_somebody_else_settled_a_pack(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="settlement_packs.update")["actor"] = "system:contests"


@breaks("settlement.packs_are_terminal")
def an_entry_has_two_packs(evidence: FakeEvidence) -> None:
    pack = row(evidence, "platform.settlement_packs", pack_id="pk-u1")
    evidence.books["platform.settlement_packs"].append({**pack, "pack_id": "pk-x"})


@breaks("settlement.packs_are_terminal", Status.INCONCLUSIVE)
def an_entry_has_no_pack(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.settlement_packs", pack_id="pk-u1")


@breaks("settlement.executed_packs_are_linked")
def a_pack_was_executed_without_a_link(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.outcome_pack_links", pack_id="pk-u1")


@breaks("settlement.executed_packs_are_linked")
def a_pack_was_executed_with_the_outcome_of_another(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcome_pack_links", pack_id="pk-u1")["outcome_id"] = "oc-u2"


@breaks("settlement.executed_packs_are_linked")
def a_pack_failed_without_a_post_mortem(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1").update(status="FAILED", fail_reason_code="no_account")


@breaks("settlement.evidence_recomputes")
def an_evidence_hash_is_of_another_prize(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")["settlement_evidence_hash"] = "0" * 64


@breaks("settlement.evidence_recomputes")
def a_pack_was_settled_on_other_scores(evidence: FakeEvidence) -> None:
    outcome = row(evidence, "platform.outcomes", outcome_id="oc-u1")
    outcome["scores_hash"] = sha256(b"other").hexdigest()
    body = {
        "pack_id": "pk-u1", "contest_id": "c1", "entry_id": "en-c1-u1", "outcome_id": "oc-u1", "score": outcome["score"],
        "place": 1, "prize_cents": 1_350, "scores_hash": outcome["scores_hash"],
    }  # fmt: skip
    log = row(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")
    log["settlement_evidence_hash"] = sha256(encode(body).encode()).hexdigest()


@breaks("settlement.evidence_recomputes")
def a_terminal_pack_is_not_in_the_log(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")


@breaks("settlement.evidence_recomputes")
def a_pack_was_executed_twice(evidence: FakeEvidence) -> None:
    log = row(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")
    evidence.books["platform.outcome_settlement_log"].append({**log, "settlement_id": "st-x"})


# --- recovery ------------------------------------------------------------------------------------------------------


@breaks("recovery.every_fault_bit", Status.INCONCLUSIVE)
def a_fault_never_acted(evidence: FakeEvidence) -> None:
    remove(evidence, "injector.bites", fault_id="f1")


@breaks("recovery.every_fault_bit", Status.INCONCLUSIVE)
def the_victim_does_not_confirm_the_fault(evidence: FakeEvidence) -> None:
    row(evidence, "processor.requests", idempotency_key="key-u1", answered=False)["answered"] = True


@breaks("recovery.every_fault_bit", Status.INCONCLUSIVE)
def only_another_victim_shows_the_fault(evidence: FakeEvidence) -> None:
    row(evidence, "injector.bites", fault_id="f2")["victim"] = "77"


@breaks("recovery.converged")
def a_payout_is_pending(evidence: FakeEvidence) -> None:
    row(evidence, "platform.transfers", transfer_id="tf-u1")["status"] = "RETRYABLE"


@breaks("recovery.converged")
def a_refund_is_pending(evidence: FakeEvidence) -> None:
    evidence.books["platform.refunds"][0]["status"] = "PENDING"


@breaks("recovery.converged")
def an_entry_is_neither_valid_nor_abandoned(evidence: FakeEvidence) -> None:
    evidence.books["platform.entries"][0]["status"] = "PENDING_PAYMENT"


@breaks("recovery.converged")
def a_webhook_waits(evidence: FakeEvidence) -> None:
    evidence.books["platform.webhook_inbox"][0]["status"] = "WAITING"


@breaks("recovery.converged")
def a_settlement_pack_is_left(evidence: FakeEvidence) -> None:
    evidence.books["platform.settlement_packs"][0]["status"] = "PENDING"


@breaks("recovery.orders_end")
def an_order_is_stuck(evidence: FakeEvidence) -> None:
    evidence.books["platform.remediation_orders"][0].update(status="DELIVERED", finished_at=None)


@breaks("recovery.orders_end", Status.INCONCLUSIVE)
def no_order_was_issued_for_a_crash(evidence: FakeEvidence) -> None:
    evidence.books["platform.remediation_orders"].clear()


# --- what holds for all --------------------------------------------------------------------------------------------


discover()


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_each_assertion_passes_on_an_honest_run_and_has_seen_what_it_owed(assertion: str) -> None:
    found = result(small_run(), assertion)
    assert (found.status, found.broken, found.missing) == (Status.PASS, (), ())
    assert found.saw >= found.owed


@pytest.mark.parametrize(
    ("assertion", "status", "change"), BREAKS, ids=[f"{change.__name__}-{name}" for name, _, change in BREAKS]
)
def test_each_assertion_catches_the_runs_that_break_it(assertion: str, status: Status, change: Break) -> None:
    evidence = small_run()
    change(evidence)
    found = result(evidence, assertion)
    assert found.status is status, (found.broken, found.missing)
    if status is Status.FAIL:
        assert all(broken.message and broken.subject for broken in found.broken)
    else:
        assert found.missing or found.saw < found.owed
        assert not any("the assertion itself failed" in what for what in found.missing)


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_no_assertion_is_without_a_run_that_breaks_it(assertion: str) -> None:
    caught = {status for name, status, _ in BREAKS if name == assertion}
    assert (Status.INCONCLUSIVE if assertion in ONLY_INCONCLUSIVE else Status.FAIL) in caught


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_no_assertion_passes_on_empty_books(assertion: str) -> None:
    assert result(FakeEvidence(plan()), assertion).status is not Status.PASS


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_an_assertion_that_is_owed_nothing_and_sees_nothing_is_not_applicable(assertion: str) -> None:
    nothing = plan().model_copy(
        update={"principals": [], "tournaments": [], "contests": [], "entrants": [], "entries": [], "faults": []}
    )
    found = result(FakeEvidence(nothing), assertion)
    # What code ran has to be known even of a run in which nothing was planned.
    expected = Status.INCONCLUSIVE if assertion == "absence.fingerprints_constant" else Status.NOT_APPLICABLE
    assert (found.status, found.missing) == (expected, ())


def test_the_platforms_own_books_do_not_decide_how_much_there_is_to_see() -> None:
    """A platform that recorded nothing at all owes as much as an honest one."""
    honest, silent = small_run(), small_run()
    for book in silent.books:
        if book.startswith("platform."):
            silent.books[book] = []
    for assertion in sorted(REGISTRY):
        was, now = result(honest, assertion), result(silent, assertion)
        assert now.status is not Status.PASS or not was.owed, assertion
        assert now.owed == was.owed, assertion


def test_what_broke_is_told_with_who_what_when_and_how_much() -> None:
    evidence = small_run()
    a_winner_was_forgotten(evidence)
    [broken] = result(evidence, "payouts.right_people_right_amounts").broken
    assert broken.message == "u1 won $13.50 in c1 (place 1) and received $0.00"
    assert (broken.subject, broken.at, broken.money_cents) == ("entries/en-c1-u1", CUTOFF, 1_350)


def test_an_edited_row_is_told_by_column_with_the_money_that_was_moved() -> None:
    evidence = small_run()
    row(evidence, "platform.transfers", transfer_id="tf-u1")["amount_cents"] += 500
    [broken] = result(evidence, "audit.rows_match_images").broken
    assert broken.message == "transfers/tf-u1: amount_cents is $18.50, audited as $13.50"
    assert broken.money_cents == 500


def test_a_fault_at_work_puts_a_bound_off_and_a_violation_does_not() -> None:
    late = small_run()
    transition(late, "c1", "LOCKED")["at"] = LOCK + HOUR
    rechain(late)
    assert result(late, "lifecycle.on_time").status is Status.FAIL
    [fault, *others] = late.plan.faults
    outage = {"from_at": LOCK - HOUR, "until_at": LOCK + 60_000}
    for kind, expected in (("fault", Status.PASS), ("violation", Status.FAIL)):
        excused = small_run()
        transition(excused, "c1", "LOCKED")["at"] = LOCK + HOUR
        rechain(excused)
        changed = fault.model_copy(update={**outage, "kind": kind})
        excused.plan = excused.plan.model_copy(update={"faults": [changed, *others]})
        excused.books["injector.bites"] = [one for one in excused.books["injector.bites"] if one["fault_id"] != "f1"]
        assert result(excused, "lifecycle.on_time").status is expected, kind


def test_a_correction_after_the_cutoff_changes_neither_prizes_nor_what_has_to_be_received() -> None:
    evidence = small_run()
    add(
        evidence, "provider.publications", event_id="ev1", revision=4, published_at=CUTOFF + 1, golfer_id="g1", round=1,
        hole=1, strokes=9, correction=True,
    )  # fmt: skip
    for assertion in sorted(REGISTRY):
        assert result(evidence, assertion).status is Status.PASS, assertion


def test_a_new_key_after_an_unknown_outcome_is_right_once_a_look_up_has_proved_absence() -> None:
    evidence = small_run()
    a_new_key_was_used_after_an_unknown_outcome(evidence)
    attempt = row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=2)
    add(evidence, "processor.requests", at=attempt["sent_at"], caller="platform", operation="transfers.list", status=200)
    assert result(evidence, "payouts.attempts_follow_idempotency").broken == ()


def test_a_deleted_customer_confirms_that_his_payout_was_given_up() -> None:
    evidence = small_run()
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = None
    assert result(evidence, "payouts.terminal_failures_have_reasons").status is Status.FAIL
    evidence = small_run()
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = None
    add(evidence, "entrants.actions", at=SETTLED, user_id="u2", action="delete_account", result="done")
    assert result(evidence, "payouts.terminal_failures_have_reasons").status is Status.PASS
    assert result(evidence, "payouts.right_people_right_amounts").status is Status.PASS
