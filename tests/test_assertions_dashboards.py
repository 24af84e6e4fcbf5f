"""The judge on dashboards: what is excused, and for how long. What is not excused stands in broken_runs/watching.py."""

from __future__ import annotations

import json

import pytest

from assertions.dashboard_errors import TAKEN_WITHIN_MS
from assertions.dashboards import LEARNT_WITHIN_MS, POLL_TAKEN_WITHIN_MS, TOLD_WITHIN_MS
from assertions.judge import discover
from assertions.model import REGISTRY, Status, judge_one
from assertions.outlook import RECENT
from tests.support.broken_runs import watching
from tests.support.broken_runs.change import add, remove, row
from tests.support.broken_runs.watching import look, says
from tests.support.fake_evidence import FakeEvidence
from tests.support.observed import DAY, LOOKS_AT
from tests.support.operated import INCIDENT
from tests.support.small_run import HOUR, T0, small_run

discover()
PASS, FAIL = Status.PASS, Status.FAIL


def status(evidence: FakeEvidence, name: str) -> Status:
    return judge_one(REGISTRY[f"dashboards.{name}"], evidence).status  # type: ignore[arg-type]


def with_a_fault(evidence: FakeEvidence, from_at: int, until_at: int, **more: object) -> None:
    window = {"id": "f3", "from_at": from_at, "until_at": until_at, **more}
    fault = evidence.plan.faults[1].model_copy(update=window)
    evidence.plan = evidence.plan.model_copy(update={"faults": [*evidence.plan.faults, fault]})


@pytest.mark.parametrize(("kind", "expected"), [("fault", PASS), ("violation", FAIL)])
def test_a_look_that_went_unanswered_is_excused_by_a_fault_and_by_no_violation(kind: str, expected: Status) -> None:
    evidence = small_run()
    watching.a_dashboard_that_did_not_show_on_a_quiet_day(evidence)
    with_a_fault(evidence, T0 + DAY, T0 + DAY + HOUR, kind=kind)
    assert status(evidence, "sampled") is expected


def test_a_look_that_went_unanswered_is_not_excused_by_a_fault_of_another_day() -> None:
    evidence = small_run()
    watching.a_dashboard_that_did_not_show_on_a_quiet_day(evidence)
    with_a_fault(evidence, T0 + 2 * DAY, T0 + 2 * DAY + HOUR)
    assert status(evidence, "sampled") is FAIL


@pytest.mark.parametrize(("later_ms", "expected"), [(0, PASS), (-1, FAIL)])
def test_a_row_that_came_at_the_same_instant_may_be_before_or_after_the_page(later_ms: int, expected: Status) -> None:
    evidence = small_run()
    seq = look_seq(evidence)
    evidence.books["platform.audit_log"][seq]["at"] = look(evidence, "errors", 2)["at"] + 200 + later_ms
    assert status(evidence, "of_one_instant") is expected


def look_seq(evidence: FakeEvidence) -> int:
    seq: int = json.loads(look(evidence, "errors", 2)["body"])["items"][0]["audit_seq"]
    return seq


@pytest.mark.parametrize(("early_ms", "expected"), [(1, FAIL), (-1, PASS)])
def test_the_platform_has_two_hours_to_learn_what_happened_at_the_processor(early_ms: int, expected: Status) -> None:
    evidence = small_run()
    made = look(evidence, "operational", 2)["at"] + 200 - LEARNT_WITHIN_MS - early_ms
    add(evidence, "processor.disputes", dispute_id="dp_1", created_at=made, closed_at=made + LEARNT_WITHIN_MS + 100)
    del evidence.books["processor.disputes"][0]["n"]
    assert status(evidence, "money_as_at_the_processor") is expected


@pytest.mark.parametrize(("before_ms", "expected"), [(POLL_TAKEN_WITHIN_MS - 1, PASS), (POLL_TAKEN_WITHIN_MS, FAIL)])
def test_an_answer_of_just_now_may_or_may_not_have_been_taken_in(before_ms: int, expected: Status) -> None:
    evidence = small_run()
    told_at = look(evidence, "contests", 3)["at"] + 200
    add(evidence, "provider.requests", at=told_at - before_ms, event_id="ev1", status=200, revision=1, cells=0)
    assert status(evidence, "lag_as_polled") is expected


def test_a_lag_is_no_shorter_for_answers_that_were_lost_or_lies() -> None:
    for how in ({"answered": False}, {"glitch": "empty"}, {"status": 500}):
        evidence = small_run()
        told_at = look(evidence, "contests", 3)["at"] + 200
        served = {"event_id": "ev1", "status": 200, "revision": 1, "cells": 0, "at": told_at - HOUR, **how}
        add(evidence, "provider.requests", **served)
        assert status(evidence, "lag_as_polled") is PASS, how


@pytest.mark.parametrize(("since", "expected"), [(1, FAIL), (2, PASS)])
def test_an_old_answer_is_as_good_as_any_if_it_is_as_old_as_what_was_asked_from(since: int, expected: Status) -> None:
    """A page that shows the lag without it is wrong then."""
    evidence = small_run()
    told_at = look(evidence, "contests", 3)["at"] + 200
    served = {"event_id": "ev1", "status": 200, "since_revision": since, "revision": 1, "cells": 0, "glitch": "stale"}
    add(evidence, "provider.requests", at=told_at - HOUR, **served)
    assert status(evidence, "lag_as_polled") is expected


