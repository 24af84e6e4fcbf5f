"""The runbooks of ingestion, each carried out on a platform in the state that it is for."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services.healing import ORDER_LIFE_MS, HealingService
from contest_platform.services.score_audit import ScoreAuditService
from operations.runbooks import Output
from tests.support.contest_world import LOCK_AT
from tests.support.runbook_world import CARDS, RunbookWorld
from tests.support.tried import LOST, REFUSED, Tried, handed_on, healed, tables

OPENING = {"g1": (5,), "g2": (5,), "g3": (6,)}
"""First told so; CARDS corrects every one of them."""


def in_play() -> RunbookWorld:
    """Play has been on for half an hour, and everybody's first hole is known."""
    world = RunbookWorld()
    world.entered()
    world.runtime.at = LOCK_AT + 30 * MINUTE_MS
    world.provider.publish(OPENING)
    world.poll()
    return world


def shown(world: RunbookWorld) -> dict[str, tuple[int, ...]]:
    rows = world.rows("select golfer_id, strokes from hole_scores order by golfer_id, hole")
    return {
        golfer: tuple(row["strokes"] for row in rows if row["golfer_id"] == golfer)
        for golfer in {row["golfer_id"] for row in rows}
    }


# --- score_discrepancy ------------------------------------------------------------------------------------------------

DISCREPANCY = "score_discrepancy"


def audited(world: RunbookWorld) -> None:
    world.work(world.life(ScoreAuditService))


def wrong() -> RunbookWorld:
    """A score is shown that nobody has published, and one is not shown; the nightly audit has seen it."""
    world = in_play()
    world.provider.publish(CARDS)
    world.runtime.at += HOUR_MS
    world.poll()
    world.connection.execute("update hole_scores set strokes = 9 where golfer_id = 'g1' and hole = 1")
    world.connection.execute("delete from hole_scores where golfer_id = 'g2' and hole = 2")
    audited(world)
    return world


def test_scores_are_shown_as_their_receipts_say_again() -> None:
    world = wrong()
    receipts = world.rows("select * from ingestion_receipts")
    control = healed(DISCREPANCY, Tried(world), tournament_id="t1")
    assert shown(world) == CARDS
    assert world.rows("select * from ingestion_receipts") == receipts
    assert "Recovery/1" in control.steps
    assert [row["mismatches"] for row in world.rows("select * from score_audits order by audit_id")] == [2, 2, 0]


