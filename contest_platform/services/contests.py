"""The contest lifecycle up to COMPLETE, and cancellation. Settlement and payouts take it from there.

A contest moves only along `STEPS`, one step a transaction, each when its condition holds and never by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.instants import rfc3339
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import entries

ACTOR = "system:contests"
SECOND_MS = 1_000

_OPEN = """
    select c.*, t.field_ingested_at, t.completed_at as event_completed_at,
           exists (select 1 from checkpoints where name = 'entries_final:' || c.contest_id) as entries_final
    from contests c join tournaments t on t.tournament_id = c.tournament_id
    where c.status in ('SCHEDULED', 'LOCKED', 'LIVE') order by c.contest_id
"""


@dataclass(frozen=True, slots=True)
class Step:
    """From `status` when `ready(contest, tx)` gives an instant that has come; `take` makes the change."""

    statuses: tuple[str, ...]
    ready: Callable[[Row, Tx], int | None]
    take: Callable[[Tx, Row], None]


class ContestsService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports
        self._planned: dict[tuple[str, str, str], int] = {}
        """(contest, status, next status) -> when it is due."""
        self._due_gauge = Gauge(ports.metrics, "contest_transition_due_timestamp_seconds")
        self._failed_gauge = Gauge(ports.metrics, "contest_status_transitions_failed")

    def jobs(self) -> Sequence[Job]:
        return (Job("contests.transitions", "contests", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        def earliest(tx: Tx) -> tuple[int | None, dict[tuple[str, str, str], int]]:
            contests = tx.all(_OPEN)
            instants = [
                instant
                for contest in contests
                for step in STEPS
                if contest["status"] in step.statuses and (instant := step.ready(contest, tx)) is not None
            ]
            return min(instants, default=None), {_next_change(contest): _next_at(contest) for contest in contests}

        due_at, self._planned = await self._ports.store.transact("contests.due", earliest)
        self._due_gauge.tell({(contest_id, to): at for (contest_id, _, to), at in self._planned.items()})
        return due_at

    async def _work(self) -> None:
        def advance(tx: Tx) -> bool:
            moved = False
            for contest in tx.all(_OPEN):
                for step in STEPS:
                    instant = step.ready(contest, tx) if contest["status"] in step.statuses else None
                    if instant is not None and instant <= tx.now:
                        step.take(tx, contest)
                        moved = True
                        break
            return moved

        try:
            while await self._ports.store.transact("contests.advance", advance):
                pass
        except PortError:
            with suppress(PortError):
                await self._due()  # A runbook may have made the change in the meantime.
            now = self._ports.runtime.now()
            self._failed_gauge.tell({change: 1 for change, at in self._planned.items() if at <= now})
            raise
        self._failed_gauge.tell({})


_NEXT = {"SCHEDULED": ("LOCKED", "lock_at"), "LOCKED": ("LIVE", "start_at"), "LIVE": ("COMPLETE", "end_at")}
"""The next status of a contest, and the column that says by when it has it, whatever it still waits for."""


def _next_change(contest: Row) -> tuple[str, str, str]:
    return contest["contest_id"], contest["status"], _NEXT[contest["status"]][0]


def _next_at(contest: Row) -> int:
    return int(contest[_NEXT[contest["status"]][1]])


def _transition(tx: Tx, contest: Row, status: str, reason: str, **more: int) -> None:
    contest_id = contest["contest_id"]
    audit.update(
        tx, Context(ACTOR, contest_id), "contests", {"contest_id": contest_id}, {"status": status, **more}, reason
    )


def _lock(tx: Tx, contest: Row) -> None:
    _lock_as(tx, Context(ACTOR, contest["contest_id"]), contest["contest_id"], "lock time has come")


def _lock_as(tx: Tx, ctx: Context, contest_id: str, reason: str) -> None:
    audit.update(tx, ctx, "contests", {"contest_id": contest_id}, {"status": "LOCKED"}, reason)
    entries.post_lock(tx, ctx, contest_id)
    tx.notify("payments")
    tx.notify("ingestion")


def force_lock(tx: Tx, ctx: Context, contest_id: str, reason: str) -> bool | Refusal:
    """Lock a contest whose lock time has passed without it; False: it is locked already. The same step as the job's."""
    contest = tx.one("select status, lock_at from contests where contest_id = :c", {"c": contest_id})
    if contest is None:
        return Refusal(404, f"no contest {contest_id}")
    if contest["status"] == "LOCKED":
        return False
    if contest["status"] != "SCHEDULED":
        return Refusal(409, f"contest {contest_id} is {contest['status']}")
    if tx.now < contest["lock_at"]:
        return Refusal(409, f"contest {contest_id} locks at {rfc3339(contest['lock_at'])}, which has not come")
    _lock_as(tx, ctx, contest_id, reason)
    tx.notify("contests")
    return True


def _reconciled_after_lock(contest: Row, tx: Tx) -> int | None:
    """Entries are final once everything captured before the lock is known: when a reconciliation that began after the
    lock has succeeded. However late a webhook, the money counts from its capture."""
    if contest["entries_final"]:
        return None
    row = tx.one("select value, updated_at from checkpoints where name = 'payments.reconciled'")
    if row is None or orjson.loads(row["value"])["through"] < contest["lock_at"]:
        return None
    return int(row["updated_at"])


def _finalise_entries(tx: Tx, contest: Row) -> None:
    contest_id = contest["contest_id"]
    ctx = Context(ACTOR, contest_id)
    entries.abandon_unpaid(tx, ctx, contest_id)
    valid = entries.valid_count(tx, contest_id)
    tx.insert("checkpoints", {"name": f"entries_final:{contest_id}", "value": str(valid), "updated_at": tx.now})
    if valid == 0 or (contest["guaranteed_cents"] is None and valid < contest["min_entries"]):
        _transition(tx, contest, "CANCELLED", f"{valid} entries, {contest['min_entries']} needed", closed_at=tx.now)
        entries.refund_all(tx, ctx, contest_id, "contest_cancelled")
        tx.notify("refunds")


def _over(contest: Row, tx: Tx) -> int | None:
    """When play is over. A contest is not complete before its entries are final: until then it may have to be
    cancelled, and a complete one never is."""
    if not contest["entries_final"]:
        return None
    completed_at = contest["event_completed_at"]
    return int(contest["end_at"] if completed_at is None else min(contest["end_at"], completed_at))


def _complete(tx: Tx, contest: Row) -> None:
    reason = "the provider completed the event" if contest["event_completed_at"] else "the end time has come"
    cutoff_at = tx.now + contest["hold_s"] * SECOND_MS
    _transition(tx, contest, "COMPLETE", reason, completed_at=tx.now, cutoff_at=cutoff_at)
    tx.notify("settlement")
    tx.notify("acceptance")
    tx.notify("ingestion")


STEPS: tuple[Step, ...] = (
    Step(("SCHEDULED",), lambda contest, _: int(contest["lock_at"]), _lock),
    Step(("LOCKED", "LIVE"), _reconciled_after_lock, _finalise_entries),
    Step(
        ("LOCKED",),
        lambda contest, _: (
            max(contest["start_at"], contest["field_ingested_at"]) if contest["field_ingested_at"] is not None else None
        ),
        lambda tx, contest: _transition(tx, contest, "LIVE", "the field is in and play starts"),
    ),
    Step(("LIVE",), _over, _complete),
)
