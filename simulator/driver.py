"""What the world asks of whatever drives it through time: SimPy's kernel, or an event loop whose clock jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from contest_platform.ports import Runtime, Signals

T = TypeVar("T")


class Life(Protocol):
    """One life of a platform process."""

    name: str
    number: int
    alive: bool

    def guard(self) -> None:
        """Raise if this life is over: nothing that its code still does may have an effect."""

    def kill(self) -> None:
        """End it where it stands."""


class Driver(Protocol):
    runtime: Runtime
    """Clock and tasks of the world itself."""

    def begin(self, name: str, number: int) -> Life: ...

    def runtime_of(self, life: Life) -> Runtime: ...

    def signals_of(self, life: Life) -> Signals: ...

    def serve(self, life: Life, work: Coroutine[Any, Any, T], name: str) -> Awaitable[T]:
        """Have a platform process do `work` for somebody else. Raises ConnectionLost if it dies before the end."""

    def call(self, work: Coroutine[Any, Any, T], name: str) -> Awaitable[T]: ...

    def never(self) -> Awaitable[None]: ...

    def notify(self, topic: str) -> None:
        """Wake the platform's waiters of `topic`."""

    def cause(self) -> str | None: ...

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str: ...
