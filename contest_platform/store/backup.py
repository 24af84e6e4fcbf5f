"""Backups of the embedded store: a consistent copy of the whole database as bytes, opened and read through again.

Invariant: what is said of a backup is read out of the backup itself, never out of the database that it was made from.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from hashlib import sha256

import apsw
import orjson

from contest_platform import audit
from contest_platform.ports import Backup, BackupContent
from contest_platform.store import sqlite
from contest_platform.store.snapshot import OBJECTS, differences
from contest_platform.store.tables import KEYS

_HEAD = "select seq, hash from audit_log order by seq desc limit 1"


class SqliteBackups:
    """The Backups port over one database. `kept`: where backups lie, by id; `scratch`: what was restored, by target.
    Both belong to whoever keeps them, outside the platform."""

    def __init__(
        self, connection: apsw.Connection, kept: MutableMapping[str, bytes],
        scratch: MutableMapping[str, apsw.Connection],
    ) -> None:  # fmt: skip
        self._connection, self._kept, self._scratch = connection, kept, scratch

    async def create(self, *, backup_id: str) -> Backup:
        copy = apsw.Connection(":memory:")
        with copy.backup("main", self._connection, "main") as backup:
            backup.step(-1)
        image = copy.serialize("main")
        self._kept[backup_id] = image
        seq, head = _head(copy)
        return Backup(len(image), sha256(image).hexdigest(), seq, head)

    async def inspect(self, *, backup_id: str) -> BackupContent | None:
        image = self._kept.get(backup_id)
        if image is None:
            return None
        digest = sha256(image).hexdigest()
        try:
            return _read_through(_opened(image), digest)
        except apsw.Error:  # bytes that are no database, or are damaged
            return BackupContent(digest, "it cannot be read", 0, 0, 0, audit.GENESIS, "")

    async def restore(self, *, backup_id: str, target: str) -> BackupContent | None:
        image = self._kept.get(backup_id)
        if image is None:
            return None
        restored = apsw.Connection(":memory:")
        with restored.backup("main", _opened(image), "main") as backup:
            backup.step(-1)
        self._scratch[target] = restored
        return _read_through(restored, sha256(image).hexdigest())


def _opened(image: bytes) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", image)
    return connection


def _head(connection: apsw.Connection) -> tuple[int, str]:
    for seq, digest in connection.execute(_HEAD):
        return int(seq), str(digest)
    return 0, audit.GENESIS


def _read_through(connection: apsw.Connection, digest: str) -> BackupContent:
    problem = _problem(connection)
    if problem is not None:
        return BackupContent(digest, problem, 0, 0, 0, audit.GENESIS, "")
    tables, rows, content = _content(connection)
    seq, head = _head(connection)
    return BackupContent(digest, None, tables, rows, seq, head, content)


def _problem(connection: apsw.Connection) -> str | None:
    """Why this could not serve as the platform's database: damaged pages, another schema, a broken audit chain."""
    [[integrity]] = connection.execute("pragma integrity_check(1)")
    if integrity != "ok":
        return "the database is damaged"
    schema = differences((str(kind), str(name), str(sql)) for kind, name, sql in connection.execute(OBJECTS))
    if schema:
        return f"schema: {schema[0]}"
    seq, head = 0, audit.GENESIS
    for row in sqlite.query(connection, "select * from audit_log order by seq"):
        problem = audit.chain_problem(row, seq + 1, head)
        if problem is not None:
            return f"audit log: {problem}"
        seq, head = row["seq"], row["hash"]
    return None


def _content(connection: apsw.Connection) -> tuple[int, int, str]:
    """(tables, rows, SHA-256 over every row of every table in the order of its key)."""
    digest, rows = sha256(), 0
    for name, key in sorted(KEYS.items()):
        digest.update(f"{name}\n".encode())
        for row in connection.execute(f"select * from {name} order by {', '.join(key)}"):
            digest.update(orjson.dumps(row))
            rows += 1
    return len(KEYS), rows, digest.hexdigest()
