"""However the transactions of two settlement daemons fall between each other, and whatever time passes meanwhile, each
pack ends once, and the story is that of one daemon alone.

The orders are enumerated, not drawn. Waking after one's lease has passed on is one of them, at every transaction.
"""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from contest_platform.ports import Tx
from contest_platform.services import settlement
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import ContestWorld
from tests.support.settlement_world import ready
from tests.support.two_daemons import Again, Daemon, orders

PACKS_AT_ONCE = 2
"""Of three: so that there is a turn between two transactions that execute."""
NAMES = ["settlement.ready", "settlement.open", *["settlement.execute"] * 3, "settlement.close"]
SWITCHES = 3
"""So many of the switches from one daemon to the other are tried one by one as the only one that takes long."""


@pytest.fixture(autouse=True)
def _few_packs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", PACKS_AT_ONCE)


def alone() -> dict[str, Any]:
    world, daemon = ready()
    world.store.log.clear()
    world.work(daemon)
    assert world.store.log == NAMES
    return told(world)


def told(world: ContestWorld) -> dict[str, Any]:
    """The story; a run has the instant of its beginning in its name, and that may be later."""
    story = world.story()
    audit = [(subject.partition("/run_")[0], action, count) for subject, action, count in story["audit"]]
    return {**story, "audit": sorted(audit)}


def both(
    world: ContestWorld, order: tuple[int, ...], long: int | None, make: type[SettlementService] = SettlementService
) -> None:
    """`long`: which switch takes longer than a lease lasts, counted from 0; -1: each; None: none."""
    daemons = Daemon(world, make), Daemon(world, make)
    switches, last = 0, order[0]
    for number in order:
        if number != last:
            if long in (-1, switches):
                world.runtime.at += LEASE_MS
            switches, last = switches + 1, number
        daemons[number].turn()
    for daemon in daemons:
        daemon.finish()
    if world.status() != "SETTLED":
        # Whoever was turned away comes round again when the lease is free.
        world.runtime.at += LEASE_MS
        world.work(world.life(SettlementService))


def is_told_once(world: ContestWorld) -> bool:
    packs = world.rows("select pack_id, terminalized_at, settled_by, lease_epoch from settlement_packs order by 1")
    log = world.rows("select pack_id, settled_at, settled_by from outcome_settlement_log order by 1")
    ends = [(pack["pack_id"], pack["terminalized_at"], pack["settled_by"]) for pack in packs]
    return ends == [tuple(row.values()) for row in log] and len(ends) == 3


@pytest.mark.parametrize("long", [None, -1, *range(SWITCHES)])
def test_two_daemons_tell_the_story_of_one_however_their_transactions_fall(long: int | None) -> None:
    story, tried, again = alone(), 0, Again(ready()[0])
    for order in orders(len(NAMES)):
        world = again()
        both(world, order, long)
        assert told(world) == story, order
        assert is_told_once(world), order
        tried += 1
    assert tried == 924


# --- defects that this finds ------------------------------------------------------------------------------------------


class Trusting(SettlementService):
    """It believes that a contest is still to be settled because it was when the pass began."""

    def _hold(self, tx: Tx, contest_id: str) -> int | None:
        return self._lease(tx)


class Unfenced(SettlementService):
    """It takes the lease once, and believes in it ever after."""

    _epoch: int | None = None

    def _lease(self, tx: Tx) -> int | None:
        if self._epoch is None:
            self._epoch = super()._lease(tx)
        return self._epoch


def test_a_daemon_that_believes_what_it_has_read_settles_again_what_another_has_settled() -> None:
    story, again = alone(), Again(ready()[0])
    for order in orders(len(NAMES)):
        world = again()
        both(world, order, -1, Trusting)
        if told(world) != story:
            return
    raise AssertionError("no order tells it from the honest one")


def test_the_database_stops_a_daemon_that_believes_in_a_lease_that_is_over() -> None:
    again, refused = Again(ready()[0]), 0
    for order in orders(len(NAMES)):
        world = again()
        try:
            both(world, order, -1, Unfenced)
        except apsw.ConstraintError:
            refused += 1
        log = world.rows("select count(*) as n, count(distinct pack_id) as packs from outcome_settlement_log")
        assert log[0]["n"] == log[0]["packs"], order
    assert refused > 0
