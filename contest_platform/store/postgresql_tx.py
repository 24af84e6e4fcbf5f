"""A transaction of PostgreSQL: the texts of SQL that all stores share, as the raw driver takes them, and the same
Python values for what comes back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.types.bool import BoolBinaryLoader
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from psycopg.types.string import StrBinaryDumper

from contest_platform.ports import Row
from contest_platform.store.postgresql_objects import OBJECTS, committed
from contest_platform.store.snapshot import differences
from contest_platform.store.tables import TABLES

AT_ONCE = 64
"""At most so many rows are inserted by one statement."""


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
def statement_of(sql: str) -> tuple[str, tuple[str, ...]]:
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
    return f"insert into {table} ({listed(columns)}) values {','.join(values)}"


def listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_whole = {name: itemgetter(*table.columns) for name, table in TABLES.items()}
_names: dict[str, tuple[str, ...]] = {}


class PostgresTx:
    """One open transaction; see contest_platform.ports.Tx."""

    def __init__(self, cursor: psycopg.RawCursor[Any], now: int, cause: str, known: dict[str, Any]) -> None:
        self._cursor = cursor
        self.now, self.cause, self.known = now, cause, known
        self.memo: dict[str, Any] = {}
        self.topics: list[str] = []
        self.statements = self.changes = 0
        self._last: dict[str, list[tuple[Any, ...]]] = {}

    def _execute(self, sql: str, params: Mapping[str, Any] | None) -> psycopg.RawCursor[Any]:
        self.statements += 1
        text, names = statement_of(sql)
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
        return schema_differences(self._cursor)

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


def schema_differences(cursor: psycopg.RawCursor[Any]) -> list[str]:
    return differences(((row[0], row[1], row[2]) for row in cursor.execute(OBJECTS)), committed())


def adapt(connection: psycopg.Connection[Any]) -> None:
    """Have values go out and come back as they do with SQLite."""
    adapters = connection.adapters
    adapters.register_dumper(int, Int8BinaryDumper)
    adapters.register_dumper(str, StrBinaryDumper)
    adapters.register_loader("bool", _AsInt)
    adapters.register_loader("numeric", _Whole)
