"""Backups, of whichever store: every row of every table in the order of its key, as lines of JSON, read through again.

Invariant: the same rows are the same bytes, whichever store they come from; what is said of a backup is read out of the
backup itself, never out of the database that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from typing import Any

import orjson

from contest_platform import audit
from contest_platform.ports import Backup, BackupContent
from contest_platform.store.database import Database
from contest_platform.store.tables import TABLES

FORMAT = 1
_SOME = 1_000
"""Rows on one line."""


class LogicalBackups:
    """The Backups port over one database. `kept`: where backups lie, by id; `scratch`: what was restored, by target.
    Both belong to whoever keeps them, outside the platform."""

    def __init__(
        self, database: Database, kept: MutableMapping[str, bytes], scratch: MutableMapping[str, Database]
    ) -> None:
        self._database, self._kept, self._scratch = database, kept, scratch
        self._read: BackupContent | None = None
        """What was inspected last: the same bytes hold the same again."""

    async def create(self, *, backup_id: str) -> Backup:
        copy = self._kept[backup_id] = written(self._database)
        return Backup(len(copy), sha256(copy).hexdigest(), *_head(copy))

    async def inspect(self, *, backup_id: str) -> BackupContent | None:
        copy = self._kept.get(backup_id)
        return None if copy is None else self._inspected(copy)

    async def restore(self, *, backup_id: str, target: str) -> BackupContent | None:
        copy = self._kept.get(backup_id)
        if copy is None:
            return None
        restored = self._scratch[target] = self._database.restored(rows_of(copy))
        return read_through(written(restored))

    def _inspected(self, copy: bytes) -> BackupContent:
        if self._read is None or self._read.sha256 != sha256(copy).hexdigest():
            self._read = read_through(copy)
        return self._read


def written(database: Database) -> bytes:
    """The copy of a database as it is now. Its first line says what it is, and what was wrong with the schema; the last
    says how many rows there are."""
    lines, count = [orjson.dumps({"format": FORMAT, "schema": database.schema_differences()})], 0
    for name, table in sorted(TABLES.items()):
        lines.append(orjson.dumps({"table": name, "columns": table.columns}))
        found = database.scan(name, table.columns, table.key)
        while some := list(islice(found, _SOME)):
            lines.append(orjson.dumps(some))
            count += len(some)
    return b"\n".join([*lines, orjson.dumps({"rows": count}), b""])


def _head(copy: bytes) -> tuple[int, str]:
    """Number and hash of the last row of the audit log in a copy, without reading the rest of it."""
    begins = copy.index(orjson.dumps({"table": "audit_log", "columns": TABLES["audit_log"].columns}))
    last = copy[begins : copy.index(b'\n{"table":', begins)].splitlines()[-1]
    found = orjson.loads(last)
    return (found[-1][_SEQ], found[-1][_HASH]) if isinstance(found, list) else (0, audit.GENESIS)


def rows_of(copy: bytes) -> Iterator[tuple[str, list[list[Any]]]]:
    """Each table of a copy with its rows in their order. Raises ValueError, KeyError or TypeError for what is no whole
    copy."""
    lines = map(orjson.loads, copy.splitlines())
    if next(lines, {"format": None})["format"] != FORMAT:
        raise ValueError("no copy of this format")
    rows: list[list[Any]] = []
    name, count, line = "", 0, {}
    for line in lines:
        if isinstance(line, list):
            rows += line
            continue
        if name:
            yield name, rows
        count += len(rows)
        if "rows" in line:
            break
        name, rows = line["table"], []
        if tuple(line["columns"]) != TABLES[name].columns:
            raise ValueError(f"{name} has other columns")
    if line["rows"] != count or next(lines, None) is not None:
        raise ValueError("not as many rows as there were")


def read_through(copy: bytes) -> BackupContent:
    """What a copy holds, and why it could not serve as the platform's database: damage, another schema, a broken audit
    chain."""
    digest, rows, names = sha256(copy).hexdigest(), 0, set()
    try:
        schema = orjson.loads(copy.partition(b"\n")[0])["schema"]
        for name, found in rows_of(copy):
            names.add(name)
            rows += len(found)
            if name == "audit_log":
                seq, head, problem = audit.chain_holds(map(_CHAINED, found), 0, audit.GENESIS)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return BackupContent(digest, "it cannot be read", 0, 0, 0, audit.GENESIS)
    if names != TABLES.keys():
        problem = "it cannot be read"
    elif schema:
        problem = f"schema: {schema[0]}"
    elif problem is not None:
        problem = f"audit log: {problem}"
    else:
        return BackupContent(digest, None, len(names), rows, seq, head)
    return BackupContent(digest, problem, 0, 0, 0, audit.GENESIS)


_SEQ, _HASH = (TABLES["audit_log"].columns.index(name) for name in ("seq", "hash"))
_CHAINED = itemgetter(*(TABLES["audit_log"].columns.index(name) for name in ("hash", *audit.HASHED)))
"""A row as audit.CHAIN_SQL gives it."""
