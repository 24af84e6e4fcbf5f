"""Alerting that stands still: what happens pages nobody, but whoever misses the Watchdog outside does."""

from __future__ import annotations

import json

import pytest

from operations.alerts import Group, read_text
from simulator.actors.monitoring import MonitoringActor
from simulator.actors.watchdog import AGAIN_MS, MINUTE_MS, SILENT_MS, WatchdogReceiver
from simulator.actors.witnesses import PagerActor
from simulator.wires.witnesses import PagerWire
from tests.support.command import SharedRuns
from tests.support.fake_world import MONDAY, FakeWorld
from tests.test_witnesses import Away

HOUR_MS = 60 * MINUTE_MS
RULES = """groups:
  - name: g
    rules:
      - {alert: Down, expr: up == 0, labels: {severity: error}, annotations: {summary: it is down, runbook_url: a.md}}
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
        annotations: {summary: alerting works, runbook_url: runbooks/alerting_down.md, when_missed: AlertingDown}
"""


def groups() -> tuple[Group, ...]:
    return read_text(RULES)


def sent(world: FakeWorld) -> list[tuple[int, str, str]]:
    """(minutes since Monday, action, dedup key) of what the pager took."""
    return [((row["at"] - MONDAY) // MINUTE_MS, row["action"], row["dedup_key"]) for row in world.rows("pager.events")]


def test_what_begins_and_ends_while_alerting_stands_still_is_never_paged_and_what_lasts_is_paged_then() -> None:
    world = FakeWorld()
    pager = PagerActor(world)  # type: ignore[arg-type]
    monitoring = MonitoringActor(world, groups(), PagerWire(world, pager, lambda: None))  # type: ignore[arg-type]
    runtime = world.kernel.runtime

    async def happen() -> None:
        monitoring.lives("app", True)
        monitoring.stand_still(MONDAY + 2 * HOUR_MS)
        await runtime.sleep_until(MONDAY + 10 * MINUTE_MS)
        monitoring.lives("app", False)
        await runtime.sleep_until(MONDAY + 30 * MINUTE_MS)
        monitoring.lives("app", True)
        await runtime.sleep_until(MONDAY + 90 * MINUTE_MS)
        monitoring.lives("settlement", False)
        await runtime.sleep_until(MONDAY + 3 * HOUR_MS)
        monitoring.lives("settlement", True)
        await runtime.sleep_until(MONDAY + 4 * HOUR_MS)

    world.run(happen())
    assert sent(world) == [(120, "trigger", "Down:job=settlement"), (181, "resolve", "Down:job=settlement")]
    fired = [(row["at"] - MONDAY) // MINUTE_MS for row in world.rows("monitoring.alerts") if row["state"] == "firing"]
    assert min(fired) == 120


@pytest.mark.parametrize("silent_ms", [SILENT_MS, SILENT_MS + 1, SILENT_MS + 2 * AGAIN_MS + 1])
def test_whoever_expects_it_pages_after_a_quarter_of_an_hour_and_every_hour_until_it_is_heard(silent_ms: int) -> None:
    world = FakeWorld()
    pager = PagerActor(world)  # type: ignore[arg-type]
    receiver = WatchdogReceiver(world, groups(), PagerWire(world, pager, lambda: None))  # type: ignore[arg-type]
    paged: list[str] = []

    async def happen() -> None:
        paged.extend(await receiver.misses(MONDAY, MONDAY + silent_ms))

    world.run(happen())
    times = -(-(silent_ms - SILENT_MS) // AGAIN_MS)
    triggered = [(at, key) for at, action, key in sent(world) if action == "trigger"]
    assert triggered == [(15 + 60 * n, key) for n, key in enumerate(paged)]
    assert len(set(paged)) == times
    assert pager.open == {}
    for row in world.rows("pager.events"):
        if row["action"] == "trigger":
            told = json.loads(row["details"])
            assert told == {"labels": {"alertname": "AlertingDown"}, "runbook_url": "runbooks/alerting_down.md"}


def test_a_page_that_the_pager_did_not_take_in_time_is_not_sent_any_more() -> None:
    world = FakeWorld(faults=[Away("pager", "send", 503)])
    pager = PagerActor(world)  # type: ignore[arg-type]
    receiver = WatchdogReceiver(world, groups(), PagerWire(world, pager, lambda: None))  # type: ignore[arg-type]
    world.kernel.runtime.spawn(_missed(receiver), "receiver")
    world.run(_later(world, 3 * HOUR_MS))
    refused = [row for row in world.rows("pager.refusals") if row["action"] == "trigger"]
    assert len(refused) == 15
    assert world.rows("pager.events") == []


async def _missed(receiver: WatchdogReceiver) -> None:
    await receiver.misses(MONDAY, MONDAY + 30 * MINUTE_MS)


async def _later(world: FakeWorld, ms: int) -> None:
    await world.kernel.runtime.sleep_until(MONDAY + ms)


def test_in_a_run_nothing_is_told_while_it_stands_still_and_the_runbook_is_opened_from_outside(
    runs: SharedRuns,
) -> None:
    ran = runs("operated", "--only", "platform.monitoring_down")
    [stop] = ran.evidence.plan.faults
    assert stop.from_at is not None
    assert stop.until_at is not None
    paged = [row for row in ran.rows("pager.events", action="trigger") if row.dedup_key.startswith("AlertingDown:")]
    assert [(row.at - stop.from_at) // MINUTE_MS // 60 for row in paged] == [*range(len(paged))]
    assert len(paged) == stop.params["hours"]
    assert not [row for row in ran.rows("monitoring.alerts") if stop.from_at <= row.at < stop.until_at - MINUTE_MS]
    executions = ran.rows("platform.runbook_executions", runbook_name="alerting_down")
    assert executions
    assert all(stop.from_at < one.start_time for one in executions)
