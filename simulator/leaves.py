"""The leaf awaitables: each yields one SimPy event, which is all that it takes to have SimPy drive plain coroutines."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.core import Environment
from simpy.events import PENDING, Event, Timeout


class Wait:
    """Awaits an event and returns nothing."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def __await__(self) -> Generator[Event, Any, None]:
        if self._event.callbacks is not None:
            yield self._event


class Sleep(Timeout):
    def __await__(self) -> Generator[Event, Any, None]:
        yield self


class Gate(Event):
    """Happens with the first of `events`, in the same step: who awaits it goes on before anything else happens."""

    def __init__(self, env: Environment, *events: Event) -> None:
        super().__init__(env)
        for event in events:
            if event.callbacks is None:
                self._open(event)
            else:
                event.callbacks.append(self._open)

    def _open(self, _: Event) -> None:
        # Called by the kernel while no task runs, so the waiter may be resumed here and now.
        if self._value is PENDING:
            self._ok, self._value = True, None
            callbacks, self.callbacks = self.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(self)

    def __await__(self) -> Generator[Event, Any, None]:
        if self.callbacks is not None:
            yield self
