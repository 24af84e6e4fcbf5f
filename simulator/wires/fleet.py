"""What trouble on a host does to the processes on it: a name that is not found, a connection that is not to be had.

Invariant: nothing is refused here for which the host has no row in its own books.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from contest_platform.ports import ConnectionFailed, ScoreAnswer, ScoreProvider, Store, StoreBusy, Tx
from simulator.actors.database_server import DatabaseServer
from simulator.actors.host_drifts import Drifts
from simulator.wires.store import Client

T = TypeVar("T")


class HostStore:
    """The Store port of a process on `host`."""

    def __init__(self, store: Store, server: DatabaseServer, drifts: Drifts, host: str, client: Client) -> None:
        self._store, self._server, self._drifts, self._host, self._client = store, server, drifts, host, client

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        """Raises StoreBusy when there is no connection to be had."""
        self._client.guard()
        reason = self._drifts.refuses(self._host, operation)
        if reason:
            self._server.refuse(f"system:{self._client.unit_name}", self._client.role, reason)
            raise StoreBusy(reason)
        return await self._store.transact(operation, fn)


class HostProvider:
    """The ScoreProvider port of a process on `host`."""

    def __init__(self, provider: ScoreProvider, drifts: Drifts, host: str) -> None:
        self._provider, self._drifts, self._host = provider, drifts, host

    def poll(self, *, event_id: str, since: int | None) -> Awaitable[ScoreAnswer]:
        """Raises ConnectionFailed when the provider's name cannot be looked up."""
        if not self._drifts.resolves(self._host):
            return _unknown(event_id)
        return self._provider.poll(event_id=event_id, since=since)


async def _unknown(event_id: str) -> ScoreAnswer:
    raise ConnectionFailed(f"the name of the provider of {event_id} could not be resolved")
