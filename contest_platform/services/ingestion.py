"""Ingestion: polls the score provider and turns its answers into receipts, scores, statuses and the end of an event.

Invariant: all that an answer changes is one transaction with the checkpoint, so a restart neither loses nor re-admits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson

from contest_platform import audit, checkpoints, errors
from contest_platform.audit import Context
from contest_platform.domain.polling import OVERDUE_MS, PERIOD_MS, Standing, Tournament, next_poll, tells_all
from contest_platform.jobs import Job
from contest_platform.metrics import Gauge, count_failure, export_skew
from contest_platform.ports import PortError, Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import ingestion_batches
from contest_platform.services.ingestion_batches import ACTOR, Known, Poll, full_poll_name

T = TypeVar("T")

GRAIN_MS = 3 * PERIOD_MS
"""How exactly monitoring is told of what goes on as it should: an hour's silence is news, and ten minutes are not."""

LATE_RUNBOOK = "runbooks/correction_after_settlement.md"
FRESH: Mapping[str, Any] = {
    "revision": None,
    "last_success_at": None,
    "polls": 0,
    "unchanged": 0,
    "repeated": 0,
    "empty": 0,
    "stale": 0,
    "failures": 0,
    "failing_since": None,
    "empty_since": None,
    "refused": None,
    "open": [],
    "page": None,
}
"""A checkpoint before the first poll. `polls` counts answers, of which those left no batch that told nothing new
(`unchanged`), only what had been refused before (`repeated`), nothing at all (`empty`) or less than we know (`stale`);
`failures` counts polls without an answer. `refused`: the hash of the last answer about another event. `open`: batches
that did not add up and are not yet made good; `revision` stays before them. `page`: what the pager has to be told."""


def checkpoint_name(tournament_id: str) -> str:
    return f"ingestion:{tournament_id}"


def play_windows(play: str) -> tuple[tuple[int, int], ...]:
    """The column tournaments.play: [from, until) in which play is on."""
    return tuple((from_at, until_at) for from_at, until_at in orjson.loads(play))


@dataclass(frozen=True, slots=True)
class _Due:
    """When to poll next (None: never again), the earliest cut-off that a full poll is owed for, what the pager has
    still to be told, and since when nobody has answered."""

    at: int | None
    owed_at: int | None = None
    page: Mapping[str, Any] | None = None
    failing_since: int | None = None


@dataclass(slots=True)
class _Memory:
    """What was last committed about a tournament."""

    known: Known
    checkpoint: dict[str, Any]


ASKED = ("ingestion.asked:", "ingestion.asked;")
"""Range of checkpoints that ask for a poll of the tournament that they name, out of turn."""


def ask(tx: Tx, tournament_id: str) -> bool | Refusal:
    """Have a tournament polled at the next instant of the grid, in whatever turn it would be; False: that was asked
    before and is still to come."""
    if tx.one("select 1 from tournaments where tournament_id = :t", {"t": tournament_id}) is None:
        return Refusal(404, f"no tournament {tournament_id}")
    name = ASKED[0] + tournament_id
    tx.notify("ingestion")
    if checkpoints.read(tx, name) is not None:
        return False
    checkpoints.save(tx, name, {"at": tx.now})
    return True


class _ForgottenError(Exception):
    """The checkpoint in the store is not the one that we saved last: somebody else has written it."""


