"""Broken audit trails, absences and lifecycles."""

from __future__ import annotations

import json
from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.scribe import encode, rechain
from tests.support.small_run import COMPLETED, CUTOFF, END, HOUR, LOCK, PAID, T0

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
def a_golfer_was_disqualified_without_an_audit_row(evidence: FakeEvidence) -> None:
    row(evidence, "platform.golfers", golfer_id="g1")["status"] = "disqualified"


@breaks("audit.rows_match_images")
def a_golfer_was_taken_out_of_the_field(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.golfers", golfer_id="g1")


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
    remove(evidence, "platform.users", user_id="u1")


@breaks("audit.rows_match_images")
def a_posting_was_edited(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_postings"][0]["amount_cents"] += 1


@breaks("audit.rows_match_images")
def two_postings_were_edited_against_each_other(evidence: FakeEvidence) -> None:
    debit, credit = evidence.books["platform.ledger_postings"][:2]
    debit["amount_cents"] += 100
    credit["amount_cents"] -= 100


@breaks("audit.rows_match_images")
def a_transaction_was_posted_without_audit(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_transactions"].append(
        {"txn_id": 999, "business_key": "prize:x", "kind": "prize", "at": PAID}
    )


@breaks("audit.rows_match_images")
def a_transaction_was_given_another_cause(evidence: FakeEvidence) -> None:
    evidence.books["platform.ledger_transactions"][0]["cause"] = evidence.events[-1].id


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
def somebody_used_a_services_login_as_superuser(evidence: FakeEvidence) -> None:
    add(
        evidence, "database.sessions", at=T0, principal="system:payouts", role="superuser", purpose="look", statements=1
    )


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
    remove(evidence, "identity.events", action="introspected", principal="founder:ada")


@breaks("absence.revocation_probed")
def the_platform_has_no_refusal_of_a_probe(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.access_log", allowed=False, principal="engineer:bob")


@breaks("absence.revocation_probed")
def the_refusal_of_a_probe_came_only_days_later(evidence: FakeEvidence) -> None:
    row(evidence, "platform.access_log", allowed=False, principal="engineer:bob")["at"] += 48 * HOUR


@breaks("absence.revocation_probed")
def a_revoked_credential_was_let_in(evidence: FakeEvidence) -> None:
    row(evidence, "platform.access_log", allowed=False, principal="engineer:bob")["allowed"] = True


@breaks("absence.fingerprints_constant")
def the_code_changed(evidence: FakeEvidence) -> None:
    row(evidence, "deployment.fingerprints", at=END, what="code")["sha256"] = "f" * 64


@breaks("absence.fingerprints_constant")
def the_configuration_changed_and_changed_back(evidence: FakeEvidence) -> None:
    add(evidence, "deployment.fingerprints", at=PAID, what="configuration", sha256="f" * 64)


@breaks("absence.fingerprints_constant")
def a_founder_changed_the_configuration_between_two_looks(evidence: FakeEvidence) -> None:
    add(
        evidence, "deployment.changes", at=PAID, principal="founder:ada", what="configuration", before_sha256="a" * 64,
        after_sha256="b" * 64,
    )  # fmt: skip


@breaks("lifecycle.customers_are_let_in")
def a_customer_with_a_good_token_was_turned_away(evidence: FakeEvidence) -> None:
    identify(evidence, T0, "issued", "customer:u1", True)
    add(evidence, "entrants.actions", at=PAID, user_id="u1", action="refused", result="issued in the future")


@breaks("lifecycle.customers_are_let_in", Status.INCONCLUSIVE)
def nobody_knows_what_customers_were_told(evidence: FakeEvidence) -> None:
    evidence.books["entrants.actions"] = []


@breaks("absence.denials_recorded")
def a_denial_was_not_written_down(evidence: FakeEvidence) -> None:
    identify(evidence, PAID, "introspected", "founder:ada", False)


@breaks("absence.denials_recorded")
def a_denial_was_written_down_an_hour_later(evidence: FakeEvidence) -> None:
    identify(evidence, PAID - HOUR, "introspected", "founder:ada", False)
    access(evidence, "founder:ada", False)


@breaks("absence.denials_recorded", Status.INCONCLUSIVE)
def nobody_asked_what_a_revoked_credential_was_worth(evidence: FakeEvidence) -> None:
    remove(evidence, "identity.events", action="introspected", principal="founder:ada")


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


@breaks("lifecycle.paid_out_means_paid")
def a_payout_ended_after_its_contest_was_paid_out(evidence: FakeEvidence) -> None:
    row(evidence, "platform.transfers", transfer_id="tf-u1")["done_at"] += HOUR


@breaks("lifecycle.paid_out_means_paid")
def the_processor_sent_a_payout_after_its_contest_was_paid_out(evidence: FakeEvidence) -> None:
    row(evidence, "processor.transfers", transfer_id="tr_u1")["created_at"] += HOUR


@breaks("lifecycle.paid_out_means_paid", Status.INCONCLUSIVE)
def a_contest_stayed_settled(evidence: FakeEvidence) -> None:
    transition(evidence, "c1", "PAID_OUT")["after"] = encode({"status": "SETTLED"})


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
