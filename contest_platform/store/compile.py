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

from contest_platform.store.schema import APPEND_ONLY, IRREPLACEABLE, METADATA

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
    for name in IRREPLACEABLE:
        yield _refuses_replace(name)
    yield from _SETTLEMENT_TRIGGERS
    yield from _RUNBOOK_TRIGGERS


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
    # Only the holder of the settlement lease may end a pack; what has ended never changes, and nothing else changes.
    """
    create trigger settlement_packs_daemon_authority before update on settlement_packs
    when old.status <> 'PENDING' or new.status = 'PENDING'
    or new.pack_id <> old.pack_id or new.contest_id <> old.contest_id or new.entry_id <> old.entry_id
    or new.created_at <> old.created_at or new.terminalized_at is null
    or not exists (
        select 1 from leases where name = 'settlement' and holder = new.settled_by and epoch = new.lease_epoch
        and acquired_at <= new.terminalized_at and expires_at > new.terminalized_at)
    begin select raise(abort, 'only the settlement daemon may leave PENDING, once, under its lease'); end
    """,
    """
    create trigger settlement_packs_start_pending before insert on settlement_packs
    when new.status <> 'PENDING'
    begin select raise(abort, 'a settlement pack starts PENDING'); end
    """,
    """
    create trigger settlement_packs_refuse_replace before insert on settlement_packs
    when exists (select 1 from settlement_packs where pack_id = new.pack_id)
    or exists (select 1 from settlement_packs where entry_id = new.entry_id)
    begin select raise(fail, 'settlement packs are not replaced'); end
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
    # What an ended pack was ended on stays, and the log tells of ends that there were.
    *(
        f"""
        create trigger outcome_pack_links_stay_at_{event} before {event} on outcome_pack_links
        when exists (select 1 from settlement_packs where pack_id = old.pack_id and status <> 'PENDING')
        begin select raise(abort, 'the link of an ended pack stays'); end
        """
        for event in ("update", "delete")
    ),
    """
    create trigger outcome_settlement_log_tells_of_an_end before insert on outcome_settlement_log
    when new.prior_status <> 'PENDING' or not exists (
        select 1 from settlement_packs where pack_id = new.pack_id and status = new.new_status
        and status <> 'PENDING' and settled_by = new.settled_by and terminalized_at = new.settled_at)
    begin select raise(abort, 'the settlement log tells of the end of a pack, as the pack does'); end
    """,
    # A lease changes hands once it has expired, and its epoch goes up by one whenever it begins anew.
    """
    create trigger leases_are_fenced before update on leases
    when new.name <> old.name or new.expires_at < new.acquired_at
    or new.epoch = old.epoch and (new.holder <> old.holder or new.acquired_at <> old.acquired_at)
    or new.epoch <> old.epoch and (new.epoch <> old.epoch + 1 or new.acquired_at < old.expires_at)
    begin select raise(abort, 'a lease changes hands once it has expired, under the next epoch'); end
    """,
    """
    create trigger leases_begin_once before insert on leases
    when new.epoch <> 1 or exists (select 1 from leases where name = new.name)
    begin select raise(fail, 'a lease begins once, under the first epoch'); end
    """,
    """
    create trigger leases_refuse_delete before delete on leases
    begin select raise(abort, 'leases are not deleted: they expire'); end
    """,
)

_FIXED = (*("id", "runbook_name", "runbook_version", "executed_by", "start_time", "system_state_before", "created_at"),)
_OF_THE_END = (
    *("execution_phase", "phase_step", "end_time", "duration_seconds", "result_json", "error_reason"),
    "system_state_after",
)


def _any_of(condition: str, columns: tuple[str, ...]) -> str:
    return "\n    or ".join(condition.format(column) for column in columns)


_RUNBOOK_TRIGGERS = (
    # One update: from in progress to an end, which says when it was and changes nothing of the beginning.
    f"""
    create trigger runbook_executions_end_once before update on runbook_executions
    when old.status <> 'in_progress'
    or new.status not in ('completed', 'failed', 'partial')
    or {_any_of("new.{0} is distinct from old.{0}", _FIXED)}
    or new.end_time is null or new.end_time < new.start_time or new.updated_at <> new.end_time
    or new.duration_seconds is distinct from (new.end_time - new.start_time) / 1000
    begin select raise(abort, 'a runbook execution ends once, and nothing else of it changes'); end
    """,
    f"""
    create trigger runbook_executions_start_in_progress before insert on runbook_executions
    when new.status <> 'in_progress' or new.updated_at <> new.start_time or new.created_at <> new.start_time
    or {_any_of("new.{0} is not null", _OF_THE_END)}
    begin select raise(abort, 'a runbook execution starts in progress, with nothing of its end'); end
    """,
    """
    create trigger runbook_executions_refuse_replace before insert on runbook_executions
    when exists (select 1 from runbook_executions where id = new.id)
    begin select raise(fail, 'runbook executions are not replaced'); end
    """,
    """
    create trigger runbook_executions_refuse_delete before delete on runbook_executions
    begin select raise(abort, 'runbook executions are not deleted'); end
    """,
    # Steps follow one another without a gap, while their execution is in progress.
    """
    create trigger runbook_execution_steps_follow before insert on runbook_execution_steps
    when not exists (select 1 from runbook_executions where id = new.execution_id and status = 'in_progress')
    or new.n > 1 and not exists (
        select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n - 1)
    begin select raise(abort, 'a step follows the one before it, in an execution in progress'); end
    """,
)

if __name__ == "__main__":
    SCHEMA_SQL.write_text(compiled())
