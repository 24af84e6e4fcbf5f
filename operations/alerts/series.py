"""What is measured: samples as given, or values that hold until the next one and are scraped on a grid.

Both are kept as runs: a value, the instants of its first and last sample, and the step between them. A series that
did not change for a fortnight is one run, and costs one.

Invariant: the samples that the runs stand for are exactly those that Prometheus would have stored, in order of time.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Protocol

from operations.alerts.labels import NAME, Labels, label_set

LOOKBACK_MS = 300_000  # Prometheus' default: an older sample is none
_FAR_S = 1e12  # instants beyond it are never reached
NEVER = 1 << 62  # later than every instant
STALE = float("nan")  # this very object: the marker that a series ended; every other NaN is a value

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

Run = tuple[int, int, float, int]  # first sample, last sample, value, how many


def same(one: float, other: float) -> bool:
    """Whether two values are the same for every calculation: NaN is NaN, and 0 is not -0."""
    if one == other:
        return one != 0 or math.copysign(1, one) == math.copysign(1, other)
    return one != one and other != other


def _always(one: float, other: float) -> bool:
    return True


class Watcher(Protocol):
    """Who wants to know that a series changed."""

    def told(self, before: float, after: float, at_ms: int) -> None:
        """From `at_ms` on the value is `after`; it was `before`. STALE stands for no value."""


class Series:
    """One time series, appended to only: what has been scraped is not changed any more.

    `order` is the place of the rule that records the series among all rules, -1 where none does.
    """

    __slots__ = ("_gaps", "_store", "_truths", "ends", "labels", "order", "starts", "step", "values", "watchers")

    def __init__(self, store: Store, labels: Labels, step: int, order: int = -1) -> None:
        if not 0 < step <= LOOKBACK_MS:
            raise ValueError(f"samples {step} ms apart leave gaps; expected at most {LOOKBACK_MS} ms")
        self._store, self.labels, self.step, self.order = store, labels, step, order
        self.starts: list[int] = []
        self.ends: list[int] = []  # NEVER: the run goes on
        self.values: list[float] = []
        self.watchers: list[Watcher] = []
        self._truths: dict[tuple[str, float], bytes] = {}
        self._gaps = False

    # --- written ----------------------------------------------------------------------------------------------------

    def set(self, value: float, at_ms: int) -> None:
        """The value from now on: the next scrape finds it and every later one, until it is set again or ends."""
        self.hold(float(value), self._store.scrape_after(at_ms))

    def stale(self, at_ms: int) -> None:
        """The series is no more from the next scrape on, until it is set again."""
        self.end(self._store.scrape_after(at_ms))

    def hold(self, value: float, at: int) -> None:
        """`set`, at an instant of the grid."""
        before = self._reopen(at)
        if self.ends and self.ends[-1] == NEVER:
            if same(before, value):
                return
            self.ends[-1] = at - self.step
        self._append(before, value, at, NEVER)

    def end(self, at: int) -> None:
        """`stale`, at an instant of the grid."""
        before = self._reopen(at)
        if self.values and self.values[-1] is not STALE:
            if self.ends[-1] == NEVER:
                self.ends[-1] = at - self.step
            self._append(before, STALE, at, at)

    def pause(self, at: int) -> None:
        """No sample at `at` nor after it, and no marker: what a rule leaves that could not be evaluated."""
        if self.ends and self.ends[-1] == NEVER:
            self.ends[-1] = at - self.step
            self._tell(self.values[-1], STALE, at)

    def sample(self, value: float, at_ms: int) -> None:
        """One sample at its own instant, later than every other; STALE ends the series."""
        if self.ends and at_ms <= self.ends[-1]:
            raise ValueError(f"a sample at {at_ms} ms, and there is one at {self.ends[-1]} ms: {dict(self.labels)}")
        last = len(self.ends) - 1
        before = STALE if last < 0 or at_ms - self.ends[last] > LOOKBACK_MS else self.values[last]
        values = last >= 0 and value is not STALE and before is not STALE
        if values and at_ms - self.ends[last] == self.step and same(before, value):
            self.ends[last] = at_ms
            self._truths.clear()
            self._tell(before, value, at_ms)
            return
        self._append(before, value if value is STALE else float(value), at_ms, at_ms)

    def _reopen(self, at: int) -> float:
        """Forgets what was set for the scrape that is set now; gives the value of the scrape before it."""
        if self.starts and self.starts[-1] >= at:
            if self.starts[-1] > at:
                raise ValueError(f"a value for {at} ms, and there is one at {self.starts[-1]} ms: {dict(self.labels)}")
            for column in (self.starts, self.ends, self.values):
                column.pop()
            self._truths.clear()
            if self.ends and self.ends[-1] == at - self.step and self.values[-1] is not STALE:
                self.ends[-1] = NEVER
        if not self.values or at - self.ends[-1] > LOOKBACK_MS:
            return STALE
        return self.values[-1]

    def _append(self, before: float, value: float, start: int, end: int) -> None:
        if self.values and self.values[-1] is not STALE and start - self.ends[-1] > LOOKBACK_MS:
            self._gaps = True
        self.starts.append(start)
        self.ends.append(end)
        self.values.append(value)
        self._tell(before, value, start)

    def _tell(self, before: float, value: float, at: int) -> None:
        for watcher in self.watchers:
            watcher.told(before, value, at)

    # --- read -------------------------------------------------------------------------------------------------------
    # `at` is the instant that is looked at, `upto` the last one whose samples are there already: `at`, or one
    # millisecond less where the rule that records the series has its turn after the one that reads it.

    def value(self, at: int, upto: int) -> float:
        """The latest value, no older than LOOKBACK_MS; STALE where there is none."""
        index = bisect_right(self.starts, upto) - 1
        if index < 0 or at - self.ends[index] > LOOKBACK_MS:
            return STALE
        return self.values[index]

    def next_value(self, at: int, upto: int) -> int:
        """The first instant after `at` at which `value` is another one."""
        return self._next(at, upto, same)

    def next_presence(self, at: int, upto: int) -> int:
        """The first instant after `at` at which there is a value, where there is none now, or the other way about."""
        return self._next(at, upto, _always)

    def next_truth(self, at: int, upto: int, operator: str, limit: float) -> int:
        """The first instant after `at` at which `value operator limit` is another truth; no value is false."""
        test = OPERATORS[operator]
        late = at - upto
        index = bisect_right(self.starts, upto) - 1
        if not self._gaps and len(self.values) - index > 64:
            truths = self._truths.get((operator, limit))
            if truths is None or len(truths) != len(self.values):
                truths = bytes(map(test, self.values, repeat(limit)))
                if operator == "!=":  # which holds for the marker too
                    truths = bytes(
                        [truth and value is not STALE for truth, value in zip(truths, self.values, strict=True)]
                    )
                self._truths[operator, limit] = truths
            if index >= 0 and at - self.ends[index] <= LOOKBACK_MS:
                index = truths.find(1 - truths[index], index + 1)
                if index >= 0:
                    return self.starts[index] + late
                last = self.ends[-1]
                return last + LOOKBACK_MS + 1 if truths[-1] and last != NEVER else NEVER

        now = self.value(at, upto)
        truth = now is not STALE and test(now, limit)
        while True:
            instant = self._next(at, upto, lambda one, other: test(one, limit) == test(other, limit))
            if instant == NEVER:
                return NEVER
            then = self.value(instant, instant - late)
            if (then is not STALE and test(then, limit)) != truth:
                return instant
            at, upto = instant, instant - late

    def next_age(self, at: int, upto: int, operator: str, limit: float, every: int) -> int:
        """The same for `time() - value operator limit`, with > or >=, looked at every `every` ms."""
        test = OPERATORS[operator]
        late = at - upto
        now = self.value(at, upto)
        truth = now is not STALE and test(at / 1000 - now, limit)
        while True:
            until = self._next(at, upto, same)
            if not truth and now is not STALE and abs(now + limit) < _FAR_S:
                instant = at + every - at % every
                instant = max(instant, int((now + limit) * 1000) // every * every - every)
                while not test(instant / 1000 - now, limit):
                    instant += every
                if instant < until:
                    return instant
            if until == NEVER:
                return NEVER
            now = self.value(until, until - late)
            seen = until + -until % every
            if (now is not STALE and test(seen / 1000 - now, limit)) != truth:
                return until
            at, upto = until, until - late

    def _next(self, at: int, upto: int, alike: Callable[[float, float], bool]) -> int:
        starts, ends, values = self.starts, self.ends, self.values
        index = bisect_right(starts, upto) - 1
        late = at - upto
        count = len(starts)
        now = STALE if index < 0 or at - ends[index] > LOOKBACK_MS else values[index]
        while True:
            following = index + 1
            if now is STALE:
                if following == count:
                    return NEVER
                if values[following] is not STALE:
                    return starts[following] + late
            else:
                end = ends[index]
                gone = NEVER if end == NEVER else end + LOOKBACK_MS + 1
                if following == count or starts[following] + late > gone:
                    return gone
                value = values[following]
                if value is STALE or not alike(now, value):
                    return starts[following] + late
            index = following

    def window(self, first: int, last: int) -> list[Run]:
        """The samples from `first` to `last`, both included, as runs; markers are no samples."""
        starts, ends, values, step = self.starts, self.ends, self.values, self.step
        found: list[Run] = []
        for index in range(bisect_left(ends, first), len(starts)):
            start = starts[index]
            if start > last:
                break
            value = values[index]
            if value is STALE:
                continue
            end = min(ends[index], last)
            if start < first:
                start += -((start - first) // step) * step
                if start > end:
                    continue
            count = (end - start) // step + 1
            found.append((start, start + (count - 1) * step, value, count))
        return found

    def next_window(self, at: int, length: int, upto: int, settled: bool, every: int) -> int:
        """The first instant after `at` at which a function of the last `length` ms, looked at `every` ms, may differ.

        `settled`: the function looks at which values there are in which order, not at how many samples of each.
        """
        starts, ends, values = self.starts, self.ends, self.values
        late = at - upto
        low = bisect_left(ends, at - length)
        high = bisect_right(starts, upto) - 1
        following = starts[high + 1] + late if high + 1 < len(starts) else NEVER
        if low > high or (low == high and values[low] is STALE):
            return following
        if every % self.step or length < self.step:  # the samples move about in the window
            return at + 1
        if settled:
            return min(following, ends[low] + length + 1 if ends[low] != NEVER else NEVER)
        if low < high or starts[low] > at - length or ends[low] < upto:
            return at + 1
        return min(following, ends[low] + 1 if ends[low] != NEVER else NEVER)


@dataclass(slots=True, eq=False, repr=False)
class Store:
    """All series, found by their labels; new ones are announced to `opened`.

    `grid_ms` apart, from 0 on, everything that is `set` is scraped; what is set at or before `scraped_ms` is found by
    the scrape after it, because that one has been.
    """

    grid_ms: int = 60_000
    scraped_ms: int = -1
    by_name: dict[str, dict[Labels, Series]] = field(default_factory=dict)
    opened: list[Callable[[Series], None]] = field(default_factory=list)

    def series(self, name: str, labels: Mapping[str, str] | None = None) -> Series:
        """The series of a metric with these labels, made when it is asked for the first time."""
        return self.get(label_set(labels or {}, name), self.grid_ms)

    def set(self, name: str, labels: Mapping[str, str], value: float, at_ms: int) -> None:
        self.series(name, labels).set(value, at_ms)

    def stale(self, name: str, labels: Mapping[str, str], at_ms: int) -> None:
        self.series(name, labels).stale(at_ms)

    def samples(self, name: str, labels: Mapping[str, str], samples: Iterable[tuple[int, float]]) -> Series:
        """A series of samples as given: (instant, value), in order of time; STALE ends it."""
        series = self.series(name, labels)
        for at_ms, value in samples:
            series.sample(value, at_ms)
        return series

    def get(self, labels: Labels, step: int, order: int = -1) -> Series:
        name = next((value for key, value in labels if key == NAME), "")
        family = self.by_name.setdefault(name, {})
        series = family.get(labels)
        if series is None:
            series = family[labels] = Series(self, labels, step, order)
            for opened in self.opened:
                opened(series)
        return series

    def scrape_after(self, at_ms: int) -> int:
        """The instant of the scrape that finds what is set now."""
        at = max(at_ms, self.scraped_ms + 1)
        return at + -at % self.grid_ms
