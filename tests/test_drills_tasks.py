"""Drills that change the platform wholesale: scaled, promoted and taken back for real, attributed, and enforced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contest_platform.environments import profile
from tests.support.command import ROOT, Ran, SharedRuns, run_into

APPROVED = profile("production")["settings"]
TASKS, HANDED_ON = "operations_tasks", "handed_on_tasks"
EXHAUSTED = "platform.connections_held"


@pytest.fixture(scope="module")
def ran(runs: SharedRuns) -> Ran:
    return runs(TASKS)


def starts_after(ran: Ran, at: int, service: str) -> list[int]:
    rows = ran.rows("hosts.services", service=service, state="running")
    return [row.at for row in rows if row.at > at]


def window(ran: Ran) -> tuple[int, int]:
    [fault] = [fault for fault in ran.evidence.plan.faults if fault.fault == EXHAUSTED]
    assert fault.from_at is not None
    assert fault.until_at is not None
    return fault.from_at, fault.until_at


def test_a_pool_that_is_exhausted_refuses_until_its_process_begins_with_the_new_size(ran: Ran) -> None:
    from_at, until_at = window(ran)
    refused = [row.at for row in ran.rows("database.refusals", reason="pool_exhausted")]
    restarted = starts_after(ran, from_at, "ingestion")[0]
    assert refused
    assert from_at <= refused[0] <= refused[-1] < restarted < until_at
    polled = [row.at for row in ran.rows("provider.requests") if restarted < row.at < until_at]
    assert polled, "with the larger pool it works on, while as many connections are held as before"
    [scaled, *_] = sorted(ran.rows("platform.runbook_executions", runbook_name="scale_database"),
                          key=lambda row: row.start_time)  # fmt: skip
    assert scaled.start_time < restarted < scaled.end_time


def test_without_the_larger_pool_it_is_refused_for_as_long_as_they_are_held(tmp_path: Path) -> None:
    """It is the size that lets it work on, and not the restart."""
    text = (ROOT / "scenarios" / f"{TASKS}.yaml").read_text()
    task = "{runbook: scale_database, at: day 3 18:00} "
    lines = [line for line in text.splitlines() if "fault: commands." not in line and "{runbook: " not in line]
    lines.insert(lines.index("drills:") + 1, "  - {runbook: restart_services, at: day 3 18:00}")
    assert task in text
    (tmp_path / "small_pool.yaml").write_text("\n".join(lines))
    ran = run_into(tmp_path / "out", tmp_path / "small_pool.yaml")
    from_at, until_at = window(ran)
    assert starts_after(ran, from_at, "ingestion")[0] < until_at, "restarted it was"
    refused = [row.at for row in ran.rows("database.refusals", reason="pool_exhausted")]
    assert refused[-1] >= until_at - 600_000


def versions(ran: Ran) -> list[tuple[str, str]]:
    """By which runbook and in which step each version after the deployed one was made."""
    executions = {row.id: row for row in ran.rows("platform.runbook_executions")}
    made = sorted(ran.rows("platform.config_versions"), key=lambda row: row.version)[1:]
    assert {row.created_by for row in made} == {executions[row.execution_id].executed_by for row in made}
    return [(executions[row.execution_id].runbook_name, row.step) for row in made]


def last_settings(ran: Ran) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(
        max(ran.rows("platform.config_versions"), key=lambda row: row.version).content
    )
    return settings


def test_every_change_is_attributed_to_the_step_that_made_it_and_the_run_passes(ran: Ran) -> None:
    assert ran.exit_code == 0, ran.stdout
    assert versions(ran) == [
        *[("scale_database", "Steps/3")] * 2, ("configuration_change", "Steps/3"),
        ("emergency_rollback", "Steps/2"), ("environment_promotion", "Promotion/5"),
        ("emergency_rollback", "Steps/2"), ("environment_promotion", "Promotion/5"),
    ]  # fmt: skip
    assert last_settings(ran) == APPROVED
    audited = [
        row for row in ran.rows("platform.audit_log", action="ops.env_promote") if '"dry_run":true' not in row.after
    ]
    promotions = {row.id for row in ran.rows("platform.runbook_executions", runbook_name="environment_promotion")}
    assert {row.correlation for row in audited} < promotions
    for promise in ("absence.changes_trace_to_the_system", "absence.acts_in_steps", "absence.fingerprints_constant",
                    "runbooks.sent_as_written", "audit.chain_holds"):  # fmt: skip
        assert ran.status(promise) == "PASS", promise


def test_a_promotion_takes_a_copy_first_and_watches_for_an_hour_after(ran: Ran) -> None:
    first, second, third = sorted(
        ran.rows("platform.runbook_executions", runbook_name="environment_promotion"), key=lambda row: row.start_time
    )
    for execution in (first, third):
        steps = {
            f"{row.section}/{row.number}": row
            for row in ran.rows("platform.runbook_execution_steps", execution_id=execution.id)
        }
        copies = [
            row for row in ran.rows("platform.backups") if execution.start_time < row.taken_at < execution.end_time
        ]
        assert copies
        made = [row for row in ran.rows("platform.config_versions") if row.execution_id == execution.id]
        assert max(row.taken_at for row in copies) < made[0].created_at
        restarted = min(at for at in starts_after(ran, made[0].created_at, "app"))
        assert execution.end_time - restarted > 3_600_000
        assert "Verification/2" in steps
    taken = {row.section for row in ran.rows("platform.runbook_execution_steps", execution_id=second.id)}
    assert "Promotion" not in taken, "staging had nothing otherwise"


def test_what_is_handed_on_has_been_taken_back_to_what_was_deployed(runs: SharedRuns) -> None:
    ran = runs(HANDED_ON)
    deployed = {**APPROVED, **ran.evidence.plan.settings}
    assert last_settings(ran) == deployed != APPROVED
    made = versions(ran)
    undone = [(name, step) for name, step in made if step == "Rollback/1"]
    assert {name for name, _ in undone} == {
        "scale_database", "configuration_change", "emergency_rollback", "environment_promotion"
    }  # fmt: skip
    for row in ran.rows("operator.escalations"):
        package = json.loads(row.package)
        assert package["rolled_back"], row.runbook
        assert package["failed_step"]


def test_what_is_handed_on_is_all_that_the_run_fails_for(runs: SharedRuns) -> None:
    ran = runs(HANDED_ON)
    failed = {result.id for result in ran.verdict.results if result.status.value == "FAIL"}
    assert failed == {"runbooks.drills_performed", "runbooks.nothing_escalated", "runbooks.procedures_done"}
