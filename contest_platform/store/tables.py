"""What the running platform knows of its schema, without SQLAlchemy: the compiled statements, and each table's columns.

SQLite itself reads the columns out of schema.sql, so the two cannot differ.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

DDL = tuple(Path(__file__).with_name("schema.sql").read_text().split("\n\n"))
"""Every statement that makes an empty SQLite database ready, in order, after a comment."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    required: tuple[str, ...]
    """Of the columns, those that are never null."""
    key: tuple[str, ...]


def _tables() -> dict[str, Table]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in DDL:
            if statement.startswith("CREATE TABLE"):
                connection.execute(statement)
        names = connection.execute("select name from sqlite_master where type = 'table' order by rowid").fetchall()
        return {name: _table(connection, name) for (name,) in names}


def _table(connection: sqlite3.Connection, name: str) -> Table:
    rows = connection.execute('select name, "notnull", pk from pragma_table_info(?) order by cid', (name,)).fetchall()
    return Table(
        columns=tuple(column for column, _, _ in rows),
        required=tuple(column for column, required, _ in rows if required),
        key=tuple(column for _, column in sorted((place, column) for column, _, place in rows if place)),
    )


TABLES = _tables()

KEYS = {name: table.key for name, table in TABLES.items()}
