"""The dashboards as the platform serves them: what the lists say at one instant, and the alerts the pager knows."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.budget import MAY_FAIL, REQUESTS_MIN, ErrorBudget
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded
from tests.support.admin_world import KIM, AdminWorld
from tests.support.metrics import KeptMetrics
from tests.support.prepared import an_execution, prepared

DASHBOARDS = ("operational", "contests", "audit", "errors")
DAY_MS = 24 * HOUR_MS


@pytest.fixture(scope="module")
def world() -> AdminWorld:
    made = prepared()
    an_execution(made)
    return made


def page(world: AdminWorld, name: str) -> Any:
    response = world.call("GET", f"dashboards/{name}")
    assert response.status == 200, response
    return response.body


def listed(world: AdminWorld, path: str, **query: str) -> Any:
    return world.call("GET", path, query=query).body


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_page_tells_its_instant_and_the_last_audit_row_and_changes_nothing(world: AdminWorld, name: str) -> None:
    before = world.whole()
    [last] = world.rows("select max(seq) as seq from audit_log")
    item = page(world, name)["items"][0]
    assert (item["at"], item["audit_seq"]) == (world.runtime.at, last["seq"])
    assert world.whole() == before
    assert world.rows("select max(seq) as seq from audit_log") == [last]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_page_is_for_ops_and_for_no_customer(world: AdminWorld, name: str) -> None:
    assert world.call("GET", f"dashboards/{name}", principal="customer:ann").status == 403
    assert world.call("POST", f"dashboards/{name}").status == 405
    assert world.call("GET", f"dashboards/{name}", query={"limit": "5"}).status == 400


def test_the_operational_page_is_the_state_the_pagers_incidents_and_the_executions_that_failed(
    world: AdminWorld,
) -> None:
    body = page(world, "operational")
    state = listed(world, "state")
    assert {name: body["items"][0][name] for name in state} == state
    assert state["transfers_paid"] == 1
    assert body["alerts"] == [
        {"dedup_key": one.dedup_key, "status": one.status, "since_at": one.since_at} for one in world.pager.open
    ] != []  # fmt: skip
    failed = listed(world, "runbooks", status="failed")["items"]
    assert [row["id"] for row in body["escalations"]] == [row["id"] for row in failed] != []


@pytest.mark.parametrize("down", [ConnectionFailed("away"), DeadlineExceeded("slow")], ids=["away", "slow"])
def test_a_pager_that_does_not_say_is_told_and_taken_for_no_silence(down: Exception) -> None:
    world = prepared()
    world.pager.down = down
    body = page(world, "operational")
    assert (body["items"][0]["pager_answers"], body["alerts"]) == (False, [])
    assert body["items"][0]["contests_settled"] == 1


def test_executions_that_went_well_are_no_escalation_and_partial_ones_are() -> None:
    world = prepared()
    ends = {}
    for status in ("completed", "partial", "failed"):
        execution_id = world.start()
        world.runtime.at += 1_000
        error = {} if status == "completed" else {"error_reason": "no"}
        response = world.call("POST", "runbooks/complete", {"execution_id": execution_id, "status": status, **error})
        assert response.status == 200, response
        ends[status] = execution_id
    told = [row["id"] for row in page(world, "operational")["escalations"]]
    assert told == [ends["failed"], ends["partial"]], "the newest first"


def test_the_contest_page_has_what_is_not_over_with_the_lag_of_its_feed(world: AdminWorld) -> None:
    body = page(world, "contests")
    contests = {row["contest_id"]: row for row in listed(world, "contests")["items"]}
    feeds = {row["tournament_id"]: row for row in listed(world, "ingestion/status")["items"]}
    assert [row["contest_id"] for row in body["contests"]] == sorted(contests)
    for row in body["contests"]:
        feed = feeds[row["tournament_id"]]
        assert row["status"] == contests[row["contest_id"]]["status"]
        assert [row[name] for name in ("in_play", "lag_s", "last_success_at")] == [
            feed[name] for name in ("in_play", "lag_s", "last_success_at")
        ]


@pytest.mark.parametrize("status", ["PAID_OUT", "CANCELLED"])
def test_a_contest_that_is_over_is_not_shown(status: str) -> None:
    world = prepared()
    world.connection.execute("update contests set status = ? where contest_id = 'c2'", (status,))
    assert [row["contest_id"] for row in page(world, "contests")["contests"]] == ["c1"]


def test_a_contest_that_should_have_gone_on_says_what_it_waits_for() -> None:
    world = prepared()
    [c2] = world.rows("select lock_at from contests where contest_id = 'c2'")
    world.runtime.at = c2["lock_at"] + HOUR_MS
    waits = {row["contest_id"]: row["waits_for"] for row in page(world, "contests")["contests"]}
    assert waits["c2"] == "lock"


def test_the_audit_page_has_the_newest_of_each_list(world: AdminWorld) -> None:
    body = page(world, "audit")
    tail = listed(world, "audit/tail", limit="20")["items"]
    assert [row["seq"] for row in body["operations"]] == [row["seq"] for row in tail]
    assert len(body["operations"]) == 20
    changes = listed(world, "audit/tail", action="contests.update")["items"]
    assert [(row["seq"], row["after"]) for row in body["state_changes"]] == [
        (row["seq"], row["after"]) for row in changes
    ]
    executions = listed(world, "runbooks")["items"]
    assert [row["id"] for row in body["executions"]] == [row["id"] for row in executions]


def errors(world: AdminWorld) -> dict[tuple[str, str], int]:
    return {(row["source"], row["code"]): row["errors"] for row in page(world, "errors")["errors"]}


def test_the_error_page_counts_refusals_denials_and_failed_attempts_of_the_last_day() -> None:
    world = prepared()
    before = errors(world)
    assert before["transfer", "account_closed"] == 1
    world.call("POST", "transfers/retry", {"transfer_id": "x"})
    world.call("GET", "state", principal="customer:ann")
    assert errors(world) == {**before, ("refused", "refuse.transfers_retry"): 1, ("denied", "customer:ann"): 1}
    world.runtime.at += DAY_MS + 1
    assert errors(world) == {}


def test_the_error_page_counts_every_request_that_came() -> None:
    world = prepared()
    requests = page(world, "errors")["items"][0]["requests"]
    assert (first := page(world, "errors")["items"][0])["requests"] == requests + 1
    assert (first["failures"], first["burn_rate_bp"], first["budget_remaining_bp"]) == (0, 0, 10_000)


def test_a_budget_that_burns_is_told_in_basis_points() -> None:
    budget = ErrorBudget(KeptMetrics(), 0)
    for _ in range(400):
        budget.asked(1)
    for _ in range(4):
        budget.failed(1, "timeout")
    told = budget.state()
    assert (told["requests"], told["failures"], told["error_rate_bp"]) == (400, 4, 100)
    assert told["burn_rate_bp"] == 10_000, f"one of {MAY_FAIL} is what may fail"
    assert told["budget_remaining_bp"] == 6_000, f"4 of the 10 that {REQUESTS_MIN} requests allow"
    budget.asked(32 * DAY_MS)
    anew = budget.state()
    assert (anew["month"], anew["since_at"], anew["requests"], anew["failures"]) == ("1970-02", 32 * DAY_MS, 1, 0)


def test_a_look_is_in_the_access_log_under_the_name_of_whoever_looked(world: AdminWorld) -> None:
    """Reading is not acting, but it is access."""
    calls = len(world.rows("select n from access_log"))
    page(world, "audit")
    told = world.rows("select principal, resource, allowed from access_log order by n desc limit 1")
    assert told == [{"principal": KIM, "resource": "GET /api/admin/dashboards/audit", "allowed": 1}]
    assert len(world.rows("select n from access_log")) == calls + 1
