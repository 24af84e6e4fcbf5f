"""Settlement has one writer, and a daemon that dies at any step is followed by one that ends in the same story."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.services.settlement import PACKS_PER_TRANSACTION, SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import CUTOFF_AT, Crash
from tests.support.settlement_world import crowd, cut, ready
from tests.support.stores import REFUSED, on_each_store

pytestmark = on_each_store

# --- one writer -------------------------------------------------------------------------------------------------------


def test_a_second_daemon_does_nothing_until_the_lease_expires() -> None:
    world, first = ready()
    cut(world, first, "settlement.open")
    second = world.life(SettlementService)
    story = world.story()
    expires_at = CUTOFF_AT + LEASE_MS
    assert world.row("leases", name="settlement")["expires_at"] == expires_at
    assert world.due(second) == expires_at
    world.runtime.at = expires_at - 1
    world.work(second)
    assert world.story() == story
    world.runtime.at = expires_at
    world.work(second)
    assert world.status() == "SETTLED"
    assert world.row("leases", name="settlement")["epoch"] == 2
    assert {row["lease_epoch"] for row in world.rows("select lease_epoch from settlement_packs")} == {2}


def test_the_holder_renews_its_lease_with_every_step() -> None:
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    world.runtime.at += LEASE_MS - 1
    world.work(daemon)
    lease = world.row("leases", name="settlement")
    assert (lease["epoch"], lease["acquired_at"]) == (1, CUTOFF_AT)
    assert lease["expires_at"] == world.runtime.at + LEASE_MS


def test_a_daemon_that_slept_through_its_lease_takes_a_new_one() -> None:
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    world.runtime.at += LEASE_MS
    world.work(daemon)
    lease = world.row("leases", name="settlement")
    assert (lease["epoch"], lease["acquired_at"]) == (2, world.runtime.at)
    assert world.status() == "SETTLED"


def test_a_daemon_that_was_paused_beyond_its_lease_yields_to_its_successor() -> None:
    """It pauses between creating packs and executing them; meanwhile another one takes over, and pauses too."""
    world, first = ready()
    [contest] = world.rows("select c.*, t.par, t.rounds from contests c join tournaments t using (tournament_id)")
    second = world.life(SettlementService)
    assert world.write(lambda tx: first._open(tx, contest, {})) is True
    world.runtime.at += LEASE_MS
    assert world.write(lambda tx: second._open(tx, contest, {})) is True
    story = world.story()
    assert world.write(lambda tx: first._execute(tx, contest)) is False
    world.write(lambda tx: first._close(tx, contest))
    world.write(lambda tx: first._give_up(tx, contest, "in vain"))
    assert world.story() == story
    world.work(second)
    assert world.status() == "SETTLED"


@pytest.mark.parametrize("taken_over", [True, False])
def test_the_database_refuses_a_daemon_that_believes_in_an_expired_lease(taken_over: bool) -> None:
    world, first = ready()
    [contest] = world.rows("select c.*, t.par, t.rounds from contests c join tournaments t using (tournament_id)")
    world.write(lambda tx: first._open(tx, contest, {}))
    world.runtime.at += LEASE_MS
    if taken_over:
        second = world.life(SettlementService)
        world.write(lambda tx: second._open(tx, contest, {}))
    pack = world.rows(
        "select p.*, l.outcome_id, o.entry_id as outcome_of, o.score, o.place, o.prize_cents, o.scores_hash"
        " from settlement_packs p join outcome_pack_links l using (pack_id) join outcomes o using (outcome_id)"
    )[0]
    with pytest.raises(REFUSED, match="only the settlement daemon may leave PENDING"):
        world.write(lambda tx: first._end_pack(tx, "c1", {**pack, "user_id": "ann", "own_cents": 0}, 1))
    assert {row["status"] for row in world.rows("select status from settlement_packs")} == {"PENDING"}


# --- crashes ----------------------------------------------------------------------------------------------------------

CROWD = crowd(PACKS_PER_TRANSACTION + 2)


def uninterrupted() -> tuple[list[str], dict[str, Any]]:
    world, daemon = ready(CROWD)
    world.store.log.clear()
    world.work(daemon)
    return list(world.store.log), world.story()


def test_settling_takes_a_transaction_to_open_some_to_execute_and_one_to_close() -> None:
    log, _ = uninterrupted()
    assert log == ["settlement.ready", "settlement.open", *["settlement.execute"] * 3, "settlement.close"]


@pytest.mark.parametrize("committed", [True, False], ids=["after its commit", "before its commit"])
@pytest.mark.parametrize("n", range(1, 7))
def test_a_daemon_that_dies_at_any_step_is_followed_by_one_that_ends_in_the_same_story(n: int, committed: bool) -> None:
    log, story = uninterrupted()
    world, daemon = ready(CROWD)
    world.store.log.clear()
    world.store.crash_at, world.store.committed = n, committed
    with pytest.raises(Crash, match=log[n - 1]):
        world.work(daemon)
    world.store.crash_at = None
    successor = world.life(SettlementService)
    if world.status() != "SETTLED":
        assert world.step(successor), "there is work, and it is due some time"
    assert world.runtime.at <= CUTOFF_AT + LEASE_MS
    assert world.story() == story


def test_daemons_that_die_one_after_the_other_still_get_there() -> None:
    _, story = uninterrupted()
    world, daemon = ready(CROWD)
    for operation in ("settlement.open", "settlement.execute", "settlement.execute", "settlement.close"):
        cut(world, daemon, operation, committed=operation != "settlement.close")
        world.runtime.at += LEASE_MS
        daemon = world.life(SettlementService)
    world.work(daemon)
    assert world.story() == story


def test_every_transaction_may_be_run_again() -> None:
    _, story = uninterrupted()
    world, daemon = ready(CROWD)
    world.store.twice = True
    world.work(daemon)
    assert world.story() == story
