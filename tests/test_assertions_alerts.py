"""The judge on alerts: until when a fault has to be told, read from the rules' own text, and what excuses whom."""

from __future__ import annotations

from typing import Any

import pytest

from assertions.alerts import NOTICED_WITHIN_MS, WOKEN_WITHIN_MS, bound_ms, rules
from assertions.judge import discover
from assertions.model import REGISTRY, Result, Status, judge_one
from assertions.words import HOUR_MS, MINUTE_MS
from operations.alerts import AlertRule
from simulator.operations import shipped
from tests.support.broken_runs.change import add, row
from tests.support.broken_runs.scores import rotten
from tests.support.broken_runs.watching import an_alert_in_a_quiet_night, missed
from tests.support.fake_evidence import FakeEvidence
from tests.support.operated import EXECUTION, INCIDENT, OPS
from tests.support.small_run import DAY, T0, small_run

discover()


def result(evidence: FakeEvidence, assertion: str) -> Result:
    return judge_one(REGISTRY[assertion], evidence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "waits_ms"),
    [
        ({"expr": "up == 0"}, 0),
        ({"expr": "up == 0", "for": "15m"}, 15 * MINUTE_MS),
        ({"expr": "time() - seen_timestamp_seconds > 3600"}, HOUR_MS),
        ({"expr": 'time() - seen_timestamp_seconds{a="b"} > 60', "for": "1h30m"}, 91 * MINUTE_MS),
        ({"expr": "time() - failed_timestamp_seconds < 86400"}, 0),
        ({"expr": "increase(failures_total[10m]) > 0"}, 0),
    ],
    ids=str,
)
def test_a_rule_has_to_fire_as_soon_as_its_own_text_allows(rule: dict[str, Any], waits_ms: int) -> None:
    assert bound_ms([rule]) == waits_ms + NOTICED_WITHIN_MS


def test_of_several_rules_the_slowest_counts() -> None:
    assert bound_ms([{"expr": "up == 0"}, {"expr": "up == 0", "for": "2h"}]) == 2 * HOUR_MS + NOTICED_WITHIN_MS


def test_the_rules_of_this_house_are_all_read_and_wait_as_the_engine_has_them_wait() -> None:
    evidence = small_run()
    evidence.texts["alerts"] = {
        path.removeprefix("alerts/"): content.decode()
        for path, content in shipped().documents.items()
        if path.startswith("alerts/")
    }
    read = rules(evidence)  # type: ignore[arg-type]
    known = [rule for group in shipped().groups for rule in group.rules if isinstance(rule, AlertRule)]
    assert sorted(read) == sorted({rule.name for rule in known})
    assert sum(map(len, read.values())) == len(known)
    for rule in known:
        assert bound_ms(read[rule.name]) >= rule.for_ms + NOTICED_WITHIN_MS


def test_an_attack_explains_an_alert_for_an_hour() -> None:
    for after_ms, status in ((0, Status.PASS), (HOUR_MS, Status.PASS), (HOUR_MS + 1, Status.FAIL)):
        evidence = small_run()
        an_alert_in_a_quiet_night(evidence)
        assert result(evidence, "alerts.none_without_incident").status is Status.FAIL
        evidence = small_run()
        an_alert_in_a_quiet_night(evidence)
        row(evidence, "attacker.posts")["at"] = T0 + DAY - after_ms
        assert result(evidence, "alerts.none_without_incident").status is status, after_ms


def test_a_violation_explains_what_it_sets_off() -> None:
    evidence = small_run()
    an_alert_in_a_quiet_night(evidence)
    fault = evidence.plan.faults[0].model_copy(update={"id": "f3", "kind": "violation", "from_at": T0 + HOUR_MS})
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, fault]})
    assert result(evidence, "alerts.none_without_incident").status is Status.PASS


