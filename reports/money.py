"""The money of a run: the platform's ledger set against the books of everybody else who saw the same cents.

Invariant: every sum on one side of a comparison comes from a book that the other side did not write.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from assertions.oracles.prizes import Money, money

if TYPE_CHECKING:
    from evidence.plan import Contest
    from evidence.run import Evidence

SETTLED_STATUSES = frozenset({"SETTLED", "PAID_OUT"})
CLOSED_STATUSES = SETTLED_STATUSES | {"CANCELLED"}


class Comparison(NamedTuple):
    """One line of the reconciliation, in cents. `scope` is a contest's id, or None for the platform as a whole."""

    scope: str | None
    what: str
    account: str
    ledger_cents: int
    witness: str
    theirs_cents: int

    @property
    def difference_cents(self) -> int:
        return self.ledger_cents - self.theirs_cents


@dataclass(slots=True)
class ContestMoney:
    """What the ledger says of one contest, in cents; `entries` are the fees locked into escrow."""

    contest_id: str
    entries: int = 0
    collected_cents: int = 0
    overlay_cents: int = 0
    rake_cents: int = 0
    prizes_cents: int = 0
    unexecuted_cents: int = 0
    refunded_cents: int = 0
    paid_cents: int = 0
    escrow_cents: int = 0
    payable_cents: int = 0


@dataclass(slots=True)
class Ledger:
    """The ledger in sums, debit positive. `flows[kind, group]` sums what transactions of a kind posted to all accounts
    of a group (`stripe_available`, `contest_escrow`); `unbalanced` holds (txn_id, sum in cents)."""

    balances: dict[str, int] = field(default_factory=dict)
    flows: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    contests: dict[str, ContestMoney] = field(default_factory=dict)
    transactions: int = 0
    postings: int = 0
    unbalanced: list[tuple[int, int]] = field(default_factory=list)


class Accounts(NamedTuple):
    """The money side of a report. `contests` stand in the order of the plan, `names` maps their ids to their names."""

    ledger: Ledger
    lines: list[Comparison]
    contests: list[ContestMoney]
    names: dict[str, str]

    def shown(self, limit: int) -> tuple[list[Comparison], int]:
        """The comparisons to print, and how many agreeing ones of contests are left out to keep to about `limit`.

        Nothing that differs is ever left out.
        """
        if len(self.lines) <= limit:
            return self.lines, 0
        kept = [line for line in self.lines if line.scope is None or line.difference_cents]
        return kept, len(self.lines) - len(kept)

    @property
    def differing(self) -> list[Comparison]:
        return [line for line in self.lines if line.difference_cents]


def account_for(evidence: Evidence, end_at: int) -> Accounts:
    """Read the ledger and the processor's books, and set one against the other as of `end_at`."""
    ledger, processor = read_ledger(evidence), read_processor(evidence, end_at)
    statuses: dict[str, str] = dict(evidence.rows("platform.contests", "contest_id", "status"))
    contests = evidence.plan.contests
    return Accounts(
        ledger,
        reconcile(ledger, processor, [(contest, statuses.get(contest.id, "missing")) for contest in contests]),
        [ledger.contests.get(contest.id) or ContestMoney(contest.id) for contest in contests],
        {contest.id: contest.name for contest in contests},
    )


def read_ledger(evidence: Evidence) -> Ledger:
    """One pass over the ledger. Memory grows with the number of transactions, not with that of postings."""
    ledger = Ledger()
    transfer_contest: dict[str, str] = dict(evidence.rows("platform.transfers", "transfer_id", "contest_id"))
    kinds: dict[int, tuple[str, str]] = {}
    for txn_id, kind, key in evidence.rows("platform.ledger_transactions", "txn_id", "kind", "business_key"):
        kinds[txn_id] = (kind, key)
    ledger.transactions = len(kinds)
    balances: dict[str, int] = defaultdict(int)
    sums: dict[int, int] = defaultdict(int)
    flows, contests = ledger.flows, ledger.contests
    for txn_id, account, cents in evidence.rows("platform.ledger_postings", "txn_id", "account", "amount_cents"):
        ledger.postings += 1
        balances[account] += cents
        sums[txn_id] += cents
        kind, key = kinds.get(txn_id, ("", ""))
        parts = account.split(":")
        group = parts[1] if len(parts) > 1 else account
        flows[kind, group] += cents
        if len(parts) > 2 and group in _CONTEST_GROUPS:
            of = contests.get(parts[2]) or contests.setdefault(parts[2], ContestMoney(parts[2]))
            _book(of, kind, group, cents)
        elif kind == "lock" and group == "user_wallet":
            contest_id = key.partition(":")[2]
            contests.setdefault(contest_id, ContestMoney(contest_id)).entries += 1
        elif kind in ("paid", "reversed") and group == "stripe_available":
            paid_for = transfer_contest.get(key.partition(":")[2])
            if paid_for is not None:
                contests.setdefault(paid_for, ContestMoney(paid_for)).paid_cents -= cents
    ledger.balances = dict(balances)
    ledger.unbalanced = sorted((txn_id, total) for txn_id, total in sums.items() if total)
    return ledger


_CONTEST_GROUPS = frozenset({"contest_escrow", "prize_payable", "unexecuted_packs", "rake", "overlay"})


