"""Transfers that failed for good or were reversed, and which of them somebody has looked into.

Invariant: a note is all there is to it. What a transfer is, and what its winner is owed, stays as it was.
"""

from __future__ import annotations

from contest_platform import audit, checkpoints, ledger
from contest_platform.audit import Context
from contest_platform.ports import Row, Tx
from contest_platform.service import Refusal

RESOLVED = "payouts.resolved:"
"""Begins the name of the note that somebody has looked into a transfer that failed for good or was reversed."""
IS_RESOLVED = f"exists (select 1 from checkpoints where name = '{RESOLVED}' || transfer_id)"
"""SQL, of a row of transfers: whether there is such a note."""

_MADE_HERE = """
    select subject from audit_log a where action = 'transfers.resolve' and correlation = :e and seq = (
      select max(seq) from audit_log where action = 'transfers.resolve' and subject = a.subject
    ) order by seq"""


def resolve(tx: Tx, ctx: Context, transfer_id: str, reason: str) -> bool | Refusal:
    """Note that somebody has looked into a transfer that failed for good or was reversed; False: it is noted. The prize
    has to be owed still: what neither went out nor is owed has been forgotten, and that is not resolved by a note."""
    row = _ended_badly(tx, transfer_id)
    if isinstance(row, Refusal):
        return row
    name = RESOLVED + transfer_id
    if checkpoints.read(tx, name) is not None:
        return False
    owed_cents = -ledger.balance(tx, ledger.prize_payable(row["contest_id"], row["user_id"]))
    if owed_cents < row["amount_cents"]:
        return Refusal(409, f"of the {row['amount_cents']} cents of transfer {transfer_id} only {owed_cents} are owed")
    checkpoints.save(tx, name, {"at": tx.now})
    audit.append(tx, ctx, "transfers.resolve", f"transfers/{transfer_id}", reason=reason)
    return True


def unresolve(tx: Tx, ctx: Context, reason: str) -> int:
    """Take back every note that this execution has made and that still stands; how many there were."""
    made = tx.all(_MADE_HERE, {"e": ctx.correlation})
    taken_back = 0
    for row in made:
        transfer_id = row["subject"].removeprefix("transfers/")
        if checkpoints.read(tx, RESOLVED + transfer_id) is None:
            continue
        checkpoints.remove(tx, RESOLVED + transfer_id)
        audit.append(tx, ctx, "transfers.unresolve", row["subject"], reason=reason)
        taken_back += 1
    return taken_back


def _ended_badly(tx: Tx, transfer_id: str) -> Row | Refusal:
    row = tx.one("select * from transfers where transfer_id = :t", {"t": transfer_id})
    if row is None:
        return Refusal(404, f"no transfer {transfer_id}")
    if row["status"] not in ("FAILED_TERMINAL", "REVERSED"):
        return Refusal(409, f"transfer {transfer_id} is {row['status']}: neither failed for good nor reversed")
    return row
