"""Whoever looks at a run while it goes on: between two events, at instants of his own, or once an event calls him.

Invariant: a run that is looked at writes what it would write unwatched. Who looks reads; he neither schedules nor
draws, and records nothing but that he ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from simulator.leaves import Gate

if TYPE_CHECKING:
    from evidence.journal import JournalWriter
    from simulator.kernel import Kernel
    from simulator.world import World

Calls = Callable[[int, str], bool]
"""Told of each event of the journal by its number and kind; whether it calls him."""


class Onlooker(Protocol):
    next_at: int
    """When he looks next, whether he is called or not: what was due before has happened, and nothing since (ms)."""

    @property
    def calls(self) -> Calls | None:
        """None: no event calls him. Whoever wrote the event has done for now when he looks."""

    def look(self, world: World, kernel: Kernel) -> bool:
        """Look, and set `next_at` to later than now; whether the run goes on."""


class Passage:
    """Time that passes in a world while some look at it."""

    def __init__(self, world: World, kernel: Kernel, onlookers: Sequence[Onlooker]) -> None:
        self._world, self._kernel, self._onlookers = world, kernel, onlookers
        self._called: dict[Onlooker, None] = {}
        self._gate = Gate(kernel)
        listeners = [(onlooker, onlooker.calls) for onlooker in onlookers if onlooker.calls is not None]
        if listeners:
            kernel.journal = _Overheard(kernel.journal, listeners, self._call)  # type: ignore[assignment]

    def _call(self, onlooker: Onlooker) -> None:
        self._called[onlooker] = None
        self._gate.open(self._gate)

    def to(self, until_at: int) -> bool:
        """Have everything happen that is due before `until_at`, and everybody look who looks until then, those of that
        instant included. False: one of them has ended the run."""
        kernel = self._kernel
        while True:
            at = min([until_at, *(onlooker.next_at for onlooker in self._onlookers)])
            kernel.run(until=at, unless=self._gate)
            is_there = not self._called
            called, self._called, self._gate = self._called, {}, Gate(kernel)
            for onlooker in self._onlookers:
                is_due = onlooker in called or (is_there and onlooker.next_at <= at)
                if is_due and not onlooker.look(self._world, kernel):
                    return False
            if is_there and at == until_at:
                return True


class _Overheard:
    """A journal in which somebody listens."""

    def __init__(
        self, journal: JournalWriter, listeners: Sequence[tuple[Onlooker, Calls]], call: Callable[[Onlooker], None]
    ) -> None:
        self._journal, self._listeners, self._call = journal, listeners, call

    @property
    def count(self) -> int:
        return self._journal.count

    @property
    def head(self) -> str:
        return self._journal.head

    def append(self, at: int, actor: str, kind: str, subject: str, cause: str | None, data: dict[str, Any]) -> str:
        event_id = self._journal.append(at, actor, kind, subject, cause, data)
        for onlooker, calls in self._listeners:
            if calls(self._journal.count, kind):
                self._call(onlooker)
        return event_id
