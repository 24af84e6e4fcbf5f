"""Fourteen days with procedures by the clock: done in time by whoever is on duty, and no alert comes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from assertions.judge import judge
from assertions.model import Result, Status
from evidence.journal import JournalWriter
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import load, make_plan
from simulator.operations import Operations, in_force, shipped
from simulator.run import simulate
from tests.support.command import ROOT

PROCEDURES = ("backup_contest_data", "daily_check", "snapshot_ritual", "weekly_maintenance")
DAYS, WEDNESDAYS = 18, 3
"""Of the absence and the four days after it."""


@dataclass(frozen=True)
class Operated:
    evidence: Evidence
    results: Mapping[str, Result]

    def alerts(self) -> list[tuple[str, ...]]:
        return list(self.evidence.rows("monitoring.alerts", "at", "dedup_key", "state"))

    def messages(self, assertion: str) -> list[str]:
        return [broken.message for broken in self.results[assertion].broken]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Nothing goes wrong, and two persons of ops."""
    text = (ROOT / "scenarios" / "small.yaml").read_text()
    path = tmp_path_factory.mktemp("scenario") / "small.yaml"
    path.write_text(f"{text}\noperations: true\npeople: {{ops: 2}}\n")
    return make_plan(load(path), 1)


def operated(plan: Plan, out: Path, operations: Operations) -> Operated:
    with RunWriter(out, "run") as writer:
        writer.write_plan(plan)
        for path, content in operations.documents.items():
            writer.write(path, content)
        simulate(plan, JournalWriter(writer.journal), writer.books, None, operations)
        writer.seal({"code": "c0de" * 16})
        writer.publish()
    evidence = Evidence.open(out / "run")
    return Operated(evidence, {result.id: result for result in judge(evidence).results})


@pytest.fixture(scope="module")
def done(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Operated:
    return operated(plan, tmp_path_factory.mktemp("done"), shipped())


@pytest.fixture(scope="module")
def left(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Operated:
    """The documents say what is due, and an operator does not care."""
    documents = shipped()
    others = {path: runbook for path, runbook in documents.runbooks.items() if runbook.schedule is None}
    return operated(plan, tmp_path_factory.mktemp("left"), replace(documents, runbooks=others))


def test_every_procedure_is_done_each_time_it_is_due_and_the_run_passes(done: Operated) -> None:
    assert {result.id: result.broken for result in done.results.values() if result.broken} == {}
    found = done.results["runbooks.procedures_done"]
    assert (found.status, found.saw, found.owed) == (Status.PASS, 3 * DAYS + WEDNESDAYS, 3 * DAYS + WEDNESDAYS)
    executions = Counter(done.evidence.rows("platform.runbook_executions", "runbook_name", "status"))
    assert executions == {(name, "completed"): WEDNESDAYS if "weekly" in name else DAYS for name in PROCEDURES}
    assert list(done.evidence.rows("operator.escalations")) == []


def test_the_persons_of_ops_do_it_week_by_week(plan: Plan, done: Operated) -> None:
    week_ms = 7 * 86_400_000
    who = {
        ((at - plan.starts_at) // week_ms, principal)
        for at, principal in done.evidence.rows("operator.notebook", "at", "principal")
    }
    kim, lee = (principal.id for principal in plan.principals if principal.role == "ops")
    assert who == {(0, kim), (1, lee), (2, kim)}


def test_a_copy_is_taken_each_day_and_each_week_and_that_of_the_week_is_restored(done: Operated) -> None:
    reasons = Counter(reason.rpartition(": ")[2] for (reason,) in done.evidence.rows("platform.backups", "reason"))
    assert reasons == {"contest data": DAYS, "weekly": WEDNESDAYS}
    actions = Counter(action for (action,) in done.evidence.rows("platform.audit_log", "action"))
    assert actions["backups.restore"] == WEDNESDAYS


def test_no_alert_fires_because_of_procedures(done: Operated, left: Operated) -> None:
    assert done.alerts() == left.alerts()
    assert {key for _, key, _ in done.alerts()} <= {"Watchdog"}


def test_an_operator_who_does_not_care_is_found_out_by_the_documents(left: Operated) -> None:
    found = left.results["runbooks.procedures_done"]
    assert (found.status, found.saw, len(found.broken)) == (Status.FAIL, 0, 3 * DAYS + WEDNESDAYS)
    assert "daily_check, due 2026-06-02 12:15:00 UTC: nobody began it within 6 h" in left.messages(found.id)


def test_a_procedure_whose_document_expects_something_else_fails_the_run(plan: Plan, tmp_path: Path) -> None:
    path = "runbooks/weekly_maintenance.md"
    text = shipped().documents[path].decode()
    assert "equal=yes *" in text
    changed = in_force({**shipped().documents, path: text.replace("equal=yes *", "equal=perhaps *").encode()})
    run = operated(plan, tmp_path, changed)
    assert run.results["runbooks.nothing_escalated"].status is Status.FAIL
    escalated = list(run.evidence.rows("operator.escalations", "incident", "runbook"))
    assert escalated == [(f"weekly_maintenance:2026-06-{day:02}", "weekly_maintenance") for day in (3, 10, 17)]
    assert len(run.messages("runbooks.procedures_done")) == WEDNESDAYS
    assert all("did not complete it" in message for message in run.messages("runbooks.procedures_done"))


def test_without_operations_nothing_is_due(plan: Plan, tmp_path: Path) -> None:
    run = operated(plan.model_copy(update={"operations": False}), tmp_path, Operations())
    assert run.results["runbooks.procedures_done"].status is Status.NOT_APPLICABLE
