"""The embedded store: SQLite, executed on the raw driver. Triggers make append-only tables and writer authority hold.

A transaction commits as a whole or leaves nothing; an append-only row cannot be changed, removed or replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from contest_platform.ports import Row
from contest_platform.store.tables import DDL, KEYS, TABLES

T = TypeVar("T")


@cache
def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"


@cache
def _upsert(table: str, columns: tuple[str, ...]) -> str:
    new = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in KEYS[table])
    return f"{_insert(table, columns)} on conflict ({', '.join(KEYS[table])}) do update set {new}"


_ROWS: dict[str, tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {
    name: (_insert(name, table.columns), itemgetter(*table.columns)) for name, table in TABLES.items()
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
    for statement in DDL:
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
