"""Disputes: what a cardholder's bank takes back, and what it then decides, however and in whatever order we learn it.

Invariant: every event carries the dispute as it stood and the money that it had moved so far, so all of them, and the
balance, come to the same postings, each once. A disputed entry stays in its contest: until the bank has decided, the
money is a claim of ours and the customer has played in good faith.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.ports import BalanceTransaction, Dispute, Tx
from contest_platform.services import payments, refunds
from contest_platform.statuses import DISPUTE_STATUSES

RANK = {status: rank for rank, status in enumerate(DISPUTE_STATUSES)}
"""A status gives way only to a later one: events come out of order, and a bank may yet take back that we lost."""
CLOSED = ("warning_closed", "lost", "won")
EVENTS = "charge.dispute."
"""How the types of events begin that tell of a dispute."""
ID_PREFIXES = ("dp_", "du_")
"""How ids of disputes begin (docs.stripe.com/api/disputes): an adjustment of the balance may be about other things."""


def of_object(snapshot: Mapping[str, Any]) -> Dispute:
    """The dispute of an event's object. Raises KeyError or TypeError when it is none."""
    return Dispute(
        snapshot["id"],
        snapshot["payment_intent"],
        snapshot["amount"],
        snapshot["status"],
        snapshot["created"] * 1000,
        tuple(
            BalanceTransaction(
                moved["id"], moved["type"], snapshot["id"], moved["amount"], moved["fee"], moved["net"],
                moved["created"] * 1000, moved["available_on"] * 1000,
            )
            for moved in snapshot["balance_transactions"]
        ),
    )  # fmt: skip


def change(snapshot: Mapping[str, Any]) -> str:
    """What tells one change of a dispute from another: its status, and how often money has moved."""
    return f"{snapshot['status']}:{len(snapshot['balance_transactions'])}"


def is_of_dispute(movement: BalanceTransaction) -> bool:
    return movement.kind == "adjustment" and movement.source_id.startswith(ID_PREFIXES)


def tell(tx: Tx, ctx: Context, dispute: Dispute) -> bool | None:
    """Take note of a dispute as it stands. None when the entry is not in our books (yet); False for a status that we
    do not know, which is refused in the open and changes nothing."""
    entry_id = payments.entry_of(tx, None, dispute.intent_id)
    if entry_id is None:
        return None
    ctx = Context(ctx.actor, entry_id)
    if dispute.status not in RANK:
        audit.append(tx, ctx, "refuse.dispute", f"disputes/{dispute.id}", reason=f"unknown status {dispute.status!r}")
        return False
    row = tx.one("select * from disputes where dispute_id = :dispute", {"dispute": dispute.id})
    if row is None:
        _open(tx, ctx, dispute.id, entry_id, dispute.intent_id, dispute.amount_cents, dispute.status,
              dispute.created_at)  # fmt: skip
    else:
        said = {"entry_id": entry_id, "intent_id": dispute.intent_id, "amount_cents": dispute.amount_cents}
        if RANK[dispute.status] > RANK[row["status"]]:
            said["status"] = dispute.status
            if row["closed_at"] is None and dispute.status in CLOSED:
                said["closed_at"] = tx.now
        changes = {column: value for column, value in said.items() if row[column] != value}
        if changes:
            audit.update(tx, ctx, "disputes", {"dispute_id": dispute.id}, changes, f"dispute is {dispute.status}")
    for movement in dispute.movements:
        _post(tx, ctx, movement)
    _write_off(tx, ctx, dispute.id)
    return True


def moved(tx: Tx, ctx: Context, movement: BalanceTransaction) -> None:
    """Account for money of a dispute that the balance tells of. Whose it is, it does not tell: that is asked for."""
    dispute_id = movement.source_id
    if tx.one("select 1 from disputes where dispute_id = :dispute", {"dispute": dispute_id}) is None:
        opened_at = payments.whole_seconds(movement.created_at)
        _open(tx, ctx, dispute_id, None, None, abs(movement.amount_cents), "needs_response", opened_at)
    _post(tx, ctx, movement)
    _write_off(tx, ctx, dispute_id)


def newest_open(tx: Tx) -> int | None:
    """When the newest dispute was opened that the bank has not decided."""
    at: int | None = tx.tuples("select max(opened_at) from disputes where closed_at is null")[0][0]
    return at


