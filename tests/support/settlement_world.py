"""A complete contest at its cut-off and daemons to settle it, which may die in any transaction.

Invariant: par wins: ann, bob and cyd are paid 1 350, 810 and 540 cents unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.services.contests import ContestsService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import ContestWorld, Crash

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}
"""Par, one over, two over."""
ENTRIES = {"ann": "g1", "bob": "g2", "cyd": "g3"}
WINNERS = {"ann": 1_350, "bob": 810, "cyd": 540}
"""3 x 1 000 less a tenth is 2 700, at 50, 30 and 20 per cent."""


def complete(entries: dict[str, str] = ENTRIES, **more: Any) -> ContestWorld:
    """A contest that is COMPLETE, at its cut-off; no poll has begun since."""
    world = ContestWorld()
    world.offer(**more)
    for user, golfer in entries.items():
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    return world


def ready(entries: dict[str, str] = ENTRIES, **more: Any) -> tuple[ContestWorld, SettlementService]:
    """A contest that can be settled now, and a daemon that has not looked yet."""
    world = complete(entries, **more)
    world.full_poll()
    return world, world.life(SettlementService)


def settled(entries: dict[str, str] = ENTRIES, **more: Any) -> ContestWorld:
    world, daemon = ready(entries, **more)
    world.work(daemon)
    assert world.status() == "SETTLED"
    return world


def crowd(count: int) -> dict[str, str]:
    return {f"u{n:03}": f"g{1 + n % 3}" for n in range(count)}


def cut(world: ContestWorld, daemon: SettlementService, operation: str, committed: bool = True) -> None:
    """Let the daemon work until it dies in its next transaction of that name."""
    count = len(world.store.log)
    real = world.store.fails

    def dies(name: str) -> bool:
        if name == operation and world.store.crash_at is None:
            world.store.crash_at, world.store.committed = len(world.store.log), committed
        return real(name)

    world.store.fails = dies
    with pytest.raises(Crash, match=operation):
        world.work(daemon)
    assert len(world.store.log) > count
    world.store.fails, world.store.crash_at, world.store.committed = real, None, True
