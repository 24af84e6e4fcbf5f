"""When a runbook is due: read from its front matter, told by the command line, and wrong at its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.runbooks import check, parse
from operations.runbooks.schedule import DAY_MS, DESK_UTC_H, WEEKDAYS, ScheduleInvalid, read_schedule
from tests.support.command import ROOT, absence
from tests.support.runbooks import KNOWN

FILE = "look.md"
SOURCE = """\
---
id: look
version: 1.0.0
date: 2026-06-01
kind: scheduled
role: ops
alerts: []
failure_modes: []
schedule: daily at 14:00
---
# Look

## Prerequisites

None.

## Steps

1. Look.

   ```sh
   opsctl thing list
   ```

   ```expect
   ...
   ```

## Verification

1. Look again.

   ```sh
   opsctl thing list
   ```

   ```expect
   ...
   ```

## Rollback

Nothing.
"""
JUNE = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1_000  # a Monday


def problems(source: str) -> list[str]:
    runbook, found = parse(source, FILE)
    return [str(one).removeprefix(f"{FILE}:") for one in sorted({*found, *check([runbook], KNOWN)})]


def test_a_scheduled_runbook_that_is_in_order_has_no_problem() -> None:
    assert problems(SOURCE) == []
    runbook, _ = parse(SOURCE, FILE)
    assert str(runbook.schedule) == "daily at 14:00"


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("daily at", "dayly at", "9:11", "expected daily or weekly, got 'dayly' (did you mean daily?)"),
        ("daily at", "weekly on mondy at", "9:21", "got 'mondy' (did you mean monday?)"),
        ("daily at", "weekly on Monday at", "9:21", "got 'Monday' (did you mean monday?)"),
        ("daily at", "weekly at", "9:17", "say on which day of the week"),
        ("daily at", "daily on monday at", "9:20", "write weekly, or leave it"),
        ("14:00", "24:00", "9:20", "expected a time from 00:00 to 23:59, in UTC, got '24:00'"),
        ("14:00", "2pm", "9:20", "expected a time from 00:00 to 23:59, in UTC, got '2pm'"),
        ("14:00", "03:30", "9:20", "nobody is at the desk at 03:30: say a time from 12:00 to 23:59 UTC"),
        ("daily at 14:00", '"daily at 3"', "9:21", "expected a time"),
        ("daily at 14:00", "every day", "9:11", "expected `daily at 14:00` or `weekly on monday at 15:00`"),
        ("daily at 14:00", "[daily]", "9:11", "got 'something nested'"),
        ("schedule: ", "schedul: ", "9:1", "unknown key schedul (did you mean schedule?)"),
        ("schedule: daily at 14:00\n", "", "5:7", "has to say when it is due: add `schedule: daily at 14:00`"),
        ("kind: scheduled", "kind: task", "9:1", "the clock opens no task runbook: write `kind: scheduled`"),
        ("kind: scheduled", "kind: schedule", "5:7", "(did you mean scheduled?)"),
        ("alerts: []", "alerts: [ThingStuck]", "7:10", "no alert does: write `alerts: []`"),
        ("opsctl thing list", "opsctl thing show {alert.thing}", "22:22", "no alert opens this runbook"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_schedule_is_said_at_its_place(old: str, new: str, at: str, says: str) -> None:
    assert old in SOURCE
    found = problems(SOURCE.replace(old, new, 1))
    assert any(one.startswith(f"{at}: ") and says in one for one in found), found


def test_a_schedule_is_no_part_of_a_runbook_that_an_alert_opens() -> None:
    source = (ROOT / "runbooks" / "ingestion_lag.md").read_text()
    _, before = parse(source, "ingestion_lag.md")
    assert before == []
    broken = source.replace("role: ops\n", "role: ops\nschedule: daily at 14:00\n", 1)
    _, [problem] = parse(broken, "ingestion_lag.md")
    assert str(problem).startswith("ingestion_lag.md:7:1: the clock opens no failure runbook")


@given(
    st.sampled_from([None, *WEEKDAYS]), st.integers(DESK_UTC_H[0] * 60, DESK_UTC_H[1] * 60 - 1),
    st.integers(0, 20 * DAY_MS), st.integers(0, 20 * DAY_MS),
)  # fmt: skip
def test_it_is_due_at_every_such_instant_and_at_no_other(day: str | None, minute: int, begin: int, length: int) -> None:
    time = f"{minute // 60:02}:{minute % 60:02}"
    text = f"daily at {time}" if day is None else f"weekly on {day} at {time}"
    schedule = read_schedule(text)
    assert str(schedule) == text
    from_at, until_at = JUNE + begin, JUNE + begin + length
    instants = [datetime(2026, 6, 1, minute // 60, minute % 60, tzinfo=UTC) + timedelta(days=n) for n in range(45)]
    wanted = [one for one in instants if day is None or one.strftime("%A").lower() == day]
    assert list(schedule.due(from_at, until_at)) == [
        at for one in wanted if from_at <= (at := int(one.timestamp()) * 1_000) < until_at
    ]


@given(
    st.sampled_from(["daily", "weekly", "monthly"]), st.sampled_from([" ", " on monday ", " on tomorow "]),
    st.sampled_from(["at 12:00", "at 23:59", "at 11:59", "at 24:00", "at", ""]),
)  # fmt: skip
def test_whatever_is_refused_is_refused_at_a_place_within_it(every: str, day: str, time: str) -> None:
    text = f"{every}{day}{time}"
    if (every, day) in (("daily", " "), ("weekly", " on monday ")) and time in ("at 12:00", "at 23:59"):
        assert str(read_schedule(text)) == text
    else:
        with pytest.raises(ScheduleInvalid) as refused:
            read_schedule(text)
        assert 0 <= refused.value.offset < len(text)


def test_the_command_line_tells_what_the_clock_opens_and_when(tmp_path: Path) -> None:
    listed = {one["id"]: one["schedule"] for one in absence("runbooks", "list", "--json").json}
    due = {name: when for name, when in listed.items() if when}
    assert {name: when.split()[0] for name, when in due.items()} == {
        "backup_contest_data": "daily", "daily_check": "daily", "snapshot_ritual": "daily",
        "weekly_maintenance": "weekly",
    }  # fmt: skip
    lines = absence("runbooks", "list").stdout.splitlines()
    for name, when in due.items():
        [line] = [line for line in lines if line.startswith(f"{name} ")]
        assert line.endswith(f"({when})")
        assert absence("runbooks", "show", name).stdout.splitlines()[1] == f"{when} UTC"
    path = tmp_path / FILE
    path.write_text(SOURCE.replace("daily at", "weekly on mondy at").replace("thing list", "status"))
    said = absence("runbooks", "check", path)
    assert said.exit_code == 20
    assert said.stderr.splitlines()[0].endswith(
        f"{FILE}:9:21: schedule: expected a day of the week like monday, got 'mondy' (did you mean monday?)"
    )
