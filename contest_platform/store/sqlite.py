"""The embedded store: SQLite, executed on the raw driver. Triggers make append-only tables and writer authority hold.

A transaction commits as a whole or leaves nothing; an append-only row cannot be changed, removed or replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from contest_platform.ports import Row
from contest_platform.store.schema import APPEND_ONLY, KEYS, METADATA, TABLES

T = TypeVar("T")


@cache
def ddl() -> tuple[str, ...]:
    """Every statement that makes an empty database ready, in order."""
    return tuple(_ddl())


def _ddl() -> Iterator[str]:
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect.dialect()))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect.dialect()))
    for name in APPEND_ONLY:
        yield from append_only_triggers(name)
    yield from SETTLEMENT_TRIGGERS


def append_only_triggers(table: str) -> Iterator[str]:
    """Refuse UPDATE and DELETE, and what replaces a row."""
    for event in ("update", "delete"):
        yield (
            f"create trigger {table}_refuses_{event} before {event} on {table} "
            f"begin select raise(abort, '{table} is append-only'); end"
        )
    yield _refuses_replace(table, f"{table} is append-only")


def _refuses_replace(table: str, message: str) -> str:
    """Refuse an INSERT of anything unique that exists: INSERT OR REPLACE removes the row that has it, and gets past a
    DELETE trigger unless recursive_triggers is on, which each connection decides for itself (SQLite documentation,
    CREATE TRIGGER)."""
    taken = " or ".join(
        f"exists (select 1 from {table} where {' and '.join(f'{column} = new.{column}' for column in key)})"
        for key in _unique_keys(table)
    )
    return (
        f"create trigger {table}_refuses_replace before insert on {table} when {taken} "
        f"begin select raise(abort, '{message}'); end"
    )


def _unique_keys(table: str) -> list[tuple[str, ...]]:
    """Every set of columns that no two rows of `table` share."""
    constraints = [one.columns for one in TABLES[table].constraints if isinstance(one, UniqueConstraint)]
    indexes = [index.columns for index in TABLES[table].indexes if index.unique]
    return [KEYS[table], *sorted(tuple(column.name for column in columns) for columns in (*constraints, *indexes))]


SETTLEMENT_TRIGGERS = (
    # Only the holder of the settlement lease may end a pack; what has ended never changes.
    """
    create trigger settlement_packs_daemon_authority before update on settlement_packs
    when old.status <> 'PENDING'
    or new.pack_id <> old.pack_id or new.contest_id <> old.contest_id or new.entry_id <> old.entry_id
    or new.status <> old.status and (
        new.terminalized_at is null
        or not exists (
            select 1 from leases where name = 'settlement' and holder = new.settled_by
            and epoch = new.lease_epoch and expires_at > new.terminalized_at))
    begin select raise(abort, 'only the settlement daemon may leave PENDING, once, under its lease'); end
    """,
    """
    create trigger settlement_packs_start_pending before insert on settlement_packs
    when new.status <> 'PENDING'
    begin select raise(abort, 'a settlement pack starts PENDING'); end
    """,
    """
    create trigger settlement_packs_refuse_delete before delete on settlement_packs
    begin select raise(abort, 'settlement packs are not deleted'); end
    """,
    """
    create trigger settlement_packs_execute_linked before update of status on settlement_packs
    when new.status = 'EXECUTED' and not exists (select 1 from outcome_pack_links where pack_id = new.pack_id)
    begin select raise(abort, 'a pack is executed only through its outcome link'); end
    """,
    _refuses_replace("settlement_packs", "settlement packs are not replaced"),
)


@cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"


@cache
def _upsert(table: str, columns: tuple[str, ...]) -> str:
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in KEYS[table])
    return f"{_insert(table, columns)} on conflict ({', '.join(KEYS[table])}) do update set {new}"


_ROWS: dict[str, tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {
    name: (_insert(name, tuple(table.columns.keys())), itemgetter(*table.columns.keys()))
    for name, table in TABLES.items()
}
"""By table: the insert of a whole row, and what takes its values out of a mapping."""


def connect(path: str = "") -> sqlite3.Connection:
    """A database ready for use. The empty path is a private database in memory: a temporary one on disk did not survive
    a rollback after its page cache had spilled (measured, 3.40.1: "database disk image is malformed")."""
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, cached_statements=512, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("pragma recursive_triggers = on")
    create(connection)
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Make an empty database ready, all or nothing: half a schema would pass for a whole one at the next start."""
    if connection.execute("select 1 from sqlite_master where name = 'contests'").fetchone():
        return
    connection.execute("begin immediate")
    for statement in ddl():
        connection.execute(statement)
    connection.execute("commit")


class SqliteTx:
    """One open transaction; see contest_platform.ports.Tx."""

    __slots__ = ("_cursor", "_execute", "cause", "changes", "memo", "now", "statements", "topics")

    def __init__(self, cursor: sqlite3.Cursor, now: int, cause: str) -> None:
        self._cursor, self._execute = cursor, cursor.execute
        self.now, self.cause = now, cause
        self.topics: list[str] = []
        self.statements = 0
        self.changes = 0
        self.memo: dict[str, Any] = {}

    def one(self, sql: str, params: Mapping[str, Any] | None = None) -> Row | None:
        self.statements += 1
        return self._execute(sql, params or ()).fetchone()  # type: ignore[no-any-return]

    def all(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        self.statements += 1
        return self._execute(sql, params or ()).fetchall()

    def tuples(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        self.statements += 1
        cursor = self._cursor.connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, params or ()).fetchall()

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        self.statements += 1
        count = self._execute(sql, params or ()).rowcount
        self.changes += count
        return count

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        statement, values = _ROWS[table]
        self._execute(statement, values(row))
        self.changes += 1
        self.statements += 1

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(_insert(table, tuple(columns)), rows)
        self.statements += 1
        self.changes += len(rows)

    def upsert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._cursor.executemany(_upsert(table, tuple(columns)), rows)
        self.statements += 1
        self.changes += len(rows)

    def notify(self, topic: str) -> None:
        if topic not in self.topics:
            self.topics.append(topic)


def transact(connection: sqlite3.Connection, now: int, cause: str, fn: Callable[[SqliteTx], T]) -> tuple[T, SqliteTx]:
    """Run `fn` in one transaction. Any exception rolls back and is raised on."""
    cursor = connection.cursor()  # one for all: a cursor for each statement costs as much as a cheap statement
    tx = SqliteTx(cursor, now, cause)
    cursor.execute("begin immediate")
    try:
        result = fn(tx)
    except BaseException:
        cursor.execute("rollback")
        raise
    cursor.execute("commit")
    return result, tx
