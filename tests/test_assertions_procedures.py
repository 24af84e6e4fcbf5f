"""The judge on what is due by the clock: it reads documents and calendar itself, and believes no single book."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assertions.judge import discover
from assertions.model import REGISTRY, Result, Status, judge_one
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import plan

discover()

HOUR = 3_600_000
DAY = 24 * HOUR
BEGIN = plan().starts_at
"""A Tuesday. The run, its recovery included, takes eighteen days."""


def judged(evidence: FakeEvidence) -> Result:
    return judge_one(REGISTRY["runbooks.procedures_done"], evidence)  # type: ignore[arg-type]


def run(schedule: str, *begun: int, took: int = HOUR) -> FakeEvidence:
    """A run with one document, which was carried out beginning `begun` ms after the start of the run."""
    evidence = FakeEvidence(plan())
    evidence.texts["runbooks"] = {"look.md": f"---\nid: look\n{schedule}\n---\n# Look\n\nschedule: daily at 01:00\n"}
    for n, since in enumerate(begun, 1):
        at, told = BEGIN + since, {"execution_id": f"x{n}", "principal": "ops:kim", "runbook": "look"}
        for action, when in (("started", at), ("completed", at + took)):
            n_row = len(evidence.books["operator.notebook"]) + 1
            evidence.books["operator.notebook"].append({"n": n_row, "at": when, "action": action, **told})
        evidence.books["platform.runbook_executions"].append(
            {"id": f"x{n}", "runbook_name": "look", "executed_by": "ops:kim", "status": "completed",
             "start_time": at, "end_time": at + took}
        )  # fmt: skip
    return evidence


@pytest.mark.parametrize(
    "schedule", ["schedule: daily at 14:00", "schedule:  'daily at 14:00'", 'schedule: "daily at 14:00"  # in UTC']
)
def test_what_is_due_daily_is_owed_on_each_day(schedule: str) -> None:
    days = [day * DAY + 14 * HOUR for day in range(18)]
    found = judged(run(schedule, *days))
    assert (found.status, found.saw, found.owed) == (Status.PASS, 18, 18)
    for left_out in (0, 7, 17):
        found = judged(run(schedule, *days[:left_out], *days[left_out + 1 :]))
        [broken] = found.broken
        due_at = BEGIN + days[left_out]
        assert (
            f"look, due {datetime.fromtimestamp(due_at / 1_000, UTC):%Y-%m-%d} 14:00:00 UTC: nobody" in broken.message
        )
        assert broken.at == due_at + 6 * HOUR


@pytest.mark.parametrize(
    ("day", "due_on"),
    [("tuesday", [0, 7, 14]), ("wednesday", [1, 8, 15]), ("friday", [3, 10, 17]), ("saturday", [4, 11]),
     ("sunday", [5, 12]), ("monday", [6, 13])],
)  # fmt: skip
def test_what_is_due_weekly_is_owed_on_its_day(day: str, due_on: list[int]) -> None:
    schedule = f"schedule: weekly on {day} at 14:00"
    found = judged(run(schedule, *(n * DAY + 14 * HOUR for n in due_on)))
    assert (found.status, found.saw, found.owed) == (Status.PASS, len(due_on), len(due_on))
    shifted = judged(run(schedule, *(n * DAY + 38 * HOUR for n in due_on)))
    assert (shifted.status, shifted.saw) == (Status.FAIL, 0)
    assert sum("when it was not due" in broken.message for broken in shifted.broken) == len(due_on)


@pytest.mark.parametrize(("took", "status"), [(5 * HOUR, Status.PASS), (6 * HOUR + 1, Status.FAIL)])
def test_it_has_to_end_within_six_hours(took: int, status: Status) -> None:
    days = [day * DAY + 14 * HOUR for day in range(18)]
    assert judged(run("schedule: daily at 14:00", *days, took=took)).status is status


def test_what_might_not_end_before_the_run_does_is_not_owed_and_may_be_done() -> None:
    days = [day * DAY + 18 * HOUR for day in range(18)]
    assert judged(run("schedule: daily at 18:00", *days[:-1])).owed == 17
    assert judged(run("schedule: daily at 18:00", *days[:-1])).status is Status.PASS
    assert judged(run("schedule: daily at 18:00", *days)).status is Status.PASS


def test_without_operations_or_a_schedule_nothing_is_owed() -> None:
    assert judged(run("role: ops")).status is Status.NOT_APPLICABLE
    evidence = run("schedule: daily at 14:00")
    assert judged(evidence).status is Status.FAIL
    evidence.plan = evidence.plan.model_copy(update={"operations": False})
    assert judged(evidence).status is Status.NOT_APPLICABLE
