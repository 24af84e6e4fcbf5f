"""Hosts in whole runs with ops on call: what befalls them is told of while it lasts, and what was done is on record."""

from __future__ import annotations

import json
from typing import Any

from tests.support.command import Ran, SharedRuns

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def alerts(ran: Ran, name: str, state: str) -> list[Any]:
    return ran.rows("monitoring.alerts", alert=name, state=state)


def test_a_wrong_clock_is_told_of_within_the_hour_and_until_it_is_right_whatever_else_there_is_to_do(
    runs: SharedRuns,
) -> None:
    """Nobody plays and nobody is paid by then: neither host has anything to do."""
    ran = runs("operations_fleet")
    unit = {"lin-app-1": "app", "win-ingest-1": "ingestion"}
    steps = ran.rows("hosts.clocks")
    found = 0
    for wrong in [row for row in steps if row.state == "wrong"]:
        right = next(row for row in steps if row.host == wrong.host and row.n > wrong.n)
        told = [row for row in alerts(ran, "HostClockSkew", "firing") if wrong.at < row.at < right.at]
        for fired in told:
            assert json.loads(fired.labels)["job"] == unit[wrong.host]
            [over, *_] = [
                row for row in alerts(ran, "HostClockSkew", "resolved")
                if row.dedup_key == fired.dedup_key and row.at > fired.at
            ]  # fmt: skip
            assert right.at < over.at <= right.at + HOUR_MS
            found += 1
    assert found == 3
    assert {row.host for row in steps} == set(unit)


def test_whoever_is_called_away_before_a_step_is_not_late_with_it(runs: SharedRuns) -> None:
    """How long an answer may take counts from when the command is sent."""
    ran = runs("operations_fleet")
    away = ran.rows("operator.notebook", action="called_away")
    assert len(away) == 9
    for left in away:
        runbook, _, step = left.detail.partition("/")
        sent = ran.rows("operator.notebook", action="step", execution_id=left.execution_id, runbook=runbook, step=step)
        assert any(row.ok and row.at - left.at >= 20 * MINUTE_MS for row in sent), left.detail


def test_an_order_that_has_run_out_is_followed_by_another_only_if_somebody_asks(runs: SharedRuns) -> None:
    ran = runs("operations_fleet")
    orders = sorted(ran.rows("platform.remediation_orders"), key=lambda order: int(order.issued_at))
    vain = [order for order in orders if order.status == "EXPIRED"]
    assert len(vain) == 5
    for order in vain:
        again = next(one for one in orders if one.incident_id == order.incident_id and one.issued_at > order.issued_at)
        assert again.status == "COMPLETED"
        [issued] = [
            row for row in ran.rows("platform.audit_log", action="remediation_orders.insert")
            if again.order_id in row.subject
        ]  # fmt: skip
        silent = not any(
            row.service == "agent" and row.state == "running" and order.finished_at < row.at <= again.issued_at
            for row in ran.rows("hosts.services")
        )
        assert issued.actor.startswith("ops:") is silent


def test_what_was_ended_and_goes_on_is_opened_again_and_handed_on(runs: SharedRuns) -> None:
    ran = runs("handed_on_fleet")
    back = [row for row in ran.rows("operator.notebook") if (row.sent or "").startswith("opsctl incidents reopen")]
    assert back
    handed_on = {row.execution_id for row in ran.rows("operator.escalations")}
    assert {row.execution_id for row in back} <= handed_on
    assert {row.status for row in ran.rows("platform.incidents")} == {"RESOLVED"}, "in the end it was over"


def test_an_escalation_quotes_the_line_for_which_it_was_said(runs: SharedRuns) -> None:
    for row in runs("handed_on_fleet").rows("operator.escalations"):
        if "says escalate: order_id=" in row.reason:
            assert row.reason.endswith("incident_status=OPEN"), row.reason
