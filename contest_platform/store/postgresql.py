"""The PostgreSQL store, executed on the raw driver: the same tables, triggers and texts of SQL as the embedded one.

A transaction is SERIALIZABLE: it commits as if it had been alone, or is run again. What it knows, it has read or written
itself: what another has read is not among the reads that the server watches for it, so `Tx.known` ends with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.types.bool import BoolBinaryLoader
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from psycopg.types.string import StrBinaryDumper

from contest_platform.ports import Row, StoreBusy
from contest_platform.store.database import DatabaseRefused, Values, edits
from contest_platform.store.postgresql_objects import OBJECTS, committed
from contest_platform.store.roles import OWNER, READER, ROLES
from contest_platform.store.snapshot import differences
from contest_platform.store.tables import TABLES

T = TypeVar("T")

DDL = tuple(Path(__file__).with_name("postgresql.sql").read_text().split("\n\n"))
"""Every statement that makes an empty schema ready, in order, after a comment."""
AT_ONCE = 64
"""At most so many rows are inserted by one statement."""
ATTEMPTS_MAX = 100
"""Whoever loses to another that has committed begins again: somebody gets on every time."""
SCANNED = 5_000
"""Rows of a table that are held at once when all are read."""
PREPARED_MAX = 1_000
"""Statements that one connection keeps prepared: more than the platform has texts."""
_TURN = 4_701_202
"""The advisory lock under which a transaction that has lost before is run again, one at a time."""
_ALIVE = 4_701_203
"""The advisory lock of whoever lives for whom a schema was made."""
MADE = "absence_"
"""How the names of schemas begin that are made to be dropped again."""
_LOST = (errors.SerializationFailure, errors.DeadlockDetected)


class _AsInt(BoolBinaryLoader):
    """Booleans come back as 0 and 1, as from SQLite."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


class _Whole(NumericBinaryLoader):
    """A sum of integers is an integer."""

    def load(self, data: Any) -> Any:
        found = super().load(data)
        if found != int(found):
            raise ValueError(f"a sum of integers is no integer: {found}")
        return int(found)


_PLACES = re.compile(r"'[^']*'|\"[^\"]*\"|::|:([a-z_][a-z_0-9]*)(\s+is\s+(?:not\s+)?null\b)?|\?")


@cache
def _statement(sql: str) -> tuple[str, tuple[str, ...]]:
    """`sql` as the server takes it, `:name` numbered, and the names in the order of their numbers. `?` is numbered as
    it comes, and has no name. A value that is asked whether it is null is a text: the server wants to know of every
    value what it is, and a null does not say."""
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        name = found[1]
        if name is None and found[0] != "?":
            return found[0]
        if name is None or name not in names:
            names.append(name or "")
        place = f"${names.index(name) + 1 if name else len(names)}"
        return f"cast({place} as text){found[2]}" if found[2] else place

    return _PLACES.sub(numbered, sql), tuple(names)


@cache
def _insert(table: str, columns: tuple[str, ...], rows: int = 1) -> str:
    width = len(columns)
    values = (f"({','.join(f'${row * width + n}' for n in range(1, width + 1))})" for row in range(rows))
    return f"insert into {table} ({_listed(columns)}) values {','.join(values)}"


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_whole = {name: itemgetter(*table.columns) for name, table in TABLES.items()}
_names: dict[str, tuple[str, ...]] = {}


