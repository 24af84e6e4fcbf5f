"""The way to the database, where connections are refused and processes die at their transactions.

Invariant: what was refused left nothing in the store, and what was committed stays, whoever dies over it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from contest_platform.ports import Store, StoreBusy, Tx
from seams.faults import Die, Occupy, Refuse
from simulator.actors.context import World
from simulator.actors.database_server import DatabaseServer
from simulator.actors.hosts import HostsActor
from simulator.wires.database import Pool

T = TypeVar("T")


class Client(Protocol):
    """The process that has the connection."""

    @property
    def unit_name(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def pool(self) -> Pool: ...

    def guard(self) -> None:
        """Raise if this process is dead."""


class StoreWire:
    """The Store port, for one life of one process. Seam "store": operation "begin", Refuse and Occupy;
    "commit", Die."""

    def __init__(self, world: World, store: Store, server: DatabaseServer, hosts: HostsActor, client: Client) -> None:
        self._world, self._store, self._server, self._hosts, self._client = world, store, server, hosts, client

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        """Raises StoreBusy when there is no connection to be had."""
        client, consult = self._client, self._world.bus.consult
        client.guard()
        match consult("store", "begin", operation, str(self._server.next_refusal)):
            case None:
                pass
            case Refuse(error_code=reason):
                self._server.refuse(f"system:{client.unit_name}", client.role, reason)
                raise StoreBusy(reason)
            case Occupy(connections=taken):
                client.pool.admit(taken)
            case effect:
                raise TypeError(f"the seam store does not carry out {effect}: see seams.catalogue")
        match consult("store", "commit", operation, str(self._hosts.next_change)):
            case None:
                return await self._store.transact(operation, fn)
            case Die(committed=committed):
                if committed:
                    await self._store.transact(operation, fn)
                self._hosts.crash(client.unit_name)
                client.guard()
                raise AssertionError("unreachable: the process is dead")
            case effect:
                raise TypeError(f"the seam store does not carry out {effect}: see seams.catalogue")
