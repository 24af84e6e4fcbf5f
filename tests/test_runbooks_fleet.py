"""The runbooks of hosts, each carried out on a fleet in the state that it is for."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed
from contest_platform.services.healing import ORDER_LIFE_MS, RULES, HealingService
from tests.support.runbook_world import RunbookWorld
from tests.support.tried import REFUSED, Tried, handed_on, healed, tables
from tests.test_runbooks_platform import ORDER, at, orders, stopped

WIN = RULES[0].id


def standing(world: RunbookWorld, healing: HealingService, name: str) -> list[tuple[str, ...]]:
    """The labels of a metric's series, once healing has had a look."""
    world.due(healing)
    return [series[1:] for series in world.metrics.standing if series[0] == name]


# --- host_unreachable -------------------------------------------------------------------------------------------------

UNREACHABLE = "host_unreachable"


@pytest.mark.parametrize(("hours", "ended"), [(1, ["COMPLETED"]), (9, ["EXPIRED", "COMPLETED"])])
def test_a_host_that_is_back_is_healed_by_its_order_or_by_another(hours: int, ended: list[str]) -> None:
    world, healing = stopped()
    assert ("host_up", "win-1") in world.metrics.standing
    back = at(world, world.runtime.at + hours * HOUR_MS - 30 * MINUTE_MS, world.hosts.down.clear)
    control = healed(UNREACHABLE, Tried(world, [*healing.jobs(), back]), host="win-1")
    assert orders(world) == ended
    assert world.hosts.stopped == set()
    assert ("Recovery/4" in control.steps) is (len(ended) == 2)


def test_a_host_that_answered_in_the_meantime_is_only_verified() -> None:
    world, healing = stopped(down=False)
    world.work(healing)
    before = tables(world)
    control = healed(UNREACHABLE, Tried(world), host="win-1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]
    assert tables(world) == before


def test_a_host_that_stays_away_and_one_that_no_order_heals_are_handed_on() -> None:
    world, healing = stopped()
    handed_on(UNREACHABLE, Tried(world, list(healing.jobs())), "Recovery/1", host="win-1")
    world, healing = stopped(down=False)
    world.hosts.broken = {("win-1", "ingestion")}
    handed_on(UNREACHABLE, Tried(world, list(healing.jobs())), "Recovery/6", host="win-1")
    assert orders(world) == ["EXPIRED", "EXPIRED"]


def test_another_order_that_is_refused_leaves_everything_as_it_was() -> None:
    world, healing = stopped()
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    before = tables(world)
    handed_on(UNREACHABLE, Tried(world, refused={"Recovery/4": REFUSED}), "Recovery/4", host="win-1")
    assert tables(world) == before


# --- healing_rule_never_succeeds --------------------------------------------------------------------------------------

RULE = "healing_rule_never_succeeds"


def in_vain() -> tuple[RunbookWorld, HealingService]:
    """The only order there was ended in vain, for its host was down; it answers again."""
    world, healing = stopped()
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    assert standing(world, healing, "healing_rule_failed_timestamp_seconds") == [(WIN,)]
    return world, healing


def test_a_rule_whose_host_was_down_heals_it_when_it_answers() -> None:
    world, healing = in_vain()
    control = healed(RULE, Tried(world, list(healing.jobs())), rule_id=WIN)
    assert orders(world) == ["EXPIRED", "COMPLETED"]
    assert "Recovery/3" in control.steps
    assert standing(world, healing, "healing_rule_failed_timestamp_seconds") == []


def test_every_incident_that_a_rule_left_is_ordered_again() -> None:
    world, healing = stopped()
    world.hosts.stopped.add(("win-1", "app"))
    world.report(healing, "win-1", "app")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    control = healed(RULE, Tried(world, list(healing.jobs())), rule_id=WIN)
    assert control.steps.count("Recovery/3") == 2
    assert sorted(orders(world)) == ["COMPLETED", "COMPLETED", "EXPIRED", "EXPIRED"]


def test_a_rule_that_has_succeeded_or_left_nothing_is_only_verified() -> None:
    world, healing = stopped(down=False)
    world.work(healing)
    assert healed(RULE, Tried(world), rule_id=WIN).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]
    before = tables(world := RunbookWorld())
    healed(RULE, Tried(world), rule_id=WIN)
    assert tables(world) == before