@pytest.mark.parametrize(
    ("at_ms", "status"), [(-1, Status.FAIL), (0, Status.PASS), (2 * HOUR_MS, Status.PASS), (3 * HOUR_MS, Status.FAIL)]
)
def test_the_watchdog_may_be_missed_while_alerting_stands_still_by_the_plan(at_ms: int, status: Status) -> None:
    evidence = small_run()
    window = {"from_at": T0 + DAY, "until_at": T0 + DAY + 2 * HOUR_MS, "seam": "monitoring"}
    fault = evidence.plan.faults[0].model_copy(update={"id": "f3", **window})
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, fault]})
    missed(evidence, T0 + DAY + at_ms)
    assert result(evidence, "alerts.watchdog").status is status


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (MINUTE_MS, Status.FAIL)])
def test_while_alerting_stands_still_no_alert_is_late(late_ms: int, status: Status) -> None:
    evidence = small_run()
    bitten_at = min(row["at"] for row in evidence.books["injector.bites"] if row["fault_id"] == "f1")
    [fault] = [one for one in evidence.plan.faults if one.id == "f1"]
    waits_ms = bound_ms(rules(evidence)["PayoutTransferStuck"])  # type: ignore[arg-type]
    fires = row(evidence, "monitoring.alerts", dedup_key=INCIDENT, state="firing")
    fires["at"] = max(bitten_at, fault.until_at or 0) + waits_ms + HOUR_MS + late_ms
    assert result(evidence, "alerts.incidents_raised").status is Status.FAIL
    window = {"from_at": bitten_at - HOUR_MS, "until_at": bitten_at + HOUR_MS, "seam": "monitoring"}
    stop = evidence.plan.faults[0].model_copy(
        update={"id": "f3", **window, "recovery": fault.recovery.model_copy(update={"by": "itself"})}
    )
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, stop]})
    assert result(evidence, "alerts.incidents_raised").status is status


def test_what_a_disk_made_wrong_and_ops_put_right_is_no_mistake_of_the_platforms() -> None:
    evidence = small_run()
    rotten(evidence, 0)
    assert result(evidence, "ingestion.scores_are_audited").status is Status.PASS


def late_page(evidence: FakeEvidence, late_ms: int) -> None:
    """A page on a quiet day that is taken so much later than somebody with empty hands takes it."""
    at = T0 + DAY
    labels = '{"alertname":"IngestionLag","severity":"error"}'
    details = '{"labels":{},"runbook_url":"runbooks/payout_stuck.md"}'
    said = {"dedup_key": "IngestionLag", "severity": "error"}
    events = [("trigger", at, details), ("acknowledge", at + WOKEN_WITHIN_MS + late_ms, "{}")]
    made = [{**said, "at": when, "action": action, "details": about} for action, when, about in events]
    evidence.books["pager.events"] = [
        {**event, "n": n} for n, event in enumerate([*made, *evidence.books["pager.events"]], 1)
    ]
    add(evidence, "monitoring.alerts", at=at, alert="IngestionLag", dedup_key="IngestionLag", labels=labels,
        state="firing", active_at=at)  # fmt: skip


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (1, Status.FAIL)])
def test_whoever_has_empty_hands_has_half_an_hour(late_ms: int, status: Status) -> None:
    evidence = small_run()
    late_page(evidence, late_ms)
    assert result(evidence, "alerts.acknowledged").status is status


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (1, Status.FAIL)])
def test_whoever_is_at_something_else_ends_it_first(late_ms: int, status: Status) -> None:
    evidence = small_run()
    busy_ms = 50 * MINUTE_MS
    late_page(evidence, busy_ms + late_ms)
    note = row(evidence, "operator.notebook", action="started")
    for action, at in (("started", T0 + DAY - MINUTE_MS), ("completed", T0 + DAY + busy_ms)):
        other = {**note, "at": at, "action": action, "execution_id": f"{EXECUTION}_before", "incident": "daily"}
        add(evidence, "operator.notebook", **{**other, "n": 90 + (action == "completed")})
    assert row(evidence, "operator.notebook", incident=INCIDENT)["principal"] == OPS
    assert result(evidence, "alerts.acknowledged").status is status


def waits(evidence: FakeEvidence, runbook: str, *, looks_ms: list[int], busy_ms: int = 0) -> None:
    """An execution of `runbook` that has waited for the clock since before the page of `late_page`, and has looked
    again so long after it. Before each look somebody was called away for `busy_ms`."""
    note = row(evidence, "operator.notebook", action="started")
    execution = {**note, "execution_id": f"{EXECUTION}_before", "incident": "other", "runbook": runbook}
    notes = [(-HOUR_MS, "started", None), (-HOUR_MS + MINUTE_MS, "step", "not yet")]
    for look_ms in looks_ms:
        notes += [(look_ms - busy_ms, "called_away", None)] * bool(busy_ms) + [(look_ms, "step", "not yet")]
    notes += [(looks_ms[-1] + 15 * MINUTE_MS, "step", "expected"), (looks_ms[-1] + 16 * MINUTE_MS, "completed", None)]
    for n, (after_ms, action, matched) in enumerate(notes):
        told = {**execution, "n": 90 + n, "at": T0 + DAY + after_ms, "action": action, "matched": matched}
        add(evidence, "operator.notebook", **told)


