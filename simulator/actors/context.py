"""What an actor or wire may use of the world it lives in. Any driver of coroutines can provide it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from contest_platform.http import Request, Response
from contest_platform.ports import Runtime
from evidence.books import BookSet
from seams.bus import SeamBus
from seams.draws import Draws
from seams.faults import Action

T = TypeVar("T")

NoteAction = Callable[[Action, str], None]
"""Notes that an action bit, with the key of the row that it left in the victim's book. Levers are called with it."""


class Edge(Protocol):
    """The platform's public address, as the world outside reaches it."""

    def request(self, request: Request) -> Awaitable[Response]:
        """Send one request. Raises ConnectionFailed when no service listens, ConnectionLost when it dies in between."""


class World(Protocol):
    runtime: Runtime
    """Clock and tasks of the world: tasks spawned here outlive any platform process."""
    draws: Draws
    bus: SeamBus
    books: BookSet
    edge: Edge

    def call(self, work: Coroutine[Any, Any, T], name: str) -> Awaitable[T]:
        """A call that has been sent: once awaited, `work` runs to its end even if the caller gives up or dies."""

    def never(self) -> Awaitable[None]:
        """Waits for ever: an answer that does not come."""

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        """Write one event to the journal, caused by what the running task handles; returns its id, which becomes the
        cause of what the task does next. `data` values are str, int, bool, None, lists or dicts of these."""
