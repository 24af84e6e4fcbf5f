"""The embedded store: SQLite, executed on the raw driver. Triggers make append-only tables and writer authority hold.

A transaction commits as a whole or leaves nothing; an append-only row cannot be changed, removed or replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import apsw

from contest_platform.ports import Row
from contest_platform.store.database import Rows, Values, edits
from contest_platform.store.snapshot import Objects, differences
from contest_platform.store.tables import DDL, TABLES

T = TypeVar("T")
Params: TypeAlias = Mapping[str, Any] | Sequence[Any] | None


@cache
def _insert(table: str, columns: tuple[str, ...], rows: int = 1) -> str:
    # Or fail, not abort: for a statement that may have to be undone alone SQLite copies every page that it changes.
    # What fails, fails the transaction, which is rolled back as a whole.
    # The columns are named, so that one that somebody adds to the table does not stop every insert; without a space too
    # many, for the driver reads the whole text of a statement with every row.
    values = f"({','.join('?' * len(columns))})"
    return f"insert or fail into {table}({','.join(columns)}) values{','.join([values] * rows)}"


_ROWS: dict[str, tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {
    name: (_insert(name, table.columns), itemgetter(*table.columns)) for name, table in TABLES.items()
}
"""By table: the insert of a whole row, and what takes its values out of a mapping."""

AT_ONCE = 16
"""So many rows of many are inserted by one statement."""
BUSY_MS = 5_000
UNKNOWN = -1
_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
"""No lock at every call: a connection is used by one thread at a time."""
_UNNAMED = (
    "locking_mode = exclusive",
    "journal_mode = memory",
    "synchronous = off",
    "cache_size = -16384",
)


OBJECTS = "select type, name, coalesce(sql, '') from sqlite_master where name not like 'sqlite_%' order by type, name"
"""What SQLite says of its own schema. What it makes by itself, for keys and statistics, is left out."""


class Connection(apsw.Connection):
    """A database, as its only thread has it open; see contest_platform.store.database.Database. SQLite knows no roles.

    `known` is what its transactions have come to know (Tx.known), and `version` that of the database when the last one
    was committed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.known: dict[str, Any] = {}
        self.version = UNKNOWN

    def transact(self, now: int, cause: str, fn: Callable[[SqliteTx], T], role: str = "") -> tuple[T, SqliteTx]:
        """Run `fn` in one transaction. Any exception rolls back and is raised on."""
        tx = SqliteTx(self, now, cause)
        tx.begin()
        try:
            result = fn(tx)
            tx.commit()
        except BaseException:
            if self.in_transaction:  # SQLite has rolled back by itself when the disk is full
                self.execute("rollback")
            raise
        return result, tx

    # --- whoever deploys, backs up and reads the books ----------------------------------------------------------------

    def scan(self, table: str, columns: Sequence[str], order: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        return self.cursor().execute(f"select {', '.join(columns)} from {table} order by {', '.join(order)}")

    def schema_differences(self) -> list[str]:
        return _differences(self.cursor())

    def restored(self, tables: Rows) -> Connection:
        return connect(tables=tables)

    def failed(self, error: BaseException) -> bool:
        """Whether the machine could not read or write the database: full disk, input/output error."""
        return isinstance(error, (apsw.FullError, apsw.IOError))

    # --- humans, past the application --------------------------------------------------------------------------------

    def forget(self) -> None:
        """Somebody has written on this connection who is not the platform, which would believe that nobody else has."""
        self.version = UNKNOWN

    def query(self, sql: str, values: Values = ()) -> list[dict[str, Any]]:
        return query(self, sql, values)

    def by_hand(self, statements: Sequence[str], role: str, bypass: str = "") -> tuple[int, int]:
        """A table's triggers are dropped before and created again after, as any connection may (measured, 3.40.1)."""
        triggers, changed, done = self._triggers(bypass), 0, 0
        drop = [f"drop trigger {name}" for name in triggers]
        try:
            for sql in ("begin immediate", *drop, *statements, *triggers.values(), "commit"):
                done, before = done + 1, self.total_changes()
                self.execute(sql).fetchall()
                changed += self.total_changes() - before if sql in statements else 0
        except apsw.ConstraintError:
            self.execute("rollback")
            done, changed = done + 1, 0
        self.forget()
        return done, changed

    def _triggers(self, table: str) -> dict[str, str]:
        """The triggers of `table`: name -> the statement that creates it."""
        found = "select name, sql from sqlite_master where type = 'trigger' and tbl_name = ? order by name"
        return {str(name): str(sql) for name, sql in self.execute(found, (table,))}

    def edits(self, table: str) -> Sequence[str]:
        return *edits(table), f"insert or replace into {table} select * from {table}"

    def refuses(self, statement: str) -> bool:
        self.execute("savepoint refused")
        try:
            self.execute(statement)
        except apsw.ConstraintError:
            return True
        finally:
            self.execute("rollback to refused")
            self.execute("release refused")
        return False


def _differences(cursor: apsw.Cursor) -> list[str]:
    return differences(((str(kind), str(name), str(sql)) for kind, name, sql in cursor.execute(OBJECTS)), _committed())


@cache
def _committed() -> Objects:
    """Of a database that schema.sql has just made."""
    return {(str(kind), str(name)): str(sql) for kind, name, sql in connect().execute(OBJECTS)}


def connect(path: str = "", pragmas: Sequence[str] = (), tables: Rows = ()) -> Connection:
    """A database ready for use, at `path` or, by default, in memory; with these rows, if there are some to begin with,
    on which no trigger had a say."""
    connection = Connection(path or ":memory:", flags=_FLAGS, statementcachesize=256)
    connection.set_busy_timeout(BUSY_MS)
    # One plan a statement: otherwise a range of bound values is planned anew at every execution, and may be otherwise.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # The triggers that refuse a DELETE refuse a REPLACE with it.
    for pragma in ("recursive_triggers = on", *pragmas):
        connection.execute(f"pragma {pragma}")
    create(connection, tables)
    return connection


def connect_unnamed(directory: Path) -> Connection:
    """A database ready for use that ends with its connection: a file in `directory` that loses its name at once, so
    that no death of the process leaves it behind. It takes the memory of its page cache, however large it grows.

    Its journal is in memory: it rolls back as every database does, but nobody could repair it after a crash. SQLite's
    own temporary databases would do the same but for two faults: every commit walks all pages that are still dirty, and
    one that had spilled its cache did not survive a rollback (measured, 3.40.1: "database disk image is malformed").
    """
    path = directory / "platform.db"
    connection = connect(str(path), _UNNAMED)
    path.unlink()
    return connection


def create(connection: Connection, tables: Rows = ()) -> None:
    """Make an empty database ready, all or nothing: half a schema would pass for a whole one at the next start."""
    if connection.execute("select 1 from sqlite_master where name = 'contests'").fetchone():
        return
    connection.execute("begin immediate")
    triggers = next(n for n, statement in enumerate(DDL) if statement.startswith("create trigger"))
    for statement in DDL[:triggers]:
        connection.execute(statement)
    for table, rows in tables:
        connection.executemany(_insert(table, TABLES[table].columns), rows)
    for statement in DDL[triggers:]:
        connection.execute(statement)
    connection.execute("commit")


_names: dict[str, tuple[str, ...]] = {}


def columns(cursor: apsw.Cursor, sql: str) -> tuple[str, ...]:
    """The columns that `sql` gives, which `cursor` has begun; none when it has no row to give."""
    try:
        names = _names[sql] = tuple(name for name, *_ in cursor.get_description())
    except apsw.ExecutionCompleteError:
        return ()
    return names


def query(cursor: apsw.Cursor | apsw.Connection, sql: str, params: Params = None) -> list[dict[str, Any]]:
    """The rows that `sql` gives, as mappings."""
    begun = cursor.execute(sql, params)
    names = _names.get(sql) or columns(begun, sql)
    return [dict(zip(names, row, strict=True)) for row in begun]


class SqliteTx:
    """One open transaction; see contest_platform.ports.Tx."""

    __slots__ = (
        "_connection",
        "_cursor",
        "_execute",
        "_last",
        "cause",
        "changes",
        "known",
        "memo",
        "now",
        "statements",
        "topics",
    )

    def __init__(self, connection: Connection, now: int, cause: str) -> None:
        self._connection, self._cursor = connection, connection.cursor()
        self._execute = self._cursor.execute
        self.now, self.cause = now, cause
        self.known: dict[str, Any] = {}
        self.topics: list[str] = []
        self.statements = 0
        self.changes = 0
        self.memo: dict[str, Any] = {}
        self._last: dict[str, list[tuple[Any, ...]]] = {}

    def one(self, sql: str, params: Mapping[str, Any] | None = None) -> Row | None:
        self.statements += 1
        cursor = self._execute(sql, params)
        names = _names.get(sql) or columns(cursor, sql)
        row = cursor.fetchone()
        return None if row is None else dict(zip(names, row, strict=True))

    def all(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        self.statements += 1
        return query(self._cursor, sql, params)  # type: ignore[return-value]

    def tuples(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        self.statements += 1
        return self._execute(sql, params).fetchall()

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        self.statements += 1
        self._execute(sql, params)
        count = self._connection.changes()
        self.changes += count
        return count

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        statement, values = _ROWS[table]
        self._execute(statement, values(row))
        self.changes += 1
        self.statements += 1

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.statements += 1
        self.changes += len(rows)
        if len(rows) >= AT_ONCE:
            rows = self._insert_whole(table, tuple(columns), rows)
        self._cursor.executemany(_insert(table, tuple(columns)), rows)

    def _insert_whole(
        self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> Sequence[Sequence[Any]]:
        """Insert some rows at a time, for the driver looks a statement up anew for every row; returns those left."""
        if set(map(len, rows)) != {len(columns)}:  # which the driver says of single rows, and cannot of some together
            raise ValueError(f"{table}: expected rows of {len(columns)} values")
        some, whole = _insert(table, columns, AT_ONCE), len(rows) - len(rows) % AT_ONCE
        for start in range(0, whole, AT_ONCE):
            self._execute(some, tuple(chain.from_iterable(rows[start : start + AT_ONCE])))
        return rows[whole:]

    def insert_last(self, table: str, row: tuple[Any, ...]) -> None:
        self._last.setdefault(table, []).append(row)

    def notify(self, topic: str) -> None:
        if topic not in self.topics:
            self.topics.append(topic)

    def schema_differences(self) -> list[str]:
        return _differences(self._cursor)

    def begin(self) -> None:
        """From here on nobody else writes. Whether anybody has since our last commit, the version tells."""
        self._execute("begin immediate")
        connection = self._connection
        if connection.version != connection.data_version():
            connection.known = {}
        self.known = connection.known
        connection.version = UNKNOWN  # and with a rollback it stays so

    def commit(self) -> None:
        """Insert what was left for the end, and commit."""
        for table, rows in self._last.items():
            self.insert_many(table, TABLES[table].columns, rows)
        self._execute("commit")
        self._connection.version = self._connection.data_version()
