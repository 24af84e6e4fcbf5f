"""The platform's ledger, read once: transactions summed, balances by account, and what moved escrow.

Invariant: sums only; a posting is never kept. Debits are positive, credits negative, amounts in cents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.images import Occasion, posted, posting
from assertions.once import once

if TYPE_CHECKING:
    from evidence.run import Evidence

PENDING = "assets:stripe_pending"
AVAILABLE = "assets:stripe_available"
FEES = "expenses:stripe_fees"
CAPITAL = "equity:owner_capital"
DISPUTED = "assets:receivable_disputes"
DISPUTE_LOSS = "expenses:dispute_loss"
ESCROW = "liabilities:contest_escrow:"
WALLET = "liabilities:user_wallet:"
REFUND_PAYABLE = "liabilities:refund_payable:"
PRIZE_PAYABLE = "liabilities:prize_payable:"
IN_TRANSIT = "liabilities:payout_in_transit:"
UNEXECUTED = "liabilities:unexecuted_packs:"
_ACCOUNTS = frozenset({PENDING, AVAILABLE, DISPUTED, FEES, CAPITAL, DISPUTE_LOSS})
_GROUPS = (
    ESCROW, WALLET, REFUND_PAYABLE, PRIZE_PAYABLE, IN_TRANSIT, UNEXECUTED, "expenses:overlay:", "income:rake:",
)  # fmt: skip


def is_in_chart(account: str) -> bool:
    """Whether the chart of accounts has it. None of its accounts takes what rounding leaves over."""
    return account in _ACCOUNTS or account.startswith(_GROUPS)


class Txn:
    """A transaction: the sum of its postings (0 if it balances), and of its debits alone."""

    __slots__ = ("at", "business_key", "debit_cents", "fingerprint", "kind", "postings", "sum_cents")

    def __init__(self, business_key: str, kind: str, occasion: Occasion) -> None:
        self.business_key, self.kind, self.at = business_key, kind, occasion[0]
        self.sum_cents = self.debit_cents = self.postings = 0
        self.fingerprint = posted(business_key, kind, occasion)


class LedgerBook:
    def __init__(self, evidence: Evidence) -> None:
        self.sums: dict[int, Txn] = {}
        self.by_key: dict[str, Txn] = {}
        self.repeated: list[tuple[int, str, int]] = []
        """(txn_id, business key, at) of transactions whose business key another one has."""
        self.stray: list[tuple[int, str, int]] = []
        """(txn_id, account, cents) of postings that belong to no transaction."""
        self.balances: dict[str, int] = {}
        self.escrow: dict[tuple[str, str], int] = {}
        """What transactions of a kind did to a contest's escrow, by (contest, kind)."""
        sums, by_key, balances, escrow = self.sums, self.by_key, self.balances, self.escrow
        for txn_id, key, kind, *occasion in evidence.rows(
            "platform.ledger_transactions", "txn_id", "business_key", "kind", "at", "correlation", "cause"
        ):
            txn = sums[txn_id] = Txn(key, kind, (*occasion,))
            if by_key.setdefault(key, txn) is not txn:
                self.repeated.append((txn_id, key, txn.at))
        for txn_id, account, cents in evidence.rows("platform.ledger_postings", "txn_id", "account", "amount_cents"):
            known = sums.get(txn_id)
            balances[account] = balances.get(account, 0) + cents
            if known is None:
                self.stray.append((txn_id, account, cents))
                continue
            known.postings += 1
            known.sum_cents += cents
            if cents > 0:
                known.debit_cents += cents
            known.fingerprint += posting(account, cents)
            if account.startswith(ESCROW):
                flow = (account[len(ESCROW) :], known.kind)
                escrow[flow] = escrow.get(flow, 0) + cents

    def owed(self, account: str) -> int:
        """What a liability account owes: its credit balance."""
        return -self.balances.get(account, 0)

    def amount(self, business_key: str) -> int | None:
        """What the transaction with this key moved; None where there is none."""
        txn = self.by_key.get(business_key)
        return None if txn is None else txn.debit_cents


def ledgerbook(evidence: Evidence) -> LedgerBook:
    """The ledger of this evidence."""
    return once(evidence, LedgerBook)
