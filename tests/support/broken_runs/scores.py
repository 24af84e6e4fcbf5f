"""Broken ingestions, settlements and recoveries."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.scribe import encode
from tests.support.small_run import CUTOFF, DAY, END, HOUR, OVER, PAID

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


@breaks("ingestion.statuses_equal_official")
def a_golfer_has_withdrawn_and_the_platform_does_not_know(evidence: FakeEvidence) -> None:
    add(
        evidence, "provider.statuses", event_id="ev1", revision=2, published_at=OVER, golfer_id="g3", status="withdrawn"
    )


@breaks("ingestion.statuses_equal_official", Status.INCONCLUSIVE)
def a_golfer_is_not_in_the_field(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.golfers", golfer_id="g3")


@breaks("ingestion.resumes_from_checkpoint")
def a_restarted_worker_asked_for_everything_again(evidence: FakeEvidence) -> None:
    add(evidence, "provider.requests", at=CUTOFF - HOUR, event_id="ev1", status=200, revision=3, cells=6)


@breaks("ingestion.resumes_from_checkpoint", Status.INCONCLUSIVE)
def every_poll_asked_for_everything(evidence: FakeEvidence) -> None:
    for request in evidence.books["provider.requests"]:
        request["since_revision"] = None


@breaks("ingestion.scores_are_audited")
def an_audit_found_a_mismatch(evidence: FakeEvidence) -> None:
    evidence.books["platform.score_audits"][0]["mismatches"] = 1


def rotten(evidence: FakeEvidence, audit: int, mismatches: int = 1) -> None:
    """One score turns over on the disk just before this audit, counted from 0, which finds so many wrong."""
    found = evidence.books["platform.score_audits"][audit]
    found["mismatches"] = mismatches
    add(evidence, "injector.bites", at=found["at"] - 1, fault="platform.score_rotten", fault_id="f9", seam="database",
        operation="rot", entity=found["tournament_id"], effect="Action", victim=found["tournament_id"])  # fmt: skip


@breaks("ingestion.scores_are_audited")
def an_audit_found_more_wrong_than_a_disk_had_made(evidence: FakeEvidence) -> None:
    rotten(evidence, 0, mismatches=2)


@breaks("ingestion.scores_are_audited")
def what_a_disk_had_made_wrong_was_never_put_right(evidence: FakeEvidence) -> None:
    rotten(evidence, 1)


@breaks("ingestion.scores_are_audited")
def nobody_audited_the_scores_of_a_day(evidence: FakeEvidence) -> None:
    evidence.books["platform.score_audits"].pop()


@breaks("ingestion.scores_are_audited")
def the_scores_of_a_day_were_audited_only_two_nights_later(evidence: FakeEvidence) -> None:
    evidence.books["platform.score_audits"][0]["at"] += DAY


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
def a_status_is_in_the_wrong_case(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1")["status"] = "executed"


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


@breaks("settlement.packs_are_terminal")
def a_pack_ended_after_its_contest_was_settled(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1")["terminalized_at"] += HOUR


@breaks("settlement.waits_for_official_scores")
def nobody_asked_the_provider_after_the_cutoff(evidence: FakeEvidence) -> None:
    remove(evidence, "provider.requests", at=CUTOFF + 60_000)


@breaks("settlement.waits_for_official_scores")
def only_news_were_asked_for_after_the_cutoff(evidence: FakeEvidence) -> None:
    row(evidence, "provider.requests", at=CUTOFF + 60_000)["since_revision"] = 3


@breaks("settlement.waits_for_official_scores")
def the_provider_was_down_after_the_cutoff(evidence: FakeEvidence) -> None:
    row(evidence, "provider.requests", at=CUTOFF + 60_000)["status"] = 503


@breaks("settlement.executed_packs_are_linked")
def a_pack_was_executed_without_a_link(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.outcome_pack_links", pack_id="pk-u1")


@breaks("settlement.executed_packs_are_linked")
def a_pack_was_executed_with_the_outcome_of_another(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcome_pack_links", pack_id="pk-u1")["outcome_id"] = "oc-u2"


@breaks("settlement.executed_packs_are_linked")
def a_pack_failed_without_a_post_mortem(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1").update(status="FAILED", fail_reason_code="no_account")


def failed_because(evidence: FakeEvidence, of_the_pack: str | None, of_the_post_mortem: str | None) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1").update(status="FAILED", fail_reason_code=of_the_pack)
    evidence.books["platform.post_mortem_settlement"].append(
        {"pack_id": "pk-u1", "fail_reason_code": of_the_post_mortem, "detail": "x", "at": PAID}
    )


@breaks("settlement.executed_packs_are_linked")
def a_failure_has_no_reason(evidence: FakeEvidence) -> None:
    failed_because(evidence, None, "no_account")


@breaks("settlement.executed_packs_are_linked")
def a_post_mortem_has_no_reason(evidence: FakeEvidence) -> None:
    failed_because(evidence, "no_account", None)


@breaks("settlement.evidence_recomputes")
def an_evidence_hash_is_of_another_prize(evidence: FakeEvidence) -> None:
    row(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")["settlement_evidence_hash"] = "0" * 64


@breaks("settlement.evidence_recomputes")
def a_pack_was_settled_on_other_scores(evidence: FakeEvidence) -> None:
    outcome = row(evidence, "platform.outcomes", outcome_id="oc-u1")
    outcome["scores_hash"] = sha256(b"other").hexdigest()
    body = {
        "pack_id": "pk-u1", "contest_id": "c1", "entry_id": "en-c1-u1", "outcome_id": "oc-u1",
        "score": outcome["score"], "place": 1, "prize_cents": 1_350, "scores_hash": outcome["scores_hash"],
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


def lease_lasts_until(evidence: FakeEvidence, at: int) -> None:
    evidence.books["platform.leases"][0]["expires_at"] = at


@breaks("settlement.nothing_left_behind")
def a_pack_was_left_waiting(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1").update(status="PENDING", terminalized_at=None)


@breaks("settlement.nothing_left_behind")
def a_settlement_was_left_running(evidence: FakeEvidence) -> None:
    evidence.books["platform.settlement_audit"][0].update(status="RUNNING", finished_at=None)


@breaks("settlement.nothing_left_behind")
def a_contest_was_settled_a_second_time(evidence: FakeEvidence) -> None:
    run = evidence.books["platform.settlement_audit"][0]
    evidence.books["platform.settlement_audit"].append({**run, "run_id": "run-x", "started_at": PAID})


@breaks("settlement.nothing_left_behind")
def a_lease_lasts_for_ever(evidence: FakeEvidence) -> None:
    lease_lasts_until(evidence, END + 30 * 24 * HOUR)


@breaks("settlement.nothing_left_behind")
def a_daemon_that_is_gone_holds_the_lease(evidence: FakeEvidence) -> None:
    lease_lasts_until(evidence, END + 24 * HOUR + 1)
    row(evidence, "database.sessions", principal="system:settlement")["closed_at"] = END


@breaks("settlement.nothing_left_behind")
def somebody_unheard_of_holds_the_lease(evidence: FakeEvidence) -> None:
    lease_lasts_until(evidence, END + 24 * HOUR + 1)
    evidence.books["platform.daemon_health"].clear()


@breaks("settlement.nothing_left_behind", Status.INCONCLUSIVE)
def no_settlement_was_begun(evidence: FakeEvidence) -> None:
    evidence.books["platform.settlement_audit"].clear()


@breaks("settlement.daemons_beat")
def a_daemon_let_its_own_instant_pass(evidence: FakeEvidence) -> None:
    evidence.books["platform.daemon_health"][0]["due_at"] = PAID


@breaks("settlement.daemons_beat")
def a_daemon_gave_a_sign_of_life_after_its_death(evidence: FakeEvidence) -> None:
    row(evidence, "database.sessions", principal="system:settlement")["closed_at"] = CUTOFF


@breaks("settlement.daemons_beat")
def a_pack_was_ended_by_a_daemon_of_whom_there_is_no_sign(evidence: FakeEvidence) -> None:
    row(evidence, "platform.settlement_packs", pack_id="pk-u1")["settled_by"] = "system:settlement:d9"


@breaks("settlement.daemons_beat")
def a_daemon_says_that_it_lives_and_nobody_saw_it(evidence: FakeEvidence) -> None:
    row(evidence, "database.sessions", principal="system:settlement")["at"] = CUTOFF


@breaks("settlement.daemons_beat", Status.INCONCLUSIVE)
def a_life_of_the_daemon_is_not_on_record(evidence: FakeEvidence) -> None:
    session = row(evidence, "database.sessions", principal="system:settlement")
    add(evidence, "database.sessions", **{**session, "n": 99, "at": END})


# --- the acceptance tests of settlement ----------------------------------------------------------------------------


def day(evidence: FakeEvidence, number: int) -> dict[str, Any]:
    """The row of the so-manieth day that was judged, from 0."""
    found: dict[str, Any] = evidence.books["platform.settlement_acceptance"][number]
    return found


@breaks("settlement.acceptance_recomputes")
def a_test_passes_on_the_growth_of_the_day_before(evidence: FakeEvidence) -> None:
    day(evidence, 1)["link_growth"] = "PASS"


@breaks("settlement.acceptance_recomputes")
def a_result_is_in_the_wrong_case(evidence: FakeEvidence) -> None:
    day(evidence, 0)["lvi"] = "pass"


@breaks("settlement.acceptance_recomputes")
def a_total_is_not_the_sum_of_its_rows(evidence: FakeEvidence) -> None:
    told = json.loads(day(evidence, 0)["evidence"])
    told["totals"]["executed"] = 0
    day(evidence, 0)["evidence"] = encode(told)


@breaks("settlement.acceptance_recomputes")
def the_rows_of_a_day_are_not_those_of_its_packs(evidence: FakeEvidence) -> None:
    told = json.loads(day(evidence, 0)["evidence"])
    told["contests"][0]["executed"] = told["totals"]["executed"] = 2
    day(evidence, 0)["evidence"] = encode(told)


@breaks("settlement.acceptance_recomputes")
def the_lvi_is_zero_though_packs_were_executed(evidence: FakeEvidence) -> None:
    told = json.loads(day(evidence, 0)["evidence"])
    told["contests"][0]["executed_linked"] = told["totals"]["executed_linked"] = 0
    day(evidence, 0).update(lvi="FAIL", lvi_executed=0, evidence=encode(told))


@breaks("settlement.acceptance_recomputes")
def nothing_was_executed_and_it_is_called_blocked_without_a_reason(evidence: FakeEvidence) -> None:
    for pack in evidence.books["platform.settlement_packs"]:
        pack.update(status="FAILED", fail_reason_code="x")
    for number in range(7):
        told = json.loads(day(evidence, number)["evidence"])
        told["contests"][0]["executed_linked"] = told["totals"]["executed_linked"] = 0
        if number == 0:
            told["contests"][0]["executed"] = told["totals"]["executed"] = 0
            day(evidence, 0)["executed"] = "FAIL"
        told["blocked"] = {"c1": {"reason": "packs_unexecuted", "packs": ["pk-u1", "pk-u2", "pk-u3"]}}
        day(evidence, number).update(lvi="BLOCKED", lvi_executed=0, evidence=encode(told))


@breaks("settlement.acceptance_recomputes")
def the_settlement_log_is_not_what_was_judged(evidence: FakeEvidence) -> None:
    day(evidence, 3)["log_hash"] = "0" * 64


@breaks("settlement.acceptance_recomputes")
def the_settlement_log_has_lost_a_row_since(evidence: FakeEvidence) -> None:
    remove(evidence, "platform.outcome_settlement_log", pack_id="pk-u1")


@breaks("settlement.acceptance_recomputes")
def a_day_was_not_judged(evidence: FakeEvidence) -> None:
    evidence.books["platform.settlement_acceptance"].pop(2)


@breaks("settlement.acceptance_recomputes")
def a_day_was_judged_before_it_was_over(evidence: FakeEvidence) -> None:
    day(evidence, 0)["at"] -= 1


@breaks("settlement.acceptance_passes")
def a_test_failed_with_nothing_out_of_order(evidence: FakeEvidence) -> None:
    day(evidence, 0)["executed"] = "FAIL"


@breaks("settlement.acceptance_passes")
def a_test_has_failed_to_the_end(evidence: FakeEvidence) -> None:
    for number in range(7):
        day(evidence, number)["lvi"] = "FAIL"


@breaks("settlement.acceptance_passes", Status.INCONCLUSIVE)
def nobody_made_the_acceptance_tests(evidence: FakeEvidence) -> None:
    evidence.books["platform.settlement_acceptance"].clear()


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
def an_unpaid_intent_was_never_canceled(evidence: FakeEvidence) -> None:
    row(evidence, "processor.intents", intent_id="pi_c1-u4")["status"] = "requires_payment_method"


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


@breaks("recovery.orders_end")
def an_order_outlives_its_time(evidence: FakeEvidence) -> None:
    order = evidence.books["platform.remediation_orders"][0]
    order["expires_at"] = order["finished_at"] - HOUR


@breaks("recovery.orders_end", Status.INCONCLUSIVE)
def no_order_was_issued_for_a_crash(evidence: FakeEvidence) -> None:
    evidence.books["platform.remediation_orders"].clear()
