"""Counts of what a run did, from its own books, journal, plan, verdict and log, as rails say.

Invariant: a count is of one run alone, never a difference between two reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from closure.rails import Counted
from evidence.layout import LOG, PLAN, VERDICT

if TYPE_CHECKING:
    from closure.runs import Run

ALL = "all"
Test = Callable[[Any], bool]


def count(run: Run, counted: Counted) -> dict[str, int]:
    """The counts by value; under ALL where it is not counted by anything. Raises BookDamaged."""
    if counted.book is not None:
        return _rows(run, counted)
    return dict(Counter(_named(run, counted))) if not counted.verdict else dict(_seen(run))


def where(counted: Counted) -> str:
    """A place to look at."""
    if counted.book is not None:
        return f"books/{counted.book}.parquet"
    if counted.journal:
        return "journal.jsonl"
    return PLAN if counted.plan else VERDICT if counted.verdict else LOG


def _named(run: Run, counted: Counted) -> Iterator[str]:
    if counted.journal:
        kinds = run.kinds
        for kind, times in kinds.items():
            if kind not in counted.except_ and (not counted.only or kind in counted.only):
                yield from [kind] * times
    elif counted.plan:
        yield from (fault.fault for fault in run.plan.faults)
    else:
        yield from (phase for phase, rc in run.timings.rc.items() if rc)


def _seen(run: Run) -> Iterator[tuple[str, int]]:
    for result in run.verdict.results:
        yield f"{result.id} saw", result.saw
        yield f"{result.id} owed", result.owed


def _rows(run: Run, counted: Counted) -> dict[str, int]:
    assert counted.book is not None
    tests = {column: _test(condition) for column, condition in counted.where.items()}
    columns = list(dict.fromkeys([*tests, *filter(None, (counted.by, counted.sum))]))
    if not columns:
        return {ALL: run.evidence.count(counted.book)}
    found: Counter[str] = Counter()
    for row in run.evidence.rows(counted.book, *columns):
        values = dict(zip(columns, row, strict=True))
        if all(test(values[column]) for column, test in tests.items()):
            value = ALL if counted.by is None else "none" if values[counted.by] is None else str(values[counted.by])
            found[value] += 1 if counted.sum is None else values[counted.sum] or 0
    return dict(found)


def _test(condition: Any) -> Test:
    if isinstance(condition, Mapping):
        [(name, inner)] = condition.items()
        if name == "above":
            return lambda value: value is not None and bool(value > inner)
        is_so = _test(inner)
        return lambda value: not is_so(value)
    if isinstance(condition, list):
        return lambda value: value in condition
    return lambda value: bool(value == condition)
