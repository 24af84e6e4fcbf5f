"""Drills: what ops is told to carry out by the plan is carried out to the letter, attributed, and judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from contest_platform.environments import profile
from contest_platform.services import configuration
from scenarios import ScenarioInvalid, load, make_plan
from scenarios.model import Setting
from tests.support.command import ROOT, Ran, SharedRuns, run_into

SMALL = (ROOT / "scenarios" / "small.yaml").read_text()


def drilled(folder: Path, *drills: str) -> Path:
    path = folder / "drilled.yaml"
    items = [f"  - {{{drill}}}" for drill in drills]
    path.write_text("\n".join([SMALL, "operations: true", "drills:", *items, ""]))
    return path


@pytest.fixture(scope="module")
def ran(runs: SharedRuns) -> Ran:
    return runs("drills")


def test_every_drill_is_performed_when_it_is_due_and_on_record(ran: Ran) -> None:
    assert ran.exit_code == 0, ran.stdout
    drills = ran.evidence.plan.drills
    judged = ran.result("runbooks.drills_performed")
    assert (judged.status.value, judged.saw, judged.owed) == ("PASS", len(drills), len(drills))
    ids = {drill.id for drill in drills}
    begun = {
        row.execution_id for row in ran.rows("operator.notebook") if row.action == "started" and row.incident in ids
    }
    performed = sorted(
        (row.start_time, row.runbook_name, row.status)
        for row in ran.rows("platform.runbook_executions")
        if row.id in begun
    )
    assert [(name, status) for _, name, status in performed] == [(drill.runbook, "completed") for drill in drills]
    assert all(drill.at < at < drill.at + 3_600_000 for drill, (at, _, _) in zip(drills, performed, strict=True))
    assert {"configuration_change", "restore_from_backup", "emergency_rollback"} <= {name for _, name, _ in performed}


def test_a_changed_configuration_is_attributed_to_the_steps_that_changed_it(ran: Ran) -> None:
    deployed, *made = ran.rows("platform.config_versions")
    approved = profile("production")["settings"]
    assert json.loads(deployed.content) == {**approved, **ran.evidence.plan.settings} != approved
    assert json.loads(made[-1].content) == approved
    executions = {row.id: row for row in ran.rows("platform.runbook_executions")}
    by = [(executions[row.execution_id].runbook_name, row.step) for row in made]
    change = [("configuration_change", "Steps/3")]
    assert by == [*change * 2, ("emergency_rollback", "Steps/2"), *change]
    assert {row.created_by for row in made} == {executions[row.execution_id].executed_by for row in made}
    assert ran.rows("deployment.changes") == []
    assert ran.status("absence.changes_trace_to_the_system") == "PASS"


def test_nobody_is_paged_for_a_restart_that_was_ordered(ran: Ran) -> None:
    assert ran.rows("pager.events") == []


def test_a_drill_that_does_not_go_as_written_fails_the_run(tmp_path: Path) -> None:
    """Nothing was ever changed, so there is nothing that an emergency could take back."""
    ran = run_into(tmp_path / "out", drilled(tmp_path, "runbook: emergency_rollback, at: day 2 15:00"))
    assert ran.exit_code == 10
    assert "emergency_rollback" in ran.result("runbooks.drills_performed").broken[0].message
    [escalation] = ran.rows("operator.escalations")
    assert escalation.incident == "drill:emergency_rollback#1"
    assert ran.status("runbooks.nothing_escalated") == "FAIL"


def test_a_drill_binds_the_labels_that_the_plan_gives_it(tmp_path: Path) -> None:
    labels = "labels: {contest_id: short-strokes}"
    scenario = drilled(tmp_path, f"runbook: payout_transfer_stuck_in_retryable, at: day 9 15:00, {labels}")
    ran = run_into(tmp_path / "out", scenario)
    assert ran.exit_code == 0, ran.stdout
    assert "opsctl transfers list --contest short-strokes --status RETRYABLE" in {
        step.sent for step in ran.rows("operator.notebook", action="step")
    }
    assert ran.status("runbooks.sent_as_written") == "PASS"


@pytest.mark.parametrize(
    ("drill", "message"),
    [
        (
            "runbook: configuration_chnge, at: day 2 15:00",
            "no runbook configuration_chnge (did you mean configuration_ch",
        ),
        ("runbook: restart_services, at: tomorrow", "expected an instant like `day 8 02:30`"),
        ("runbook: restart_services, at: day 99 02:00", "at: day 99 02:00 is after the end of the run"),
        ("runbook: restart_services", "the key at is missing"),
    ],
)
def test_a_drill_that_cannot_be_is_an_error_at_its_place(tmp_path: Path, drill: str, message: str) -> None:
    with pytest.raises(ScenarioInvalid) as caught:
        make_plan(load(drilled(tmp_path, drill)), 1)
    [error] = caught.value.errors
    assert message in error.message
    assert error.line == len(SMALL.splitlines()) + 4


def test_a_drill_needs_somebody_on_call(tmp_path: Path) -> None:
    path = drilled(tmp_path, "runbook: restart_services, at: day 2 15:00")
    path.write_text(path.read_text().replace("operations: true", "operations: false"))
    with pytest.raises(ScenarioInvalid, match="nobody is on call"):
        load(path)


def test_only_what_can_be_set_may_be_deployed_otherwise(tmp_path: Path) -> None:
    assert set(get_args(Setting)) == set(configuration.SETTINGS)
    path = tmp_path / "deployed.yaml"
    path.write_text(f"{SMALL}\nsettings:\n  auth_timeout: 8000\n")
    with pytest.raises(ScenarioInvalid, match=r"auth_timeout_ms") as caught:
        load(path)
    assert caught.value.errors[0].line == len(SMALL.splitlines()) + 3


def test_a_plan_without_drills_says_nothing_of_them_and_one_with_them_survives_its_own_bytes() -> None:
    assert {"drills", "settings"}.isdisjoint(json.loads(make_plan(load("default"), 1).canonical()))
    plan = make_plan(load("drills"), 1)
    assert type(plan).model_validate(json.loads(plan.canonical())) == plan
    assert len(plan.drills) == 7
