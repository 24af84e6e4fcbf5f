"""The PostgreSQL store, executed on the raw driver: the same tables, triggers and texts of SQL as the embedded one.

A transaction is SERIALIZABLE: it commits as if it had been alone, or is run again. What another before it has read is
not among the reads that the server watches for it, so it may know of that (Tx.known) only where nobody else can write.
A database is opened by one alone, which a lock at the server makes sure of, or shared, and then what is known ends with
its transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq

from contest_platform.ports import StoreBusy
from contest_platform.store.database import DatabaseRefused, Rows, Values, edits
from contest_platform.store.postgresql_making import connect, drop, make, occupy, path_of, place, role_of, sweep, told
from contest_platform.store.postgresql_tx import PostgresTx, columns, listed, schema_differences, statement_of
from contest_platform.store.roles import OWNER, READER

T = TypeVar("T")

SCANNED = 5_000
"""Rows of a table that are held at once when all are read."""
ATTEMPTS_MAX = 100
"""Whoever loses to another that has committed begins again: somebody gets on every time."""
_TURN = 4_701_202
"""The advisory lock under which a transaction that has lost before is run again, one at a time."""
TWICE_MAX = 3
"""What is there already may have come from a transaction that ran beside this one, and then another attempt sees it; so
often in a row it is no accident (PostgreSQL's documentation, 13.2.3: serialization failures shown as unique ones)."""
_LOST = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)
_REFUSED = (errors.IntegrityError, errors.InsufficientPrivilege)
_CHANGING = ("INSERT", "UPDATE", "DELETE")


