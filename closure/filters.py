"""Which rows of a book a policy means: equal, one of, null, holding a text, or not. It runs nothing that is code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from closure.policy import Rows
    from evidence.run import Evidence

Test = Callable[[Any], bool]


class Counted(NamedTuple):
    """`matching` rows (or distinct values) met `where`; `failing` of the rows did not meet `each`, `first` is the key
    of the first that did not."""

    matching: int
    failing: int
    first: str
    values: frozenset[Any]


def count(evidence: Evidence, wanted: Rows) -> Counted:
    """Count the rows of `wanted` in one run. Raises BookDamaged, UnknownName."""
    from evidence.schemas import BOOKS

    key = BOOKS[wanted.book].key
    names = list(dict.fromkeys([*wanted.where, *wanted.each, *key, *([wanted.distinct] if wanted.distinct else [])]))
    place = {name: n for n, name in enumerate(names)}
    where = [(place[name], _test(condition)) for name, condition in wanted.where.items()]
    each = [(place[name], _test(condition)) for name, condition in wanted.each.items()]
    matching, failing, first = 0, 0, ""
    values: set[Any] = set()
    for row in evidence.rows(wanted.book, *names):
        if not all(test(row[n]) for n, test in where):
            continue
        matching += 1
        if wanted.distinct:
            values.add(row[place[wanted.distinct]])
        if not all(test(row[n]) for n, test in each):
            failing += 1
            first = first or "/".join(str(row[place[name]]) for name in key)
    return Counted(matching, failing, first, frozenset(values))


def _test(condition: Any) -> Test:
    if isinstance(condition, Mapping) and "holds" in condition:
        return lambda value: condition["holds"] in str(value or "")
    if isinstance(condition, Mapping):
        inner = _test(condition["not"])
        return lambda value: not inner(value)
    if isinstance(condition, list):
        return lambda value: value in condition
    if condition is None:
        return lambda value: value is None
    return lambda value: bool(value == condition)


def told(conditions: Mapping[str, Any]) -> str:
    """The conditions in words: `status = completed, end_time not null`."""
    return ", ".join(f"{name} {_words(condition)}" for name, condition in conditions.items())


def _words(condition: Any) -> str:
    if isinstance(condition, Mapping) and "holds" in condition:
        return f"holding {condition['holds']}"
    if isinstance(condition, Mapping):
        inner = condition["not"]
        return "not null" if inner is None else f"not {_words(inner).removeprefix('= ')}"
    if isinstance(condition, list):
        return f"one of {_listed(condition)}"
    return "null" if condition is None else f"= {condition}"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join("null" if value is None else str(value) for value in values)
