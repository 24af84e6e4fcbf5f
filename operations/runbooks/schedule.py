"""When a scheduled runbook is due: `daily at 14:00`, `weekly on monday at 15:00`; in UTC, at hours of work.

Invariant: a schedule that is returned names one instant of a day or of a week, and never one at which nobody works.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from operations.runbooks.problems import did_you_mean

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
DESK_UTC_H = (12, 24)
"""When the person on duty sits at the desk, every day: at other hours only the pager is heard."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH_WEEKDAY = WEEKDAYS.index("thursday")
_EXAMPLES = "`daily at 14:00` or `weekly on monday at 15:00`"
_FORM = re.compile(r"(\S+)(?: on (\S+))? at (\S+)")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class ScheduleInvalid(ValueError):
    """A text is no schedule: `offset` (from 0) says where in it."""

    def __init__(self, offset: int, message: str) -> None:
        self.offset = offset
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`weekday`: 0 is Monday, None is every day. `minute`: of the day, in UTC."""

    weekday: int | None
    minute: int

    def __str__(self) -> str:
        day = "daily" if self.weekday is None else f"weekly on {WEEKDAYS[self.weekday]}"
        return f"{day} at {self.minute // 60:02}:{self.minute % 60:02}"

    def due(self, from_at: int, until_at: int) -> Iterator[int]:
        """Every instant (ms) in [from_at, until_at) at which it is due, in their order."""
        for day in range(from_at // DAY_MS, -(-until_at // DAY_MS)):
            at = day * DAY_MS + self.minute * MINUTE_MS
            if self.weekday in (None, (day + _EPOCH_WEEKDAY) % 7) and from_at <= at < until_at:
                yield at


def read_schedule(text: str) -> Schedule:
    """Raises ScheduleInvalid."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ScheduleInvalid(0, f"expected {_EXAMPLES}, got {text!r}")
    every, weekday, time = form.groups()
    if every not in ("daily", "weekly"):
        raise ScheduleInvalid(0, f"expected daily or weekly, got {every!r}{did_you_mean(every, ('daily', 'weekly'))}")
    if every == "daily" and weekday is not None:
        raise ScheduleInvalid(form.start(2), f"what is done daily is done on {weekday} too: write weekly, or leave it")
    if every == "weekly" and weekday is None:
        raise ScheduleInvalid(form.end(1), "say on which day of the week: `weekly on monday at 15:00`")
    if weekday is not None and weekday not in WEEKDAYS:
        near = did_you_mean(weekday.lower(), WEEKDAYS)
        raise ScheduleInvalid(form.start(2), f"expected a day of the week like monday, got {weekday!r}{near}")
    clock = _TIME.fullmatch(time)
    if clock is None:
        raise ScheduleInvalid(form.start(3), f"expected a time from 00:00 to 23:59, in UTC, got {time!r}")
    minute = int(clock[1]) * 60 + int(clock[2])
    begins, ends = DESK_UTC_H
    if not begins * 60 <= minute < ends * 60:
        raise ScheduleInvalid(
            form.start(3),
            f"nobody is at the desk at {time}: say a time from {begins:02}:00 to {ends - 1:02}:59 UTC",
        )
    return Schedule(None if weekday is None else WEEKDAYS.index(weekday), minute)
