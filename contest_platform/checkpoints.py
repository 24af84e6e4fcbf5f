"""Durable cursors and notes of the services, by name. Each is saved in the transaction whose work it stands for."""

from __future__ import annotations

from typing import Any

import orjson

from contest_platform.audit import canonical
from contest_platform.ports import Tx

SAVE = """
    insert into checkpoints (name, value, updated_at) values (:name, :value, :now)
    on conflict (name) do update set value = excluded.value, updated_at = excluded.updated_at
"""

ALL = (1 << 63) - 1
"""As a limit: no limit. (What a store means by a negative one, each decides for itself.)"""
_FIRSTS = "checkpoints.firsts"
"""Of ranges of names, [low, high) -> the first name in it that there is."""


def read(tx: Tx, name: str) -> Any:
    """The value saved under `name`, or None."""
    key = f"checkpoint {name}"
    if key not in tx.known:
        rows = tx.tuples("select value from checkpoints where name = :name", {"name": name})
        tx.known[key] = rows[0][0] if rows else None
    text = tx.known[key]
    return None if text is None else orjson.loads(text)


def save(tx: Tx, name: str, value: Any) -> None:
    """Save a JSON value under `name`, over what stood there."""
    text, key = canonical(value), f"checkpoint {name}"
    tx.run(SAVE, {"name": name, "value": text, "now": tx.now})
    if key in tx.known:
        tx.known[key] = text
    firsts: dict[tuple[str, str], str | None] = tx.known.get(_FIRSTS, {})
    for (low, high), first in firsts.items():
        if low <= name < high and (first is None or name < first):
            firsts[low, high] = name


def remove(tx: Tx, name: str) -> None:
    tx.known.pop(f"checkpoint {name}", None)
    firsts: dict[tuple[str, str], str | None] = tx.known.get(_FIRSTS, {})
    for span in [span for span, first in firsts.items() if first == name]:
        del firsts[span]
    tx.run("delete from checkpoints where name = :name", {"name": name})


def between(tx: Tx, low: str, high: str, limit: int) -> list[tuple[str, Any]]:
    """(name, value) of the first `limit` names in [low, high), in order of name."""
    rows = tx.all(
        "select name, value from checkpoints where name >= :low and name < :high order by name limit :limit",
        {"low": low, "high": high, "limit": limit},
    )
    return [(row["name"], orjson.loads(row["value"])) for row in rows]


def first_between(tx: Tx, low: str, high: str) -> str | None:
    """The first name in [low, high). To be asked of few ranges, and always the same: what was found is kept in mind."""
    firsts: dict[tuple[str, str], str | None] = tx.known.setdefault(_FIRSTS, {})
    if (low, high) not in firsts:
        firsts[low, high] = next((name for name, _ in between(tx, low, high, 1)), None)
    return firsts[low, high]


def none_between(tx: Tx, low: str, high: str) -> bool:
    """Whether there is no name in [low, high)."""
    return first_between(tx, low, high) is None
