"""The audit log: one row per change, decision and refusal, hash-chained, in the same transaction as what it tells of.

Nothing else writes `audit_log`, and nothing ever changes it: each row binds the one before it through `prev_hash`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from contest_platform.ports import Row, Tx
from contest_platform.store.tables import KEYS

GENESIS = "0" * 64


def canonical(value: Any) -> str:
    """The one JSON form of a value, for hashing and for columns that hold JSON: keys sorted, no space, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class Context(NamedTuple):
    """Who acts (`system:payouts`, `customer:u1`, …) and what the action belongs to (an entry, a contest, an event)."""

    actor: str
    correlation: str


def head(tx: Tx) -> tuple[int, str]:
    """(seq, hash) of the last row; (0, GENESIS) without any."""
    known: tuple[int, str] | None = tx.known.get("audit.head")
    if known is None:
        rows = tx.tuples("select seq, hash from audit_log order by seq desc limit 1")
        known = tx.known["audit.head"] = rows[0] if rows else (0, GENESIS)
    return known


def append(
    tx: Tx,
    ctx: Context,
    action: str,
    subject: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str,
) -> None:
    """Append one row; its sequence number follows that of the last one."""
    last_seq, prev_hash = head(tx)
    seq = last_seq + 1
    at, actor, correlation, cause = tx.now, ctx.actor, ctx.correlation, tx.cause
    was, became = None if before is None else canonical(before), None if after is None else canonical(after)
    hashed = orjson.dumps({
        "action": action, "actor": actor, "after": became, "at": at, "before": was, "cause": cause,
        "correlation": correlation, "prev_hash": prev_hash, "reason": reason, "seq": seq, "subject": subject,
    })  # fmt: skip
    digest = sha256(hashed).hexdigest()
    row = seq, at, actor, action, subject, was, became, reason, correlation, cause, prev_hash, digest
    tx.insert_last("audit_log", row)
    tx.memo["audit.head"] = tx.known["audit.head"] = (seq, digest)


HASHED = (
    "action", "actor", "after", "at", "before", "cause", "correlation", "prev_hash", "reason", "seq", "subject",
)  # fmt: skip
"""What the hash of a row is over, in the order in which it is hashed."""
CHAIN_SQL = f"select hash, {', '.join(HASHED)} from audit_log where seq > :after order by seq limit :page"
_PREV_HASH, _SEQ = HASHED.index("prev_hash"), HASHED.index("seq")


def chain_holds(rows: Iterable[tuple[Any, ...]], seq: int, head: str) -> tuple[int, str, str | None]:
    """Recompute the chain over `rows` of CHAIN_SQL, which follow row `seq` with the hash `head`. Returns number and
    hash of the last row that holds, and what is wrong with the one after it."""
    dumps = orjson.dumps
    for digest, *told in rows:
        if told[_SEQ] != seq + 1:
            return seq, head, f"row {seq + 1} is missing"
        if told[_PREV_HASH] != head:
            return seq, head, f"row {seq + 1} does not carry the hash of the row before it"
        if sha256(dumps(dict(zip(HASHED, told, strict=True)))).hexdigest() != digest:
            return seq, head, f"row {seq + 1} is not what was hashed"
        seq, head = seq + 1, digest
    return seq, head, None


# --- audited writes of table rows ---------------------------------------------------------------------------------


def insert(tx: Tx, ctx: Context, table: str, row: Mapping[str, Any], reason: str) -> None:
    """Insert `row` (every column of `table`) and its audit row."""
    tx.insert(table, row)
    tx.known.pop(table, None)
    append(tx, ctx, f"{table}.insert", subject(table, row), after=row, reason=reason)


def update(
    tx: Tx,
    ctx: Context,
    table: str,
    key: Mapping[str, Any],
    changes: Mapping[str, Any],
    reason: str,
    read: Row | None = None,
) -> None:
    """Set `changes` on the one row of `table` with `key`, and write its audit row with the columns before and after.

    `read`: what this transaction has read of the row already, the columns of `changes` among it.
    Raises LookupError when there is no such row, or none that is as it was read.
    """
    select, write, params = _statements(table, tuple(key), tuple(changes))
    if read is None:
        read = tx.one(select, key)
        if read is None:
            raise LookupError(f"{table} has no row {dict(key)}")
    before = {column: read[column] for column in changes}
    if not tx.run(write, dict(zip(params, (*key.values(), *changes.values(), *before.values()), strict=True))):
        raise LookupError(f"{table} has no row {dict(key)} with {before}")
    tx.known.pop(table, None)
    append(tx, ctx, f"{table}.update", subject(table, key), before=before, after=changes, reason=reason)


def remembered(tx: Tx, table: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows that `sql` gives out of `table`, which all write here: asked for again once it has changed."""
    answers: dict[str, list[tuple[Any, ...]]] = tx.known.setdefault(table, {})
    if sql not in answers:
        answers[sql] = tx.tuples(sql)
    return answers[sql]


def subject(table: str, row: Mapping[str, Any]) -> str:
    """`table/key`, composite keys joined by slashes."""
    return _SUBJECTS[table].format_map(row)


_SUBJECTS = {table: "/".join((table, *(f"{{{column}}}" for column in key))) for table, key in KEYS.items()}


@cache
def _statements(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """The select and the update for these columns, and the update's parameters: the key, then what is new, then what
    was before."""
    where = " and ".join(f"{name} = :{name}" for name in key)
    as_read = " and ".join(f"{name} is not distinct from :old_{name}" for name in columns)
    return (
        f"select {', '.join(columns)} from {table} where {where}",
        f"update {table} set {', '.join(f'{name} = :new_{name}' for name in columns)} where {where} and {as_read}",
        (*key, *(f"new_{name}" for name in columns), *(f"old_{name}" for name in columns)),
    )
