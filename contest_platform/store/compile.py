"""Compiles the schema into schema.sql, for the embedded store: `python -m contest_platform.store.compile` (`make
snapshots`).

What a trigger can enforce is enforced in the database: convention alone does not survive a hurried human.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from contest_platform.store.schema import APPEND_ONLY, METADATA, UNACCOUNTED

SCHEMA_SQL = Path(__file__).with_name("schema.sql")
HEADING = "-- Made of schema.py and compile.py by `make snapshots`, and compared with them by a test. Not to be edited."


def compiled() -> str:
    """The text of schema.sql: every statement that makes an empty SQLite database ready, in order, a blank line after
    each."""
    statements = (re.sub(r"[ \t]+\n", "\n", dedent(statement).strip()).expandtabs(4) for statement in _statements())
    return "\n\n".join([HEADING, *(f"{statement};" for statement in statements)]) + "\n"


def _statements() -> Iterator[str]:
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=sqlite.dialect()))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=sqlite.dialect()))
    for name in APPEND_ONLY:
        yield from _append_only_triggers(name)
    for name in UNACCOUNTED:
        yield _refuses_replace(name)
    yield from _SETTLEMENT_TRIGGERS


def _append_only_triggers(table: str) -> Iterator[str]:
    """Refuse UPDATE and DELETE and, where recursive_triggers is on as on every connection of the platform, INSERT OR
    REPLACE with them, which deletes what it replaces (SQLite documentation, CREATE TRIGGER)."""
    for event in ("update", "delete"):
        yield (
            f"create trigger {table}_refuses_{event} before {event} on {table}\n"
            f"begin select raise(abort, '{table} is append-only'); end"
        )


def _refuses_replace(table: str) -> str:
    """Refuse an INSERT of anything unique that exists, whatever the connection has decided about its triggers."""
    taken = "\nor ".join(
        f"exists (select 1 from {table} where {' and '.join(f'{column} = new.{column}' for column in key)})"
        for key in _unique_keys(table)
    )
    return (
        f"create trigger {table}_refuses_replace before insert on {table}\nwhen {taken}\n"
        # Not abort: for a statement that may have to be undone alone SQLite copies every page that it changes.
        f"begin select raise(fail, '{table} is append-only'); end"
    )


def _unique_keys(table: str) -> list[tuple[str, ...]]:
    """Every set of columns that no two rows of `table` share, the primary key first."""
    described = METADATA.tables[table]
    constraints = [one.columns for one in described.constraints if isinstance(one, UniqueConstraint)]
    indexes = [index.columns for index in described.indexes if index.unique]
    others = sorted(tuple(column.name for column in columns) for columns in (*constraints, *indexes))
    return [tuple(column.name for column in described.primary_key.columns), *others]


_SETTLEMENT_TRIGGERS = (
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
)

if __name__ == "__main__":
    SCHEMA_SQL.write_text(compiled())