def test_a_rule_that_does_not_heal_a_host_that_answers_is_handed_on() -> None:
    world, healing = in_vain()
    world.hosts.broken = {("win-1", "ingestion")}
    handed_on(RULE, Tried(world, list(healing.jobs())), "Recovery/5", rule_id=WIN)
    assert orders(world) == ["EXPIRED", "EXPIRED"]
    world, healing = in_vain()
    before = tables(world)
    handed_on(RULE, Tried(world, refused={"Recovery/3": REFUSED}), "Recovery/3", rule_id=WIN)
    assert tables(world) == before


ORDERED_BY = [
    (UNREACHABLE, "Recovery/4", {"host": "win-1"}),
    (ORDER, "Recovery/4", {"host": "win-1"}),
    (RULE, "Recovery/3", {"rule_id": WIN}),
]
"""Each runbook that orders again, the step in which it does, and the labels of its alert."""


@pytest.mark.parametrize(("runbook", "step", "labels"), ORDERED_BY)
@pytest.mark.parametrize("how", ["lost", "dropped"])
def test_an_order_without_an_answer_is_asked_for_again_if_there_is_none(
    runbook: str, step: str, labels: dict[str, str], how: str
) -> None:
    world, healing = in_vain()
    unanswered: dict[str, Any] = {how: [step]}
    control = healed(runbook, Tried(world, list(healing.jobs()), **unanswered), **labels)
    assert orders(world) == ["EXPIRED", "COMPLETED"]
    assert control.steps.count(step) == (2 if how == "dropped" else 1)


@pytest.mark.parametrize(("runbook", "labels"), [(runbook, labels) for runbook, _, labels in ORDERED_BY])
def test_a_host_that_is_away_while_one_order_follows_another_is_waited_for(
    runbook: str, labels: dict[str, str]
) -> None:
    """Its agent goes on reporting, or others ask: an order is open all the time."""
    world, healing = stopped()
    now, every = world.runtime.at, ORDER_LIFE_MS + MINUTE_MS
    again = [
        at(world, now + n * every - HOUR_MS, lambda: world.report(healing, "win-1", "ingestion")) for n in range(1, 5)
    ]
    back = at(world, now + 8 * HOUR_MS, world.hosts.down.clear)
    healed(runbook, Tried(world, [*healing.jobs(), *again, back]), **labels)
    assert orders(world) == ["EXPIRED"] * 4 + ["COMPLETED"]
    assert world.hosts.stopped == set()


# --- host_incident_unmatched ------------------------------------------------------------------------------------------

UNMATCHED = "host_incident_unmatched"


def strange(check: str = "disk_health") -> tuple[RunbookWorld, HealingService]:
    """An agent has reported a check that no rule heals."""
    world = RunbookWorld()
    healing = world.life(HealingService)
    world.report(healing, "win-1", "C:", check)
    assert standing(world, healing, "host_incident_unmatched_timestamp_seconds") == [("win-1", check)]
    return world, healing


def incidents(world: RunbookWorld) -> list[str]:
    return [row["status"] for row in world.rows("select status from incidents order by reported_at")]


def test_an_incident_without_a_rule_is_looked_into_and_ended_on_record() -> None:
    world, healing = strange()
    control = healed(UNMATCHED, Tried(world, list(healing.jobs())), host="win-1", check="disk_health")
    assert incidents(world) == ["RESOLVED"]
    assert standing(world, healing, "host_incident_unmatched_timestamp_seconds") == []
    [ended] = [row for row in world.audited("incidents.update") if '"RESOLVED"' in row["after"]]
    assert ended["actor"] == "ops:kim"
    assert "disk_health was looked into" in ended["reason"]
    assert "Recovery/1" not in control.steps


def test_a_host_with_a_wrong_clock_takes_the_time_first() -> None:
    world, healing = strange("secure_channel")
    world.hosts.ahead_s = {"win-1": -400}
    control = healed(UNMATCHED, Tried(world, list(healing.jobs())), host="win-1", check="secure_channel")
    assert world.hosts.ahead_s == {}
    assert "Recovery/1" in control.steps


def test_an_incident_that_was_ended_in_the_meantime_is_only_verified() -> None:
    world = RunbookWorld()
    control = healed(UNMATCHED, Tried(world), host="win-1", check="disk_health")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_check_that_goes_on_failing_is_handed_on_with_its_incident_open() -> None:
    world, healing = strange()
    goes_on = at(world, world.runtime.at + 10 * MINUTE_MS, lambda: world.report(healing, "win-1", "C:", "disk_health"))
    jobs = [*healing.jobs(), goes_on]
    handed_on(UNMATCHED, Tried(world, jobs), "Verification/1", host="win-1", check="disk_health")
    assert sorted(incidents(world)) == ["OPEN", "RESOLVED"]
    [told] = world.rows("select output from runbook_execution_steps where section = 'Rollback'")
    assert told["output"].endswith(" status=RESOLVED changed=no\n"), "another is open for it"