class PostgresDatabase:
    """A schema of a database, and one connection to it; see contest_platform.store.database.Database.

    Between two transactions the connection is its owner's. `create` makes the schema, with roles of its own, and
    `close` leaves nothing of what was `made`.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], url: str, schema: str, *, made: bool = False, alone: bool = False
    ) -> None:
        self.connection, self.url, self.schema, self._made, self._alone = connection, url, schema, made, alone
        self._known: dict[str, Any] = {}
        self.lost = 0
        """How often a transaction lost to another."""
        self._control = psycopg.RawCursor(connection)
        self._cursor = psycopg.RawCursor(connection)
        self._cursor.format = pq.Format.BINARY
        self._control.execute(f'set role "{role_of(schema, OWNER)}"; set search_path = {path_of(schema)}')
        if made:
            self._control.execute("set synchronous_commit = off")
        self.beside: list[PostgresDatabase] = []

    @property
    def in_transaction(self) -> bool:
        return self.connection.info.transaction_status != pq.TransactionStatus.IDLE

    # --- the platform's processes ------------------------------------------------------------------------------------

    def transact(self, now: int, cause: str, fn: Callable[[PostgresTx], T], role: str = "app") -> tuple[T, PostgresTx]:
        """Run `fn` in one transaction, again if it lost to another. Any other exception rolls back and is raised on.
        Raises StoreBusy when it lost to others again and again."""
        begin = f'begin isolation level serializable; set local role "{role_of(self.schema, role)}"'
        try:
            return self._once(begin, now, cause, fn)
        except _LOST:
            self.lost += 1
            self._cursor.execute(f"select pg_advisory_lock({_TURN}, hashtext($1))", [self.schema])
        try:
            return self._again(begin, now, cause, fn)
        finally:
            self._end(f"select pg_advisory_unlock({_TURN}, hashtext($1))", [self.schema])

    def _again(self, begin: str, now: int, cause: str, fn: Callable[[PostgresTx], T]) -> tuple[T, PostgresTx]:
        twice = 0
        for _ in range(ATTEMPTS_MAX):
            try:
                return self._once(begin, now, cause, fn)
            except errors.UniqueViolation:
                twice += 1
                if twice == TWICE_MAX:
                    raise
            except _LOST:
                self.lost += 1
        raise StoreBusy("lost to other transactions again and again")

    def _once(self, begin: str, now: int, cause: str, fn: Callable[[PostgresTx], T]) -> tuple[T, PostgresTx]:
        control = self._control
        control.execute(begin)
        tx = PostgresTx(self._cursor, now, cause, self._known if self._alone else {})
        try:
            result = fn(tx)
            tx.finish()
            control.execute("commit")
        except BaseException:
            self.forget()
            self._end("rollback")
            raise
        return result, tx

    def _end(self, statement: str, values: Values = ()) -> None:
        """Execute what ends something, whatever has befallen it: where the answer of another command was given up on
        (Ctrl-C), the connection ends instead, and with it at the server all that was begun on it."""
        if self.connection.info.transaction_status == pq.TransactionStatus.ACTIVE:
            self.connection.close()
        if not self.connection.closed:
            self._cursor.execute(statement, values or None)

    # --- whoever deploys, backs up and reads the books ----------------------------------------------------------------

    def scan(self, table: str, columns: Sequence[str], order: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        sql = f"select {listed(columns)} from {table} order by {listed(order)}"
        self._cursor.execute("begin isolation level repeatable read read only")
        try:
            self._cursor.execute(f"declare scanned no scroll cursor for {sql}")
            while rows := self._cursor.execute(f"fetch {SCANNED} from scanned").fetchall():
                yield from rows
        finally:
            self._end("commit")

    def schema_differences(self) -> list[str]:
        return schema_differences(self._cursor)

    def restored(self, tables: Rows) -> PostgresDatabase:
        database = create(self.url, f"{self.schema}_{len(self.beside) + 1}", tables)
        self.beside.append(database)
        return database

    def close(self) -> None:
        for database in self.beside:
            database.close()
        made, gone, self._made = self._made, self.connection.closed, False
        self.connection.close()
        if made:
            # Where the server itself is gone, who comes next takes away what is there.
            with suppress(DatabaseRefused) if gone else nullcontext(), told(self.url):
                _take_away(self.url, self.schema)

    def failed(self, error: BaseException) -> bool:
        """The server is gone, or has no more room: what it has answered is no failure of its machine."""
        return isinstance(error, (errors.DiskFull, errors.OutOfMemory, errors.IoError)) or self.connection.closed

    # --- humans, past the application --------------------------------------------------------------------------------

    def forget(self) -> None:
        self._known = {}

    def query(self, sql: str, values: Values = ()) -> list[dict[str, Any]]:
        rows = self.execute(sql, values).fetchall()
        return [dict(zip(columns(self._cursor, sql), row, strict=True)) for row in rows]

    def execute(self, sql: str, values: Values = ()) -> psycopg.RawCursor[Any]:
        text, names = statement_of(self._of_its_table(sql))
        given = [values[name] for name in names] if isinstance(values, Mapping) else list(values)
        return self._cursor.execute(text, given or None)

    def by_hand(self, statements: Sequence[str], role: str, bypass: str = "") -> tuple[int, int]:
        begin = [f'begin; set local role "{role_of(self.schema, READER)}"' if role == READER else "begin"]
        names = self._triggers(bypass)
        before, after = (
            [f"alter table {bypass} {verb} trigger {name}" for name in names] for verb in ("disable", "enable")
        )
        changed = done = 0
        try:
            for sql in (*begin, *before, *map(self._of_its_table, statements), *after, "commit"):
                done += 1
                answer = self._control.execute(sql)
                changed += answer.rowcount if (answer.statusmessage or "").startswith(_CHANGING) else 0
        except _REFUSED:
            self._control.execute("rollback")
            done, changed = done + 1, 0
        self.forget()
        return done, changed

    def _triggers(self, table: str) -> list[str]:
        """Those of its rows. What is not emptied stays so: no statement that all stores are told empties a table."""
        found = """
            select t.tgname::text from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where c.relname = $1 and c.relnamespace = current_schema()::regnamespace and t.tgtype & 32 = 0 order by 1
        """
        return [name for [name] in self._cursor.execute(found, [table]).fetchall()]

    def _of_its_table(self, sql: str) -> str:
        """`drop trigger NAME`, as all stores are told it, with the table that PostgreSQL wants to be told as well."""
        dropped = re.fullmatch(r"drop trigger (\w+)", sql)
        if dropped is None:
            return sql
        found = """
            select c.relname::text from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where t.tgname = $1 and c.relnamespace = current_schema()::regnamespace
        """
        [[table]] = self._cursor.execute(found, [dropped[1]]).fetchall()
        return f"{sql} on {table}"

    def edits(self, table: str) -> Sequence[str]:
        return *edits(table), f"truncate {table}", f"truncate {table} cascade"

    def refuses(self, statement: str) -> bool:
        self._cursor.execute("begin")
        try:
            self._cursor.execute(statement)
        except _REFUSED:
            return True
        finally:
            self._cursor.execute("rollback")
            self.forget()
        return False


def create(url: str, schema: str, tables: Rows = (), *, alone: bool = True) -> PostgresDatabase:
    """A new schema in the database at `url`, ready for use, and roles for it; with these rows, if there are some to
    begin with, on which no trigger had a say. All or nothing. `alone`: nobody else may `attach`.

    What was left by somebody who was killed is taken away here. Raises DatabaseRefused.
    """
    connection = connect(url)
    cursor = psycopg.RawCursor(connection)
    try:
        with told(url):
            sweep(cursor)
            occupy(cursor, schema, alone)
            make(cursor, schema, tables)
        return PostgresDatabase(connection, url, schema, made=True, alone=alone)
    except BaseException:  # whoever is stopped here has nothing yet that could be closed
        connection.close()
        with suppress(psycopg.Error, DatabaseRefused):  # which is not what this is about
            _take_away(url, schema)
        raise


def _take_away(url: str, schema: str) -> None:
    """Drop a schema, if it is there, on a connection that is in the middle of nothing."""
    with connect(url) as connection:
        drop(psycopg.RawCursor(connection), schema)


def attach(url: str, schema: str) -> PostgresDatabase:
    """A connection to a schema that others have open as well. Raises DatabaseRefused when somebody has it alone."""
    connection = connect(url)
    with told(url):
        if not occupy(psycopg.RawCursor(connection), schema, alone=False):
            connection.close()
            raise DatabaseRefused(f"somebody has {schema} at {place(url)} open alone")
    return PostgresDatabase(connection, url, schema)
