"""Functions over a window of samples, in Prometheus' own order of float operations.

Invariant: a window given as runs gives the same bits as the same samples one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from operations.alerts.series import Run

# A window of at least one sample, its first and last instant, its length → a value, or None where it has none.
RangeFunction = Callable[[list[Run], int, int, int], float | None]


def divide(one: float, other: float) -> float:
    """IEEE 754's quotient."""
    try:
        return one / other
    except ZeroDivisionError:
        if one == 0 or one != one:
            return math.nan
        return math.inf if math.copysign(1, one) == math.copysign(1, other) else -math.inf


def modulo(one: float, other: float) -> float:
    try:
        return math.fmod(one, other)
    except ValueError:
        return math.nan


def _seconds(ms: int) -> float:
    return float(ms // 1000) + float(ms % 1000 * 1_000_000) / 1e9


def _extrapolated(runs: list[Run], begin: int, end: int, length: int, counter: bool, per_second: bool) -> float | None:
    """The difference between the ends of the window, as its samples let one guess it; two are needed."""
    first_at, _, first, _ = runs[0]
    _, last_at, last, _ = runs[-1]
    count = sum(run[3] for run in runs)
    if count < 2:
        return None
    difference = last - first
    if counter:
        before = first
        for _, _, value, _ in runs:
            if value < before:
                difference += before
            before = value
    to_start = float(first_at - begin) / 1000
    to_end = float(end - last_at) / 1000
    sampled = float(last_at - first_at) / 1000
    apart = sampled / float(count - 1)
    if counter and difference > 0 and first >= 0:  # a counter was never below zero
        to_start = min(to_start, sampled * (first / difference))
    threshold = apart * 1.1
    covered = sampled
    covered += to_start if to_start < threshold else apart / 2
    covered += to_end if to_end < threshold else apart / 2
    factor = covered / sampled
    if per_second:
        factor /= _seconds(length)
    return difference * factor


def rate(runs: list[Run], begin: int, end: int, length: int) -> float | None:
    return _extrapolated(runs, begin, end, length, counter=True, per_second=True)


def increase(runs: list[Run], begin: int, end: int, length: int) -> float | None:
    return _extrapolated(runs, begin, end, length, counter=True, per_second=False)


def delta(runs: list[Run], begin: int, end: int, length: int) -> float | None:
    return _extrapolated(runs, begin, end, length, counter=False, per_second=False)


def changes(runs: list[Run], begin: int, end: int, length: int) -> float:
    before = runs[0][2]
    found = 0
    for _, _, value, _ in runs:
        if value != before and not (value != value and before != before):
            found += 1
        before = value
    return float(found)


def resets(runs: list[Run], begin: int, end: int, length: int) -> float:
    before = runs[0][2]
    found = 0
    for _, _, value, _ in runs:
        found += value < before
        before = value
    return float(found)


def largest(runs: list[Run], begin: int, end: int, length: int) -> float:
    found = runs[0][2]
    for _, _, value, _ in runs:
        if value > found or found != found:
            found = value
    return found


def smallest(runs: list[Run], begin: int, end: int, length: int) -> float:
    found = runs[0][2]
    for _, _, value, _ in runs:
        if value < found or found != found:
            found = value
    return found


def count(runs: list[Run], begin: int, end: int, length: int) -> float:
    return float(sum(run[3] for run in runs))


def _compensated(term: float, total: float, lost: float) -> tuple[float, float]:
    """One step of a Kahan sum with Neumaier's improvement."""
    result = total + term
    if abs(total) >= abs(term):
        return result, lost + ((total - result) + term)
    return result, lost + ((term - result) + total)


def total(runs: list[Run], begin: int, end: int, length: int) -> float:
    found = lost = 0.0
    for _, _, value, times in runs:
        for _ in range(times):
            found, lost = _compensated(value, found, lost)
    return found if math.isinf(found) else found + lost


def average(runs: list[Run], begin: int, end: int, length: int) -> float:
    mean = lost = 0.0
    seen = 0
    for _, _, value, times in runs:
        for left in range(times, 0, -1):
            if mean == value and lost == 0:  # nothing is added to it any more, however often
                seen += left
                break
            seen += 1
            if math.isinf(mean) and (value == mean or math.isfinite(value)):
                continue
            mean, lost = _compensated(value / seen - mean / seen, mean, lost)
    return mean if math.isinf(mean) else mean + lost


RANGE: dict[str, RangeFunction] = {
    "rate": rate, "increase": increase, "delta": delta, "changes": changes, "resets": resets, "max_over_time": largest,
    "min_over_time": smallest, "count_over_time": count, "sum_over_time": total, "avg_over_time": average,
}  # fmt: skip
# what depends on which values a window holds, in which order, and not on how many samples of each
SETTLED = frozenset(("changes", "resets", "max_over_time", "min_over_time"))
COUNTERS = frozenset(("rate", "increase"))


def go_max(one: float, other: float) -> float:
    if math.inf in (one, other):
        return math.inf
    if one != one or other != other:
        return math.nan
    if one == 0 and other == 0:
        return other if math.copysign(1, one) < 0 else one
    return max(one, other)


def go_min(one: float, other: float) -> float:
    return -go_max(-one, -other)
