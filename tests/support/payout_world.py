"""A settled contest whose prizes are to be paid, and what a test may want to see of the payouts.

Invariant: ann has won all of it unless a test says otherwise: 2 700 cents of three fees of 1 000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contest_platform import ledger
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import ContestWorld, Crash

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}


def settled(prize_shares_bp: Sequence[int] = (10_000,), **more: Any) -> ContestWorld:
    """A settled contest of three entries; by default ann alone has won, 2 700 cents."""
    world = ContestWorld()
    world.offer(prize_shares_bp=list(prize_shares_bp), **more)
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    assert world.status() == "SETTLED"
    return world


def paying(*script: str, **more: Any) -> tuple[ContestWorld, PayoutsService]:
    """A settled contest whose first requests to the processor end as `script` says; the payouts have worked once."""
    world = settled(**more)
    world.processor.script = list(script)
    payouts = world.life(PayoutsService)
    world.work(payouts)
    return world, payouts


def to_the_end(world: ContestWorld, payouts: PayoutsService, steps: int = 200) -> None:
    """Let the payouts work as long as they have work; a process that dies is followed by another."""
    for _ in range(steps):
        try:
            if not world.step(payouts):
                return
        except Crash:
            payouts = world.life(PayoutsService)
    raise AssertionError(f"there is still work at {world.runtime.at}: {transfers(world)}")


def transfers(world: ContestWorld) -> list[dict[str, Any]]:
    return world.rows("select * from transfers order by entry_id")


def transfer(world: ContestWorld) -> dict[str, Any]:
    [only] = transfers(world)
    return only


def attempts(world: ContestWorld) -> list[tuple[Any, ...]]:
    found = world.rows("select n, outcome, code from transfer_attempts order by transfer_id, n")
    return [tuple(row.values()) for row in found]


def keys(world: ContestWorld) -> list[str]:
    """The keys sent, a number for each in order of appearance."""
    sent = world.processor.sent()
    numbers = {key: str(n) for n, key in enumerate(dict.fromkeys(sent), 1)}
    return [numbers[key] for key in sent]


PAID = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.AVAILABLE: -2_700}
OWED = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.prize_payable("c1", "ann"): -2_700}
ON_ITS_WAY = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.in_transit("ann"): -2_700}
