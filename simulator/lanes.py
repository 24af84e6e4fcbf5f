"""Lanes: the wall clock of a simulation, shared out among the services and parties whose tasks ran.

Invariant: what is measured here reaches neither journal nor books: a slower machine makes the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

from contest_platform.units import UNITS

KERNEL, CLOSING = "kernel", "closing"
JOBS = {"payments": "reconciliation", "scores": "score_audit"}
"""First word of a platform's job → lane, where that is not the word itself."""
PATHS = {
    "/api/entries": "entries",
    "/api/users": "entries",
    "/webhooks": "webhooks",
    "/api/agent": "healing",
    "/api/admin": "operations",
}
"""What a path begins with that the platform serves → lane."""
PARTIES = {
    "processor": "webhook events balance intents transfers refunds disputes",
    "provider": "provider",
    "entrants": "entrant",
    "hosts": "boot systemd agent policy shutdown wsman ssh",
    "identity": "auth",
    "anchoring": "anchor",
    "pager": "pager",
    "monitoring": "monitoring",
    "operator": "operator opsctl ops drill",
    "observer": "observer",
    "backups": "backups",
    "faults": "fault replays founder engineer",
}
"""Lane of the world → what the names of its tasks begin with. Every other task runs in the lane of who began it."""
HEAD = 6
"""So many characters tell whose a task of the world is: names go on with ids, and a slice is all that is paid for."""


class Lane:
    """`seconds` of wall clock in which its tasks ran; `resumptions`: how often one of them went on."""

    __slots__ = ("name", "resumptions", "seconds")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.resumptions = 0


class Mark(NamedTuple):
    """The end of a simulated day: the simulated instant (ms), the real one (s since the epoch), the seconds since the
    simulation began, and how many events there have been."""

    day: int
    simulated_at: int
    at: float
    seconds: float
    events: int


class Lanes:
    """The lanes of one simulation; the kernel keeps the stopwatch. `known` leads from the name of a platform's task, or
    the head of any other's, to its lane, or to None if it has none of its own."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self.kernel = self.named(KERNEL)
        self.known: dict[str, Lane | None] = {}
        self.begun = perf_counter()
        self.marks: list[Mark] = []

    def __iter__(self) -> Iterator[Lane]:
        """In the order of their names."""
        return iter(sorted(self._lanes.values(), key=lambda lane: lane.name))

    def named(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane(name))

    def learn(self, head: str) -> Lane | None:
        name = lane_of(head)
        lane = self.known[head] = self.named(name) if name else None
        return lane

    def mark(self, day: int, simulated_at: int, events: int) -> None:
        self.marks.append(Mark(day, simulated_at, time.time(), perf_counter() - self.begun, events))


def lane_of(name: str) -> str:
    """The lane of a task by its name: `<unit>.<job>` or `<unit> <method> <path>` of the platform, or the head of any
    other; empty if it has none of its own."""
    unit, _, served = name.partition(" ")
    if served and unit in UNITS:
        path = served.partition(" ")[2]
        return next((lane for beginning, lane in PATHS.items() if path.startswith(beginning)), "")
    unit, _, job = name.partition(".")
    if unit in UNITS and job:
        word = job.partition(".")[0]
        return JOBS.get(word, word)
    for lane, words in PARTIES.items():
        if any(name.startswith(word[:HEAD]) for word in words.split()):
            return lane
    return ""
