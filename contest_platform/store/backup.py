"""Backups of the embedded store: a consistent copy of the whole database as bytes, opened and read through again.

Invariant: what is said of a backup is read out of the backup itself, never out of the database that it was made from.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from hashlib import sha256
from itertools import islice

import apsw
import orjson

from contest_platform import audit
from contest_platform.ports import Backup, BackupContent
from contest_platform.store.snapshot import OBJECTS, differences
from contest_platform.store.tables import KEYS

_SOME = 1_000
"""Rows that are hashed together."""
_HEAD = "select seq, hash from audit_log order by seq desc limit 1"


class SqliteBackups:
    """The Backups port over one database. `kept`: where backups lie, by id; `scratch`: what was restored, by target.
    Both belong to whoever keeps them, outside the platform."""

    def __init__(
        self, connection: apsw.Connection, kept: MutableMapping[str, bytes],
        scratch: MutableMapping[str, apsw.Connection],
    ) -> None:  # fmt: skip
        self._connection, self._kept, self._scratch = connection, kept, scratch
        self._read: BackupContent | None = None
        """What was inspected last: the same bytes hold the same again."""

    async def create(self, *, backup_id: str) -> Backup:
        image = self._connection.serialize("main")
        self._kept[backup_id] = image
        seq, head = _head(_opened(image))
        return Backup(len(image), sha256(image).hexdigest(), seq, head)

    async def inspect(self, *, backup_id: str, content: bool = False) -> BackupContent | None:
        image = self._kept.get(backup_id)
        if image is None:
            return None
        digest = sha256(image).hexdigest()
        if self._read is None or self._read.sha256 != digest or (content and not self._read.content_sha256):
            try:
                self._read = _read_through(_opened(image), digest, content)
            except apsw.Error:  # bytes that are no database, or are damaged
                self._read = BackupContent(digest, "it cannot be read", 0, 0, 0, audit.GENESIS, "")
        return self._read

    async def restore(self, *, backup_id: str, target: str) -> BackupContent | None:
        image = self._kept.get(backup_id)
        if image is None:
            return None
        restored = apsw.Connection(":memory:")
        with restored.backup("main", _opened(image), "main") as backup:
            backup.step(-1)
        self._scratch[target] = restored
        return _read_through(restored, sha256(image).hexdigest(), content=True)


def _opened(image: bytes) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", image)
    return connection


def _head(connection: apsw.Connection) -> tuple[int, str]:
    for seq, digest in connection.execute(_HEAD):
        return int(seq), str(digest)
    return 0, audit.GENESIS


def _read_through(connection: apsw.Connection, digest: str, content: bool) -> BackupContent:
    problem = _problem(connection)
    if problem is not None:
        return BackupContent(digest, problem, 0, 0, 0, audit.GENESIS, "")
    rows = sum(int(count) for name in KEYS for [count] in connection.execute(f"select count(*) from {name}"))
    seq, head = _head(connection)
    return BackupContent(digest, None, len(KEYS), rows, seq, head, _content(connection) if content else "")


def _problem(connection: apsw.Connection) -> str | None:
    """Why this could not serve as the platform's database: damaged pages, another schema, a broken audit chain."""
    [[integrity]] = connection.execute("pragma integrity_check(1)")
    if integrity != "ok":
        return "the database is damaged"
    schema = differences((str(kind), str(name), str(sql)) for kind, name, sql in connection.execute(OBJECTS))
    if schema:
        return f"schema: {schema[0]}"
    log = connection.execute(audit.CHAIN_SQL, {"after": 0, "page": -1})
    _, _, problem = audit.chain_holds(log, 0, audit.GENESIS)
    return problem and f"audit log: {problem}"


def _content(connection: apsw.Connection) -> str:
    """SHA-256 over every row of every table in the order of its key."""
    digest = sha256()
    for name, key in sorted(KEYS.items()):
        digest.update(f"{name}\n".encode())
        found = connection.execute(f"select * from {name} order by {', '.join(key)}")
        while some := list(islice(found, _SOME)):
            digest.update(orjson.dumps(some))
    return digest.hexdigest()
