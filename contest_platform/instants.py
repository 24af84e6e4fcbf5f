"""Instants as text: RFC 3339 in UTC, from integer milliseconds since the epoch. No clock, no table of time zones."""

from __future__ import annotations


def rfc3339(at: int, *, ms: bool = False) -> str:
    """`2026-06-04T12:19:22Z`; what is less than a second is cut off, or told with `ms` (`…22.125Z`)."""
    seconds, millis = divmod(at, 1000)
    days, of_day = divmod(seconds, 86_400)
    year, month, day = _civil(days)
    rest = f".{millis:03}" if ms else ""
    clock = f"{of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}"
    return f"{year:04}-{month:02}-{day:02}T{clock}{rest}Z"


def _civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) of the proleptic Gregorian calendar, `days` after 1970-01-01.

    Years begin in March here, so that the leap day ends them (Howard Hinnant, "chrono-Compatible Low-Level Date
    Algorithms", civil_from_days).
    """
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day, month = of_year - (153 * shifted + 2) // 5 + 1, shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day
