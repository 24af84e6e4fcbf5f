"""What the score provider answers at 200 OK: the truth about an event, or one of the ways in which it is not.

Invariant: nothing here changes an event. What is served and what was published are two things, and the book has both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter

from contest_platform.ports import ScoreAnswer
from evidence.plan import Glitch, Tournament
from seams.draws import Draws
from seams.faults import Falsify

Cell = tuple[str, int, int, int]
"""(golfer_id, round, hole, strokes)."""
Served = tuple[str, int, int, int, int]
"""(golfer_id, round, hole, strokes, published_at)."""


@dataclass(slots=True)
class Event:
    """What has been published of one event. `changes[marks[n]:marks[m]]` are the cells of revisions n+1 to m."""

    plan: Tournament
    opened_at: int
    golfers: tuple[str, ...]
    changes: list[Served] = field(default_factory=list)
    marks: list[int] = field(default_factory=lambda: [0])
    instants: list[int] = field(default_factory=list)
    current: dict[tuple[str, int, int], Served] = field(default_factory=dict)
    totals: dict[tuple[str, int], int] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    status_changes: list[tuple[int, str, str]] = field(default_factory=list)
    complete: bool = False
    retired: set[str] = field(default_factory=set)
    """Golfers who were to play on, and do not."""

    @property
    def revision(self) -> int:
        return len(self.instants)

    @property
    def published_at(self) -> int:
        return self.instants[-1] if self.instants else self.opened_at


def served(event: Event, since: int | None) -> ScoreAnswer:
    totals = event.totals
    if since is None:
        cells = tuple(event.current.values())
        touched, statuses = dict(totals), dict(event.statuses)
        changes = event.status_changes
    else:
        since = min(max(since, 0), event.revision)
        cells = tuple(event.changes[event.marks[since] :])
        touched = {(player_round := cell[:2]): totals[player_round] for cell in cells}
        changes = event.status_changes[bisect_right(event.status_changes, since, key=itemgetter(0)) :]
        statuses = {golfer: status for _, golfer, status in changes}
    return ScoreAnswer(
        event_id=event.plan.event_id,
        revision=event.revision,
        published_at=event.published_at,
        full=since is None,
        field=event.golfers,
        cells=cells,
        totals=touched,
        statuses=statuses,
        complete=event.complete,
        statuses_at={golfer: event.instants[revision - 1] for revision, golfer, _ in changes},
    )


def answer_to(event: Event, since: int | None, glitch: Glitch | None, lie: Falsify | None, draws: Draws) -> ScoreAnswer:
    """The answer to a poll: true unless the recording has a `glitch` or a fault brings a `lie`."""
    if lie is not None:
        return _FALSIFIED[lie.kind](event, since, lie, draws)
    if glitch is not None:
        return _GLITCHED[glitch.kind](event, since, glitch)
    return served(event, since)


# --- what a recording has -------------------------------------------------------------------------------------------


def _wrong_event(event: Event, since: int | None, glitch: Glitch) -> ScoreAnswer:
    cells = tuple((*cell, glitch.from_at) for cell in glitch.cells)
    return _previous(event, since, glitch.from_at, cells)


def _previous(event: Event, since: int | None, at: int, cells: tuple[Served, ...]) -> ScoreAnswer:
    """Last year's event under this year's address: the same golfers, and its holes where some are known."""
    return ScoreAnswer(
        event_id=f"{event.plan.event_id}-previous",
        revision=event.revision,
        published_at=at,
        full=since is None,
        field=event.golfers,
        cells=cells,
        totals={},
        statuses={},
        complete=True,
    )


def _empty(event: Event, since: int | None, glitch: Glitch) -> ScoreAnswer:
    return _nothing(event, since, glitch.from_at)


def _nothing(event: Event, since: int | None, at: int) -> ScoreAnswer:
    revision = event.revision if since is None else since
    return ScoreAnswer(event.plan.event_id, revision, at, since is None, (), (), {}, {}, False)


def _scrambled(event: Event, since: int | None, glitch: Glitch) -> ScoreAnswer:
    """False strokes under true totals."""
    answer = served(event, since)
    false = {(golfer, round_, hole): strokes for golfer, round_, hole, strokes in glitch.cells}
    return replace(answer, cells=tuple((*cell[:3], false.get(cell[:3], cell[3]), cell[4]) for cell in answer.cells))


_GLITCHED: Mapping[str, Callable[[Event, int | None, Glitch], ScoreAnswer]] = {
    "wrong_event": _wrong_event, "empty": _empty, "scrambled": _scrambled,
}  # fmt: skip


# --- what a fault brings --------------------------------------------------------------------------------------------

LAST_YEARS_GOLFERS = 5
"""Of so many golfers last year's holes are served; a whole field would only be more of the same."""