def test_scores_that_were_put_right_before_are_left_alone() -> None:
    world = wrong()
    healed(DISCREPANCY, Tried(world), tournament_id="t1")
    before = tables(world)
    control = healed(DISCREPANCY, Tried(world), tournament_id="t1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]
    assert tables(world) == before


def test_a_replay_whose_answer_is_lost_is_looked_at() -> None:
    world = wrong()
    assert healed(DISCREPANCY, Tried(world, lost=["Recovery/1"]), tournament_id="t1").steps.count("Recovery/1") == 1
    assert shown(world) == CARDS


@pytest.mark.parametrize(("answer", "at"), [(REFUSED, "Recovery/1"), (LOST, "Recovery/2")])
def test_a_replay_that_is_not_made_leaves_everything_as_it_was(answer: Output, at: str) -> None:
    world = wrong()
    before = tables(world)
    handed_on(DISCREPANCY, Tried(world, refused={"Recovery/1": answer}), at, tournament_id="t1")
    assert tables(world) == before


def test_nothing_is_made_anew_from_receipts_under_a_broken_audit_log() -> None:
    world = wrong()
    world.connection.execute("drop trigger audit_log_refuses_update")
    world.connection.execute("update audit_log set reason = 'nothing' where seq = 5")
    before = tables(world)
    handed_on(DISCREPANCY, Tried(world), "Diagnosis/4", tournament_id="t1")
    assert tables(world) == before


# --- ingestion_lag ----------------------------------------------------------------------------------------------------

LAG = "ingestion_lag"


def silent(hours: int = 2) -> RunbookWorld:
    """The provider has not answered for two hours of play, and will not for three more."""
    world = in_play()
    world.provider.down_until = world.runtime.at + (hours + 3) * HOUR_MS
    [job] = world.ingestion()
    world.runtime.at += 10 * MINUTE_MS
    world.run(job.due())
    world.run(job.work())
    world.runtime.at += hours * HOUR_MS
    world.provider.publish(CARDS)
    return world


def test_the_provider_is_waited_for_and_polled_as_soon_as_it_answers() -> None:
    world = silent()
    control = healed(LAG, Tried(world, world.ingestion()), tournament_id="t1")
    assert control.steps[:3] == ["Diagnosis/1", "Diagnosis/2", "Recovery/3"]
    assert shown(world) == CARDS


def test_a_feed_that_speaks_again_is_only_verified() -> None:
    world = silent()
    world.provider.down_until = 0
    world.poll()
    control = healed(LAG, Tried(world), tournament_id="t1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_provider_that_stays_silent_for_a_day_is_handed_on() -> None:
    world = silent()
    world.provider.down_until += 48 * HOUR_MS
    handed_on(LAG, Tried(world, world.ingestion()), "Diagnosis/2", tournament_id="t1")


def given_up(world: RunbookWorld) -> tuple[RunbookWorld, HealingService]:
    """The ingestion service of win-1 has stopped, and the order to start it has run out in vain."""
    healing = world.life(HealingService)
    world.hosts.stopped = {("win-1", "ingestion")}
    world.report(healing, "win-1", "ingestion")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    assert [row["status"] for row in world.rows("select status from remediation_orders")] == ["EXPIRED"]
    return world, healing


class Polling:
    """A job that works only while the ingestion service of win-1 runs."""

    def __init__(self, world: RunbookWorld) -> None:
        [job] = world.ingestion()
        self._world, self._job = world, job
        self.name, self.topic, self.period_ms, self.work = job.name, job.topic, job.period_ms, job.work

    async def due(self) -> int | None:
        return await self._job.due() if ("win-1", "ingestion") not in self._world.hosts.stopped else None


def test_an_ingestion_service_that_has_stopped_is_started_again_and_polled() -> None:
    world, healing = given_up(in_play())
    world.provider.publish(CARDS)
    jobs: list[Any] = [*healing.jobs(), Polling(world)]
    control = healed(LAG, Tried(world, jobs), tournament_id="t1")
    assert control.steps[:5] == ["Diagnosis/1", "Recovery/1", "Recovery/2", "Recovery/3", "Recovery/4"]
    assert world.hosts.stopped == set()
    assert shown(world) == CARDS


def test_an_order_that_never_arrived_is_asked_for_again() -> None:
    world, healing = given_up(in_play())
    world.provider.publish(CARDS)
    jobs: list[Any] = [*healing.jobs(), Polling(world)]
    control = healed(LAG, Tried(world, jobs, dropped=["Recovery/2"]), tournament_id="t1")
    assert control.steps.count("Recovery/2") == 2
    assert shown(world) == CARDS


def test_a_service_that_the_platform_starts_while_one_looks_is_polled_all_the_same() -> None:
    world, healing = given_up(in_play())

    def meanwhile() -> None:
        world.report(healing, "win-1", "ingestion")

    jobs: list[Any] = [*healing.jobs(), Polling(world)]
    control = healed(LAG, Tried(world, jobs, meanwhile={"Recovery/2": meanwhile}), tournament_id="t1")
    assert control.steps.count("Recovery/2") == 1
    assert len(world.rows("select * from remediation_orders")) == 2


def test_a_feed_that_nobody_polls_is_handed_on() -> None:
    world = in_play()
    world.runtime.at += 2 * HOUR_MS
    scores = shown(world)
    handed_on(LAG, Tried(world), "Recovery/4", tournament_id="t1")
    assert shown(world) == scores


# --- ingestion_quarantine ---------------------------------------------------------------------------------------------

QUARANTINE = "ingestion_quarantine"


def held_back(hours: int = 8) -> RunbookWorld:
    """The provider's sums are wrong by one, and will be for `hours` hours from the start of play."""
    world = in_play()
    world.provider.wrong, world.provider.wrong_until = 1, LOCK_AT + hours * HOUR_MS
    world.runtime.at = LOCK_AT + 40 * MINUTE_MS
    world.provider.publish(CARDS)
    world.poll()
    world.runtime.at += 2 * HOUR_MS
    assert shown(world) == OPENING
    return world


def unresolved(world: RunbookWorld) -> str:
    return world.opsctl("quarantine list").text


def test_scores_that_do_not_add_up_are_waited_for_until_they_do() -> None:
    world = held_back()
    healed(QUARANTINE, Tried(world, world.ingestion()), tournament_id="t1")
    assert shown(world) == CARDS
    assert unresolved(world) == "none\n"
    assert world.runtime.at >= LOCK_AT + 8 * HOUR_MS


def test_scores_that_add_up_in_the_meantime_are_only_verified() -> None:
    world = held_back(hours=1)
    world.poll()
    control = healed(QUARANTINE, Tried(world), tournament_id="t1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_what_was_told_again_and_is_still_in_quarantine_is_resolved() -> None:
    world = held_back(hours=1)
    world.poll()
    world.connection.execute("drop trigger quarantine_resolutions_refuses_delete")
    world.connection.execute("delete from quarantine_resolutions")
    assert unresolved(world) != "none\n"
    control = healed(QUARANTINE, Tried(world), tournament_id="t1")
    assert "Recovery/2" not in control.steps
    assert unresolved(world) == "none\n"


def test_what_is_still_in_quarantine_and_was_never_told_again_is_handed_on() -> None:
    world = in_play()
    world.provider.publish(dict.fromkeys(CARDS, (4, 4)))
    world.provider.wrong, world.provider.wrong_until = 1, LOCK_AT + HOUR_MS
    world.poll()
    world.runtime.at = LOCK_AT + HOUR_MS
    world.provider.told = dict(OPENING)
    world.provider.revision += 1
    world.poll()
    world.connection.execute("drop trigger quarantine_resolutions_refuses_delete")
    world.connection.execute("delete from quarantine_resolutions")
    assert unresolved(world) != "none\n"
    handed_on(QUARANTINE, Tried(world, world.ingestion()), "Recovery/4", tournament_id="t1")


def test_scores_that_never_add_up_are_handed_on_in_quarantine() -> None:
    world = held_back(hours=72)
    handed_on(QUARANTINE, Tried(world, world.ingestion()), "Recovery/3", tournament_id="t1")
    assert shown(world) == OPENING
    handed_on(QUARANTINE, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1", tournament_id="t1")
    assert shown(world) == OPENING


# --- ingestion_stale_feed ---------------------------------------------------------------------------------------------

STALE = "ingestion_stale_feed"


def test_a_feed_that_repeats_itself_is_waited_for_until_it_tells_something_new() -> None:
    world = in_play()
    world.runtime.at += 2 * HOUR_MS
    jobs = world.ingestion()
    news_at = world.runtime.at + 3 * HOUR_MS

    class News:
        name, topic, period_ms, told = "news", "", MINUTE_MS, False

        async def due(self) -> int | None:
            return None if self.told else news_at

        async def work(self) -> None:
            self.told = True
            world.provider.publish(CARDS)

    everything: list[Any] = [News(), *jobs]
    healed(STALE, Tried(world, everything), tournament_id="t1")
    assert shown(world) == CARDS
    assert world.runtime.at < news_at + HOUR_MS


def test_a_feed_is_waited_for_no_longer_than_to_the_end_of_play() -> None:
    world = in_play()
    healed(STALE, Tried(world, world.ingestion()), tournament_id="t1")
    assert LOCK_AT + 10 * HOUR_MS <= world.runtime.at < LOCK_AT + 11 * HOUR_MS
    control = healed(STALE, Tried(world, world.ingestion()), tournament_id="t1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_feed_that_cannot_be_asked_is_handed_on_as_it_was() -> None:
    world = in_play()
    before = tables(world)
    handed_on(STALE, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1", tournament_id="t1")
    assert tables(world) == before
