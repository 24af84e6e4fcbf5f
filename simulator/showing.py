"""One thing of a run at an instant: every row of the platform's tables that is it, or that names it.

Invariant: what is shown is read between two events, from the tables as they stand then, in the order of their keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from evidence.schemas import BOOKS, BookSchema, Column
from simulator.actors.hosts import HOSTS
from simulator.world import World

_TEXT = (Column.STR, Column.JSON)
_NEAR_MAX = 3


def word(entity: str) -> str:
    """A pattern of `entity` where it is named whole: `user_1` is not in `user_12`, and is in `wallet:user_1`."""
    return rf"(?<![\w-]){re.escape(entity)}(?![\w-])"


def shown(world: World, entity: str) -> dict[str, Any]:
    """As JSON; money is cents, instants are ms. `entity`: an id, or `table/key`. `rows`: those whose key it is, and
    then those that name it, each as {table, is_it, row}; `services`: of a host, which of its own run; `near`: the ids
    that are most like it, where nothing is found."""
    named = re.compile(word(entity)).search
    rows = [
        {"table": table, "is_it": is_it, "row": row}
        for table, schema in _tables()
        for is_it, row in _rows(world, table, schema, entity, named)
    ]
    services = {unit: world.hosts.is_running(unit) for unit in sorted(HOSTS[entity][1])} if entity in HOSTS else {}
    return {
        "rows": sorted(rows, key=lambda found: not found["is_it"]),
        "services": services,
        "near": [] if rows or services else get_close_matches(entity, sorted(_ids(world)), _NEAR_MAX),
    }


def _tables() -> Iterator[tuple[str, BookSchema]]:
    for name, schema in BOOKS.items():
        if schema.party == "platform":
            yield name.partition(".")[2], schema


def _rows(
    world: World, table: str, schema: BookSchema, entity: str, named: Any
) -> Iterator[tuple[bool, dict[str, Any]]]:
    columns = tuple(schema.columns)
    texts = [place for place, kind in enumerate(schema.columns.values()) if kind in _TEXT]
    keys = [columns.index(name) for name in schema.key]
    kinds = list(schema.columns.items())
    for row in world.connection.scan(table, columns, schema.key):
        key = "/".join(str(row[place]) for place in keys)
        is_it = entity == f"{table}/{key}" or (entity == key and keys[0] in texts)
        if is_it or any(row[place] is not None and entity in row[place] and named(row[place]) for place in texts):
            yield is_it, {name: _said(kind, value) for (name, kind), value in zip(kinds, row, strict=True)}


def _said(kind: Column, value: Any) -> Any:
    """Booleans as such: not every store has them."""
    return bool(value) if kind is Column.BOOL and value is not None else value


def _ids(world: World) -> set[str]:
    """What could have been meant: text that is a whole key, and the hosts."""
    found = set(HOSTS)
    for table, schema in _tables():
        if len(schema.key) == 1 and schema.columns[schema.key[0]] in _TEXT:
            found |= {str(key) for (key,) in world.connection.scan(table, schema.key, schema.key)}
    return found
