"""Schemas of PostgreSQL: connecting, making one, and taking away what somebody who is dead has left.

Invariant: a schema is made with roles of its own, as a whole or not at all, and its owner is none of the platform's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors

from contest_platform.store.database import DatabaseRefused, Rows
from contest_platform.store.postgresql_tx import PostgresTx, adapt
from contest_platform.store.roles import OWNER, ROLES
from contest_platform.store.tables import TABLES

DDL = Path(__file__).with_name("postgresql.sql")
"""Every statement that makes an empty schema ready, in order, after a comment and with a blank line between them."""
MADE = "absence_"
"""How the names of schemas begin that are made to be dropped again."""
_OPEN = 4_701_203
"""The advisory lock of whoever has a schema open."""
PREPARED_MAX = 1_000
"""Statements that one connection keeps prepared: more than the platform has texts."""


def connect(url: str) -> psycopg.Connection[Any]:
    """Raises DatabaseRefused."""
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as wrong:
        raise DatabaseRefused(f"{place(url)} is no address of a server: {_first_line(wrong)}") from wrong
    with told(url):
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=1, connect_timeout=10)
    connection.prepared_max = PREPARED_MAX
    adapt(connection)
    return connection


def make(cursor: psycopg.RawCursor[Any], schema: str, tables: Rows) -> None:
    with cursor.connection.transaction():
        for role in (OWNER, *ROLES):
            cursor.execute(f'create role "{role_of(schema, role)}" nologin')
            cursor.execute(f'grant "{role_of(schema, role)}" to current_user')
        cursor.execute(f'create schema "{schema}" authorization "{role_of(schema, OWNER)}"')
        cursor.execute(f'set local role "{role_of(schema, OWNER)}"; set local search_path = {path_of(schema)}')
        ddl = [_named(statement, schema) for statement in DDL.read_text().split("\n\n")[1:]]
        triggers = next(n for n, statement in enumerate(ddl) if not statement.startswith("CREATE "))
        for statement in ddl[:triggers]:
            cursor.execute(statement)
        filling = PostgresTx(cursor, 0, "", {})
        for table, rows in tables:
            filling.insert_many(table, TABLES[table].columns, list(rows))
        for statement in ddl[triggers:]:
            cursor.execute(statement)


def sweep(cursor: psycopg.RawCursor[Any]) -> None:
    """Drop the schemas that were made for somebody who is dead: nobody has them open."""
    ours = f"select nspname::text from pg_namespace where nspname like '{MADE}%' and pg_has_role(nspowner, 'member')"
    for [schema] in cursor.execute(ours).fetchall():
        if occupy(cursor, schema, alone=True):
            drop(cursor, schema)
            cursor.execute(f"select pg_advisory_unlock({_OPEN}, hashtext($1))", [schema])


def occupy(cursor: psycopg.RawCursor[Any], schema: str, alone: bool) -> bool:
    """Have `schema` open for as long as the connection lasts: alone, or with others. False: somebody is in the way."""
    lock = f"select pg_try_advisory_lock{'' if alone else '_shared'}({_OPEN}, hashtext($1))"
    [[got]] = cursor.execute(lock, [schema]).fetchall()
    return bool(got)


def _named(statement: str, schema: str) -> str:
    for role in ROLES:
        statement = statement.replace(f':"{role}"', f'"{role_of(schema, role)}"')
    return statement.replace(':"schema"', f'"{schema}"')


def role_of(schema: str, role: str) -> str:
    return f"{schema}_{role}"


def path_of(schema: str) -> str:
    """Ours first, and temporary tables last, for otherwise one of them could stand in for ours."""
    return f'"{schema}", pg_temp'


def drop(cursor: psycopg.RawCursor[Any], schema: str) -> None:
    roles = ", ".join(f'"{role_of(schema, role)}"' for role in (OWNER, *ROLES))
    cursor.execute(f'drop schema if exists "{schema}" cascade; drop role if exists {roles}')


@contextmanager
def told(url: str) -> Iterator[None]:
    """What the server refuses, in words, with the place and what is missing; never with a password."""
    try:
        yield
    except errors.InsufficientPrivilege as refused:
        raise DatabaseRefused(
            f"{place(url)} lacks a right that a run needs: {_first_line(refused)}. It makes a schema and roles of its"
            " own there: grant CREATE on the database, and CREATEROLE."
        ) from refused
    except psycopg.OperationalError as failed:
        raise DatabaseRefused(f"{place(url)} cannot be used: {_first_line(failed)}") from failed


def place(url: str) -> str:
    """Where `url` leads, without a password in it."""
    return re.sub(r":[^:@/]*@|(?<=password=)[^&]*", lambda found: "@" if found[0].endswith("@") else "…", url)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
