"""The ledger: double entry in integer cents, append-only, posted once per business key.

Every transaction sums to zero. Debits are positive, credits negative.
"""

from __future__ import annotations

from collections.abc import Iterable

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.ports import Tx

PENDING = "assets:stripe_pending"
AVAILABLE = "assets:stripe_available"
FEES = "expenses:stripe_fees"
CAPITAL = "equity:owner_capital"
DISPUTED = "assets:receivable_disputes"
DISPUTE_LOSS = "expenses:dispute_loss"


def wallet(user_id: str) -> str:
    return f"liabilities:user_wallet:{user_id}"


def escrow(contest_id: str) -> str:
    return f"liabilities:contest_escrow:{contest_id}"


def refund_payable(user_id: str) -> str:
    return f"liabilities:refund_payable:{user_id}"


def prize_payable(contest_id: str, user_id: str) -> str:
    return f"liabilities:prize_payable:{contest_id}:{user_id}"


def in_transit(user_id: str) -> str:
    return f"liabilities:payout_in_transit:{user_id}"


def unexecuted(contest_id: str) -> str:
    return f"liabilities:unexecuted_packs:{contest_id}"


def rake(contest_id: str) -> str:
    return f"income:rake:{contest_id}"


def overlay(contest_id: str) -> str:
    return f"expenses:overlay:{contest_id}"


_INSERT_ONCE = """
    insert into ledger_transactions (txn_id, business_key, kind, at, correlation, cause)
    values (:txn_id, :business_key, :kind, :at, :correlation, :cause) on conflict (business_key) do nothing
"""


class OutOfBalanceError(Exception):
    """A transaction that does not sum to zero was refused."""


def post(tx: Tx, ctx: Context, kind: str, business_key: str, postings: Iterable[tuple[str, int]], reason: str) -> bool:
    """Post one transaction, or do nothing and return False when `business_key` has been posted already.

    Postings of 0 are left out; with nothing left nothing is posted. Raises OutOfBalanceError.
    """
    lines = [(account, cents) for account, cents in postings if cents]
    if not lines:
        return False
    total = sum(cents for _, cents in lines)
    if total:
        raise OutOfBalanceError(f"{business_key} is out of balance by {total} cents")
    last_id = tx.known.get("ledger.txn_id")
    if last_id is None:
        last_id = tx.tuples("select coalesce(max(txn_id), 0) from ledger_transactions")[0][0]
    row = {
        "txn_id": last_id + 1,
        "business_key": business_key,
        "kind": kind,
        "at": tx.now,
        "correlation": ctx.correlation,
        "cause": tx.cause,
    }
    if not tx.run(_INSERT_ONCE, row):
        return False
    txn_id = tx.known["ledger.txn_id"] = last_id + 1
    tx.insert_many(
        "ledger_postings",
        ("txn_id", "n", "account", "amount_cents"),
        [(txn_id, n, account, cents) for n, (account, cents) in enumerate(lines, 1)],
    )
    audit.append(
        tx,
        ctx,
        "ledger.post",
        f"ledger_transactions/{txn_id}",
        after={"business_key": business_key, "kind": kind, "postings": [list(line) for line in lines]},
        reason=reason,
    )
    return True


def move(
    tx: Tx, ctx: Context, kind: str, business_key: str, *, debit: str, credit: str, cents: int, reason: str
) -> bool:
    """Post the commonest transaction: `cents` from `credit` to `debit`."""
    return post(tx, ctx, kind, business_key, ((debit, cents), (credit, -cents)), reason)


def balance(tx: Tx, account: str) -> int:
    """The balance of `account` in cents: debits minus credits."""
    row = tx.one(
        "select coalesce(sum(amount_cents), 0) as cents from ledger_postings where account = :account",
        {"account": account},
    )
    return int(row["cents"]) if row is not None else 0