EACH_QUARTER_MS = [n * 15 * MINUTE_MS for n in range(24)]


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (1, Status.FAIL), (5 * HOUR_MS, Status.FAIL)])
def test_a_runbook_that_waits_for_the_clock_fills_nobodys_hands(late_ms: int, status: Status) -> None:
    evidence = small_run()
    waits(evidence, "processor_outage", looks_ms=EACH_QUARTER_MS)
    late_page(evidence, late_ms)
    assert result(evidence, "alerts.acknowledged").status is status


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (1, Status.FAIL)])
def test_whoever_is_called_away_from_a_look_has_full_hands_for_so_long(late_ms: int, status: Status) -> None:
    evidence = small_run()
    waits(evidence, "processor_outage", looks_ms=[2 * HOUR_MS], busy_ms=100 * MINUTE_MS)
    late_page(evidence, 100 * MINUTE_MS + late_ms)
    assert result(evidence, "alerts.acknowledged").status is status


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (1, Status.FAIL)])
def test_a_page_waits_until_the_runbook_that_it_leads_to_is_closed(late_ms: int, status: Status) -> None:
    evidence = small_run()
    waits(evidence, "payout_stuck", looks_ms=EACH_QUARTER_MS)
    late_page(evidence, EACH_QUARTER_MS[-1] + 16 * MINUTE_MS + late_ms)
    assert result(evidence, "alerts.acknowledged").status is status


def test_no_fault_excuses_a_page_that_lies() -> None:
    evidence = small_run()
    window = {"from_at": T0 + DAY - HOUR_MS, "until_at": T0 + DAY + HOUR_MS}
    fault = evidence.plan.faults[0].model_copy(update={"id": "f3", **window})
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, fault]})
    late_page(evidence, 1)
    assert result(evidence, "alerts.acknowledged").status is Status.FAIL


@pytest.mark.parametrize(("late_ms", "status"), [(0, Status.PASS), (MINUTE_MS, Status.FAIL)])
def test_who_came_before_is_seen_to_first_and_has_as_long(late_ms: int, status: Status) -> None:
    evidence = small_run()
    late_page(evidence, WOKEN_WITHIN_MS + late_ms)
    [trigger] = [event for event in evidence.books["pager.events"] if event["at"] == T0 + DAY]
    for n, (action, at) in enumerate((("trigger", trigger["at"]), ("acknowledge", trigger["at"] + WOKEN_WITHIN_MS))):
        add(evidence, "pager.events", **{**trigger, "n": n - 9, "at": at, "action": action, "dedup_key": "Other"})
    evidence.books["pager.events"].sort(key=lambda event: event["n"])
    assert result(evidence, "alerts.acknowledged").status is status


@pytest.mark.parametrize(
    ("over_ms", "late_ms", "status"), [(0, 0, Status.PASS), (0, 1, Status.FAIL), (1, 1, Status.PASS)]
)
def test_what_another_fault_keeps_from_the_platform_is_told_of_once_that_is_over(
    over_ms: int, late_ms: int, status: Status
) -> None:
    """Its own recovery, two hours here, excuses no fault."""
    evidence = small_run()
    first = evidence.plan.faults[0]
    bitten_at = row(evidence, "injector.bites", fault_id=first.id)["at"]
    until_at = bitten_at + bound_ms([{"expr": "time() - a > 60", "for": "1m"}])
    recovery = first.recovery.model_copy(update={"within_s": 0})
    other = first.model_copy(
        update={"id": "f3", "from_at": bitten_at, "until_at": until_at + over_ms, "recovery": recovery}
    )
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, other]})
    row(evidence, "monitoring.alerts", dedup_key=INCIDENT, state="firing")["at"] = until_at + late_ms
    assert result(evidence, "alerts.incidents_raised").status is status
