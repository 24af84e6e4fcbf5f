"""A daemon that dies at any point whatever is followed by one that ends in the same story, told once.

The points are enumerated, not drawn: see tests/support/crash_points.py. How many there are and how many were passed is
printed at the end of the session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from contest_platform.services import settlement
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import ContestWorld, Crash
from tests.support.crash_points import Steps, taking
from tests.support.payout_world import settled
from tests.support.settlement_world import ready

PACKS_AT_ONCE = 2
"""Of three: so that there is a point between two transactions that execute."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """`make`: a world in which there is all its work to do. `done`: the contest's status once it is done."""

    service: Callable[..., Any]
    make: Callable[[], ContestWorld]
    done: str


DAEMONS = {
    "settlement": Daemon(SettlementService, lambda: ready()[0], "SETTLED"),
    "payouts": Daemon(PayoutsService, lambda: settled((5_000, 3_000, 2_000)), "PAID_OUT"),
}


def work_on(world: ContestWorld, daemon: Daemon, steps: Steps | None = None) -> None:
    """A new life, as long as it has work; taken step by step where `steps` are given."""
    with nullcontext() if steps is None else taking(world, steps):
        service = world.life(daemon.service)
        for _ in range(20):
            if world.status() == daemon.done:
                return
            assert world.step(service), f"nothing is due, and the contest is {world.status()}"
    raise AssertionError(f"still {world.status()}")


@cache
def uninterrupted(name: str) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """The points of a life that does not die, what is told after it, and the keys that it sent."""
    daemon, steps = DAEMONS[name], Steps()
    world = daemon.make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "PACKS_PER_TRANSACTION", PACKS_AT_ONCE)
        work_on(world, daemon, steps)
    return tuple(steps.taken), world.story(), sorted(world.processor.sent())


POINTS = [(name, number) for name in DAEMONS for number in range(1, len(uninterrupted(name)[0]) + 1)]


def test_the_points_are_before_each_statement_around_each_commit_and_around_each_call() -> None:
    points, _, _ = uninterrupted("settlement")
    commits = sum(point == "before commit" for point in points)
    assert commits == sum(point.startswith("after the commit of") for point in points) > 5
    for written in ("settlement_packs", "outcomes", "outcome_settlement_log", "ledger_transactions", "audit_log"):
        assert any(f"into {written}" in point for point in points), written
    calls = [point for point in uninterrupted("payouts")[0] if "the call" in point]
    assert calls == ["before the call create_transfer", "after the call create_transfer"] * 3


@pytest.mark.parametrize(("name", "number"), POINTS)
def test_a_daemon_that_dies_there_is_followed_by_one_that_ends_in_the_same_story(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", PACKS_AT_ONCE)
    points, story, sent = uninterrupted(name)
    daemon, steps = DAEMONS[name], Steps(dies_at=number)
    world = daemon.make()
    began_at = world.runtime.at
    with pytest.raises(Crash):
        work_on(world, daemon, steps)
    assert tuple(steps.taken[:number]) == points[:number]
    assert not world.connection.in_transaction
    work_on(world, daemon)
    told = world.story()
    assert {key for key in told if told[key] != story[key]} <= ({"audit"} if name == "payouts" else set())
    assert sorted(set(world.processor.sent())) == sent, "no key is born of a death"
    assert len(world.processor.transfers) == len(sent)
    assert world.runtime.at <= began_at + 2 * LEASE_MS
