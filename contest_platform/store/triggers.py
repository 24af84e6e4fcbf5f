"""What a trigger enforces, once, for every store: what is refused, when, and with which words.

What can be enforced is enforced in the database: convention alone does not survive a hurried human.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import UniqueConstraint

from contest_platform.store.schema import APPEND_ONLY, IRREPLACEABLE, METADATA

UNTRUNCATED = (*APPEND_ONLY, "settlement_packs", "runbook_executions")
"""Tables that are not emptied at a blow either, where a store knows how to: SQLite does not."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """`refused` by `event` ("before update", …) of a row of `table` where `when` holds, in SQL that all stores read;
    empty: always. `undone_alone`: see compile.py."""

    name: str
    table: str
    event: str
    when: str
    refused: str
    undone_alone: bool = True


def triggers() -> Iterator[Trigger]:
    for table in APPEND_ONLY:
        # Where recursive_triggers is on, as on every connection of the platform, this refuses SQLite's INSERT OR
        # REPLACE as well, which deletes what it replaces (SQLite documentation, CREATE TRIGGER).
        for event in ("update", "delete"):
            yield Trigger(f"{table}_refuses_{event}", table, f"before {event}", "", f"{table} is append-only")
    for table in IRREPLACEABLE:
        yield _refuses_replace(table)
    yield from _OF_SETTLEMENT
    yield from _OF_RUNBOOKS


def _refuses_replace(table: str) -> Trigger:
    """Refuse an INSERT of anything unique that exists, whatever the connection has decided about its triggers."""
    taken = "\nor ".join(
        f"exists (select 1 from {table} where {' and '.join(f'{column} = new.{column}' for column in key)})"
        for key in _unique_keys(table)
    )
    return Trigger(
        f"{table}_refuses_replace", table, "before insert", taken, f"{table} is append-only", undone_alone=False
    )


def _unique_keys(table: str) -> list[tuple[str, ...]]:
    """Every set of columns that no two rows of `table` share, the primary key first."""
    described = METADATA.tables[table]
    constraints = [one.columns for one in described.constraints if isinstance(one, UniqueConstraint)]
    indexes = [index.columns for index in described.indexes if index.unique]
    others = sorted(tuple(column.name for column in columns) for columns in (*constraints, *indexes))
    return [tuple(column.name for column in described.primary_key.columns), *others]


_OF_SETTLEMENT = (
    # Only the holder of the settlement lease may end a pack; what has ended never changes, and nothing else changes.
    Trigger(
        "settlement_packs_daemon_authority", "settlement_packs", "before update",
        """
        old.status <> 'PENDING' or new.status = 'PENDING'
        or new.pack_id <> old.pack_id or new.contest_id <> old.contest_id or new.entry_id <> old.entry_id
        or new.created_at <> old.created_at or new.terminalized_at is null
        or not exists (
            select 1 from leases where name = 'settlement' and holder = new.settled_by and epoch = new.lease_epoch
            and acquired_at <= new.terminalized_at and expires_at > new.terminalized_at)
        """,
        "only the settlement daemon may leave PENDING, once, under its lease",
    ),
    Trigger(
        "settlement_packs_start_pending", "settlement_packs", "before insert", "new.status <> 'PENDING'",
        "a settlement pack starts PENDING",
    ),
    Trigger(
        "settlement_packs_refuse_replace", "settlement_packs", "before insert",
        """
        exists (select 1 from settlement_packs where pack_id = new.pack_id)
        or exists (select 1 from settlement_packs where entry_id = new.entry_id)
        """,
        "settlement packs are not replaced", undone_alone=False,
    ),
    Trigger(
        "settlement_packs_refuse_delete", "settlement_packs", "before delete", "", "settlement packs are not deleted"
    ),
    Trigger(
        "settlement_packs_execute_linked", "settlement_packs", "before update of status",
        "new.status = 'EXECUTED' and not exists (select 1 from outcome_pack_links where pack_id = new.pack_id)",
        "a pack is executed only through its outcome link",
    ),
    # What an ended pack was ended on stays, and the log tells of ends that there were.
    *(
        Trigger(
            f"outcome_pack_links_stay_at_{event}", "outcome_pack_links", f"before {event}",
            "exists (select 1 from settlement_packs where pack_id = old.pack_id and status <> 'PENDING')",
            "the link of an ended pack stays",
        )
        for event in ("update", "delete")
    ),
    Trigger(
        "outcome_settlement_log_tells_of_an_end", "outcome_settlement_log", "before insert",
        """
        new.prior_status <> 'PENDING' or not exists (
            select 1 from settlement_packs where pack_id = new.pack_id and status = new.new_status
            and status <> 'PENDING' and settled_by = new.settled_by and terminalized_at = new.settled_at)
        """,
        "the settlement log tells of the end of a pack, as the pack does",
    ),
    # A lease changes hands once it has expired, and its epoch goes up by one whenever it begins anew.
    Trigger(
        "leases_are_fenced", "leases", "before update",
        """
        new.name <> old.name or new.expires_at < new.acquired_at
        or new.epoch = old.epoch and (new.holder <> old.holder or new.acquired_at <> old.acquired_at)
        or new.epoch <> old.epoch and (new.epoch <> old.epoch + 1 or new.acquired_at < old.expires_at)
        """,
        "a lease changes hands once it has expired, under the next epoch",
    ),
    Trigger(
        "leases_begin_once", "leases", "before insert",
        "new.epoch <> 1 or exists (select 1 from leases where name = new.name)",
        "a lease begins once, under the first epoch", undone_alone=False,
    ),
    Trigger("leases_refuse_delete", "leases", "before delete", "", "leases are not deleted: they expire"),
)  # fmt: skip

_FIXED = ("id", "runbook_name", "runbook_version", "executed_by", "start_time", "system_state_before", "created_at")
_OF_THE_END = (
    *("execution_phase", "phase_step", "end_time", "duration_seconds", "result_json", "error_reason"),
    "system_state_after",
)


def _any_of(condition: str, columns: tuple[str, ...]) -> str:
    return "\n        or ".join(condition.format(column) for column in columns)


_OF_RUNBOOKS = (
    # One update: from in progress to an end, which says when it was and changes nothing of the beginning.
    Trigger(
        "runbook_executions_end_once", "runbook_executions", "before update",
        f"""
        old.status <> 'in_progress'
        or new.status not in ('completed', 'failed', 'partial')
        or {_any_of("new.{0} is distinct from old.{0}", _FIXED)}
        or new.end_time is null or new.end_time < new.start_time or new.updated_at <> new.end_time
        or new.duration_seconds is distinct from (new.end_time - new.start_time) / 1000
        """,
        "a runbook execution ends once, and nothing else of it changes",
    ),
    Trigger(
        "runbook_executions_start_in_progress", "runbook_executions", "before insert",
        f"""
        new.status <> 'in_progress' or new.updated_at <> new.start_time or new.created_at <> new.start_time
        or {_any_of("new.{0} is not null", _OF_THE_END)}
        """,
        "a runbook execution starts in progress, with nothing of its end",
    ),
    Trigger(
        "runbook_executions_refuse_replace", "runbook_executions", "before insert",
        "exists (select 1 from runbook_executions where id = new.id)", "runbook executions are not replaced",
        undone_alone=False,
    ),
    Trigger(
        "runbook_executions_refuse_delete", "runbook_executions", "before delete", "",
        "runbook executions are not deleted",
    ),
    # Steps follow one another without a gap, while their execution is in progress.
    Trigger(
        "runbook_execution_steps_follow", "runbook_execution_steps", "before insert",
        """
        not exists (select 1 from runbook_executions where id = new.execution_id and status = 'in_progress')
        or new.n > 1 and not exists (
            select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n - 1)
        """,
        "a step follows the one before it, in an execution in progress",
    ),
)  # fmt: skip