@pytest.mark.parametrize("step", ["Recovery/6", "Verification/2"])
def test_an_incident_that_was_ended_is_opened_again_when_a_later_step_fails(step: str) -> None:
    world, healing = strange()
    before = world.rows("select * from incidents")
    control = Tried(world, list(healing.jobs()), refused={step: REFUSED})
    handed_on(UNMATCHED, control, step, host="win-1", check="disk_health")
    assert world.rows("select * from incidents") == before
    assert standing(world, healing, "host_incident_unmatched_timestamp_seconds") == [("win-1", "disk_health")]


def test_a_host_whose_service_nobody_could_start_is_handed_on() -> None:
    world, healing = strange()
    world.hosts.stopped, world.hosts.broken = {("win-1", "app")}, {("win-1", "app")}
    world.report(healing, "win-1", "app")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    handed_on(UNMATCHED, Tried(world), "Diagnosis/3", host="win-1", check="disk_health")
    assert incidents(world) == ["OPEN", "OPEN"]


def test_only_what_no_rule_heals_is_ended_by_hand() -> None:
    world, _ = stopped(down=False)
    execution = world.start()
    [incident] = [row["incident_id"] for row in world.rows("select incident_id from incidents")]
    for verb in ("resolve", "reopen"):
        output = world.opsctl(f"incidents {verb} {incident} --reason no", execution)
        assert (output.status, output.text) == (1, f"error: incident {incident} ends with an order of {WIN}\n")
    assert incidents(world) == ["OPEN"]


# --- host_clock_skew --------------------------------------------------------------------------------------------------

SKEW = "host_clock_skew"


def wrong(**ahead_s: int) -> RunbookWorld:
    world = RunbookWorld()
    world.hosts.ahead_s = {host.replace("_", "-"): seconds for host, seconds in ahead_s.items()}
    return world


@pytest.mark.parametrize("ahead_s", [{"win_1": 900}, {"lin_1": -60}, {"lin_1": 31, "win_1": -31}])
def test_every_clock_that_is_wrong_is_set_right(ahead_s: dict[str, int]) -> None:
    world = wrong(**ahead_s)
    control = healed(SKEW, Tried(world), job="app")
    assert world.hosts.ahead_s == {}
    assert control.steps.count("Recovery/2") == len(ahead_s)
    assert [row["subject"] for row in world.audited("ops.hosts_sync")] == ["admin/api/admin/hosts/sync"] * len(ahead_s)


def test_clocks_that_are_right_by_now_are_left_alone() -> None:
    world = wrong(lin_1=3)
    assert "Recovery/2" not in healed(SKEW, Tried(world), job="ingestion").steps
    assert world.hosts.ahead_s == {"lin-1": 3}
    world = wrong(lin_1=300)
    control = Tried(world, meanwhile={"Recovery/1": world.hosts.ahead_s.clear})
    assert "Recovery/2" not in healed(SKEW, control, job="app").steps


def test_a_host_that_does_not_answer_is_waited_for_and_then_set() -> None:
    world = wrong(win_1=120)
    world.hosts.down = {"win-1": ConnectionFailed("down")}
    back = at(world, world.runtime.at + 5 * HOUR_MS, world.hosts.down.clear)
    control = healed(SKEW, Tried(world, [back]), job="ingestion")
    assert world.hosts.ahead_s == {}
    assert "Diagnosis/2" in control.steps


def test_an_answer_that_is_lost_is_looked_for_on_the_clock() -> None:
    world = wrong(win_1=120)
    control = healed(SKEW, Tried(world, lost=["Recovery/2"]), job="ingestion")
    assert control.steps.count("Recovery/2") == 1


@pytest.mark.parametrize("harm", ["broken", "drifts"])
def test_a_clock_that_cannot_be_set_is_handed_on(harm: str) -> None:
    world = wrong(win_1=120)
    before = tables(world)
    more: dict[str, Any] = {}
    if harm == "broken":
        world.hosts.broken_clocks = {"win-1"}
    else:
        more["meanwhile"] = {"Recovery/3": lambda: world.hosts.ahead_s.update({"win-1": 90})}
    handed_on(SKEW, Tried(world, **more), "Recovery/2" if harm == "broken" else "Recovery/3", job="ingestion")
    assert tables(world) == before
