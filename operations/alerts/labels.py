"""Label sets, durations and numbers as Prometheus writes them.

Invariant: a label set is a tuple of (name, value) sorted by name without empty values: equal sets are equal tuples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

NAME = "__name__"
ALERTNAME = "alertname"

Labels = tuple[tuple[str, str], ...]
Vector = list[tuple[Labels, float]]

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def label_set(labels: Mapping[str, str], name: str = "") -> Labels:
    """The label set of a metric; labels without a value are no labels."""
    pairs = [(key, value) for key, value in labels.items() if value != "" and key != NAME]
    if name:
        pairs.append((NAME, name))
    return tuple(sorted(pairs))


def without(labels: Labels, names: Collection[str]) -> Labels:
    return tuple([pair for pair in labels if pair[0] not in names])


def only(labels: Labels, names: Collection[str]) -> Labels:
    return tuple([pair for pair in labels if pair[0] in names])


def duration_ms(text: str) -> int | None:
    """Milliseconds of `1h30m`; units from the largest down, each at most once; None where it is no duration."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    return sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS_MS, strict=True) if count is not None)


def number(value: float) -> str:
    """As Go prints a float: the shortest digits that give it back, with an exponent below 1e-04 and from 1e+06 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    sign = "-" if value < 0 else ""
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    power = point - 1
    if power < -4 or power >= 6:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"
