"""Two settlement daemons that run at once, one transaction at a time, in an order that a test gives.

Invariant: between two transactions of the one, the other may take any number of its own, and any time may pass.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from itertools import combinations
from typing import Any, TypeVar

from contest_platform.services.settlement import SettlementService
from contest_platform.store.sqlite import UNKNOWN
from tests.support.contest_world import ContestWorld

T = TypeVar("T")


class _Turn:
    """What a daemon waits for before each transaction."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class _TakingTurns:
    """The store, as a daemon reaches it that may be stopped before each of its transactions."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def transact(self, operation: str, fn: Callable[[Any], T]) -> T:
        await _Turn()
        answer: T = await self._store.transact(operation, fn)
        return answer


class Daemon:
    """A life of the daemon, whose work is done once, turn by turn."""

    def __init__(self, world: ContestWorld, make: type[SettlementService] = SettlementService) -> None:
        store = world.store
        world.store = _TakingTurns(store)  # type: ignore[assignment]
        try:
            self.service = world.life(make)
        finally:
            world.store = store
        self._work: Coroutine[Any, Any, None] = self.service.jobs()[0].work()
        self._begun = self.is_done = False
        self.turns = 0

    def turn(self) -> None:
        """Take the next transaction; nothing when the work is done."""
        if self.is_done:
            return
        try:
            if not self._begun:
                self._work.send(None)
                self._begun = True
            self._work.send(None)
            self.turns += 1
        except StopIteration:
            self.is_done = True

    def finish(self) -> None:
        while not self.is_done:
            self.turn()


class Again:
    """A world as it was, as often as asked for: made once, and its database put back each time."""

    def __init__(self, world: ContestWorld) -> None:
        self._world, self._at = world, world.runtime.at
        self._database = world.connection.serialize("main")

    def __call__(self) -> ContestWorld:
        world = self._world
        world.connection.deserialize("main", self._database)
        world.connection.known, world.connection.version = {}, UNKNOWN
        world.runtime.at = self._at
        world.store.log.clear()
        return world


def orders(turns: int) -> Iterator[tuple[int, ...]]:
    """Every order in which two daemons can take so many turns each: which of them, 0 or 1, takes the next."""
    for first in combinations(range(2 * turns), turns):
        yield tuple(0 if place in first else 1 for place in range(2 * turns))
