"""Signals in virtual time: notifications that wake the platform's jobs, each waiter taking over the notifier's cause.

A notification between `seen` and `wait` is never lost: the count tells.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from simulator.leaves import Gate

if TYPE_CHECKING:
    from simulator.kernel import Incarnation, Kernel


class SignalHub:
    """Notifications shared by all processes. A waiter that is woken takes over the cause of the notification."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._counts: dict[str, int] = {}
        self._causes: dict[str, str | None] = {}
        self._waiting: dict[str, list[Gate]] = {}

    def seen(self, topic: str) -> int:
        return self._counts.get(topic, 0)

    def notify(self, topic: str) -> None:
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._causes[topic] = self._kernel.cause()
        for gate in self._waiting.pop(topic, ()):
            gate.open_soon()

    async def wait(self, topic: str, seen: int, until: int | None, idle_cause: str | None) -> None:
        kernel = self._kernel
        if self.seen(topic) == seen:
            gate = Gate(kernel, None if until is None else max(until, kernel._now))
            waiting = self._waiting.setdefault(topic, [])
            waiting.append(gate)
            await gate
            if gate in waiting:
                waiting.remove(gate)
        kernel.set_cause(self._causes.get(topic) if self.seen(topic) != seen else idle_cause)


class ProcessSignals:
    """The Signals port of one platform process."""

    __slots__ = ("_hub", "_incarnation", "_started_by")

    def __init__(self, hub: SignalHub, incarnation: Incarnation, started_by: str | None) -> None:
        self._hub, self._incarnation, self._started_by = hub, incarnation, started_by

    def seen(self, topic: str) -> int:
        self._incarnation.guard()
        return self._hub.seen(topic)

    def notify(self, topic: str) -> None:
        self._incarnation.guard()
        self._hub.notify(topic)

    def wait(self, topic: str, seen: int, until: int | None) -> Awaitable[None]:
        self._incarnation.guard()
        return self._hub.wait(topic, seen, until, self._started_by)
