"""Withdrawals: a customer asks for his fee back before the lock, and his entry leaves the contest.

Invariant: from the moment it is agreed the entry neither plays nor holds a seat, however long the money takes.
"""

from __future__ import annotations

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.ports import Row, Tx
from contest_platform.services import disputes, refunds, seats

STATUS_OF_REFUSAL = {"unknown_entry": 404, "too_late": 409, "payment_disputed": 409}
"""Why a request is refused, and the HTTP status that says so. Somebody else's entry is unknown: its id is not told."""
LEFT = ("WITHDRAWN", "REFUNDED", "ABANDONED")
"""Statuses of an entry that no longer takes part: asking again changes nothing."""

_ENTRY = """
    select e.entry_id, e.contest_id, e.user_id, e.status, c.status as contest_status, c.lock_at,
           p.intent_id, p.amount_cents, p.refunded_cents
    from entries e
    join contests c on c.contest_id = e.contest_id
    join payments p on p.entry_id = e.entry_id
    where e.entry_id = :entry
"""


def withdraw(tx: Tx, actor: str, user_id: str, entry_id: str) -> tuple[int, dict[str, str]]:
    """(HTTP status, body) of the answer: {entry_id, status}, or {error}. 202 while the money is on its way."""
    row = tx.one(_ENTRY, {"entry": entry_id})
    ctx = Context(actor, entry_id)
    refusal = _refusal(tx, row, user_id)
    if refusal is not None:
        reason = f"{refusal}: {user_id}"
        audit.append(tx, ctx, "refuse.refund_request", f"entries/{entry_id}", reason=reason)
        return STATUS_OF_REFUSAL[refusal], {"error": refusal}
    assert row is not None
    status = row["status"] if row["status"] in LEFT else _leave(tx, ctx, row)
    return 202 if status == "WITHDRAWN" else 200, {"entry_id": entry_id, "status": status}


def _refusal(tx: Tx, row: Row | None, user_id: str) -> str | None:
    if row is None or row["user_id"] != user_id:
        return "unknown_entry"
    if row["status"] in ("WITHDRAWN", "REFUNDED"):
        return None
    if row["contest_status"] != "SCHEDULED" or tx.now >= row["lock_at"]:
        return "too_late"
    if row["status"] == "VALID" and disputes.blocks_refund(tx, row["entry_id"]):
        return "payment_disputed"
    return None


def _leave(tx: Tx, ctx: Context, row: Row) -> str:
    """Take the entry out of its contest; returns its new status. Unpaid it is abandoned, and its intent canceled."""
    entry_id, user_id = row["entry_id"], row["user_id"]
    reason = f"withdrawn by {user_id}"
    seats.free(tx, row["contest_id"])
    if row["status"] == "PENDING_PAYMENT":
        changes = {"status": "ABANDONED", "closed_at": tx.now}
        audit.update(tx, ctx, "entries", {"entry_id": entry_id}, changes, reason)
        tx.notify("entries.cancellations")
        return "ABANDONED"
    audit.update(tx, ctx, "entries", {"entry_id": entry_id}, {"status": "WITHDRAWN"}, reason)
    refunds.owe(
        tx, ctx, entry_id=entry_id, user_id=user_id, intent_id=row["intent_id"],
        amount_cents=row["amount_cents"] - row["refunded_cents"], source=ledger.wallet(user_id), reason="requested",
    )  # fmt: skip
    return "WITHDRAWN"
