"""The runbooks for what should have happened by now, each carried out on a platform that is late."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from contest_platform.jobs import HOUR_MS, MINUTE_MS, next_tick
from contest_platform.ports import ConnectionFailed
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import ORDER_LIFE_MS, HealingService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import CUTOFF_AT, LOCK_AT, OVER_AT
from tests.support.runbook_world import CARDS, RunbookWorld
from tests.support.settlement_world import WINNERS, cut
from tests.support.tried import REFUSED, Tried, handed_on, healed, tables

# --- opsctl contests waiting ------------------------------------------------------------------------------------------


def waits(world: RunbookWorld, line: str = "--age 0") -> list[tuple[str, ...]]:
    """(contest, waits_for, waited_s) of each line."""
    lines = world.opsctl(f"contests waiting {line}").text.splitlines()
    told = [dict(pair.split("=", 1) for pair in text.split()) for text in lines if text != "none"]
    return [(one["contest_id"], one["waits_for"], one["waited_s"]) for one in told]


def test_a_contest_waits_for_one_thing_after_another_until_it_is_settled() -> None:
    world = RunbookWorld()
    world.entered()
    contests = world.life(ContestsService)
    world.runtime.at = LOCK_AT - 1
    assert waits(world) == []
    world.runtime.at = LOCK_AT + 1_000
    assert waits(world) == [("c1", "lock", "1")]
    world.work(contests)
    assert waits(world) == [("c1", "reconciliation", "1"), ("c1", "field", "1")]
    world.reconciled(LOCK_AT)
    world.field(*CARDS)
    assert waits(world) == [("c1", "transition", "1"), ("c1", "transition", "0")]
    world.work(contests)
    assert (world.status(), waits(world)) == ("LIVE", [])
    world.runtime.at = OVER_AT + 2_000
    world.event_over()
    assert waits(world) == [("c1", "transition", "2")]
    world.work(contests)
    cutoff_at = world.row("contests", contest_id="c1")["cutoff_at"]
    world.runtime.at = cutoff_at + 3_000
    assert waits(world) == [("c1", "full_poll", "3")]
    world.full_poll(cutoff_at)
    assert waits(world) == [("c1", "full_poll", "3")]
    world.full_poll(cutoff_at + 1)
    assert waits(world) == [("c1", "settlement", "3")]
    assert waits(world, "--for settlement --age 3") == waits(world)
    assert waits(world, "--for settlement --age 4") == waits(world, "--for lock --age 0") == waits(world, "") == []
    world.work(world.life(SettlementService))
    assert (world.status(), waits(world)) == ("SETTLED", [("c1", "payout", "0")])
    world.work(world.life(PayoutsService))
    assert (world.status(), waits(world)) == ("PAID_OUT", [])


# --- contest_transition_overdue ---------------------------------------------------------------------------------------

OVERDUE = "contest_transition_overdue"


def late(locked: bool = False) -> RunbookWorld:
    """The lock time has passed for half an hour; c1 is locked if `locked`, and nothing else has happened."""
    world = RunbookWorld()
    world.entered()
    world.runtime.at = LOCK_AT
    if locked:
        world.work(world.life(ContestsService))
    world.runtime.at = LOCK_AT + 30 * MINUTE_MS
    world.provider.publish(dict.fromkeys(CARDS, ()))
    return world


def everything(world: RunbookWorld) -> list[Any]:
    return [*world.contests(), *world.reconciliation(), *world.ingestion()]


def test_a_contest_is_taken_through_every_step_that_it_missed() -> None:
    world = late()
    world.processor.down_until = world.runtime.at + HOUR_MS
    world.provider.down_until = world.runtime.at + 2 * HOUR_MS
    jobs = [*world.reconciliation(), *world.ingestion()]
    contests = world.contests()
    control = Tried(world, jobs)
    control.meanwhile = {"Diagnosis/4": lambda: setattr(control, "jobs", [*jobs, *contests])}
    healed(OVERDUE, control)
    assert world.status() == "LIVE"
    assert control.steps.count("Recovery/1") == 1
    assert {"Recovery/3", "Recovery/5", "Recovery/7"} <= {*control.steps}


def test_books_and_a_field_that_come_late_are_waited_for() -> None:
    world = late(locked=True)
    world.processor.down_until = world.runtime.at + 3 * HOUR_MS
    world.provider.down_until = world.runtime.at + 8 * HOUR_MS
    control = healed(OVERDUE, Tried(world, everything(world)))
    assert world.status() == "LIVE"
    assert world.runtime.at >= LOCK_AT + 8 * HOUR_MS
    assert "Recovery/1" not in control.steps


def test_a_contest_that_has_gone_on_in_the_meantime_is_only_verified() -> None:
    world = late(locked=True)
    world.field(*CARDS)
    world.reconciled(LOCK_AT)
    world.work(world.life(ContestsService))
    steps = ["Diagnosis/1", "Diagnosis/2", "Diagnosis/3", "Diagnosis/4"]
    assert healed(OVERDUE, Tried(world)).steps == [*steps, "Verification/1", "Verification/2", "Verification/3"]


def test_a_platform_that_does_not_take_its_steps_is_handed_on() -> None:
    world = late(locked=True)
    world.field(*CARDS)
    world.reconciled(LOCK_AT)
    before = tables(world)
    outcome = handed_on(OVERDUE, Tried(world), "Recovery/7")
    assert tables(world) == before
    assert outcome.escalation is not None
    assert outcome.escalation.affected_contests == ("c1",)


def test_what_is_refused_on_the_way_changes_nothing() -> None:
    for step, world in (("Recovery/1", late()), ("Recovery/3", late(locked=True))):
        before = tables(world)
        handed_on(OVERDUE, Tried(world, refused={step: REFUSED}), step)
        assert tables(world) == before
    world = late(locked=True)
    world.reconciled(LOCK_AT)
    before = tables(world)
    handed_on(OVERDUE, Tried(world, refused={"Recovery/5": REFUSED}), "Recovery/5")
    assert tables(world) == before


# --- settlement_overdue -----------------------------------------------------------------------------------------------

SETTLEMENT = "settlement_overdue"


def unsettled(official: bool) -> RunbookWorld:
    """Two contests have waited for an hour and a half since the cut-off, with or without official scores."""
    world = RunbookWorld()
    world.entered()
    world.offer("c2")
    for user, golfer in (("dan", "g1"), ("eve", "g2")):
        world.enter(user, golfer, "c2")
    world.play(official)
    world.runtime.at = CUTOFF_AT + 90 * MINUTE_MS
    return world


def settled(world: RunbookWorld) -> bool:
    return {world.status("c1"), world.status("c2")} == {"SETTLED"}


def test_contests_that_wait_for_official_scores_are_polled_for_and_settled() -> None:
    world = unsettled(official=False)
    world.provider.down_until = world.runtime.at + 4 * HOUR_MS
    control = healed(SETTLEMENT, Tried(world, [*world.ingestion(), *world.settlement()]))
    assert settled(world)
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    assert "Recovery/1" in control.steps


def test_contests_whose_settlement_never_began_are_settled() -> None:
    world = unsettled(official=True)
    healed(SETTLEMENT, Tried(world, world.settlement()))
    assert settled(world)


def test_a_settlement_whose_daemon_died_in_the_middle_is_ended_by_the_next_when_its_lease_is_over() -> None:
    world = unsettled(official=True)
    cut(world, world.life(SettlementService), "settlement.open")
    assert world.rows("select distinct status from settlement_packs") == [{"status": "PENDING"}]
    world.runtime.at += MINUTE_MS
    healed(SETTLEMENT, Tried(world, world.settlement()))
    assert settled(world)
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    assert len(world.rows("select * from outcome_settlement_log")) == 5


def test_contests_that_were_settled_in_the_meantime_are_only_verified() -> None:
    world = unsettled(official=True)
    world.work(world.life(SettlementService))
    control = healed(SETTLEMENT, Tried(world))
    assert control.steps == ["Diagnosis/1", "Diagnosis/3", "Verification/1", "Verification/2", "Verification/3"]


def test_a_contest_that_is_settled_between_looking_and_acting_is_left_alone() -> None:
    world = unsettled(official=True)

    def meanwhile() -> None:
        world.work(world.life(SettlementService))

    control = healed(SETTLEMENT, Tried(world, meanwhile={"Recovery/3": meanwhile}))
    assert control.steps.count("Recovery/3") == 1


def test_a_settlement_that_no_daemon_makes_is_handed_on_as_it_was() -> None:
    world = unsettled(official=True)
    before = tables(world)
    outcome = handed_on(SETTLEMENT, Tried(world), "Recovery/6")
    assert tables(world) == before
    assert outcome.escalation is not None
    assert outcome.escalation.affected_contests == ("c1", "c2")
    handed_on(SETTLEMENT, Tried(world, refused={"Recovery/3": REFUSED}), "Recovery/3")
    assert tables(world) == before


def test_a_daemon_that_lives_and_settles_nothing_is_restarted() -> None:
    world = unsettled(official=True)
    control = Tried(world)
    world.hosts.on_restart = lambda: setattr(control, "jobs", world.settlement())
    healed(SETTLEMENT, control)
    assert {service for _, service in world.hosts.restarted} == {"settlement"}
    assert settled(world)


# --- settlement_lease_stale -------------------------------------------------------------------------------------------

LEASE = "settlement_lease_stale"


def abandoned() -> RunbookWorld:
    """The settlement daemon died in the middle, half an hour ago."""
    world = unsettled(official=True)
    cut(world, world.life(SettlementService), "settlement.open")
    world.runtime.at += 30 * MINUTE_MS
    return world


def test_a_lease_that_nobody_took_is_taken_by_the_daemon_that_is_started_and_no_pack_is_ended_twice() -> None:
    world = abandoned()
    healing = world.life(HealingService)
    world.hosts.stopped, world.hosts.down = {("win-1", "settlement")}, {"win-1": ConnectionFailed("down")}
    world.report(healing, "win-1", "settlement")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    [job] = world.settlement()

    async def due() -> int | None:
        return None if world.hosts.stopped else await job.due()

    control = healed(LEASE, Tried(world, [*healing.jobs(), replace(job, due=due)]))
    assert "Recovery/3" in control.steps
    assert settled(world)
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    assert len(world.rows("select * from outcome_settlement_log")) == 5


def test_a_lease_that_the_next_daemon_takes_by_itself_is_only_watched() -> None:
    world = abandoned()
    control = healed(LEASE, Tried(world, world.settlement()))
    assert settled(world)
    assert "Recovery/3" not in control.steps
    control = healed(LEASE, Tried(world))
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2", "Verification/3"]


def test_a_lease_that_nobody_takes_is_handed_on_as_it_was() -> None:
    world = abandoned()
    before = tables(world)
    handed_on(LEASE, Tried(world), "Recovery/5")
    assert tables(world) == before
    handed_on(LEASE, Tried(world, refused={"Recovery/4": REFUSED}), "Recovery/4")
    assert tables(world) == before


# --- correction_after_settlement --------------------------------------------------------------------------------------

CORRECTION = "correction_after_settlement"


def corrected(before_settlement: bool = False) -> RunbookWorld:
    """After the cut-off the provider has made ann's golfer the last; c1 and c2 are settled, unless it came before."""
    world = unsettled(official=True)
    if not before_settlement:
        world.work(world.life(SettlementService))
    world.provider.publish({**CARDS, "g1": (9, 9, 9)}, complete=True)
    world.runtime.at = next_tick(world.runtime.at + HOUR_MS, 6 * HOUR_MS)
    world.poll()
    assert world.rows("select reason from ingestion_receipts where reason like 'AFTER_CUTOFF%'")
    return world


def test_a_correction_after_the_cutoff_is_shown_and_moves_no_prize() -> None:
    for before_settlement in (False, True):
        world = corrected(before_settlement)
        world.connection.execute("update hole_scores set strokes = 4 where golfer_id = 'g1' and hole = 1")
        control = healed(CORRECTION, Tried(world, world.settlement()), contest_id="c1")
        assert "call.page" in next(
            one.output for one in control.records if one.section == "Diagnosis" and one.number == 2
        )
        assert settled(world)
        assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
        strokes = world.rows("select strokes from hole_scores where golfer_id = 'g1'")
        assert [row["strokes"] for row in strokes] == [9, 9, 9]


def test_a_corrected_contest_that_nobody_settles_is_handed_on() -> None:
    world = corrected(before_settlement=True)
    before = tables(world)
    handed_on(CORRECTION, Tried(world), "Recovery/1", contest_id="c1")
    assert tables(world) == before
    world = corrected()
    before = tables(world)
    handed_on(CORRECTION, Tried(world, refused={"Recovery/2": REFUSED}), "Recovery/2", contest_id="c1")
    assert tables(world) == before
