"""How reports say instants, amounts and other people's words: one form each, whatever the machine's locale.

Nothing that came from data reaches a report without passing the escape of that report's format.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from assertions.words import DAY_MS, HOUR_MS, dollars, duration

__all__ = ["DAY_MS", "HOUR_MS", "dollars", "duration"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&$!(){}])")
_LIST_START = re.compile(r"^([-+=]|\d+[.)])")


def utc(at: int) -> datetime:
    """The instant `at` (ms since the epoch)."""
    return _EPOCH + timedelta(milliseconds=at)


@lru_cache(maxsize=1024)
def _date(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).date().isoformat()


def date(at: int) -> str:
    """`2026-06-06`."""
    return _date(at // DAY_MS)


def iso(at: int) -> str:
    """`2026-06-06T14:10:00.000Z`."""
    days, ms = divmod(at, DAY_MS)
    seconds, ms = divmod(ms, 1000)
    return f"{_date(days)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"


def day(at: int, starts_at: int) -> int:
    """Which day of the run `at` falls on; the first is 1."""
    return (at - starts_at) // DAY_MS + 1


def weekday(at: int) -> str:
    return _WEEKDAYS[utc(at).weekday()]


def day_month(at: int) -> str:
    """`06 Jun`."""
    moment = utc(at)
    return f"{moment.day:02} {_MONTHS[moment.month - 1]}"


def clock(at: int) -> str:
    """`14:10`, with the seconds only where there are some."""
    moment = utc(at)
    seconds = f":{moment.second:02}" if moment.second else ""
    return f"{moment.hour:02}:{moment.minute:02}{seconds}"


def instant(at: int | None, starts_at: int) -> str:
    """`day 5 Sat 06 Jun 14:10 UTC`; an instant nobody knows is said to be unknown."""
    if at is None:
        return "at no known instant"
    return f"day {day(at, starts_at)} {weekday(at)} {day_month(at)} {clock(at)} UTC"


def decimal(cents: int) -> str:
    """`1234.56`: exact, two digits, for machines."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 fault`, `2 faults`, `1,000 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def printable(text: str) -> str:
    """`text` without the characters that XML and terminals cannot carry; each becomes U+FFFD."""
    return _CONTROL.sub("\ufffd", text)


def markdown(text: object) -> str:
    """`text` as literal Markdown on one line: no emphasis, link, HTML, heading, list or table cell can start in it."""
    line = " ".join(printable(str(text)).split())
    return _LIST_START.sub(lambda found: found[1][:-1] + "\\" + found[1][-1], _MARKDOWN.sub(r"\\\1", line))


def code(text: object) -> str:
    """`text` as inline Markdown code, fenced with more backticks than it holds; pipes stay safe inside table cells."""
    line = " ".join(printable(str(text)).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"
