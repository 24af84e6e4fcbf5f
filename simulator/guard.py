"""The anomaly guard: looks at a run while it goes on, and ends it where it sees what no run should go on from.

Invariant: it believes nobody. It adds up the postings and walks the audit chain itself, over rows as the database gives
them, and asks no code of the platform what they come to. It only reads: a run in which it sees nothing is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from contest_platform.store.database import Database
from evidence.canonical import canonical
from evidence.halts import HALTED
from simulator.kernel import Kernel
from simulator.operations import Operations
from simulator.world import World

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
SAID_MAX = 5
"""So many sentences are kept of one anomaly."""
BY_HAND = frozenset({"database.session", "page.rotted"})
"""What the database server tells of that is nobody's commit: whatever stands in the tables may be another since."""


class Sight(NamedTuple):
    """What an anomaly is looked for in. `thorough`: at every row, whatever was seen of it before."""

    database: Database
    operations: Operations
    broken_chain: str
    """Where the audit chain does not hold, if it does not."""
    thorough: bool


class Anomaly(NamedTuple):
    """`see` says in sentences what is wrong, if anything is."""

    id: str
    see: Callable[[Sight], Iterator[str]]


class Guard:
    """Looks each hour, and once a contest has another status; after each commit at what the audit log has more.
    Thoroughly it looks each week, and once somebody had his hands in the database: what was sound may no longer be."""

    def __init__(self, starts_at: int, operations: Operations) -> None:
        self._starts_at, self._operations, self._chain = starts_at, operations, _Chain()
        self._by_hand = False
        self.next_at = starts_at + HOUR_MS

    def calls(self, _: int, kind: str) -> bool:
        self._by_hand |= kind in BY_HAND
        return kind == "commit" or kind in BY_HAND

    def look(self, world: World, kernel: Kernel) -> bool:
        now, database = world.runtime.now(), world.connection
        thorough, self._by_hand = self._by_hand, False
        is_time = now >= self.next_at
        if is_time:
            self.next_at += HOUR_MS
            thorough |= (now - self._starts_at) % WEEK_MS == 0
        broken_chain, contest_moved = self._chain.walk(database)
        if thorough and not broken_chain:
            broken_chain = self._chain.walk_anew(database)
        if not (is_time or thorough or contest_moved or broken_chain):
            return True
        sight = Sight(database, self._operations, broken_chain, thorough)
        seen = {anomaly.id: list(anomaly.see(sight)) for anomaly in ANOMALIES}
        for anomaly, said in seen.items():
            if said:
                more = [f"and {len(said) - SAID_MAX} more"] if len(said) > SAID_MAX else []
                world.record("guard", HALTED, anomaly, saw=[*said[:SAID_MAX], *more])
        return not any(seen.values())


# --- the anomalies -------------------------------------------------------------------------------------------------

_TOTAL = "select cast(sum(amount_cents) as bigint) from ledger_postings"
_UNBALANCED = """
    select txn_id, cast(sum(amount_cents) as bigint) from ledger_postings
    group by txn_id having sum(amount_cents) <> 0 order by txn_id
"""
_IN_ERROR = "select contest_id, error_code from contests where status = 'ERROR' order by contest_id"
_EXECUTING = """
    select s.sent from runbook_executions e join runbook_execution_steps s on s.execution_id = e.id
    where e.status = 'in_progress'
"""
ERROR_MODES = frozenset({"contest_in_error", "settlement_failed_mid_run"})
"""The failure modes that a contest in ERROR shows."""


def _ledger_out_of_balance(sight: Sight) -> Iterator[str]:
    [(total,)] = sight.database.execute(_TOTAL)
    if not total and not sight.thorough:
        return
    for txn_id, cents in sight.database.execute(_UNBALANCED):
        yield f"ledger transaction {txn_id} is out of balance by {cents} cents"


def _audit_chain_broken(sight: Sight) -> Iterator[str]:
    if sight.broken_chain:
        yield sight.broken_chain


def _contest_in_error(sight: Sight) -> Iterator[str]:
    """One for which no runbook in force is written, and which no step of an execution in progress has named."""
    runbooks = sight.operations.runbooks.values()
    if any(mode.text in ERROR_MODES for runbook in runbooks for mode in runbook.failure_modes):
        return
    named = {word for (sent,) in sight.database.execute(_EXECUTING) for word in sent.split()}
    for contest_id, error_code in sight.database.execute(_IN_ERROR):
        if contest_id not in named:
            yield f"contest {contest_id} is in ERROR ({error_code or 'no error code'}), and no runbook is there for it"


ANOMALIES = (
    Anomaly("ledger_out_of_balance", _ledger_out_of_balance),
    Anomaly("audit_chain_broken", _audit_chain_broken),
    Anomaly("contest_in_error", _contest_in_error),
)

# --- the audit chain -----------------------------------------------------------------------------------------------

_HASHED = (
    "action", "actor", "after", "at", "before", "cause", "correlation", "prev_hash", "reason", "seq", "subject",
)  # fmt: skip
_ACTION, _AFTER, _PREV_HASH, _SEQ = (_HASHED.index(name) for name in ("action", "after", "prev_hash", "seq"))
"""What is hashed of a row, as compact JSON with sorted keys: see evidence/CONVENTIONS.md."""
_PAGE = 4_096
_ROWS = f"select hash, {', '.join(_HASHED)} from audit_log where seq > :after order by seq limit {_PAGE}"
_HASH = "select hash from audit_log where seq = :seq"
_GENESIS = "0" * 64


class _Chain:
    """The audit log as far as it has been walked: row `_seq` was the last, and `_head` its hash."""

    def __init__(self) -> None:
        self._seq, self._head = 0, _GENESIS

    def walk(self, database: Database) -> tuple[str, bool]:
        """Go on from the last row. Returns what does not hold, and whether a contest has another status since."""
        if self._seq and list(database.execute(_HASH, {"seq": self._seq})) != [(self._head,)]:
            return f"audit row {self._seq}, which was the last, is gone or another one", False
        contest_moved = False
        for digest, row in _rows_after(database, self._seq):
            problem = self._follows(digest, row)
            if problem:
                return problem, contest_moved
            contest_moved |= row[_ACTION].startswith("contests.") and '"status":' in row[_AFTER]
        return "", contest_moved

    def walk_anew(self, database: Database) -> str:
        """Walk the whole log. Returns what does not hold."""
        self._seq, self._head = 0, _GENESIS
        return self.walk(database)[0]

    def _follows(self, digest: str, row: tuple[Any, ...]) -> str:
        """Step on to this row; or say why it does not follow the last."""
        seq = self._seq + 1
        if row[_SEQ] != seq:
            return f"audit row {seq} is missing"
        if row[_PREV_HASH] != self._head:
            return f"audit row {seq} does not carry the hash of the row before it"
        if sha256(canonical(dict(zip(_HASHED, row, strict=True)))).hexdigest() != digest:
            return f"audit row {seq} is not what was hashed"
        self._seq, self._head = seq, digest
        return ""


def _rows_after(database: Database, seq: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(hash, what is hashed) of every row after `seq`, in order."""
    while True:
        page = list(database.execute(_ROWS, {"after": seq}))
        for digest, *row in page:
            yield digest, tuple(row)
        if len(page) < _PAGE:
            return
        seq = page[-1][_SEQ + 1]
