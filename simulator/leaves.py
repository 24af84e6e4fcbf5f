"""The leaf awaitables: each yields one SimPy event, which is all that it takes to have SimPy drive plain coroutines."""

from __future__ import annotations

from collections.abc import Generator
from heapq import heappush
from typing import TYPE_CHECKING, Any

from simpy.events import NORMAL, Event, EventPriority

from seams.draws import GOLDEN, mix

if TYPE_CHECKING:
    from simulator.kernel import Kernel, Origin


class Moment(Event):
    """Happens at the instant `at`, now or later. `origin` and `number` say whose event it is, and which of them: the
    order of ties follows from these two."""

    env: Kernel
    origin: Origin
    number: int
    _tie: int | None = None

    def __init__(self, kernel: Kernel, at: int, priority: EventPriority = NORMAL) -> None:
        self.env = kernel
        self.callbacks = []
        self.origin = origin = kernel.running
        self.number = origin.scheduled = origin.scheduled + 1
        kernel.events += 1
        heappush(kernel._queue, (at, priority, self))

    def tie(self) -> int:
        if self._tie is None:
            self._tie = mix(self.origin.key + self.number * GOLDEN)
        return self._tie

    def __lt__(self, other: Moment) -> bool:
        """Which of two events of one instant and priority comes first. Keys are drawn only where there are two."""
        return self.tie() < other.tie()

    def __await__(self) -> Generator[Event, Any, None]:
        yield self


class Gate(Moment):
    """Happens when it is opened, or at the instant `at` at the latest (None: never by itself)."""

    def __init__(self, kernel: Kernel, at: int | None = None) -> None:
        if at is None:
            Event.__init__(self, kernel)
        else:
            super().__init__(kernel, at)

    def open(self, _: Event) -> None:
        """Have who awaits it go on at once: called by the kernel, while no task runs."""
        callbacks, self.callbacks = self.callbacks, None  # type: ignore[assignment]
        for callback in callbacks or ():
            callback(self)

    def open_soon(self) -> None:
        """Have who awaits it go on once whoever runs now waits, and not for the gate's own time any more."""
        callbacks, self.callbacks = self.callbacks, None  # type: ignore[assignment]
        if callbacks is not None:
            Moment(self.env, self.env._now).callbacks = callbacks


class Wait:
    """Awaits the end of an event, whatever it was, and returns nothing."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def __await__(self) -> Generator[Event, Any, None]:
        if self._event.callbacks is not None:
            yield self._event
