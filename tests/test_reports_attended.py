"""What ops did is in every report: on what occasion, step by step, and what had to be handed on for how long."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest

from reports.attended import Attended, attended
from tests.support.command import ROOT, Ran, SharedRuns, run_into

LOST = """faults:
  - {fault: provider.outage, params: {outage_min: 170}}
  - {fault: commands.request_lost, params: {runbook: ingestion_lag, step: Diagnosis/1, times: 1000}}
"""
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run in which the first command of a runbook never arrives."""
    folder = tmp_path_factory.mktemp("lost")
    operated = (ROOT / "scenarios" / "operated.yaml").read_text()
    (folder / "lost.yaml").write_text(operated[: operated.index("faults:")] + LOST)
    return run_into(folder / "out", folder / "lost.yaml")


def told(ran: Ran) -> Attended:
    return attended(ran.evidence, ran.evidence.plan.recovery_until_at)


def texts(ran: Ran) -> dict[str, str]:
    return {name: unescape((ran.path / name).read_text()) for name in ("report.html", "report.md", "trace.json")}


def test_every_execution_on_record_is_told_with_its_steps_and_its_end(runs: SharedRuns) -> None:
    ran = runs("iteration06")
    executions = {one.execution_id: one for one in told(ran).executions}
    assert {row.id: row.status for row in ran.rows("platform.runbook_executions")} == {
        one.execution_id: one.status for one in executions.values()
    }
    for execution_id, one in executions.items():
        sent = [row.sent for row in ran.rows("operator.notebook", execution_id=execution_id, action="step")]
        assert sum(step.times for step in one.sent) == len(sent) > 0
        assert [step.command for step in one.sent if step.command not in sent] == []


def test_a_page_a_drill_and_what_is_due_are_told_apart(runs: SharedRuns) -> None:
    for name, occasion in (("iteration06", "page"), ("drills", "drill")):
        ran = runs(name)
        eventful = told(ran).eventful
        assert {one.occasion for one in eventful} == {occasion}
        assert all(one.called_at is not None and 0 <= one.from_at - one.called_at < DAY_MS for one in eventful)
        routines = {routine.runbook: routine.times for routine in told(ran).routines}
        assert routines["daily_check"] > 10 - (name == "drills") * 5
    assert told(runs("iteration06")).pages == 4


def test_each_command_that_was_sent_stands_in_the_report(runs: SharedRuns) -> None:
    ran = runs("iteration06")
    page = texts(ran)["report.html"]
    for one in told(ran).eventful:
        assert one.sent
        for step in one.sent:
            assert f"<b>{step.step}</b> <code>{step.command}</code>" in page
    assert "ops carries out a runbook" in page
    assert ran.stdout.count("4 runbooks opened for 4 pages") == 1


def test_what_was_handed_on_is_told_everywhere_with_how_long_the_platform_stood_alone(lost: Ran) -> None:
    [handed] = told(lost).handed_on
    [row] = lost.rows("operator.escalations")
    assert (handed.at, handed.runbook, handed.reason) == (row.at, "ingestion_lag", row.reason)
    assert handed.alone_ms == lost.evidence.plan.recovery_until_at - row.at
    files = texts(lost)
    assert "Handed on" in files["report.html"]
    assert handed.reason in files["report.html"]
    assert handed.patch
    assert handed.patch in files["report.html"]
    assert handed.patch in (lost.path / "postmortem.md").read_text()
    assert "did not go as written" in files["report.md"]
    assert "1 did not go as written; 1 handed on" in lost.stdout
    events = json.loads(files["trace.json"])["traceEvents"]
    [point] = [event for event in events if event["ph"] == "i" and event["args"].get("reason") == row.reason]
    assert point["ts"] == (row.at - lost.evidence.plan.starts_at) * 1_000
    assert lost.verdict.first_broken is not None
    assert lost.verdict.first_broken.assertion == "runbooks.nothing_escalated"
    assert "runbook  ingestion_lag Diagnosis/1 by ops:" in lost.stdout


def test_of_a_run_with_nobody_on_call_no_report_tells_of_ops(small_run: Ran) -> None:
    assert told(small_run) == Attended(0, (), ())
    page = Path(small_run.path / "report.html").read_text()
    assert "What ops did" not in page
    assert "carries out a runbook" not in page
