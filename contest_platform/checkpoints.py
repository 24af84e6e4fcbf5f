"""Durable cursors and notes of the services, by name. Each is saved in the transaction whose work it stands for."""

from __future__ import annotations

from typing import Any

import orjson

from contest_platform.audit import canonical
from contest_platform.ports import Tx

_SAVE = """
    insert into checkpoints (name, value, updated_at) values (:name, :value, :now)
    on conflict (name) do update set value = excluded.value, updated_at = excluded.updated_at
"""


def read(tx: Tx, name: str) -> Any:
    """The value saved under `name`, or None."""
    row = tx.one("select value from checkpoints where name = :name", {"name": name})
    return None if row is None else orjson.loads(row["value"])


def save(tx: Tx, name: str, value: Any) -> None:
    """Save a JSON value under `name`, over what stood there."""
    tx.run(_SAVE, {"name": name, "value": canonical(value), "now": tx.now})


def remove(tx: Tx, name: str) -> None:
    tx.run("delete from checkpoints where name = :name", {"name": name})


def between(tx: Tx, low: str, high: str, limit: int) -> list[tuple[str, Any]]:
    """(name, value) of the first `limit` names in [low, high), in order of name."""
    rows = tx.all(
        "select name, value from checkpoints where name >= :low and name < :high order by name limit :limit",
        {"low": low, "high": high, "limit": limit},
    )
    return [(row["name"], orjson.loads(row["value"])) for row in rows]