def _book(of: ContestMoney, kind: str, group: str, cents: int) -> None:
    if group == "contest_escrow":
        of.escrow_cents -= cents
        if kind in ("lock", "unlock"):
            of.collected_cents -= cents
        elif kind == "refund_due":
            of.refunded_cents += cents
        elif kind == "prize":
            of.prizes_cents += cents
    elif group == "prize_payable":
        of.payable_cents -= cents
    elif group == "unexecuted_packs":
        of.unexecuted_cents -= cents
    elif group == "rake":
        of.rake_cents -= cents
    else:
        of.overlay_cents += cents


@dataclass(slots=True)
class Processor:
    """What the processor's own books add up to, in cents. `pending` and `available` as they stand at `end_at`."""

    pending_cents: int = 0
    available_cents: int = 0
    fees_cents: int = 0
    topup_cents: int = 0
    captured_cents: int = 0
    refunded_cents: int = 0
    transferred_cents: int = 0
    kept: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Captured and not refunded, by contest."""
    kept_entries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Transferred and not reversed, by contest."""


def read_processor(evidence: Evidence, end_at: int) -> Processor:
    """The processor's books in sums, its balance as it stands at `end_at`."""
    of = Processor()
    for kind, amount, fee, net, available_at in evidence.rows(
        "processor.balance", "kind", "amount_cents", "fee_cents", "net_cents", "available_at"
    ):
        if available_at is not None and available_at > end_at:
            of.pending_cents += net
        else:
            of.available_cents += net
        of.fees_cents += fee or 0
        if kind == "topup":
            of.topup_cents += amount
    for contest_id, amount, refunded, captured_at in evidence.rows(
        "processor.intents", "contest_id", "amount_cents", "refunded_cents", "captured_at"
    ):
        if captured_at is None:
            continue
        of.captured_cents += amount
        kept = amount - (refunded or 0)
        of.kept[contest_id] += kept
        of.kept_entries[contest_id] += kept > 0
    for amount, status in evidence.rows("processor.refunds", "amount_cents", "status"):
        of.refunded_cents += 0 if status in ("failed", "canceled") else amount
    for contest_id, amount, reversed_cents in evidence.rows(
        "processor.transfers", "contest_id", "amount_cents", "reversed_cents"
    ):
        net = amount - (reversed_cents or 0)
        of.transferred_cents += net
        of.sent[contest_id] += net
    return of


def reconcile(ledger: Ledger, processor: Processor, contests: list[tuple[Contest, str]]) -> list[Comparison]:
    """The ledger account by account against the other party's book. `contests` are (plan, final status).

    What a settled contest owes is recomputed from the fees that the processor kept and the contest's terms in the plan.
    """
    balances, flows = ledger.balances, ledger.flows
    stripe = "processor.balance"
    lines = [
        Comparison(None, "Stripe, pending", "assets:stripe_pending", balances.get("assets:stripe_pending", 0),
                   stripe, processor.pending_cents),
        Comparison(None, "Stripe, available", "assets:stripe_available", balances.get("assets:stripe_available", 0),
                   stripe, processor.available_cents),
        Comparison(None, "Stripe fees", "expenses:stripe_fees", balances.get("expenses:stripe_fees", 0),
                   stripe, processor.fees_cents),
        Comparison(None, "Owner's capital", "equity:owner_capital", -balances.get("equity:owner_capital", 0),
                   stripe, processor.topup_cents),
        Comparison(None, "Captured from entrants", "assets:stripe_pending", flows["capture", "stripe_pending"],
                   "processor.intents", processor.captured_cents),
        Comparison(None, "Refunded to entrants", "liabilities:refund_payable", -flows["refund", "stripe_available"],
                   "processor.refunds", processor.refunded_cents),
        Comparison(None, "Paid out to winners", "liabilities:payout_in_transit",
                   -flows["paid", "stripe_available"] - flows["reversed", "stripe_available"],
                   "processor.transfers", processor.transferred_cents),
    ]  # fmt: skip
    for contest, status in contests:
        lines.extend(_reconcile_contest(ledger, processor, contest, status))
    return lines


def _reconcile_contest(ledger: Ledger, processor: Processor, contest: Contest, status: str) -> list[Comparison]:
    scope = contest.id
    of = ledger.contests.get(scope) or ContestMoney(scope)
    escrow, kept = f"liabilities:contest_escrow:{scope}", processor.kept[scope]
    lines = []
    if status in CLOSED_STATUSES or of.collected_cents:
        lines.append(
            Comparison(
                scope, "Fees collected", escrow, of.collected_cents - of.refunded_cents, "processor.intents", kept
            )
        )
    if status in SETTLED_STATUSES:
        owed: Money = money(processor.kept_entries[scope], contest.fee_cents, contest.rake_bp, contest.guaranteed_cents)
        terms = "plan and processor.intents"
        lines += [
            Comparison(scope, "Overlay", f"expenses:overlay:{scope}", of.overlay_cents, terms, owed.overlay_cents),
            Comparison(scope, "Rake", f"income:rake:{scope}", of.rake_cents, terms, owed.rake_cents),
            Comparison(scope, "Prizes", f"liabilities:prize_payable:{scope}", of.prizes_cents, terms, owed.pool_cents),
            Comparison(scope, "Prizes paid out", f"liabilities:prize_payable:{scope}", of.paid_cents,
                       "processor.transfers", processor.sent[scope]),
        ]  # fmt: skip
    if status in CLOSED_STATUSES:
        lines.append(Comparison(scope, "Left in escrow", escrow, of.escrow_cents, "must be empty", 0))
    return lines
