"""The simulated operator: who is on duty, what goes first, and what is done by the clock beside the pager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from operations.runbooks import Output, Runbook, Unrecorded
from simulator.actors.operator import AT_DESK_MS, TURN_MS, OperatorActor, Sleep
from simulator.actors.witnesses import PagerActor
from simulator.wires.control import OpsControl
from tests.support.fake_world import MONDAY, FakeWorld
from tests.support.runbooks import parsed

MINUTE, HOUR = 60_000, 3_600_000
DAY = 24 * HOUR


def document(name: str, *, front: str, wait: str = "", expected: str = "...") -> Runbook:
    """A scheduled runbook or one for an alert, of one step."""
    kind = "scheduled" if "schedule" in front else "task"
    return parsed(
        f"""---
id: {name}
version: 1.0.0
date: 2027-01-01
kind: {kind}
role: ops
failure_modes: []
{front}
---
# It

## Prerequisites

None.

## Steps

1. Look.

   ```sh
   opsctl status
   ```

   ```expect
   {expected}
   {wait}
   ```

## Verification

1. Look again.

   ```sh
   opsctl status
   ```

   ```expect
   ...
   ```

## Rollback

Nothing.
""",
        f"runbooks/{name}.md",
    )


DAILY = document("look", front="alerts: []\nschedule: daily at 14:00")
WEEKLY = document("tidy", front="alerts: []\nschedule: weekly on wednesday at 14:00")
PAGED = document("mend", front="alerts: [Broken]")


class Control(OpsControl):
    """Carries out nothing, and takes the time that is said."""

    answer = Output(0, "fine")

    lost = 0
    """How many executions cannot be recorded."""

    async def start(self, name: str, version: str, system_state_before: Mapping[str, Any]) -> str:
        if self._visit <= self.lost:
            raise Unrecorded("nobody answers")
        execution_id = f"x{self._world.books['operator.notebook'].count}"
        self._note("started", execution_id)
        return execution_id

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        return self.answer

    async def record(self, execution_id: str, step: Any) -> None:
        self._note_step(execution_id, step)

    async def complete(self, execution_id: str, status: str, *told: Any) -> None:
        self._note(status, execution_id)

    async def state(self) -> Mapping[str, Any]:
        return {}


class Ops:
    """An operator at work on `runbooks` for `days`, from a Monday on."""

    def __init__(self, *runbooks: Runbook, principals: Sequence[str] = ("ops:kim",), days: int = 1) -> None:
        self.world = FakeWorld()
        self.pager = PagerActor(self.world)

        def control(principal: str, runbook: Runbook, incident: str, visit: int, sleep_until: Sleep) -> Control:
            return Control(self.world, principal, "token", runbook, incident, visit, sleep_until)

        library = {runbook.file: runbook for runbook in runbooks}
        self.operator = OperatorActor(self.world, principals, self.pager, library, control)
        self.pager.on_call = self.operator.paged
        self.days = days
        self.world.runtime.spawn(self.operator.keep_calendar(MONDAY + days * DAY), "calendar")

    def page(self, at: int, key: str = "Broken") -> None:
        async def ring() -> None:
            await self.world.runtime.sleep_until(MONDAY + at)
            details = {"labels": {"alertname": "Broken"}, "runbook_url": PAGED.file}
            self.pager.receive("trigger", key, "It is broken", "error", details)

        self.world.runtime.spawn(ring(), "page")

    def done(self) -> list[tuple[str, str, str, int]]:
        """(who, what, which, when) in the order of the notebook, without the steps."""
        self.world.run_for(self.days * DAY)
        return [
            (row["principal"], row["action"], row["runbook"], row["at"] - MONDAY)
            for row in self.world.rows("operator.notebook")
            if row["action"] != "step"
        ]

    def began(self) -> list[tuple[str, int]]:
        return [(runbook, at) for _, action, runbook, at in self.done() if action == "started"]


def test_what_is_due_is_begun_at_its_time_after_a_human_delay_each_day_and_each_week() -> None:
    ops = Ops(DAILY, WEEKLY, days=15)
    began = ops.began()
    assert [at // DAY for runbook, at in began if runbook == "look"] == list(range(15))
    assert [at // DAY for runbook, at in began if runbook == "tidy"] == [2, 9]
    delays = [at % DAY - 14 * HOUR for runbook, at in began if runbook == "look"]
    assert all(AT_DESK_MS[0] <= delay <= AT_DESK_MS[1] + 2 * MINUTE for delay in delays)
    assert len(set(delays)) > 10, "no two days are alike"
    ends = [action for _, action, _, _ in ops.done() if action != "started"]
    assert ends == ["completed"] * 17
    incidents = {row["incident"] for row in ops.world.rows("operator.notebook") if row["runbook"] == "tidy"}
    assert incidents == {"tidy:2027-01-06", "tidy:2027-01-13"}


def test_what_could_not_end_before_the_run_does_is_not_begun() -> None:
    late = document("late", front="alerts: []\nschedule: daily at 18:00")
    assert Ops(late).began() == []
    assert [at // DAY for _, at in Ops(late, days=3).began()] == [0, 1]


def test_persons_take_turns_by_the_week_with_pages_and_procedures_alike() -> None:
    ops = Ops(DAILY, PAGED, principals=("ops:kim", "ops:lee"), days=21)
    for week in range(3):
        ops.page(week * TURN_MS + 3 * HOUR, f"Broken:{week}")
    who = {(at // TURN_MS, principal) for principal, _, _, at in ops.done()}
    assert who == {(0, "ops:kim"), (1, "ops:lee"), (2, "ops:kim")}
    acknowledged = [row["details"] for row in ops.world.rows("pager.events") if row["action"] == "acknowledge"]
    assert acknowledged == ['{"by":"ops:kim"}', '{"by":"ops:lee"}', '{"by":"ops:kim"}']


def test_one_thing_is_done_after_the_other_and_a_page_goes_before_what_is_due() -> None:
    ops = Ops(DAILY, WEEKLY, PAGED, days=3)
    wednesday = 2 * DAY + 14 * HOUR
    ops.page(wednesday - MINUTE, "Broken:1")
    ops.page(wednesday + MINUTE, "Broken:2")
    told = [(action, runbook) for _, action, runbook, at in ops.done() if at > 2 * DAY]
    assert told == [
        ("started", "mend"), ("completed", "mend"), ("started", "mend"), ("completed", "mend"),
        ("started", "look"), ("completed", "look"), ("started", "tidy"), ("completed", "tidy"),
    ]  # fmt: skip


def test_a_page_that_comes_while_a_procedure_is_done_waits_for_its_end_and_goes_before_the_next() -> None:
    ops = Ops(DAILY, document("tidy", front="alerts: []\nschedule: daily at 14:00"), PAGED)
    ops.page(14 * HOUR + MINUTE)
    assert [(action, runbook) for _, action, runbook, _ in ops.done()] == [
        ("started", "look"), ("completed", "look"), ("started", "mend"), ("completed", "mend"),
        ("started", "tidy"), ("completed", "tidy"),
    ]  # fmt: skip


@pytest.mark.parametrize("who_waits", ["page", "procedure"])
def test_hands_are_free_while_a_runbook_waits_for_the_clock(who_waits: str) -> None:
    waits = {"wait": "within 14400s every 3600s", "expected": "never said"}
    if who_waits == "page":
        ops = Ops(DAILY, document("mend", front="alerts: [Broken]", **waits))
        ops.page(13 * HOUR)
    else:
        ops = Ops(document("look", front="alerts: []\nschedule: daily at 14:00", **waits), PAGED)
        ops.page(15 * HOUR)
    first, second = ("mend", "look") if who_waits == "page" else ("look", "mend")
    told = ops.done()
    assert [(action, runbook) for _, action, runbook, _ in told] == [
        ("started", first), ("started", second), ("completed", second), ("failed", first),
    ]  # fmt: skip
    due = 14 * HOUR if who_waits == "page" else 15 * HOUR
    assert told[2][3] < due + 30 * MINUTE
    assert told[3][3] > told[0][3] + 3 * HOUR
    steps = [(row["at"], row["runbook"]) for row in ops.world.rows("operator.notebook")]
    inside = [runbook for at, runbook in steps if MONDAY + told[1][3] <= at <= MONDAY + told[2][3]]
    assert set(inside) == {second}, "what waited was not gone on with before the other had ended"


def test_a_procedure_that_does_not_go_as_written_is_escalated() -> None:
    ops = Ops(document("look", front="alerts: []\nschedule: daily at 14:00", expected="something else"))
    assert [action for _, action, _, _ in ops.done()] == ["started", "failed"]
    [escalation] = ops.world.rows("operator.escalations")
    assert (escalation["principal"], escalation["incident"], escalation["runbook"]) == (
        "ops:kim", "look:2027-01-04", "look",
    )  # fmt: skip
    assert "something else" in escalation["reason"]


@pytest.mark.parametrize(("lost", "ends"), [(0, 1), (1, 1), (4, 1), (5, 0)])
def test_a_procedure_that_no_record_can_be_begun_of_is_tried_again_within_its_time(
    monkeypatch: pytest.MonkeyPatch, lost: int, ends: int
) -> None:
    monkeypatch.setattr(Control, "lost", lost)
    ops = Ops(DAILY)
    done = ops.done()
    assert [action for _, action, _, _ in done] == ["started", "completed"] * ends
    assert all(0 <= at - 14 * HOUR - lost * 30 * MINUTE < 30 * MINUTE for _, _, _, at in done)
    assert len(ops.world.rows("operator.escalations")) == 1 - ends
