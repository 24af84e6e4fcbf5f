"""What is deployed, seen from outside: fingerprints of the running code, configuration and database schema.

Taken at the start and at the end of a run; in an absence window nobody deploys, so they are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import contest_platform
from contest_platform.audit import canonical
from contest_platform.service import Config
from contest_platform.store.database import Database


def code_sha256(patches: Mapping[str, bytes]) -> str:
    """Over the names and bytes of the platform's source files, in the order of their names; `patches` are the bytes
    that somebody has appended to the files at these paths."""
    return _sha256(tuple(patches.items()))


@cache
def _sha256(patches: tuple[tuple[str, bytes], ...]) -> str:
    appended, digest = dict(patches), sha256()
    for path, released in _sources().items():
        digest.update(f"{path}\n".encode())
        digest.update(released + appended.get(path, b""))
    return digest.hexdigest()


@cache
def _sources() -> Mapping[str, bytes]:
    root = Path(contest_platform.__file__).parent
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sql"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def config_sha256(config: Config) -> str:
    return sha256(canonical(asdict(config)).encode()).hexdigest()


def schema_sha256(database: Database) -> str:
    """Over the released definition of every table, index and trigger, and over how those of `database` differ from it:
    the same for every store in which they do not."""
    return sha256("\n".join((_released_schema(), *database.schema_differences())).encode()).hexdigest()


@cache
def _released_schema() -> str:
    return "".join(source.decode() for path, source in _sources().items() if path.endswith(".sql"))
