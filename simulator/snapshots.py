"""How the platform stands at each simulated midnight: a line of snapshots.jsonl, beside the journal and no part of it.

Invariant: a snapshot is read from the database between two events, and the same run makes the same bytes on any store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contest_platform.store.database import Database
from contest_platform.store.tables import TABLES
from evidence.canonical import canonical
from simulator.kernel import Kernel
from simulator.onlookers import Calls
from simulator.world import World

DAY_MS = 86_400_000

_ROWS = "select " + ", ".join(f"(select count(*) from {table}) as {table}" for table in TABLES)
_HEAD = "select seq, hash from audit_log order by seq desc limit 1"
_CONTESTS = "select status, contest_id from contests order by contest_id"
_LAST = "select coalesce(max(txn_id), 0) from ledger_transactions"
_POSTED = "select account, amount_cents from ledger_postings where txn_id > :after and txn_id <= :last"
OF_CUSTOMERS = (
    "liabilities:payout_in_transit:", "liabilities:prize_payable:", "liabilities:refund_payable:",
    "liabilities:user_wallet:",
)  # fmt: skip
"""Accounts of which every customer has one, or one in each contest: they are added up, for there are thousands."""


class Posted:
    """Balance by account, from postings as they are made: to add all of them up anew at every midnight would cost a
    hundredth of a run (measured). What somebody alters in one afterwards is not seen here."""

    def __init__(self) -> None:
        self._last = 0
        self._cents: dict[str, int] = {}
        self._shown: dict[str, str] = {}

    def balances(self, database: Database) -> Mapping[str, int]:
        """Those that are not zero, in cents, debits positive; the accounts of customers added up under `…:*`."""
        [(last,)] = database.execute(_LAST)
        cents, shown = self._cents, self._shown
        for account, amount in database.execute(_POSTED, {"after": self._last, "last": last}):
            name = shown.get(account) or shown.setdefault(account, _shown(account))
            cents[name] = cents.get(name, 0) + amount
        self._last = last
        return {name: amount for name, amount in cents.items() if amount}


def _shown(account: str) -> str:
    return f"{account.rpartition(':')[0]}:*" if account.startswith(OF_CUSTOMERS) else account


class Snapshots:
    """Takes one at each midnight, that at which the run ends included; `keep` is given each as a line."""

    calls: Calls | None = None

    def __init__(self, starts_at: int, keep: Callable[[bytes], Any]) -> None:
        self._starts_at, self._keep = starts_at, keep
        self._posted = Posted()
        self.next_at = starts_at + DAY_MS

    def look(self, world: World, kernel: Kernel) -> bool:
        at = self.next_at
        self.next_at += DAY_MS
        days = (at - self._starts_at) // DAY_MS
        self._keep(canonical({"at": at, "days": days, **state(world, kernel, self._posted)}) + b"\n")
        return True


def state(world: World, kernel: Kernel, posted: Posted) -> dict[str, Any]:
    """How things stand now. Money is cents."""
    database = world.connection
    [rows] = database.query(_ROWS)
    head = database.query(_HEAD)
    contests: dict[str, list[str]] = {}
    for row in database.query(_CONTESTS):
        contests.setdefault(row["status"], []).append(row["contest_id"])
    return {
        "audit": head[0] if head else None,
        "contests": contests,
        "events": kernel.journal.count,
        "head": kernel.journal.head,
        "ledger": posted.balances(database),
        "rows": rows,
    }