class PostgresTx:
    """One open transaction; see contest_platform.ports.Tx."""

    def __init__(self, cursor: psycopg.RawCursor[Any], now: int, cause: str) -> None:
        self._cursor = cursor
        self.now, self.cause = now, cause
        self.known: dict[str, Any] = {}
        self.memo: dict[str, Any] = {}
        self.topics: list[str] = []
        self.statements = self.changes = 0
        self._last: dict[str, list[tuple[Any, ...]]] = {}

    def _execute(self, sql: str, params: Mapping[str, Any] | None) -> psycopg.RawCursor[Any]:
        self.statements += 1
        text, names = _statement(sql)
        return self._cursor.execute(text, [params[name] for name in names] if params and names else None)

    def one(self, sql: str, params: Mapping[str, Any] | None = None) -> Row | None:
        row = self._execute(sql, params).fetchone()
        return None if row is None else dict(zip(columns(self._cursor, sql), row, strict=True))

    def all(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        rows = self._execute(sql, params).fetchall()
        names = columns(self._cursor, sql)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def tuples(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self._execute(sql, params).fetchall()

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        count = self._execute(sql, params).rowcount
        self.changes += count
        return count

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        self.statements += 1
        self.changes += 1
        self._insert(table, TABLES[table].columns, [_whole[table](row)])

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.statements += 1
        self.changes += len(rows)
        self._insert(table, tuple(columns), rows)

    def _insert(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        if not set(map(len, rows)) <= {len(columns)}:
            raise ValueError(f"{table}: expected rows of {len(columns)} values")
        rows = _with_booleans(table, columns, rows)
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            self._cursor.execute(_insert(table, columns, len(some)), list(chain.from_iterable(some)))

    def insert_last(self, table: str, row: tuple[Any, ...]) -> None:
        self._last.setdefault(table, []).append(row)

    def notify(self, topic: str) -> None:
        if topic not in self.topics:
            self.topics.append(topic)

    def schema_differences(self) -> list[str]:
        return _differences(self._cursor)

    def finish(self) -> None:
        """Insert what was left for the end."""
        for table, rows in self._last.items():
            self.insert_many(table, TABLES[table].columns, rows)


def _with_booleans(table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows with true and false where they had 1 and 0, which the server does not take for a boolean."""
    places = [n for n, column in enumerate(columns) if column in TABLES[table].booleans]
    if not places:
        return rows
    made = [list(row) for row in rows]
    for row in made:
        for place in places:
            row[place] = bool(row[place])
    return made


def columns(cursor: psycopg.RawCursor[Any], sql: str) -> tuple[str, ...]:
    """The columns that `sql` gives, which `cursor` has executed."""
    names = _names.get(sql)
    if names is None:
        names = _names[sql] = tuple(column.name for column in cursor.description or ())
    return names


class PostgresDatabase:
    """A schema of a database, and one connection to it; see contest_platform.store.database.Database.

    Between two transactions the connection is its owner's. `create` makes the schema, with roles of its own, and
    `close` leaves nothing of what was `made`.
    """

    def __init__(self, connection: psycopg.Connection[Any], url: str, schema: str, made: bool = False) -> None:
        self.connection, self.url, self.schema, self._made = connection, url, schema, made
        self._control = psycopg.RawCursor(connection)
        self._cursor = psycopg.RawCursor(connection)
        self._cursor.format = pq.Format.BINARY
        self._control.execute(f'set role "{_role(schema, OWNER)}"; set search_path = {_path(schema)}')
        if made:
            self._control.execute("set synchronous_commit = off")
        self._beside: list[PostgresDatabase] = []

    # --- the platform's processes ------------------------------------------------------------------------------------

    def transact(self, now: int, cause: str, fn: Callable[[PostgresTx], T], role: str = "app") -> tuple[T, PostgresTx]:
        """Run `fn` in one transaction, again if it lost to another. Any other exception rolls back and is raised on.
        Raises StoreBusy when it lost to others again and again."""
        begin = f'begin isolation level serializable; set local role "{_role(self.schema, role)}"'
        try:
            return self._once(begin, now, cause, fn)
        except _LOST:
            self._cursor.execute(f"select pg_advisory_lock({_TURN}, hashtext($1))", [self.schema])
        try:
            for _ in range(ATTEMPTS_MAX):
                with suppress(*_LOST):
                    return self._once(begin, now, cause, fn)
        finally:
            if not self.connection.closed:
                self._cursor.execute(f"select pg_advisory_unlock({_TURN}, hashtext($1))", [self.schema])
        raise StoreBusy("lost to other transactions again and again")

    def _once(self, begin: str, now: int, cause: str, fn: Callable[[PostgresTx], T]) -> tuple[T, PostgresTx]:
        control = self._control
        control.execute(begin)
        tx = PostgresTx(self._cursor, now, cause)
        try:
            result = fn(tx)
            tx.finish()
            control.execute("commit")
        except BaseException:
            if not self.connection.closed:
                control.execute("rollback")
            raise
        return result, tx

    # --- whoever deploys, backs up and reads the books ----------------------------------------------------------------

    def scan(self, table: str, columns: Sequence[str], order: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        sql = f"select {_listed(columns)} from {table} order by {_listed(order)}"
        self._cursor.execute("begin isolation level repeatable read read only")
        try:
            self._cursor.execute(f"declare scanned no scroll cursor for {sql}")
            while rows := self._cursor.execute(f"fetch {SCANNED} from scanned").fetchall():
                yield from rows
        finally:
            self._cursor.execute("commit")

    def schema_differences(self) -> list[str]:
        return _differences(self._cursor)

    def restored(self, tables: Iterable[tuple[str, Iterable[Sequence[Any]]]]) -> PostgresDatabase:
        database = create(self.url, f"{self.schema}_{len(self._beside) + 1}", tables)
        self._beside.append(database)
        return database

    def close(self) -> None:
        for database in self._beside:
            database.close()
        if self._made and not self.connection.closed:
            with _told(self.url):
                self._control.execute("reset role")
                _drop(self._control, self.schema)
        self.connection.close()

    def failed(self, error: BaseException) -> bool:
        """The server is gone, or has no more room: what it has answered is no failure of its machine."""
        return isinstance(error, (errors.DiskFull, errors.OutOfMemory, errors.IoError)) or self.connection.closed

    # --- humans, past the application --------------------------------------------------------------------------------

    def forget(self) -> None:
        """Nothing is known beyond a transaction."""

    def query(self, sql: str, values: Values = ()) -> list[dict[str, Any]]:
        rows = self.execute(sql, values).fetchall()
        return [dict(zip(columns(self._cursor, sql), row, strict=True)) for row in rows]

    def execute(self, sql: str, values: Values = ()) -> psycopg.RawCursor[Any]:
        text, names = _statement(sql)
        given = [values[name] for name in names] if isinstance(values, Mapping) else list(values)
        return self._cursor.execute(text, given or None)

    def by_hand(self, statements: Sequence[str], role: str, bypass: str = "") -> tuple[int, int]:
        changed, run = 0, self._cursor.execute
        run("begin")
        try:
            if role == READER:
                run(f'set local role "{_role(self.schema, READER)}"')
            if bypass:
                run(f"alter table {bypass} disable trigger user")
            for sql in statements:
                done = run(self._of_its_table(sql))
                changed += done.rowcount if (done.statusmessage or "").startswith(_CHANGING) else 0
            if bypass:
                run(f"alter table {bypass} enable trigger user")
            run("commit")
        except (errors.IntegrityError, errors.InsufficientPrivilege):
            run("rollback")
            changed = 0
        return len(statements), changed

    def _of_its_table(self, sql: str) -> str:
        """`drop trigger NAME`, as all stores are told it, with the table that PostgreSQL wants to be told as well."""
        dropped = re.fullmatch(r"drop trigger (\w+)", sql)
        if dropped is None:
            return sql
        found = "select tgrelid::regclass::text as name from pg_trigger where tgname = $1"
        [[table]] = self._cursor.execute(found, [dropped[1]]).fetchall()
        return f"{sql} on {table}"

    def edits(self, table: str) -> Sequence[str]:
        return *edits(table), f"truncate {table}", f"truncate {table} cascade"

    def refuses(self, statement: str) -> bool:
        self._cursor.execute("begin")
        try:
            self._cursor.execute(statement)
        except (errors.IntegrityError, errors.InsufficientPrivilege):
            return True
        finally:
            self._cursor.execute("rollback")
        return False


_CHANGING = ("INSERT", "UPDATE", "DELETE")


def _differences(cursor: psycopg.RawCursor[Any]) -> list[str]:
    return differences(((row[0], row[1], row[2]) for row in cursor.execute(OBJECTS)), committed())


# --- making one -------------------------------------------------------------------------------------------------------


def connect(url: str) -> psycopg.Connection[Any]:
    """Raises DatabaseRefused."""
    with _told(url):
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=1, connect_timeout=10)
    connection.prepared_max = PREPARED_MAX
    adapters = connection.adapters
    adapters.register_dumper(int, Int8BinaryDumper)
    adapters.register_dumper(str, StrBinaryDumper)
    adapters.register_loader("bool", _AsInt)
    adapters.register_loader("numeric", _Whole)
    return connection


def create(
    url: str, schema: str, tables: Iterable[tuple[str, Iterable[Sequence[Any]]]] = ()
) -> PostgresDatabase:
    """A new schema in the database at `url`, ready for use, and roles for it; with these rows, if there are some to
    begin with, on which no trigger had a say. All or nothing. Raises DatabaseRefused.

    Whoever made one holds a lock for as long as he lives: what was left by somebody who was killed is taken away here.
    """
    connection = connect(url)
    cursor = psycopg.RawCursor(connection)
    with _told(url):
        _sweep(cursor)
        cursor.execute(f"select pg_advisory_lock({_ALIVE}, hashtext($1))", [schema])
        _make(cursor, schema, tables)
    return PostgresDatabase(connection, url, schema, made=True)


def _make(cursor: psycopg.RawCursor[Any], schema: str, tables: Iterable[tuple[str, Iterable[Sequence[Any]]]]) -> None:
    with cursor.connection.transaction():
        for role in (OWNER, *ROLES):
            cursor.execute(f'create role "{_role(schema, role)}" nologin')
            cursor.execute(f'grant "{_role(schema, role)}" to current_user')
        cursor.execute(f'create schema "{schema}" authorization "{_role(schema, OWNER)}"')
        cursor.execute(f'set local role "{_role(schema, OWNER)}"; set local search_path = {_path(schema)}')
        ddl = [_named(statement, schema) for statement in DDL[1:]]
        triggers = next(n for n, statement in enumerate(ddl) if not statement.startswith("CREATE "))
        for statement in ddl[:triggers]:
            cursor.execute(statement)
        filling = PostgresTx(cursor, 0, "")
        for table, rows in tables:
            filling.insert_many(table, TABLES[table].columns, list(rows))
        for statement in ddl[triggers:]:
            cursor.execute(statement)


def _sweep(cursor: psycopg.RawCursor[Any]) -> None:
    """Drop the schemas that `create` has made for somebody who is dead."""
    ours = f"select nspname::text from pg_namespace where nspname like '{MADE}%' and pg_has_role(nspowner, 'member')"
    for [schema] in cursor.execute(ours).fetchall():
        [[dead]] = cursor.execute(f"select pg_try_advisory_lock({_ALIVE}, hashtext($1))", [schema]).fetchall()
        if dead:
            _drop(cursor, schema)
            cursor.execute(f"select pg_advisory_unlock({_ALIVE}, hashtext($1))", [schema])


def _named(statement: str, schema: str) -> str:
    for role in ROLES:
        statement = statement.replace(f':"{role}"', f'"{_role(schema, role)}"')
    return statement.replace(':"schema"', f'"{schema}"')


def _role(schema: str, role: str) -> str:
    return f"{schema}_{role}"


def _path(schema: str) -> str:
    """Ours first, and temporary tables last, for otherwise one of them could stand in for ours."""
    return f'"{schema}", pg_temp'


def _drop(cursor: psycopg.RawCursor[Any], schema: str) -> None:
    roles = ", ".join(f'"{_role(schema, role)}"' for role in (OWNER, *ROLES))
    cursor.execute(f'drop schema if exists "{schema}" cascade; drop role if exists {roles}')


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What the server refuses, in words, with the place and what is missing; never with a password."""
    try:
        yield
    except errors.InsufficientPrivilege as refused:
        raise DatabaseRefused(
            f"{place(url)} lacks a right that a run needs: {_first_line(refused)}. It makes a schema and roles of its own"
            " there: grant CREATE on the database, and CREATEROLE."
        ) from refused
    except psycopg.OperationalError as failed:
        raise DatabaseRefused(f"{place(url)} cannot be used: {_first_line(failed)}") from failed
    except psycopg.ProgrammingError as wrong:  # a URL that is none
        raise DatabaseRefused(f"{place(url)} cannot be used: {_first_line(wrong)}") from wrong


def place(url: str) -> str:
    """Where `url` leads, without a password in it."""
    return re.sub(r":[^:@/]*@|(?<=password=)[^&]*", lambda found: "@" if found[0].endswith("@") else "…", url)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