def _lie_wrong_event(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    cells = tuple(
        (golfer, round_, hole, par + draws.below(3, "provider.previous", event.plan.id, golfer, round_, hole) - 1,
         lie.since_at)
        for golfer in event.golfers[:LAST_YEARS_GOLFERS]
        for round_ in range(1, event.plan.rounds + 1)
        for hole, par in enumerate(event.plan.par, 1)
    )  # fmt: skip
    return _previous(event, since, lie.since_at, cells)


def _lie_empty(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    return _nothing(event, since, lie.since_at)


def _lie_scrambled(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    """Every stroke false by one or two, under true totals: plausible, and no round adds up."""
    answer = served(event, since)
    cells = tuple(
        (golfer, round_, hole, strokes + 1 + draws.below(2, "provider.scrambled", event.plan.id, golfer, round_, hole),
         at)
        for golfer, round_, hole, strokes, at in answer.cells
    )  # fmt: skip
    return replace(answer, cells=cells)


def _lie_stale(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    """The answer of `age_ms` ago, from a cache that nobody has told that time went on."""
    then = bisect_right(event.instants, lie.since_at - lie.age_ms)
    cells = event.changes[event.marks[min(since or 0, then)] : event.marks[then]]
    last = {cell[:3]: cell for cell in cells}
    totals: dict[tuple[str, int], int] = {}
    for golfer, round_, _, strokes, _ in {cell[:3]: cell for cell in event.changes[: event.marks[then]]}.values():
        totals[golfer, round_] = totals.get((golfer, round_), 0) + strokes
    touched = {cell[:2] for cell in cells}
    known = dict.fromkeys(event.golfers, "active") if since is None else {}
    changed = {golfer: status for revision, golfer, status in event.status_changes if (since or 0) < revision <= then}
    return ScoreAnswer(
        event_id=event.plan.event_id,
        revision=then,
        published_at=event.instants[then - 1] if then else event.opened_at,
        full=since is None,
        field=event.golfers,
        cells=tuple(last.values()),
        totals={player_round: total for player_round, total in totals.items() if player_round in touched},
        statuses={**known, **changed},
        complete=False,
    )


def _lie_garbled(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    """A body that can be read and says what cannot be: columns have slipped, by cell, under true totals."""
    answer = served(event, since)
    cells = tuple(
        _GARBLINGS[draws.below(len(_GARBLINGS), "provider.garbled", event.plan.id, *cell[:3])](cell)
        for cell in answer.cells
    )
    return replace(answer, cells=cells)


_GARBLINGS: tuple[Callable[[Served], Served], ...] = (
    lambda cell: (*cell[:3], 0, cell[4]),
    lambda cell: (*cell[:3], -cell[3], cell[4]),
    lambda cell: (*cell[:3], cell[3] * 100, cell[4]),
    lambda cell: (cell[0], cell[1], cell[2] + 18, cell[3], cell[4]),
    lambda cell: (cell[0], cell[1] + 10, cell[2], cell[3], cell[4]),
    lambda cell: (f"{cell[0]}?", *cell[1:]),
)


def _lie_unreadable(event: Event, since: int | None, lie: Falsify, draws: Draws) -> ScoreAnswer:
    """Cut off in the middle: whatever it was, its reader gets nothing of it (the wire raises)."""
    return _nothing(event, since, lie.since_at)


UNREADABLE = "unreadable"
_FALSIFIED: Mapping[str, Callable[[Event, int | None, Falsify, Draws], ScoreAnswer]] = {
    "wrong_event": _lie_wrong_event,
    "empty": _lie_empty,
    "scrambled": _lie_scrambled,
    "stale": _lie_stale,
    "garbled": _lie_garbled,
    UNREADABLE: _lie_unreadable,
}
