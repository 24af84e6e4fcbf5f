"""The acceptance tests AT-1 to AT-4 of a settlement: each trap of which one is known to have been fallen into."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from contest_platform import audit
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services import acceptance, settlement
from contest_platform.services.acceptance import TESTS, AcceptanceService, noon
from contest_platform.services.contests import ContestsService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import CTX, CUTOFF_AT, DAY_MS, ContestWorld
from tests.support.historic import importing, unlink
from tests.support.settlement_world import CARDS, ENTRIES, cut, ready, settled

NOON = noon(CUTOFF_AT)
NONE = "NOT_APPLICABLE"


def judged(world: ContestWorld, until: int, service: AcceptanceService | None = None) -> list[dict[str, Any]]:
    """Let the acceptance tests be made until then, as they become due; the rows of all days."""
    service = service or world.life(AcceptanceService)
    while (due := world.due(service)) is not None and due <= until:
        world.runtime.at = max(due, world.runtime.at)
        world.work(service)
    return world.rows("select * from settlement_acceptance order by day_at")


def results(row: dict[str, Any]) -> list[str]:
    return [row[column] for column in TESTS.values()]


def more_work(world: ContestWorld) -> None:
    """Another contest is complete, and nobody settles it."""
    world.offer("c2")
    done = "update contests set status = 'COMPLETE', cutoff_at = ? where contest_id = 'c2'"
    world.connection.execute(done, (NOON + HOUR_MS,))
    for user in ENTRIES:
        entry = "insert into entries values (?, 'c2', ?, 'VALID', '[]', 0, 0, null)"
        world.connection.execute(entry, (f"c2-{user}", user))


def test_a_settlement_passes_on_its_day_and_keeps_the_lvi_for_a_week() -> None:
    world = settled()
    rows = judged(world, NOON + 30 * DAY_MS)
    assert [row["day_at"] for row in rows] == [NOON + n * DAY_MS for n in range(7)]
    assert results(rows[0]) == ["PASS"] * 4
    assert [results(row) for row in rows[1:]] == [[NONE, NONE, NONE, "PASS"]] * 6
    assert {(row["lvi_executed"], row["lvi_due"], row["log_rows"]) for row in rows} == {(3, 3, 3)}


def test_nobody_looks_before_there_is_work_and_nobody_after_it_is_a_week_old() -> None:
    world = ContestWorld()
    world.offer()
    service = world.life(AcceptanceService)
    assert world.due(service) is None
    for user, golfer in ENTRIES.items():
        world.enter(user, golfer)
    seen = world.signals.seen("acceptance")
    world.played(world.life(ContestsService), CARDS)
    assert world.signals.seen("acceptance") == seen + 1, "a contest that is complete has a cut-off"
    assert world.due(service) == noon(CUTOFF_AT + HOUR_MS)
    world.full_poll()
    world.work(world.life(SettlementService))
    judged(world, NOON + 30 * DAY_MS, service)
    assert world.due(service) is None


def test_yesterdays_growth_passes_nothing() -> None:
    """A count that is above zero and a table that has grown some time are not growth."""
    world = settled()
    assert results(judged(world, NOON)[0]) == ["PASS"] * 4
    more_work(world)
    assert world.rows("select count(*) as n from outcome_pack_links") == [{"n": 3}]
    today = judged(world, NOON + DAY_MS)[1]
    assert results(today) == ["FAIL", "FAIL", "FAIL", "PASS"]


def test_work_that_was_not_done_fails_every_day_until_it_is() -> None:
    world, daemon = ready()
    rows = judged(world, NOON + DAY_MS)
    assert [results(row) for row in rows] == [["FAIL"] * 4] * 2
    world.work(daemon)
    assert results(judged(world, NOON + 2 * DAY_MS)[2]) == ["PASS"] * 4
    assert failing(world) == {}


def test_a_day_without_work_is_not_applicable() -> None:
    world = settled()
    rows = judged(world, NOON + DAY_MS)
    assert results(rows[1])[:3] == [NONE] * 3


def test_a_contest_that_is_settled_across_noon_is_judged_by_what_was_left_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", 2)
    world, daemon = ready()
    cut(world, daemon, "settlement.execute")
    world.runtime.at = NOON + MINUTE_MS
    assert results(judged(world, NOON)[0]) == ["PASS"] * 4, "two packs have ended, one is left"
    world.runtime.at = NOON + LEASE_MS
    world.work(world.life(SettlementService))
    second = judged(world, NOON + DAY_MS)[1]
    assert results(second) == [NONE, "PASS", "PASS", "PASS"]
    [row] = orjson.loads(second["evidence"])["contests"]
    assert (row["to_execute"], row["executed"], row["executed_linked"], row["due"]) == (1, 1, 3, 3)


def test_the_totals_are_the_sums_of_the_rows() -> None:
    world = settled()
    for row in judged(world, NOON + DAY_MS):
        told = orjson.loads(row["evidence"])
        assert told["totals"] == {name: sum(one[name] for one in told["contests"]) for name in told["totals"]}
        assert (row["lvi_executed"], row["lvi_due"]) == (told["totals"]["executed_linked"], told["totals"]["due"])


@pytest.mark.parametrize("how", ["delete", "update"])
def test_a_log_that_is_not_what_it_was_fails(how: str) -> None:
    world = settled()
    judged(world, NOON)
    more_work(world)
    with importing(world):
        statement = {
            "delete": "delete from outcome_settlement_log where pack_id = (select min(pack_id) from settlement_packs)",
            "update": "update outcome_settlement_log set settlement_reason_code = 'x'",
        }[how]
        world.connection.execute(statement)
    row = judged(world, NOON + DAY_MS)[1]
    assert row["log_growth"] == "FAIL"
    assert "rows" in orjson.loads(row["evidence"])["log_problem"]


def test_a_row_that_is_gone_from_the_log_fails_on_a_day_without_work_too() -> None:
    world = settled()
    judged(world, NOON)
    with importing(world):
        world.connection.execute("delete from outcome_settlement_log")
    assert judged(world, NOON + DAY_MS)[1]["log_growth"] == "FAIL"


def failing(world: ContestWorld) -> dict[str, float]:
    """Test -> the instant that monitoring is told of it."""
    name = "settlement_acceptance_failed_timestamp_seconds"
    return {series[1]: value for series, value in world.metrics.standing.items() if series[0] == name}


# --- LVI --------------------------------------------------------------------------------------------------------------


def test_the_lvi_counts_what_was_executed_through_a_link_and_nothing_else() -> None:
    world = settled()
    unlink(world, "bob")
    [row] = judged(world, NOON)
    assert (row["lvi"], row["lvi_executed"], row["lvi_due"]) == ("PASS", 2, 3)


def test_the_lvi_is_not_zero_while_packs_were_executed_however_late_in_the_week() -> None:
    rows = judged(settled(), NOON + 30 * DAY_MS)
    assert all(row["lvi_executed"] == 3 for row in rows)


def test_an_lvi_of_zero_without_a_reason_on_record_fails() -> None:
    world, _ = ready()
    [row] = judged(world, NOON)
    assert row["lvi"] == "FAIL"
    assert orjson.loads(row["evidence"])["blocked"] == {}


def test_an_lvi_of_zero_is_blocked_where_the_scores_are_not_official() -> None:
    world, _ = ready()
    world.full_poll(CUTOFF_AT)
    [row] = judged(world, NOON)
    assert results(row) == ["FAIL", "FAIL", "FAIL", "BLOCKED"]
    told = orjson.loads(row["evidence"])["blocked"]
    assert told == {"c1": {"reason": "scores_not_official", "full_poll_begun_at": CUTOFF_AT}}


def test_an_lvi_of_zero_is_blocked_where_the_contest_was_given_up() -> None:
    world, daemon = ready()
    world.store.damaged = lambda operation: operation == "settlement.open"
    world.work(daemon)
    [row] = judged(world, NOON)
    told = orjson.loads(row["evidence"])["blocked"]
    assert (row["lvi"], told["c1"]["reason"]) == ("BLOCKED", "contest_in_error")


def test_an_lvi_of_zero_is_blocked_where_every_pack_has_ended_unexecuted_and_they_are_named() -> None:
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    world.connection.execute("delete from outcome_pack_links")
    world.runtime.at += LEASE_MS
    world.work(world.life(SettlementService))
    [row] = judged(world, NOON)
    assert results(row) == ["FAIL", "FAIL", "PASS", "BLOCKED"]
    packs = [pack["pack_id"] for pack in world.rows("select pack_id from settlement_packs order by 1")]
    assert orjson.loads(row["evidence"])["blocked"]["c1"] == {"reason": "packs_unexecuted", "packs": packs}


# --- when nobody was there --------------------------------------------------------------------------------------------


def test_days_that_nobody_judged_are_judged_later_as_of_each() -> None:
    alone, late = settled(), settled()
    every_day = judged(alone, NOON + 4 * DAY_MS)
    late.runtime.at = NOON + 4 * DAY_MS + HOUR_MS
    assert [{**row, "at": 0} for row in judged(late, NOON + 4 * DAY_MS)] == [{**row, "at": 0} for row in every_day]


def test_a_restarted_platform_judges_a_day_once() -> None:
    world = settled()
    judged(world, NOON)
    assert world.due(world.life(AcceptanceService)) == NOON + DAY_MS
    world.work(world.life(AcceptanceService))
    assert len(world.rows("select * from settlement_acceptance")) == 1


def test_a_test_that_failed_is_told_to_monitoring_until_the_next_day_is_judged() -> None:
    world, daemon = ready()
    service = world.life(AcceptanceService)
    judged(world, NOON, service)
    told = failing(world)
    assert told == dict.fromkeys(TESTS, NOON // 1000)
    world.work(daemon)
    judged(world, NOON + DAY_MS, service)
    assert failing(world) == {}


def test_each_day_is_audited() -> None:
    world = settled()
    row, *_ = judged(world, NOON)
    [told] = world.audited("settlement_acceptance.insert")
    assert told["actor"] == acceptance.ACTOR
    assert audit.canonical(row) == told["after"]
    assert CTX.actor != acceptance.ACTOR
