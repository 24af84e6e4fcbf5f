"""WinRM is down for hours during play, and the worker behind it is dead: the contests end right all the same."""

from __future__ import annotations

import pytest

from tests.support.command import Ran, SharedRuns, bitten

WAYS = {
    "winrm.unreachable", "winrm.unauthorized", "winrm.receive_times_out", "winrm.receive_lost", "winrm.connect_timeout",
    "winrm.unavailable", "winrm.reboots", "winrm.shells_leaked",
}  # fmt: skip
HOUR_MS = 3_600_000


@pytest.fixture(scope="module", params=[1, 2, 3])
def ran(request: pytest.FixtureRequest, runs: SharedRuns) -> Ran:
    return runs("winrm_storm", "--seed", str(request.param))


def test_everybody_is_paid_what_the_official_scores_say(ran: Ran) -> None:
    assert ran.exit_code == 0, ran.stdout
    assert {contest.status for contest in ran.rows("platform.contests")} == {"PAID_OUT"}
    for promise in ("payouts.right_people_right_amounts", "ingestion.admitted_is_published", "recovery.converged"):
        assert ran.status(promise) == "PASS"


def test_every_way_in_which_it_fails_has_bitten_while_play_was_on(ran: Ran) -> None:
    planned = [fault for fault in ran.evidence.plan.faults if fault.fault.startswith("winrm.")]
    assert {fault.fault for fault in planned} == WAYS
    assert all(bitten(ran, fault) for fault in planned)
    stops = [row.at for row in ran.rows("hosts.services", service="ingestion", state="stopped", by="crash")]
    starts = [row.at for row in ran.rows("hosts.services", service="ingestion", state="running")]
    down_ms = [min(at for at in starts if at > stop) - stop for stop in stops]
    assert len(down_ms) == 4
    assert sum(ms > HOUR_MS for ms in down_ms) == 3
    assert max(down_ms) > 3 * HOUR_MS
    assert len(ran.rows("platform.contests", status="ERROR")) == 0


def test_orders_are_retried_run_out_and_are_given_again_and_each_ends(ran: Ran) -> None:
    orders = ran.rows("platform.remediation_orders")
    assert {order.status for order in orders} == {"COMPLETED", "EXPIRED"}
    assert max(order.attempts for order in orders) > 100
    assert {incident.status for incident in ran.rows("platform.incidents")} == {"RESOLVED"}


def test_ops_is_paged_and_goes_by_the_book(ran: Ran) -> None:
    executions = ran.rows("platform.runbook_executions", runbook_name="host_unreachable")
    assert len(executions) >= 3
    assert {execution.status for execution in executions} == {"completed"}
    assert ran.rows("operator.escalations") == []


def test_no_shell_of_ours_is_left_and_those_that_others_leaked_have_timed_out(ran: Ran) -> None:
    shells = ran.rows("hosts.shells")
    told = {row.victim for row in ran.rows("injector.bites", operation="leak")}
    assert {shell.how for shell in shells if shell.shell_id in told} == {"idle"}
    assert len(told) == 30
    assert {shell.how for shell in shells if shell.shell_id not in told} == {"deleted", "reboot"}
    refused = ran.rows("hosts.exchanges", operation="Create", fault=2_150_859_173)
    assert len(refused) > 30
    seen = ran.result("healing.no_shell_left")
    assert seen.status.value == "PASS"
    assert seen.saw == seen.owed == len(shells) - len(told)