class IngestionService:
    """One job for all tournaments. What it remembers between polls is only what it last committed."""

    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._notified: int | None = None
        self._tournaments: dict[str, Tournament] = {}
        self._due: dict[str, _Due] = {}
        self._memories: dict[str, _Memory] = {}
        self._refused: set[str] = set()
        self._asked: set[str] = set()
        """Tournaments to be polled out of turn."""
        self._news: dict[str, int] = {}
        """When a tournament's last news came."""
        metrics = ports.metrics
        self._quarantine_gauge = Gauge(metrics, "ingestion_quarantine_oldest_timestamp_seconds")
        self._skew_gauge = Gauge(metrics, "host_clock_skew_seconds")
        self._skewed = False
        """Whether our host's clock was found wrong when we last looked."""
        self._answer_due = Gauge(metrics, "ingestion_answer_due_timestamp_seconds")
        self._news_gauge = Gauge(metrics, "ingestion_last_admission_timestamp_seconds")

    def jobs(self) -> Sequence[Job]:
        return (Job("ingestion.poll", "ingestion", PERIOD_MS, self._earliest, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    # --- when ---------------------------------------------------------------------------------------------------------

    async def _earliest(self) -> int | None:
        try:
            await self._read_schedule()
        except PortError as error:
            count_failure(self._ports.metrics, error)
            return self._ports.runtime.now() + 1
        instants = [due.at for due in self._due.values() if due.at is not None]
        if self._skewed:
            instants.append(self._ports.runtime.now() + PERIOD_MS)
        return min(instants, default=None)

    async def _read_schedule(self) -> None:
        """Look into the store at the start and whenever somebody says that something changed; otherwise what the last
        poll found still holds."""
        seen = self._ports.signals.seen("ingestion")
        if seen == self._notified:
            return

        def read(tx: Tx) -> tuple[list[tuple[Tournament, _Due, int]], set[str], dict[str, int]]:
            tournaments = [_tournament(row) for row in tx.all("select * from tournaments order by tournament_id")]
            asked = {name.removeprefix(ASKED[0]) for name, _ in checkpoints.between(tx, *ASKED, checkpoints.ALL)}
            planned = []
            for tournament in tournaments:
                saved = _saved(tx, tournament)
                due = _next(tx, tournament, saved, tx.now - 1)
                due = replace(due, at=tx.now) if tournament.id in asked else due
                planned.append((tournament, due, len(saved["open"])))
            return planned, asked, dict(tx.tuples(_LAST_NEWS)) if self._notified is None else {}

        schedule, self._asked, news = await self._ports.store.transact("ingestion.schedule", read)
        self._notified = seen
        self._news.update(news)
        self._tournaments = {tournament.id: tournament for tournament, *_ in schedule}
        self._due = {tournament.id: due for tournament, due, _ in schedule}
        for tournament, due, quarantined in schedule:
            self._export(tournament.id, due)
            self._ports.metrics.set("quarantined_batches", quarantined, tournament_id=tournament.id)

    def _export(self, tournament_id: str, due: _Due) -> None:
        at = due.at if due.failing_since is None else due.failing_since
        if at is not None and due.failing_since is None:
            at -= at % GRAIN_MS
        self._answer_due.tell_of(at, tournament_id)

    async def _work(self) -> None:
        now = self._ports.runtime.now()
        for tournament_id, due in list(self._due.items()):
            if due.at is not None and due.at <= now:
                await self._visit(self._tournaments[tournament_id], due)
        if self._skewed:  # also when there is nothing to poll: a clock that is right again is told of too
            self._tell_skew(await self._ports.store.transact("ingestion.clock", lambda tx: tx.now))

    async def _visit(self, tournament: Tournament, due: _Due) -> None:
        """Poll for news and, once a cut-off has passed, for everything: news first, for a full answer tells only how
        things stand, and a hole may have been changed twice since the last poll, before the cut-off and after it."""
        try:
            read_at = await self._poll(tournament)
            if read_at is not None and due.owed_at is not None and due.owed_at < read_at:
                await self._poll(tournament, full_at=read_at)
            page = self._due[tournament.id].page
            if page is not None:
                await self._page(tournament, page)
        except (PortError, _ForgottenError) as error:
            if isinstance(error, PortError):
                count_failure(self._ports.metrics, error)
            # What was committed is unknown, so nothing that we remember counts. The store tells at the next instant.
            self._memories.pop(tournament.id, None)
            self._due[tournament.id] = replace(due, at=self._ports.runtime.now() + 1)

    # --- one poll -----------------------------------------------------------------------------------------------------

    async def _poll(self, tournament: Tournament, full_at: int | None = None) -> int | None:
        """One poll and what comes of it; a full one, where it is told when by the store's clock it begins: the cut-off
        that it is measured against is the store's too, and our host's clock may be wrong. Returns when, by the store's
        clock, an answer was committed; None without one."""
        ports, runtime, begun_at = self._ports, self._ports.runtime, self._ports.runtime.now()
        memory = self._memories.get(tournament.id)
        if memory is None:
            begun = await ports.store.transact("ingestion.begin", lambda tx: _begin(tx, tournament))
            if begun is None:
                await self._refuse_to_start(tournament, begun_at)
                return None
            memory = self._memories[tournament.id] = begun
        full = full_at is not None
        since = None if full else memory.checkpoint["revision"]
        try:
            answer = await runtime.deadline(
                ports.provider.poll(event_id=tournament.event_id, since=since), self._config.provider_timeout_ms
            )
        except PortError as error:
            code = errors.code_of(error)
            await self._commit(
                "ingestion.failure",
                tournament,
                begun_at,
                lambda tx, checkpoint: _fail(tx, tournament, checkpoint, code),
            )
            self._news_gauge.tell_of(None, tournament.id)  # That nobody answers is told otherwise.
            return None
        poll = Poll(tournament, full, since, begun_at if full_at is None else full_at, runtime.now(), answer)
        known = memory.known
        changes, read_at = await self._commit(
            "ingestion.apply",
            tournament,
            begun_at,
            lambda tx, checkpoint: (ingestion_batches.apply(tx, poll, checkpoint, known), tx.now),
        )
        known.take(changes)
        self._tell_of_news(tournament, bool(changes.scores.holes))
        return read_at

    def _tell_of_news(self, tournament: Tournament, learned: bool) -> None:
        now = self._ports.runtime.now()
        if learned:
            self._news[tournament.id] = now
        began = [from_at for from_at, until_at in tournament.play if from_at <= now < until_at]
        last_at = self._news.get(tournament.id, 0)
        self._news_gauge.tell_of(max(began[0], last_at - last_at % GRAIN_MS) if began else None, tournament.id)

    async def _commit(
        self, operation: str, tournament: Tournament, at: int, change: Callable[[Tx, dict[str, Any]], T]
    ) -> T:
        """Make a change of the store and of the checkpoint that goes with it, and find out when to poll next.

        Raises _ForgottenError when the checkpoint is not the one that we saved last.
        """
        remembered = self._memories[tournament.id].checkpoint

        def run(tx: Tx) -> tuple[T, dict[str, Any], _Due, int, int | None]:
            checkpoint = checkpoints.read(tx, checkpoint_name(tournament.id))
            if checkpoint != remembered:
                raise _ForgottenError(tournament.id)
            result = change(tx, checkpoint)
            checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)
            if tournament.id in self._asked:
                checkpoints.remove(tx, ASKED[0] + tournament.id)
            return result, checkpoint, _next(tx, tournament, checkpoint, at), tx.now, _oldest_open(tx, checkpoint)

        result, checkpoint, due, now, open_at = await self._ports.store.transact(operation, run)
        self._memories[tournament.id].checkpoint = checkpoint
        self._due[tournament.id] = due
        self._asked.discard(tournament.id)
        self._export(tournament.id, due)
        self._tell(tournament, remembered, checkpoint, now, open_at)
        if due.at is None:
            del self._memories[tournament.id]
        return result

    def _tell(
        self,
        tournament: Tournament,
        before: Mapping[str, Any],
        checkpoint: Mapping[str, Any],
        now: int,
        open_at: int | None,
    ) -> None:
        """Have monitoring know what was committed at `now`."""
        metrics = self._ports.metrics
        if checkpoint["open"] != before["open"]:
            metrics.set("quarantined_batches", len(checkpoint["open"]), tournament_id=tournament.id)
        self._quarantine_gauge.tell_of(open_at, tournament.id)
        page = checkpoint["page"]
        if page is not None and page != before["page"]:
            for contest_id in page["contests"]:
                metrics.set("score_correction_late_timestamp_seconds", now // 1000, contest_id=contest_id)
        self._tell_skew(now)

    def _tell_skew(self, store_at: int) -> None:
        self._skewed = export_skew(self._skew_gauge, self._ports.runtime.now(), store_at)

    async def _refuse_to_start(self, tournament: Tournament, now: int) -> None:
        """Without its checkpoint ingestion would admit everything again. Said once, and tried at every instant."""
        self._due[tournament.id] = _Due(now + 1)
        if tournament.id not in self._refused:
            reason = "NO_CHECKPOINT"
            await self._ports.store.transact(
                "ingestion.refuse", lambda tx: _decide(tx, tournament, "refuse.ingestion", None, reason)
            )
            self._refused.add(tournament.id)

    async def _page(self, tournament: Tournament, page: Mapping[str, Any]) -> None:
        """Tell the pager of each contest; if that fails, the next visit tells of all, for the checkpoint remembers."""
        ports = self._ports
        what = " and ".join([what for what, key in (("scores", "cells"), ("statuses", "statuses")) if page.get(key)])
        summary = f"{tournament.id}: the provider corrected {what} after the cut-off of "
        for contest_id in page["contests"]:
            call = ports.pager.send(
                action="trigger",
                dedup_key=late_correction_key(contest_id),
                summary=summary + contest_id,
                severity="warning",
                details={**page, "labels": {"contest_id": contest_id}, "runbook_url": LATE_RUNBOOK},
            )
            try:
                await ports.runtime.deadline(call, self._config.pager_timeout_ms)
            except PortError:
                return

        def sent(tx: Tx, checkpoint: dict[str, Any]) -> None:
            checkpoint["page"] = None
            ctx = Context(ACTOR, tournament.id)
            for contest_id in page["contests"]:
                subject = f"pager/{late_correction_key(contest_id)}"
                audit.append(tx, ctx, "call.page", subject, after=page, reason=summary + contest_id)

        await self._commit("ingestion.paged", tournament, ports.runtime.now(), sent)


def late_correction_key(contest_id: str) -> str:
    """Of the incident that is opened when a correction comes after the cut-off of a contest."""
    return f"late_correction:{contest_id}"


def _fail(tx: Tx, tournament: Tournament, checkpoint: dict[str, Any], code: str) -> None:
    """Count a poll without an answer; the first of a row of them is on record."""
    checkpoint["failures"] += 1
    if checkpoint["failing_since"] is None:
        checkpoint["failing_since"] = tx.now
        _decide(tx, tournament, "ingestion.lagging", {"failing_since": tx.now}, code)


def _decide(tx: Tx, tournament: Tournament, action: str, after: Mapping[str, Any] | None, reason: str) -> None:
    ctx = Context(ACTOR, tournament.id)
    audit.append(tx, ctx, action, f"tournaments/{tournament.id}", after=after, reason=reason)


# --- what the store knows ---------------------------------------------------------------------------------------------


def _tournament(row: Row) -> Tournament:
    return Tournament(
        id=row["tournament_id"],
        event_id=row["provider_event_id"],
        rounds=row["rounds"],
        holes=len(orjson.loads(row["par"])),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        play=play_windows(row["play"]),
    )


def _saved(tx: Tx, tournament: Tournament) -> Mapping[str, Any]:
    saved: Mapping[str, Any] | None = checkpoints.read(tx, checkpoint_name(tournament.id))
    return FRESH if saved is None else saved


def _begin(tx: Tx, tournament: Tournament) -> _Memory | None:
    """What is known of a tournament, with a fresh checkpoint when nothing is. None when the checkpoint is gone."""
    checkpoint = checkpoints.read(tx, checkpoint_name(tournament.id))
    if checkpoint is None:
        batches = "select 1 from ingestion_batches where tournament_id = :t limit 1"
        if tx.one(batches, {"t": tournament.id}) is not None:
            return None
        checkpoint = dict(FRESH)
        checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)
    return _Memory(ingestion_batches.read_known(tx, tournament.id), checkpoint)


def _oldest_open(tx: Tx, checkpoint: Mapping[str, Any]) -> int | None:
    """When the oldest answer came that did not add up and that nobody has resolved, by an answer or a runbook."""
    for batch_id in checkpoint["open"]:
        came = tx.tuples(_UNRESOLVED, {"b": batch_id})
        if came:
            return int(came[0][0])
    return None


_UNRESOLVED = """
    select received_at from ingestion_batches b where batch_id = :b
      and not exists (select 1 from quarantine_resolutions q where q.batch_id = b.batch_id)
"""
_LAST_NEWS = """
    select tournament_id, max(received_at) from ingestion_batches where admitted > 0 or corrections > 0
    group by tournament_id
"""
_ENDED = ("SETTLED", "PAID_OUT", "CANCELLED")
_COMPLETED = "select tournament_id, completed_at from tournaments"
_CONTESTS = "select tournament_id, status, cutoff_at, coalesce(settled_at, closed_at) from contests"


def _next(tx: Tx, tournament: Tournament, checkpoint: Mapping[str, Any], after: int) -> _Due:
    completed_at = dict(audit.remembered(tx, "tournaments", _COMPLETED))[tournament.id]
    contests = [contest for contest in audit.remembered(tx, "contests", _CONTESTS) if contest[0] == tournament.id]
    full_poll = checkpoints.read(tx, full_poll_name(tournament.id))
    begun_at = None if full_poll is None else full_poll["begun_at"]
    overdue_at = tournament.ends_at + OVERDUE_MS
    event_over_at = completed_at or (overdue_at if overdue_at < after else None)
    cutoffs = [cutoff_at for _, status, cutoff_at, _ in contests if status not in _ENDED]
    owed = [cutoff_at for cutoff_at in cutoffs if cutoff_at is not None and not tells_all(begun_at, cutoff_at)]
    over_at = None
    if event_over_at is not None and not cutoffs:
        over_at = max([event_over_at, *[ended_at for *_, ended_at in contests if ended_at is not None]])
    standing = Standing(
        owed_at=min(owed) if owed else None,
        event_over=event_over_at is not None,
        over_at=over_at,
        retry=checkpoint["failing_since"] is not None or checkpoint["page"] is not None,
    )
    next_at = next_poll(tournament, standing, after)
    return _Due(next_at, standing.owed_at, checkpoint["page"], checkpoint["failing_since"])