def blocks_refund(tx: Tx, entry_id: str) -> bool:
    """Whether the bank has a payment in its hands, so that it cannot be refunded (docs.stripe.com: charge_disputed)."""
    sql = "select 1 from disputes where entry_id = :entry and status in ('needs_response', 'under_review', 'lost')"
    return tx.one(sql, {"entry": entry_id}) is not None


def _open(
    tx: Tx, ctx: Context, dispute_id: str, entry_id: str | None, intent_id: str | None, amount_cents: int, status: str,
    opened_at: int,
) -> None:  # fmt: skip
    row = {
        "dispute_id": dispute_id,
        "entry_id": entry_id,
        "intent_id": intent_id,
        "amount_cents": amount_cents,
        "fee_cents": 0,
        "status": status,
        "opened_at": opened_at,
        "closed_at": tx.now if status in CLOSED else None,
    }
    audit.insert(tx, ctx, "disputes", row, "disputed" if entry_id else "money moved, its entry is not known yet")


def _post(tx: Tx, ctx: Context, movement: BalanceTransaction) -> None:
    """Post what a movement did: the first out of the balance is the withdrawal, the first into it the reinstatement."""
    dispute_id, cents, fee_cents = movement.source_id, movement.amount_cents, movement.fee_cents
    if cents < 0:
        new = ledger.move(
            tx, ctx, "dispute", f"dispute:{dispute_id}", debit=ledger.DISPUTED, credit=ledger.AVAILABLE, cents=-cents,
            reason=f"withdrawn as {movement.id}",
        )  # fmt: skip
        ledger.move(
            tx, ctx, "dispute_fee", f"dispute_fee:{dispute_id}", debit=ledger.FEES, credit=ledger.AVAILABLE,
            cents=fee_cents, reason=f"fee of {movement.id}",
        )  # fmt: skip
    else:
        written_off = _posted_cents(tx, "dispute_lost", dispute_id) > 0
        new = ledger.move(
            tx, ctx, "dispute_won", f"dispute_won:{dispute_id}", debit=ledger.AVAILABLE,
            credit=ledger.DISPUTE_LOSS if written_off else ledger.DISPUTED, cents=cents,
            reason=f"reinstated as {movement.id}",
        )  # fmt: skip
        ledger.move(
            tx, ctx, "dispute_fee_back", f"dispute_fee_back:{dispute_id}", debit=ledger.AVAILABLE, credit=ledger.FEES,
            cents=-fee_cents, reason=f"fee given back in {movement.id}",
        )  # fmt: skip
        _tell_refunds(tx, ctx, dispute_id)
    if new and fee_cents:
        row = tx.one("select fee_cents from disputes where dispute_id = :dispute", {"dispute": dispute_id})
        assert row is not None, dispute_id
        changes = {"fee_cents": row["fee_cents"] + fee_cents}
        audit.update(tx, ctx, "disputes", {"dispute_id": dispute_id}, changes, f"fee of {movement.id}")


def _write_off(tx: Tx, ctx: Context, dispute_id: str) -> None:
    """What was withdrawn for a lost dispute is lost, unless it has come back all the same."""
    row = tx.one("select status from disputes where dispute_id = :dispute", {"dispute": dispute_id})
    if row is None or row["status"] != "lost" or _posted_cents(tx, "dispute_won", dispute_id):
        return
    ledger.move(
        tx, ctx, "dispute_lost", f"dispute_lost:{dispute_id}", debit=ledger.DISPUTE_LOSS, credit=ledger.DISPUTED,
        cents=_posted_cents(tx, "dispute", dispute_id), reason="the bank decided for the cardholder",
    )  # fmt: skip
    _tell_refunds(tx, ctx, dispute_id)


def _tell_refunds(tx: Tx, ctx: Context, dispute_id: str) -> None:
    """Of the payment there may be a refund that its dispute has kept from being made."""
    row = tx.one("select intent_id from disputes where dispute_id = :dispute", {"dispute": dispute_id})
    if row is not None and row["intent_id"] is not None:
        refunds.given_by_bank(tx, ctx, row["intent_id"])


def _posted_cents(tx: Tx, kind: str, dispute_id: str) -> int:
    """What the transaction of this kind moved for a dispute; 0 when there is none."""
    row = tx.one(
        "select p.amount_cents from ledger_transactions t join ledger_postings p on p.txn_id = t.txn_id"
        " where t.business_key = :key and p.amount_cents > 0",
        {"key": f"{kind}:{dispute_id}"},
    )
    return 0 if row is None else int(row["amount_cents"])
