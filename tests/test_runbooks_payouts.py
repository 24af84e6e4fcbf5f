"""The runbooks of payouts, each carried out on a platform in the state that it is for."""

from __future__ import annotations

import pytest

from contest_platform.jobs import HOUR_MS
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support.admin_world import AdminWorld
from tests.support.tried import REFUSED, Tried, all_of, handed_on, healed, tables

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}
PRIZES = {"ann": 1_350, "bob": 810, "cyd": 540}


def settled() -> AdminWorld:
    """c1 is settled: ann, bob and cyd are owed their prizes, and nothing has been sent yet."""
    world = AdminWorld()
    world.offer()
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll(world.runtime.at)
    world.work(world.life(SettlementService))
    return world


def paid_out(*script: str) -> AdminWorld:
    """The transfers of c1 have been sent once, to ann, bob and cyd in turn, and met with what `script` says."""
    world = settled()
    world.processor.script = list(script)
    world.work(world.life(PayoutsService))
    return world


def tried(world: AdminWorld, *more: object, **how: object) -> Tried:
    """With the scheduler of payouts at work."""
    return Tried(world, all_of(world.life(PayoutsService), *more), **how)  # type: ignore[arg-type]


def statuses(world: AdminWorld) -> dict[str, str]:
    return {row["user_id"]: row["status"] for row in world.rows("select user_id, status from transfers")}


def received(world: AdminWorld) -> dict[str, list[int]]:
    """Winner -> every amount that the processor sent him."""
    found: dict[str, list[int]] = {}
    for made in world.processor.transfers:
        found.setdefault(made.metadata["user_id"], []).append(made.amount_cents)
    return found


def assert_all_paid_once(world: AdminWorld) -> None:
    assert set(statuses(world).values()) == {"PAID"}
    assert received(world) == {user: [cents] for user, cents in PRIZES.items()}
    assert [world.prize_payable(user) for user in PRIZES] == [0, 0, 0]


# --- payout_transfer_stuck_in_retryable -------------------------------------------------------------------------------

STUCK = "payout_transfer_stuck_in_retryable"


def test_transfers_that_are_stuck_are_sent_again_and_paid_once() -> None:
    world = paid_out("lost_after", "500_not_done")
    control = healed(STUCK, tried(world), contest_id="c1")
    assert "Recovery/1" in control.steps
    assert_all_paid_once(world)


def test_transfers_that_are_stuck_while_the_processor_is_down_wait_for_it() -> None:
    world = paid_out("refused", "lost_before")
    world.processor.script = ["refused"] * 8
    control = healed(STUCK, tried(world), contest_id="c1")
    assert control.steps.count("Recovery/2") >= 1
    assert_all_paid_once(world)


def test_a_transfer_that_waits_for_money_is_not_asked_for_again_and_again() -> None:
    world = paid_out("insufficient")
    world.processor.script = ["insufficient"] * 20
    control = healed(STUCK, tried(world), contest_id="c1")
    assert "Recovery/1" not in control.steps
    assert "Recovery/3" in control.steps
    assert_all_paid_once(world)


def test_what_the_scheduler_has_healed_in_the_meantime_is_only_verified() -> None:
    world = paid_out("refused")
    world.runtime.at += HOUR_MS
    world.work(world.life(PayoutsService))
    assert healed(STUCK, tried(world), contest_id="c1").steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("ends", ["paid", "closed"])
def test_a_transfer_that_ends_between_looking_and_acting_is_left_alone(ends: str) -> None:
    world = paid_out("refused")

    def meanwhile() -> None:
        world.processor.script = ["closed"] if ends == "closed" else []
        world.runtime.at += HOUR_MS
        world.work(world.life(PayoutsService))

    control = healed(STUCK, Tried(world, meanwhile={"Recovery/1": meanwhile}), contest_id="c1")
    assert control.steps[2:4] == ["Recovery/1", "Recovery/4"]
    assert statuses(world)["ann"] == {"paid": "PAID", "closed": "FAILED_TERMINAL"}[ends]


def test_a_transfer_that_nobody_gets_through_is_handed_on_as_it_was() -> None:
    world = paid_out("refused")
    before = tables(world)
    outcome = handed_on(STUCK, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1", contest_id="c1")
    assert tables(world) == before
    assert outcome.escalation is not None
    assert outcome.escalation.affected_contests == ("c1",)
    handed_on(STUCK, Tried(world), "Recovery/2", contest_id="c1")
    assert statuses(world) == {"ann": "RETRYABLE", "bob": "PAID", "cyd": "PAID"}


def test_an_answer_that_is_lost_has_the_transfer_looked_at_before_it_is_asked_for_again() -> None:
    world = paid_out("refused")
    control = healed(STUCK, tried(world, lost=["Recovery/1"]), contest_id="c1")
    assert control.steps[:4] == ["Diagnosis/1", "Diagnosis/2", "Recovery/1", "Diagnosis/2"]
    assert_all_paid_once(world)
