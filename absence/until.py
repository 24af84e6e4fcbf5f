"""How far a replay is to go: an instant of simulated time, or an event of the journal.

Invariant: an instant means that everything due before it has happened, and nothing that is due at it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

import click

SECOND_MS = 1_000
UNITS_MS = {"d": 86_400 * SECOND_MS, "h": 3_600 * SECOND_MS, "m": 60 * SECOND_MS, "s": SECOND_MS}
FORMS = "`day 5`, `day 5 14:00`, `2026-06-05T14:00Z`, `+3d4h` (d, h, m, s) or an event like `e1234`"

_DAY = re.compile(r"day (\d{1,3})(?: ([01]\d|2[0-3]):([0-5]\d))?")
_AFTER = re.compile(r"\+((?:\d+[dhms])+)")
_EVENT = re.compile(r"e([1-9]\d*)")


class Until(NamedTuple):
    """`at`: the instant (ms), the end of the run for an event; `event`: its number, once which is written the replay
    stops. What follows from an event without anybody waiting has happened with it."""

    at: int
    event: int | None = None


def read_until(text: str, starts_at: int, ends_at: int, events: int) -> Until:
    """Of a run from `starts_at` to `ends_at` with so many events. Raises BadParameter."""
    if found := _EVENT.fullmatch(text):
        number = int(found[1])
        if number > events:
            raise _wrong(f"there is no event {text}: the run has {events:,}, the last is e{events}")
        return Until(ends_at + 1, number)
    at = _instant(text, starts_at)
    if at is None:
        raise _wrong(f"{text!r} is no instant: give {FORMS}")
    if not starts_at < at <= ends_at:
        raise _wrong(f"{text} is {_said(at)}: the run is from {_said(starts_at)} to {_said(ends_at)}")
    return Until(at)


def _instant(text: str, starts_at: int) -> int | None:
    if found := _DAY.fullmatch(text):
        day, hour, minute = (int(part or 0) for part in found.groups())
        return starts_at + (day - 1) * UNITS_MS["d"] + hour * UNITS_MS["h"] + minute * UNITS_MS["m"]
    if found := _AFTER.fullmatch(text):
        return starts_at + sum(int(n) * UNITS_MS[unit] for n, unit in re.findall(r"(\d+)([dhms])", found[1]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # An instant without a zone is UTC: there is no other in a run.
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND_MS)


def _said(at: int) -> str:
    try:
        return datetime.fromtimestamp(at // SECOND_MS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OSError, OverflowError, ValueError):
        return "in no year of the calendar"


def _wrong(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="--until")
