"""The clock of a host, as the processes on it read it: right, or wrong by the offset that it has at the moment.

Invariant: only what is read and what is waited for is wrong; how long something takes is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from contest_platform.ports import Runtime, Signals
from simulator.actors.hosts import HostClock

T = TypeVar("T")


class HostRuntime:
    """The Runtime port on a host whose clock may be wrong."""

    def __init__(self, runtime: Runtime, clock: HostClock) -> None:
        self._runtime, self._clock = runtime, clock

    def now(self) -> int:
        return self._runtime.now() + self._clock.offset_ms

    def sleep_until(self, at: int) -> Awaitable[None]:
        return self._runtime.sleep_until(at - self._clock.offset_ms)

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        self._runtime.spawn(coro, name)

    def deadline(self, call: Awaitable[T], after_ms: int) -> Awaitable[T]:
        return self._runtime.deadline(call, after_ms)

    def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> Awaitable[None]:
        return self._runtime.gather(calls, limit)

    def cause(self) -> str:
        return self._runtime.cause()


class HostSignals:
    """The Signals port on a host whose clock may be wrong."""

    def __init__(self, signals: Signals, clock: HostClock) -> None:
        self._signals, self._clock = signals, clock

    def seen(self, topic: str) -> int:
        return self._signals.seen(topic)

    def notify(self, topic: str) -> None:
        self._signals.notify(topic)

    def wait(self, topic: str, seen: int, until: int | None) -> Awaitable[None]:
        return self._signals.wait(topic, seen, None if until is None else until - self._clock.offset_ms)
