"""How the judge says amounts, instants and durations: plain words, the same on every machine and in every locale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS))


def dollars(cents: int) -> str:
    """`$1,234.56`, from integer cents."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}${whole:,}.{rest:02}"


def instant(at: int | None) -> str:
    """`2026-06-06 14:10:00 UTC`; an instant nobody recorded is said to be unknown."""
    if at is None:
        return "at an unknown instant"
    return (_EPOCH + timedelta(milliseconds=at)).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(ms: int) -> str:
    """The two largest units: `2 d 3 h`, `45 min`, `20 s`."""
    parts, left = [], abs(ms)
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
        if len(parts) == 2:
            break
    return " ".join(parts) or f"{left} ms"
