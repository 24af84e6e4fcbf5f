"""Books of the platform: its tables as they stand at the end of the run. What the platform says of itself."""

from __future__ import annotations

from evidence.schemas.types import BookSchema, Column

S, I, C, B, AT, J = Column.STR, Column.INT, Column.CENTS, Column.BOOL, Column.AT, Column.JSON


def _book(row: str, key: str, **columns: Column) -> BookSchema:
    return BookSchema("platform", row, columns, tuple(key.split()))


BOOKS: dict[str, BookSchema] = {
    "platform.tournaments": _book(
        "a tournament", "tournament_id",
        tournament_id=S, provider_event_id=S, name=S, par=J, rounds=I, starts_at=AT, ends_at=AT,
        play=J, field_ingested_at=AT, completed_at=AT,
    ),
    "platform.golfers": _book(
        "a golfer of a field", "tournament_id golfer_id", tournament_id=S, golfer_id=S, name=S, status=S,
    ),
    "platform.users": _book(
        "a customer", "user_id", user_id=S, name=S, email=S, account_id=S, created_at=AT, deleted_at=AT,
    ),
    "platform.contests": _book(
        "a contest", "contest_id",
        contest_id=S, tournament_id=S, name=S, status=S, fee_cents=C, rake_bp=I, guaranteed_cents=C,
        prize_shares_bp=J, scoring=J, min_entries=I, max_entries=I, opens_at=AT, lock_at=AT, start_at=AT, end_at=AT,
        hold_s=I, completed_at=AT, cutoff_at=AT, settled_at=AT, closed_at=AT, error_code=S,
    ),
    "platform.entries": _book(
        "an entry of a user in a contest", "entry_id",
        entry_id=S, contest_id=S, user_id=S, status=S, roster=J, created_at=AT, valid_at=AT, closed_at=AT,
    ),
    "platform.payments": _book(
        "the payment of an entry", "entry_id",
        entry_id=S, intent_id=S, idempotency_key=S, amount_cents=C, status=S, captured_at=AT, refunded_cents=C,
        created_at=AT,
    ),
    "platform.webhook_inbox": _book(
        "a webhook event, once", "event_id",
        event_id=S, type=S, object_id=S, change_key=S, created_at=AT, received_at=AT, deliveries=I, status=S,
        applied_at=AT,
    ),
    "platform.refunds": _book(
        "a refund owed to an entrant", "refund_id",
        refund_id=S, entry_id=S, intent_id=S, amount_cents=C, reason=S, status=S, idempotency_key=S,
        processor_refund_id=S, attempts=I, next_attempt_at=AT, created_at=AT, done_at=AT,
    ),
    "platform.ledger_transactions": _book(
        "a ledger transaction", "txn_id", txn_id=I, business_key=S, kind=S, at=AT, correlation=S, cause=S,
    ),
    "platform.ledger_postings": _book(
        "a posting: debit positive, credit negative", "txn_id n", txn_id=I, n=I, account=S, amount_cents=C,
    ),
    "platform.ingestion_batches": _book(
        "an answer of the provider that held something", "batch_id",
        batch_id=I, tournament_id=S, event_id=S, requested_at=AT, received_at=AT, since_revision=I, revision=I,
        published_at=AT, full=B, admitted=I, duplicates=I, corrections=I, quarantined=I, rejected=I, receipts_hash=S,
    ),
    "platform.ingestion_receipts": _book(
        "one hole score of a batch: ADMIT, DUPLICATE, CORRECTION, QUARANTINE or REJECT, with the reason", "batch_id n",
        batch_id=I, n=I, tournament_id=S, golfer_id=S, round=I, hole=I, strokes=I, published_at=AT, verdict=S,
        reason=S,
    ),
    "platform.quarantine_resolutions": _book(
        "the end of a quarantined batch", "batch_id", batch_id=I, resolved_by_batch_id=I, at=AT, how=S,
    ),
    "platform.hole_scores": _book(
        "the current score of a hole", "tournament_id golfer_id round hole",
        tournament_id=S, golfer_id=S, round=I, hole=I, strokes=I, batch_id=I, published_at=AT,
    ),
    "platform.score_audits": _book(
        "an automatic replay of the scores from receipts", "audit_id",
        audit_id=I, tournament_id=S, at=AT, holes=I, mismatches=I,
    ),
    "platform.checkpoints": _book(
        "a durable cursor", "name", name=S, value=J, updated_at=AT,
    ),
    "platform.outcomes": _book(
        "the official outcome of an entry", "outcome_id",
        outcome_id=S, contest_id=S, entry_id=S, score=I, place=I, prize_cents=C, tie_break=I, scores_hash=S,
        created_at=AT,
    ),
    "platform.settlement_packs": _book(
        "a settlement pack, one per entry", "pack_id",
        pack_id=S, contest_id=S, entry_id=S, status=S, fail_reason_code=S, fail_reason_detail=S, created_at=AT,
        terminalized_at=AT, settled_by=S, lease_epoch=I,
    ),
    "platform.outcome_pack_links": _book(
        "the link of a pack to its outcome", "pack_id", pack_id=S, outcome_id=S, linked_at=AT,
    ),
    "platform.outcome_settlement_log": _book(
        "a terminal change of a pack", "settlement_id",
        settlement_id=S, pack_id=S, prior_status=S, new_status=S, outcome_id=S, settlement_reason_code=S,
        settlement_evidence_hash=S, settled_at=AT, settled_by=S,
    ),
    "platform.settlement_audit": _book(
        "a settlement run of a contest", "run_id",
        run_id=S, contest_id=S, started_at=AT, finished_at=AT, status=S, packs=I, error_json=J,
    ),
    "platform.post_mortem_settlement": _book(
        "a pack that was not executed, explained", "pack_id", pack_id=S, fail_reason_code=S, detail=S, at=AT,
    ),
    "platform.leases": _book(
        "a single-writer lease", "name", name=S, holder=S, epoch=I, acquired_at=AT, expires_at=AT,
    ),
    "platform.transfers": _book(
        "a payout owed to a winner", "transfer_id",
        transfer_id=S, contest_id=S, entry_id=S, user_id=S, amount_cents=C, destination=S, status=S, reason=S,
        processor_transfer_id=S, idempotency_key=S, key_born_at=AT, attempts=I, next_attempt_at=AT, created_at=AT,
        done_at=AT,
    ),
    "platform.transfer_attempts": _book(
        "an attempt at a transfer; outcome SUCCEEDED, REJECTED or UNKNOWN (null while in flight)", "transfer_id n",
        transfer_id=S, n=I, idempotency_key=S, request_hash=S, sent_at=AT, finished_at=AT, outcome=S, code=S,
    ),
    "platform.incidents": _book(
        "a host check that failed", "incident_id",
        incident_id=S, host=S, check_name=S, target=S, observed=S, reported_at=AT, status=S, resolved_at=AT,
    ),
    "platform.remediation_orders": _book(
        "an order to put a host right", "order_id",
        order_id=S, incident_id=S, rule_id=S, runbook_id=S, host=S, status=S, attempts=I, issued_at=AT,
        delivered_at=AT, acknowledged_at=AT, finished_at=AT, expires_at=AT, detail=S,
    ),
    "platform.audit_log": _book(
        "an audited change, call, decision or refusal", "seq",
        seq=I, at=AT, actor=S, action=S, subject=S, before=J, after=J, reason=S, correlation=S, cause=S,
        prev_hash=S, hash=S,
    ),
    "platform.access_log": _book(
        "an authentication, authorisation or denial", "n",
        n=I, at=AT, principal=S, action=S, resource=S, allowed=B, reason=S,
    ),
}
