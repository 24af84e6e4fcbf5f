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
from contest_platform.services.acceptance import AcceptanceService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import DAY_MS, ContestWorld, Crash
from tests.support.crash_points import Steps, taking
from tests.support.payout_world import settled
from tests.support.settlement_world import cut, ready
from tests.support.settlement_world import settled as settled_contest
from tests.support.stores import STORES, using

PACKS_AT_ONCE = 2
"""Of three: so that there is a point between two transactions that execute."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """`make`: a world in which there is all its work to do. `done`: whether it is done. `late_ms`: by when it is, at
    the most, after a death."""

    service: Callable[..., Any]
    make: Callable[[], ContestWorld]
    done: Callable[[ContestWorld], bool]
    late_ms: int = 2 * LEASE_MS


def is_now(status: str) -> Callable[[ContestWorld], bool]:
    return lambda world: world.status() == status


def unexecuted() -> ContestWorld:
    """A settlement begun, of whose three packs one has lost its link and one has somebody else's outcome."""
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    [ann, bob] = [world.row("settlement_packs", entry_id=f"c1-{user}")["pack_id"] for user in ("ann", "bob")]
    outcome = world.row("outcomes", entry_id="c1-ann")["outcome_id"]
    world.connection.execute("delete from outcome_pack_links where pack_id in (?, ?)", (ann, bob))
    world.connection.execute("insert into outcome_pack_links values (?, ?, 0)", (bob, outcome))
    world.runtime.at += LEASE_MS
    return world


def days_judged(count: int) -> Callable[[ContestWorld], bool]:
    return lambda world: world.rows("select count(*) as n from settlement_acceptance") == [{"n": count}]


DAEMONS = {
    "settlement": Daemon(SettlementService, lambda: ready()[0], is_now("SETTLED")),
    "settlement_unexecuted": Daemon(SettlementService, unexecuted, is_now("SETTLED")),
    "acceptance": Daemon(AcceptanceService, settled_contest, days_judged(2), 3 * DAY_MS),
    "payouts": Daemon(PayoutsService, lambda: settled((5_000, 3_000, 2_000)), is_now("PAID_OUT")),
}


def work_on(world: ContestWorld, daemon: Daemon, steps: Steps | None = None) -> None:
    """A new life, as long as it has work; taken step by step where `steps` are given."""
    with nullcontext() if steps is None else taking(world, steps):
        service = world.life(daemon.service)
        for _ in range(20):
            if daemon.done(world):
                return
            assert world.step(service), f"nothing is due, and the contest is {world.status()}"
    raise AssertionError(f"still {world.status()}")


@cache
def uninterrupted(name: str, store: str) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """The points of a life that does not die, what is told after it, and the keys that it sent."""
    daemon, steps = DAEMONS[name], Steps()
    with using(store), pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "PACKS_PER_TRANSACTION", PACKS_AT_ONCE)
        world = daemon.make()
        work_on(world, daemon, steps)
        return tuple(steps.taken), world.story(), sorted(world.processor.sent())


POINTS = [
    (name, store, number)
    for name in DAEMONS for store in STORES for number in range(1, len(uninterrupted(name, store)[0]) + 1)
]  # fmt: skip


@pytest.mark.parametrize("store", STORES)
def test_the_points_are_before_each_statement_around_each_commit_and_around_each_call(store: str) -> None:
    points, _, _ = uninterrupted("settlement", store)
    commits = sum(point == "before commit" for point in points)
    assert commits == sum(point.startswith("after the commit of") for point in points) > 5
    for written in (
        "settlement_packs", "outcomes", "outcome_settlement_log", "settlement_audit", "daemon_health",
        "ledger_transactions", "audit_log",
    ):  # fmt: skip
        assert any(f"into {written}" in point for point in points), written
    failing, _, _ = uninterrupted("settlement_unexecuted", store)
    judging, _, _ = uninterrupted("acceptance", store)
    assert any("into post_mortem_settlement" in point for point in failing)
    assert any("into settlement_acceptance" in point for point in judging)
    calls = [point for point in uninterrupted("payouts", store)[0] if "the call" in point]
    assert calls == ["before the call create_transfer", "after the call create_transfer"] * 3


@pytest.mark.parametrize("name", DAEMONS)
def test_a_life_that_does_not_die_tells_the_same_story_on_each_store(name: str) -> None:
    told = [uninterrupted(name, store)[1:] for store in STORES]
    assert told[0] == told[1]


@pytest.mark.parametrize(("name", "store", "number"), POINTS)
def test_a_daemon_that_dies_there_is_followed_by_one_that_ends_in_the_same_story(
    name: str, store: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with using(store):
        dies_and_is_followed(name, store, number, monkeypatch)


def dies_and_is_followed(name: str, store: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", PACKS_AT_ONCE)
    points, story, sent = uninterrupted(name, store)
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
    assert world.runtime.at <= began_at + daemon.late_ms
    counted = world.rows("select count(*) as n, count(distinct contest_id) as contests from settlement_audit")
    assert counted == [{"n": 1, "contests": 1}], "one run"
