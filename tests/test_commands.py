"""What befalls ops between a runbook and the platform: a command is lost, or its answer, or nobody sends it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command import Ran, SharedRuns

MINUTE_MS = 60_000


def steps(ran: Ran, entity: str, execution: str) -> list[Any]:
    runbook, _, step = entity.partition("/")
    noted = ran.rows("operator.notebook", action="step", runbook=runbook, step=step, execution_id=execution)
    assert noted
    return noted


@pytest.mark.parametrize(("fault", "served"), [("request_lost", 0), ("answer_lost", 1)])
def test_a_command_without_an_answer_was_served_or_not_and_the_runbook_goes_on(
    fault: str, served: int, runs: SharedRuns
) -> None:
    ran = runs("operated", "--only", f"commands.{fault}")
    [planned], [lost] = ran.evidence.plan.faults, ran.rows("operator.unanswered")
    assert lost.resource == planned.entity == "backup_contest_data/Steps/1"
    [noted] = steps(ran, lost.resource, lost.execution_id)
    assert (noted.exit_status, noted.matched, noted.ok) == (3, "branch 1", True)
    made = [
        row
        for row in ran.rows("platform.audit_log", correlation=lost.execution_id)
        if row.action == "ops.backups_create"
    ]
    assert len(made) == 1 + served, "and once more, since nobody could know"
    [execution] = ran.rows("platform.runbook_executions", id=lost.execution_id)
    assert execution.status == "completed"


def test_whoever_is_called_away_sends_the_same_command_later(runs: SharedRuns) -> None:
    ran = runs("operated", "--only", "commands.called_away")
    [planned] = ran.evidence.plan.faults
    [left] = ran.rows("operator.notebook", action="called_away")
    assert left.detail == planned.entity == "daily_check/Steps/7"
    [noted] = steps(ran, left.detail, left.execution_id)
    assert noted.at - left.at >= planned.params["away_min"] * MINUTE_MS


def test_what_a_command_takes_is_counted_from_when_it_is_sent(runs: SharedRuns) -> None:
    """Whoever was away for longer than the step allows for an answer has not waited for one."""
    ran = runs("operations_contests")
    away = ran.rows("operator.notebook", action="called_away")
    expected = [steps(ran, left.detail, left.execution_id)[0] for left in away if left.detail.endswith("Diagnosis/1")]
    assert [noted.matched for noted in expected] == ["otherwise", "branch 1"]
    assert all(noted.ok for noted in expected)
