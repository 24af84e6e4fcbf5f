"""Compares a running database with the committed snapshot of its schema.

Invariant: two schemas are equal when every object has the same text in both, and neither has another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Objects = Mapping[tuple[str, str], str]
"""(kind, name) -> text."""


def differences(found: Iterable[tuple[str, str, str]], expected: Objects) -> list[str]:
    """How the (kind, name, text) of a database differ from the snapshot, in order; nothing: they do not."""
    there: dict[tuple[str, str], str] = {}
    for kind, name, text in sorted(found):  # a name may be there twice, for two tables
        there[kind, name] = f"{there[kind, name]}; {text}" if (kind, name) in there else text
    told = [f"{kind} {name} is missing" for kind, name in expected.keys() - there.keys()]
    told += [f"{kind} {name} is not in the snapshot" for kind, name in there.keys() - expected.keys()]
    told += [
        f"{kind} {name} is another" for kind, name in there.keys() & expected.keys()
        if there[kind, name] != expected[kind, name]
    ]  # fmt: skip
    return sorted(told)
