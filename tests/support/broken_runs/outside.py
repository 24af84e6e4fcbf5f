"""Runs in which what came from outside was believed, lost, or taken in too late and without a word."""

from __future__ import annotations

from tests.support.broken_runs.change import add, breaks, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.scribe import rechain
from tests.support.small_run import HOUR, LOCK

# --- webhooks ------------------------------------------------------------------------------------------------------


@breaks("absence.forgeries_refused")
def a_forged_webhook_was_accepted(evidence: FakeEvidence) -> None:
    row(evidence, "attacker.posts", kind="forged")["status"] = 200


@breaks("absence.forgeries_refused")
def a_forged_event_was_recorded_all_the_same(evidence: FakeEvidence) -> None:
    forged = row(evidence, "attacker.posts", kind="forged")
    paid = row(evidence, "platform.webhook_inbox", event_id="evt_c1-u1")
    evidence.books["platform.webhook_inbox"].append({**paid, "event_id": forged["event_id"]})


@breaks("absence.forgeries_refused")
def a_forgery_was_refused_and_nobody_wrote_it_down(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="refuse.webhook")["action"] = "refuse.entry"
    rechain(evidence)


@breaks("recovery.webhooks_accepted")
def a_webhook_was_refused_for_ever(evidence: FakeEvidence) -> None:
    row(evidence, "processor.deliveries", event_id="evt_c1-u1")["status"] = 400


@breaks("recovery.webhooks_accepted")
def nobody_ever_answered_a_webhook(evidence: FakeEvidence) -> None:
    delivery = row(evidence, "processor.deliveries", event_id="evt_c1-u1")
    delivery["status"] = None
    add(evidence, "processor.deliveries", **{**delivery, "n": 99, "attempt": 2, "due_at": LOCK})


# --- scores --------------------------------------------------------------------------------------------------------


@breaks("ingestion.admitted_is_published")
def a_score_was_admitted_that_nobody_published(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", verdict="ADMIT", golfer_id="g1", hole=2)["strokes"] = 2


@breaks("ingestion.admitted_is_published")
def a_score_was_admitted_before_it_was_published(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", verdict="ADMIT", golfer_id="g1", hole=2)["published_at"] -= 1


@breaks("ingestion.received_in_time")
def scores_were_received_in_the_night_only(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_batches", batch_id=2)["received_at"] += 8 * HOUR


@breaks("ingestion.late_corrections_told")
def a_late_correction_was_taken_for_one_in_time(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", batch_id=4)["reason"] = "OTHER_VALUE"


@breaks("ingestion.late_corrections_told")
def a_late_correction_was_not_received(evidence: FakeEvidence) -> None:
    row(evidence, "platform.ingestion_receipts", batch_id=4)["verdict"] = "DUPLICATE"


@breaks("ingestion.late_corrections_told")
def nobody_was_told_of_a_late_correction(evidence: FakeEvidence) -> None:
    row(evidence, "pager.events", dedup_key="late_correction:c1")["action"] = "resolve"


@breaks("ingestion.late_corrections_told")
def somebody_was_told_of_another_contest(evidence: FakeEvidence) -> None:
    row(evidence, "pager.events", dedup_key="late_correction:c1")["dedup_key"] = "late_correction:c9"


@breaks("ingestion.late_corrections_told")
def somebody_was_told_of_a_late_correction_a_day_after(evidence: FakeEvidence) -> None:
    row(evidence, "pager.events", dedup_key="late_correction:c1")["at"] += 24 * HOUR
