"""On which store the worlds of a test stand: the embedded one, unless the test asks for each.

Invariant: `database()` is empty, and is given back when the test is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import psycopg
import pytest

from contest_platform.store import sqlite
from tests.support import postgresql

STORES = ("sqlite", "postgresql")
REFUSED = (apsw.ConstraintError, psycopg.errors.IntegrityError, psycopg.errors.InsufficientPrivilege)
"""What a store raises when its database refuses a statement."""
ROLE = "settlement"
"""Of the units' roles the one that may do all that any may."""

on_each_store = pytest.mark.usefixtures("each_store")
"""For a test, or with `pytestmark` for all of a file."""

_made: list[Callable[[], Any]] = [sqlite.connect]


def database() -> Any:
    """An empty database of the store in use."""
    return _made[-1]()


@contextmanager
def standing_on(database: Any) -> Iterator[None]:
    """Meanwhile the worlds of a test stand on this one."""
    _made.append(lambda: database)
    try:
        yield
    finally:
        _made.pop()


@contextmanager
def using(store: str) -> Iterator[str]:
    """Meanwhile every `database` is one of this store."""
    lent: list[Any] = []

    def lend() -> Any:
        lent.append(postgresql.lent())
        return lent[-1]

    _made.append(sqlite.connect if store == "sqlite" else lend)
    try:
        yield store
    finally:
        _made.pop()
        for one in lent:
            postgresql.give_back(one)
