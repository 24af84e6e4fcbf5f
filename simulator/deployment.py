"""What is deployed, seen from outside: fingerprints of the running code, configuration and database schema.

Taken at the start and at the end of a run; in an absence window nobody deploys, so they are equal.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import apsw

import contest_platform
from contest_platform.audit import canonical
from contest_platform.service import Config


@cache
def code_sha256() -> str:
    """Over the names and bytes of the platform's source files, in the order of their names."""
    root = Path(contest_platform.__file__).parent
    digest = sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sql")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def config_sha256(config: Config) -> str:
    return sha256(canonical(asdict(config)).encode()).hexdigest()


def schema_sha256(connection: apsw.Connection) -> str:
    """Over the definition of every table, index and trigger."""
    rows = connection.execute("select type, name, sql from sqlite_master where sql is not null order by type, name")
    return sha256("\n".join(f"{row[0]} {row[1]} {row[2]}" for row in rows).encode()).hexdigest()
