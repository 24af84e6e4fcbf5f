"""The simulated operator: who is on duty, what goes first, and what is done by the clock beside the pager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from operations.runbooks import Output, Runbook, Unrecorded
from simulator.actors.operator import AT_DESK_MS, TURN_MS, OperatorActor, Sleep
from simulator.actors.witnesses import Page, PagerActor
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

    def page(self, at: int, key: str = "Broken", runbook: Runbook = PAGED, *, over_at: int = 0) -> None:
        async def ring() -> None:
            await self.world.runtime.sleep_until(MONDAY + at)
            details = {"labels": {"alertname": "Broken"}, "runbook_url": runbook.file}
            self.pager.receive("trigger", key, "It is broken", "error", details)
            if over_at:
                await self.world.runtime.sleep_until(MONDAY + over_at)
                self.pager.receive("resolve", key, "", "", {})

        self.world.runtime.spawn(ring(), "page")

    def done(self) -> list[tuple[str, str, str, int]]:
        """(who, what, which, when) in the order of the notebook, without the steps."""
        self.world.run_for(self.days * DAY)
        return [
            (row["principal"], row["action"], row["runbook"], row["at"] - MONDAY)
            for row in self.world.rows("operator.notebook")
            if row["action"] != "step"
        ]

    def taken(self) -> list[tuple[str, int]]:
        """(page, when) as they were acknowledged."""
        self.done()
        events = self.world.rows("pager.events")
        return [(row["dedup_key"], row["at"] - MONDAY) for row in events if row["action"] == "acknowledge"]

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


WAITS = {"wait": "within 14400s every 900s", "expected": "never said"}
SLOW, OTHER = document("slow", front="alerts: [Slow]", **WAITS), document("other", front="alerts: [Other]", **WAITS)


def test_a_page_that_comes_while_runbooks_wait_for_the_clock_is_taken_up_within_minutes() -> None:
    ops = Ops(SLOW, OTHER, PAGED)
    ops.page(13 * HOUR, "Slow", SLOW)
    ops.page(13 * HOUR + MINUTE, "Other", OTHER)
    ops.page(15 * HOUR, "Broken")
    ends = {runbook: at for _, action, runbook, at in ops.done() if action in ("completed", "failed")}
    assert dict(ops.taken())["Broken"] - 15 * HOUR <= AT_DESK_MS[1] + 2 * MINUTE
    assert dict(ops.taken())["Other"] - 13 * HOUR < 20 * MINUTE
    assert ends["mend"] < 15 * HOUR + 20 * MINUTE < 17 * HOUR < min(ends["slow"], ends["other"])


def test_two_pages_of_one_runbook_are_attended_to_one_after_the_other() -> None:
    ops = Ops(SLOW, PAGED)
    for minute in range(3):
        ops.page(9 * HOUR + minute * MINUTE, f"Slow:{minute}", SLOW)
    ops.page(9 * HOUR + 3 * MINUTE, "Broken")
    told = [(action, runbook) for _, action, runbook, _ in ops.done()]
    slow = [action for action, runbook in told if runbook == "slow"]
    assert slow == ["started", "failed"] * 3
    assert [key for key, _ in ops.taken()] == ["Slow:0", "Broken", "Slow:1", "Slow:2"]
    assert told[1:3] == [("started", "mend"), ("completed", "mend")], "nothing else waits for that"


def test_pages_are_taken_in_the_order_in_which_they_came_whenever_in_the_minute_that_was() -> None:
    ops = Ops(PAGED, SLOW)
    came = [f"Broken:{n}" for n in range(8)]
    for n, key in enumerate(came):  # each waits for the hands that all others wait for, or for its runbook too
        ops.page(14 * HOUR + n * 47_000, key, PAGED)
    assert [key for key, _ in ops.taken()] == came


def test_a_page_whose_runbook_was_open_goes_before_those_that_came_later() -> None:
    ops = Ops(PAGED, *(more := [document(f"mend{n}", front="alerts: [Broken]") for n in range(3)]))
    ops.page(14 * HOUR, "first")
    ops.page(14 * HOUR + 10_000, "second")
    for n, runbook in enumerate(more):
        ops.page(14 * HOUR + 20_000 + n * 10_000, f"later:{n}", runbook)
    assert [key for key, _ in ops.taken()] == ["first", "second", "later:0", "later:1", "later:2"]


def test_a_procedure_waits_until_its_runbook_that_was_ordered_is_closed() -> None:
    slow = document("look", front="alerts: []\nschedule: daily at 14:00", **WAITS)
    ops = Ops(slow)

    async def order() -> None:
        await ops.world.runtime.sleep_until(MONDAY + 13 * HOUR)
        ops.operator.ordered(Page(MONDAY + 13 * HOUR, "drill", "", "info", {"runbook_url": slow.file}))

    ops.world.runtime.spawn(order(), "order")
    assert [action for _, action, _, _ in ops.done()] == ["started", "failed"] * 2


def test_a_page_that_has_resolved_itself_in_the_row_costs_nobody_behind_it_any_time() -> None:
    ops = Ops(DAILY, PAGED)
    for n in range(30):
        ops.page(14 * HOUR + MINUTE + n, f"gone:{n}", over_at=14 * HOUR + MINUTE + 100)
    ops.page(14 * HOUR + 2 * MINUTE, "Broken")
    [(key, at)] = ops.taken()
    [closed_at] = [at for _, action, runbook, at in ops.done() if (action, runbook) == ("completed", "look")]
    assert key == "Broken"
    assert at - closed_at <= AT_DESK_MS[1] + MINUTE


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
