"""When to ask the score provider about a tournament: often in play, hourly around it, rarely later, and then no more.

Invariant: every instant given lies on the grid of PERIOD_MS and after the one asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

from contest_platform.jobs import HOUR_MS, MINUTE_MS, next_tick

PERIOD_MS = 10 * MINUTE_MS
"""Between polls while play is on, and until what failed has succeeded."""
IDLE_PERIOD_MS = HOUR_MS
AFTERWARDS_PERIOD_MS = 6 * HOUR_MS
AFTERWARDS_MS = 48 * HOUR_MS
"""How long after the last settlement corrections are still collected."""
OVERDUE_MS = 6 * HOUR_MS
"""How long after its scheduled end an event that never says that it is over is taken to be."""
LEAD_MS = 24 * HOUR_MS
"""How long before its start an event is first asked for."""


@dataclass(frozen=True, slots=True)
class Tournament:
    """What never changes of a tournament. `play`: windows [from, until) in which play is on."""

    id: str
    event_id: str
    rounds: int
    holes: int
    starts_at: int
    ends_at: int
    play: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What else decides about the next poll. `owed_at`: the earliest cut-off of an unsettled contest after which no
    full poll was begun and succeeded; `event_over`: the event has been completed, or its time is long over; `over_at`:
    the last settlement, once the event and all its contests have ended; `retry`: something has to be tried again."""

    owed_at: int | None
    event_over: bool
    over_at: int | None
    retry: bool


def tells_all(begun_at: int | None, cutoff_at: int) -> bool:
    """Whether a full poll that began at `begun_at` (None: there was none) and succeeded tells all that is official at
    `cutoff_at`. One of that very millisecond does not: what is published later in it is official too."""
    return begun_at is not None and begun_at > cutoff_at


def next_poll(tournament: Tournament, standing: Standing, after: int) -> int | None:
    """The first instant after `after` at which to poll; None for never again."""
    tick = next_tick(after + 1, PERIOD_MS)
    first = next_tick(tournament.starts_at - LEAD_MS, PERIOD_MS)
    if tick < first:
        return first
    if standing.retry or any(from_at <= tick < until_at for from_at, until_at in tournament.play):
        return tick
    if not standing.event_over and all(until_at <= tick for _, until_at in tournament.play):
        # The last putt has dropped, and contests wait for the provider's word that it is official.
        return tick
    if standing.over_at is not None:
        at = next_tick(tick, AFTERWARDS_PERIOD_MS)
        return at if at <= standing.over_at + AFTERWARDS_MS else None
    instants = [next_tick(tick, IDLE_PERIOD_MS)]
    instants += [next_tick(from_at, PERIOD_MS) for from_at, _ in tournament.play if from_at > tick]
    if standing.owed_at is not None:
        instants.append(next_tick(max(standing.owed_at, after) + 1, PERIOD_MS))
    return min(instants)
