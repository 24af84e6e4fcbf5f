"""Compares a running database with the committed snapshot of its schema, schema.sql.

Invariant: two schemas are equal when every table, index and trigger has the same text in both, and neither has another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import apsw

from contest_platform.store.tables import DDL

OBJECTS = "select type, name, coalesce(sql, '') from sqlite_master where name not like 'sqlite_%' order by type, name"
"""What the embedded store says of its own schema. What SQLite makes by itself, for keys and statistics, is left out."""


@cache
def committed() -> dict[tuple[str, str], str]:
    """(type, name) -> text, of a database that schema.sql has just made."""
    fresh = apsw.Connection(":memory:")
    for statement in DDL:
        fresh.execute(statement)
    return {(str(kind), str(name)): str(sql) for kind, name, sql in fresh.execute(OBJECTS)}


def differences(objects: Iterable[tuple[str, str, str]]) -> list[str]:
    """How what OBJECTS gives of a database differs from the snapshot, in order; nothing: it does not."""
    found = {(kind, name): sql for kind, name, sql in objects}
    expected = committed()
    told = [f"{kind} {name} is missing" for kind, name in expected.keys() - found.keys()]
    told += [f"{kind} {name} is not in the snapshot" for kind, name in found.keys() - expected.keys()]
    told += [
        f"{kind} {name} is another" for kind, name in found.keys() & expected.keys()
        if found[kind, name] != expected[kind, name]
    ]  # fmt: skip
    return sorted(told)
