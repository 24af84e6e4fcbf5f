"""What the running platform knows of its schema, without SQLAlchemy: the compiled statements, and each table's columns.

SQLite itself reads the columns out of schema.sql, so the two cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apsw

DDL = tuple(Path(__file__).with_name("schema.sql").read_text().split("\n\n"))
"""Every statement that makes an empty SQLite database ready, in order, after a comment."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    required: tuple[str, ...]
    """Of the columns, those that are never null."""
    key: tuple[str, ...]
    booleans: tuple[str, ...]


def _tables() -> dict[str, Table]:
    connection = apsw.Connection(":memory:")
    for statement in DDL:
        if statement.startswith("CREATE TABLE"):
            connection.execute(statement)
    names = connection.execute("select name from sqlite_master where type = 'table' order by rowid")
    return {str(name): _table(connection, str(name)) for (name,) in names}


def _table(connection: apsw.Connection, name: str) -> Table:
    rows = connection.execute('select name, "notnull", pk, type from pragma_table_info(?) order by cid', (name,))
    described = [(str(column), required, place, kind) for column, required, place, kind in rows]
    return Table(
        columns=tuple(column for column, *_ in described),
        required=tuple(column for column, required, *_ in described if required),
        key=tuple(column for _, column in sorted((place, column) for column, _, place, _ in described if place)),
        booleans=tuple(column for column, *_, kind in described if kind == "BOOLEAN"),
    )


TABLES = _tables()

KEYS = {name: table.key for name, table in TABLES.items()}
