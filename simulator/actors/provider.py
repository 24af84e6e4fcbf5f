"""The score provider: publishes tournaments as planned, serves polls, and keeps books of both.

Invariant: revision n of an event is its first n publications, corrections included, whatever any poll was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from contest_platform.ports import ScoreAnswer
from evidence.plan import Publication, Tournament
from seams.faults import Action, Falsify
from simulator.actors.context import NoteAction, World
from simulator.actors.provider_answers import Cell, Event, answer_to


class UnknownEventError(Exception):
    """A poll for an event that this provider does not have."""


class ProviderActor:
    """Publishes by itself from the moment it exists."""

    def __init__(self, world: World, tournaments: Sequence[Tournament]) -> None:
        self._world = world
        self._events: dict[str, Event] = {}
        for tournament in tournaments:
            golfers = tuple(golfer.id for golfer in tournament.golfers)
            statuses = dict.fromkeys(golfers, "active")
            self._events[tournament.event_id] = Event(tournament, world.runtime.now(), golfers, statuses=statuses)
        timeline = [
            (publication.at, place, number)
            for place, tournament in enumerate(tournaments)
            for number, publication in enumerate(tournament.publications)
        ]
        self._timeline = [
            (at, self._events[tournaments[place].event_id], tournaments[place].publications[number])
            for at, place, number in sorted(timeline)
        ]
        self._next = 0
        self._publications = world.books["provider.publications"]
        self._requests = world.books["provider.requests"]
        world.runtime.spawn(self._live(), "provider")

    async def _live(self) -> None:
        while self._next < len(self._timeline):
            await self._world.runtime.sleep_until(self._timeline[self._next][0])
            self._publish_due()

    def _publish_due(self) -> None:
        """Publish what the plan has up to now. Whoever looks first does it, so nothing depends on who wakes first."""
        now = self._world.runtime.now()
        while self._next < len(self._timeline) and self._timeline[self._next][0] <= now:
            at, event, publication = self._timeline[self._next]
            self._next += 1
            if event.retired:
                publication = _without(publication, event.retired)
            corrections = self._publish(event, at, publication.cells, publication.statuses, publication.complete)
            self._tell(event, publication, corrections)

    # --- publishing ---------------------------------------------------------------------------------------------------

    def _publish(
        self,
        event: Event,
        at: int,
        cells: Iterable[Cell],
        statuses: Iterable[tuple[str, str]],
        complete: bool,
        reason: str | None = None,
    ) -> int:
        """The next revision of `event`. Returns how many of its cells are corrections."""
        event_id, revision = event.plan.event_id, event.revision + 1
        current, totals, changes = event.current, event.totals, event.changes
        rows: list[tuple[Any, ...]] = []
        corrections = 0
        for n, (golfer, round_, hole, strokes) in enumerate(cells, self._publications.count + 1):
            place, player_round, served = (golfer, round_, hole), (golfer, round_), (golfer, round_, hole, strokes, at)
            before = current.get(place)
            gain = strokes if before is None else strokes - before[3]
            corrected = before is not None and gain != 0
            corrections += corrected
            current[place] = served
            changes.append(served)
            totals[player_round] = totals.get(player_round, 0) + gain
            rows.append((n, event_id, revision, at, golfer, round_, hole, strokes, corrected))
        self._publications.extend(rows)
        for golfer, status in statuses:
            event.statuses[golfer] = status
            event.status_changes.append((revision, golfer, status))
            self._world.books["provider.statuses"].note(event_id, revision, at, golfer, status, reason)
        if complete and not event.complete:
            event.complete = True
            self._world.books["provider.completions"].add(event_id, revision, at)
        event.marks.append(len(changes))
        event.instants.append(at)
        return corrections

    def _tell(self, event: Event, publication: Publication, corrections: int) -> None:
        if publication.cells or publication.statuses or publication.complete:
            self._world.record(
                "provider",
                "provider.published",
                event.plan.id,
                revision=event.revision,
                cells=len(publication.cells),
                corrections=corrections,
                statuses=[list(status) for status in publication.statuses],
                complete=publication.complete,
            )

    def correct(self, tournament_id: str, golfer_id: str, round: int, hole: int, strokes: int) -> int:
        """Publish another value of a hole now. Returns the number of its row in provider.publications.

        Raises ValueError for a hole that has no published score: there is nothing to correct.
        """
        self._publish_due()
        event = self._event_of(tournament_id)
        if event is None or (golfer_id, round, hole) not in event.current:
            raise ValueError(f"no published score of {tournament_id}/{golfer_id}, round {round}, hole {hole}")
        self._publish(event, self._world.runtime.now(), [(golfer_id, round, hole, strokes)], (), False)
        self._world.record(
            "provider",
            "provider.corrected",
            tournament_id,
            revision=event.revision,
            golfer=golfer_id,
            round=round,
            hole=hole,
            strokes=strokes,
        )
        return self._publications.count

    def retire(self, tournament_id: str, golfer_id: str, status: str, reason: str) -> int:
        """Publish that a golfer plays no further: what the plan has of him from now on never happens. Returns the
        number of its row in provider.statuses.

        Raises ValueError for a golfer who is not in the field, or is out of it already.
        """
        self._publish_due()
        event = self._event_of(tournament_id)
        if event is None or event.statuses.get(golfer_id) != "active":
            raise ValueError(f"{tournament_id}/{golfer_id} is not playing")
        event.retired.add(golfer_id)
        self._publish(event, self._world.runtime.now(), (), [(golfer_id, status)], False, reason)
        self._world.record(
            "provider", "provider.retired", tournament_id,
            revision=event.revision, golfer=golfer_id, status=status, reason=reason,
        )  # fmt: skip
        return self._world.books["provider.statuses"].count

    async def pull_retire(self, action: Action, note: NoteAction) -> None:
        """The lever provider.retire."""
        tournament_id, _, golfer_id = action.entity.partition("/")
        row = self.retire(tournament_id, golfer_id, action.params["status"], action.params["reason"])
        note(action, str(row))

    def _event_of(self, tournament_id: str) -> Event | None:
        return next((event for event in self._events.values() if event.plan.id == tournament_id), None)

    async def pull_correct(self, action: Action, note: NoteAction) -> None:
        """The lever provider.correct."""
        tournament_id, _, golfer_id = action.entity.partition("/")
        params = action.params
        row = self.correct(tournament_id, golfer_id, params["round"], params["hole"], params["strokes"])
        note(action, str(row))

    def close_books(self) -> None:
        """Publish what falls on the last instant too."""
        self._publish_due()

    # --- serving ------------------------------------------------------------------------------------------------------

    @property
    def next_request(self) -> int:
        """The number that the next poll will have in provider.requests."""
        return self._requests.count + 1

    def tournament_of(self, event_id: str) -> str:
        """The tournament of an event, or the event id itself when there is none."""
        event = self._events.get(event_id)
        return event_id if event is None else event.plan.id

    def refuse(self, event_id: str, since: int | None, status: int) -> None:
        """Answer a poll that arrived with an HTTP error."""
        self._requests.note(self._world.runtime.now(), event_id, since, status, None, 0, None, True)
        self._world.record("provider", "provider.refused", self.tournament_of(event_id), status=status)

    def end_handshake(self, event_id: str, since: int | None, alert: str) -> None:
        """The client ended the TLS handshake with `alert`: no request was read, and no status given (0)."""
        self._requests.note(self._world.runtime.now(), event_id, since, 0, None, 0, alert, True)
        self._world.record("provider", "provider.handshake_ended", self.tournament_of(event_id), alert=alert)

    def answer(
        self, event_id: str, since: int | None, lie: Falsify | None = None, *, answered: bool = True
    ) -> ScoreAnswer:
        """Answer a poll at 200 OK: the changes after revision `since` in order of publication, or with None the state
        of everything. What a glitch of the recording, or a `lie`, serves instead is no publication. `answered` is False
        when the network is about to lose the answer.

        Raises UnknownEventError (404)."""
        self._publish_due()
        now = self._world.runtime.now()
        event = self._events.get(event_id)
        if event is None:
            self.refuse(event_id, since, 404)
            raise UnknownEventError(event_id)
        glitch = next((glitch for glitch in event.plan.glitches if glitch.from_at <= now < glitch.until_at), None)
        answer = answer_to(event, since, glitch, lie, self._world.draws)
        kind = lie.kind if lie is not None else None if glitch is None else glitch.kind
        self._requests.note(now, event_id, since, 200, answer.revision, len(answer.cells), kind, answered)
        if kind is not None:
            self._world.record("provider", "provider.glitch", event.plan.id, glitch=kind, cells=len(answer.cells))
        return answer


def _without(publication: Publication, golfers: set[str]) -> Publication:
    """A publication as it is when these golfers have left the course."""
    cells = [cell for cell in publication.cells if cell[0] not in golfers]
    statuses = [status for status in publication.statuses if status[0] not in golfers]
    return publication.model_copy(update={"cells": cells, "statuses": statuses})
