"""Books of everybody but the platform: what the other parties saw with their own eyes."""

from __future__ import annotations

from evidence.schemas.types import BookSchema, Column

S, I, C, B, AT, J = Column.STR, Column.INT, Column.CENTS, Column.BOOL, Column.AT, Column.JSON


def _book(party: str, row: str, key: str, **columns: Column) -> BookSchema:
    return BookSchema(party, row, columns, tuple(key.split()))


BOOKS: dict[str, BookSchema] = {
    # --- the payment processor -----------------------------------------------------------------------------------
    "processor.requests": _book(
        "processor", "a request that arrived; caller is the API key or dashboard login that made it", "n",
        n=I, at=AT, caller=S, operation=S, idempotency_key=S, request_hash=S, replayed=B, status=I, error_code=S,
        object_id=S, entity=S, answered=B,
    ),
    "processor.intents": _book(
        "processor", "a PaymentIntent at the end of the run", "intent_id",
        intent_id=S, amount_cents=C, refunded_cents=C, status=S, contest_id=S, entry_id=S, user_id=S, created_at=AT,
        captured_at=AT,
    ),
    "processor.transfers": _book(
        "processor", "a Transfer: that it exists means that the money moved", "transfer_id",
        transfer_id=S, amount_cents=C, reversed_cents=C, destination=S, transfer_group=S, contest_id=S, entry_id=S,
        user_id=S, caller=S, created_at=AT,
    ),
    "processor.refunds": _book(
        "processor", "a Refund", "refund_id",
        refund_id=S, intent_id=S, amount_cents=C, status=S, entry_id=S, caller=S, created_at=AT,
    ),
    "processor.balance": _book(
        "processor", "a balance transaction", "n",
        n=I, balance_transaction_id=S, kind=S, source_id=S, amount_cents=C, fee_cents=C, net_cents=C, created_at=AT,
        available_at=AT,
    ),
    "processor.events": _book(
        "processor", "an Event", "n", n=I, event_id=S, type=S, object_id=S, created_at=AT, body=J,
    ),
    "processor.deliveries": _book(
        "processor", "an attempt to deliver a webhook; status is null when nobody answered; sent is false when the "
        "processor itself held it back or lost it", "n",
        n=I, event_id=S, attempt=I, due_at=AT, at=AT, sent=B, status=I, note=S, entity=S,
    ),
    # --- the score provider --------------------------------------------------------------------------------------
    "provider.publications": _book(
        "provider", "a hole score as officially published (corrections and their reversals are further rows)", "n",
        n=I, event_id=S, revision=I, published_at=AT, golfer_id=S, round=I, hole=I, strokes=I, correction=B,
    ),
    "provider.statuses": _book(
        "provider", "a golfer's status as officially published", "n",
        n=I, event_id=S, revision=I, published_at=AT, golfer_id=S, status=S,
    ),
    "provider.completions": _book(
        "provider", "the end of an event, official", "event_id", event_id=S, revision=I, published_at=AT,
    ),
    "provider.requests": _book(
        "provider", "a poll that was served or refused; glitch names what was wrong with the answer", "n",
        n=I, at=AT, event_id=S, since_revision=I, status=I, revision=I, cells=I, glitch=S,
    ),
    # --- customers -----------------------------------------------------------------------------------------------
    "entrants.actions": _book(
        "entrants", "what a customer did, and what came of it", "n",
        n=I, at=AT, user_id=S, contest_id=S, action=S, amount_cents=C, entry_id=S, intent_id=S, result=S,
    ),
    # --- hosts ---------------------------------------------------------------------------------------------------
    "hosts.requests": _book(
        "hosts", "a connection to a host's WinRM or SSH port, as its own stack saw it", "n",
        n=I, at=AT, host=S, transport=S, command=S, args=J, outcome=S, ran=B, exit_code=I, answered=B,
    ),
    "hosts.services": _book(
        "hosts", "a change of state of a service on a host", "n",
        n=I, at=AT, host=S, service=S, state=S, by=S, incarnation=I,
    ),
    # --- access --------------------------------------------------------------------------------------------------
    "identity.events": _book(
        "identity", "an issue, revocation, login, denial or look-up at the identity provider", "n",
        n=I, at=AT, action=S, principal=S, token_id=S, allowed=B, reason=S,
    ),
    "database.sessions": _book(
        "database", "a session at the database server, with its role; writes counts changed rows", "n",
        n=I, at=AT, principal=S, role=S, purpose=S, statements=I, writes=I, closed_at=AT,
    ),
    "deployment.fingerprints": _book(
        "deployment", "what code, configuration and schema were seen running", "n",
        n=I, at=AT, what=S, sha256=S,
    ),
    # --- outside witnesses ---------------------------------------------------------------------------------------
    "anchor.heads": _book(
        "anchor", "an audit head received", "n", n=I, at=AT, head_seq=I, head_hash=S,
    ),
    "pager.events": _book(
        "pager", "a PagerDuty event received", "n",
        n=I, at=AT, action=S, dedup_key=S, summary=S, severity=S, details=J,
    ),
    # --- the harness ---------------------------------------------------------------------------------------------
    "injector.bites": _book(
        "injector", "a fault or violation that acted; victim is the key of the row in the victim's book", "n",
        n=I, at=AT, fault=S, fault_id=S, seam=S, operation=S, entity=S, occurrence=I, effect=S, victim=S,
    ),
    "preflight.checks": _book(
        "preflight", "an item of the checklist before the start", "n",
        n=I, at=AT, item=S, passed=B, detail=S,
    ),
}
