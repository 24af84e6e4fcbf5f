"""Where the platform's database of a run comes from: embedded by default, or a schema on a PostgreSQL server.

Invariant: whichever it is, nothing of it is left once the run has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contest_platform.store.database import Database
from evidence.plan import Plan

ENTRIES_IN_MEMORY_MAX = 5_000
"""An entry takes 12 KiB of database. To write every commit to a file costs the default run 3 % (measured)."""

Opener = Callable[[Plan, Path], Database]
"""Opens an empty database for the run of a plan that is staged in a directory. Raises DatabaseRefused."""


def embedded(plan: Plan, directory: Path) -> Database:
    from contest_platform.store import sqlite

    return sqlite.connect() if len(plan.entries) <= ENTRIES_IN_MEMORY_MAX else sqlite.connect_unnamed(directory)


def postgresql(url: str, schema: str) -> Opener:
    """A new schema of the name `schema` in the database at `url`, which ends with the run."""

    def opened(_: Plan, __: Path) -> Database:
        from contest_platform.store import postgresql

        return postgresql.create(url, schema)

    return opened
