"""What money from an entrant does: capture into his wallet, and from there either a valid entry or a refund.

Invariant: a capture is in the ledger once, whoever tells of it and how often; what makes no valid entry is owed back.
"""

from __future__ import annotations

from contest_platform import audit, checkpoints, ledger
from contest_platform.audit import Context
from contest_platform.ports import Row, Tx
from contest_platform.services import refunds

ACTOR = "system:payments"

PLAYABLE = ("SCHEDULED", "LOCKED", "LIVE", "COMPLETE")
"""Contests that still take an entry whose money was captured before the lock, however late we learn of it."""

_ENTRY = """
    select e.entry_id, e.user_id, e.contest_id, e.status as entry_status, c.status as contest_status, c.lock_at,
           c.fee_cents, e.valid_at, p.intent_id, p.amount_cents, p.status as payment_status, p.captured_at
    from entries e
    join contests c on c.contest_id = e.contest_id
    join payments p on p.entry_id = e.entry_id
    where e.entry_id = :entry
"""


def entry_of(tx: Tx, entry_id: str | None, intent_id: str) -> str | None:
    """The entry that an intent pays for: by the `entry_id` of its metadata, or by the intent if we have stored that.

    None when neither is in our books (yet).
    """
    row = tx.one("select entry_id from payments where entry_id = :entry", {"entry": entry_id}) if entry_id else None
    row = row or tx.one("select entry_id from payments where intent_id = :intent", {"intent": intent_id})
    return None if row is None else str(row["entry_id"])


def capture(tx: Tx, ctx: Context, entry_id: str, intent_id: str, amount_cents: int, captured_at: int) -> bool:
    """Account for money that the processor captured at `captured_at`; False when that has been done already.

    Captured before the lock it makes the entry valid, however late this is called; otherwise, and whenever the entry
    cannot be played or the money is not what was asked for, all of it is owed back.
    """
    row = tx.one(_ENTRY, {"entry": entry_id})
    if row is None:
        raise LookupError(f"no entry {entry_id}")
    ctx = Context(ctx.actor, entry_id)
    wallet = ledger.wallet(row["user_id"])
    if not ledger.move(
        tx, ctx, "capture", f"capture:{intent_id}", debit=ledger.PENDING, credit=wallet, cents=amount_cents,
        reason="captured by the processor",
    ):  # fmt: skip
        return False
    if row["payment_status"] == "CREATED":
        changes = {"status": "CAPTURED", "intent_id": intent_id, "captured_at": captured_at}
        audit.update(
            tx, ctx, "payments", {"entry_id": entry_id}, changes, "captured by the processor",
            read={**row, "status": row["payment_status"]},
        )  # fmt: skip
    why_not = _why_not(row, amount_cents, captured_at)
    if why_not is None:
        _validate(tx, ctx, row)
    else:
        audit.append(tx, ctx, "refuse.capture", f"payments/{entry_id}", after={"intent_id": intent_id}, reason=why_not)
        if row["entry_status"] == "PENDING_PAYMENT":
            changes = {"status": "ABANDONED", "closed_at": tx.now}
            audit.update(tx, ctx, "entries", {"entry_id": entry_id}, changes, why_not)
        refunds.owe(
            tx, ctx, entry_id=entry_id, user_id=row["user_id"], intent_id=intent_id, amount_cents=amount_cents,
            source=wallet, reason=why_not,
        )  # fmt: skip
    wake_waiting(tx)
    return True


def _why_not(row: Row, amount_cents: int, captured_at: int) -> str | None:
    """Why this money makes no valid entry; None when it does."""
    if row["payment_status"] != "CREATED":
        return f"payment was {row['payment_status']} already"
    if amount_cents != row["amount_cents"]:
        return f"{amount_cents} cents captured, {row['amount_cents']} asked for"
    if captured_at >= row["lock_at"]:
        return "captured after the lock"
    if row["contest_status"] not in PLAYABLE:
        return f"contest is {row['contest_status']}"
    if row["entry_status"] != "PENDING_PAYMENT":
        return f"entry is {row['entry_status']}"
    return None


def _validate(tx: Tx, ctx: Context, row: Row) -> None:
    entry_id, contest_id = row["entry_id"], row["contest_id"]
    changes = {"status": "VALID", "valid_at": tx.now}
    read = {**row, "status": row["entry_status"]}
    audit.update(tx, ctx, "entries", {"entry_id": entry_id}, changes, "paid before the lock", read)
    if row["contest_status"] != "SCHEDULED":
        ledger.move(
            tx, ctx, "lock", f"lock:{contest_id}:{entry_id}", debit=ledger.wallet(row["user_id"]),
            credit=ledger.escrow(contest_id), cents=row["fee_cents"], reason="paid before the lock, known after it",
        )  # fmt: skip


def cancel(tx: Tx, ctx: Context, entry_id: str, reason: str) -> bool:
    """The intent of a payment is dead: nothing will be captured. False when the payment is not open any more."""
    row = tx.one("select status from payments where entry_id = :entry", {"entry": entry_id})
    if row is None or row["status"] != "CREATED":
        return False
    ctx = Context(ctx.actor, entry_id)
    audit.update(tx, ctx, "payments", {"entry_id": entry_id}, {"status": "CANCELED"}, reason)
    return True


def whole_seconds(at: int) -> int:
    """An instant as the processor's objects tell it, so that it is the same whoever tells of it. Locks fall on whole
    seconds, so before and after stay what they are."""
    return at // 1000 * 1000


# --- webhooks that came before our own row ------------------------------------------------------------------------

WAITING_NOTES = ("webhook:", "webhook;")
"""Range of checkpoints in which the bodies of waiting events are kept."""


def wake_waiting(tx: Tx) -> None:
    """Our books have grown by something that a waiting event may tell of."""
    if not checkpoints.none_between(tx, *WAITING_NOTES):
        tx.notify("webhooks")