@pytest.mark.parametrize("shown", [True, False])
def test_an_incident_opened_while_the_page_was_made_may_be_on_it_or_not(shown: bool) -> None:
    evidence = small_run()
    at = look(evidence, "operational", 1)["at"] + 100
    opened = {"at": at, "action": "trigger", "dedup_key": "k", "severity": "error", "details": "{}"}
    events = [opened, {**opened, "at": at + HOUR, "action": "resolve"}, *evidence.books["pager.events"]]
    evidence.books["pager.events"] = [{**event, "n": n} for n, event in enumerate(events, 1)]
    if shown:
        incident = {"dedup_key": "k", "status": "triggered", "since_at": at}
        says(evidence, "operational", 1, lambda body: body["alerts"].append(incident))
    assert status(evidence, "alerts_are_the_pagers") is PASS
    evidence.books["pager.events"][0]["at"] = at - HOUR
    assert status(evidence, "alerts_are_the_pagers") is (PASS if shown else FAIL)


@pytest.mark.parametrize(("after_ms", "expected"), [(TOLD_WITHIN_MS, PASS), (TOLD_WITHIN_MS + 1, FAIL)])
def test_an_end_is_in_the_notebook_before_the_platform_is_told(after_ms: int, expected: Status) -> None:
    evidence = small_run()
    row(evidence, "operator.notebook", action="completed")["at"] = look(evidence, "audit", 5)["at"] + 200 - after_ms
    says(evidence, "audit", 5, lambda body: body["executions"][0].update(status="in_progress"))
    assert status(evidence, "executions_as_noted") is expected


@pytest.mark.parametrize(("left_out", "expected"), [(0, PASS), (-1, FAIL)])
def test_a_list_of_executions_that_is_full_shows_the_newest(left_out: int, expected: Status) -> None:
    evidence = small_run()
    until_at = look(evidence, "audit", 0)["at"]
    begun = [{"id": f"x{n}", "runbook_name": "payout_stuck", "status": "in_progress"} for n in range(RECENT + 1)]
    for hours, one in enumerate(reversed(begun), 1):
        started = {"action": "started", "execution_id": one["id"], "runbook": one["runbook_name"]}
        add(
            evidence,
            "operator.notebook",
            **{**row(evidence, "operator.notebook"), **started, "at": until_at - hours * HOUR},
        )
    shown = [one for place, one in enumerate(begun) if place != left_out % len(begun)]
    days = len([one for one in evidence.books["observer.dashboards"] if one["dashboard"] == "audit"])
    for day in range(days):
        says(evidence, "audit", day, lambda body: body.update(executions=shown))
    evidence.books["operator.notebook"] = [
        one for one in evidence.books["operator.notebook"] if one["execution_id"][0] == "x"
    ]
    assert status(evidence, "executions_as_noted") is expected


def test_denials_are_not_counted_on_a_day_on_which_the_way_to_the_identity_provider_was_broken() -> None:
    evidence = small_run()
    watching.denials_that_are_not_shown(evidence)
    with_a_fault(evidence, T0, T0 + LOOKS_AT, seam="auth")
    assert status(evidence, "errors_as_others_saw") is PASS


def test_a_503_that_something_in_front_of_the_platform_answered_is_none_of_its_failures() -> None:
    evidence = small_run()
    watching.failures_that_are_not_shown(evidence)
    assert status(evidence, "errors_as_others_saw") is FAIL
    for delivery in evidence.books["processor.deliveries"]:
        if delivery["status"] == 503:
            delivery["note"] = "refused"
    assert status(evidence, "errors_as_others_saw") is PASS


def test_what_came_in_the_last_moments_need_not_be_counted_yet() -> None:
    evidence = small_run()
    told_at = look(evidence, "errors", 1)["at"] + 200
    delivery = row(evidence, "processor.deliveries", event_id="evt_c1-u1")
    add(evidence, "processor.deliveries", **{**delivery, "n": 90, "status": 503, "at": told_at - TAKEN_WITHIN_MS + 1})
    says_later = [one for one in evidence.books["observer.dashboards"] if one["dashboard"] == "errors"][2:]
    for later in says_later:
        evidence.books["observer.dashboards"].remove(later)
    assert status(evidence, "errors_as_others_saw") is PASS
    remove(evidence, "processor.deliveries", n=90)
    add(evidence, "processor.deliveries", **{**delivery, "n": 90, "status": 503, "at": told_at - TAKEN_WITHIN_MS})
    assert status(evidence, "errors_as_others_saw") is FAIL


def test_the_small_run_has_an_incident_on_its_operational_page() -> None:
    """Otherwise breaking it would prove little."""
    assert "late_correction:c1" in look(small_run(), "operational", 6)["body"]
    assert INCIDENT not in look(small_run(), "operational", 6)["body"]
