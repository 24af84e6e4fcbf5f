"""Whoever reaches past what protects the platform's tables is refused, or what he did is found: attempt by attempt.

How many of each there are on each store is printed at the end of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from assertions.judge import discover
from assertions.model import REGISTRY, judge_one
from contest_platform.services import settlement
from contest_platform.store import sqlite
from contest_platform.store.postgresql import PostgresDatabase
from contest_platform.store.postgresql_making import path_of, role_of
from contest_platform.store.roles import OWNER, ROLES
from contest_platform.store.tables import TABLES
from evidence.schemas import BOOKS, Column
from tests.support import postgresql, stores
from tests.support.bypasses import ANCHOR, ATTEMPTS, CHAIN, IMAGES, SCHEMA, Attempt
from tests.support.contest_world import ContestWorld
from tests.support.fake_evidence import FakeEvidence
from tests.support.settlement_world import cut, ready
from tests.support.small_run import plan

discover()
REFUSED = (*stores.REFUSED, psycopg.errors.WrongObjectType)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
def test_an_attempt_is_refused_or_found(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", 2)
    record_property("bypass", (attempt.store, "refused" if attempt.refused else "found"))
    with a_world(attempt.store, tmp_path) as world:
        before, known = tables(world), told(world)
        if attempt.refused:
            with pytest.raises(REFUSED, match=attempt.refused):
                tried(world, attempt, tmp_path)
            assert (tables(world), told(world)) == (before, known)
            return
        tried(world, attempt, tmp_path)
        now = told(world)
        found = {who for who in now if now[who] - known[who]}
        assert found == attempt.found
        assert found, "and nobody notices"


def tried(world: ContestWorld, attempt: Attempt, folder: Path) -> None:
    with connected(world, attempt.who, folder) as run:
        for statement in attempt.statements:
            run(statement)


@contextmanager
def a_world(store: str, folder: Path) -> Iterator[ContestWorld]:
    """A contest that is being settled: two packs have ended, and one waits."""
    if store == "sqlite":
        with stores.standing_on(sqlite.connect(str(folder / "platform.db"))):
            yield _settling()
    else:
        with stores.using(store):
            yield _settling()


def _settling() -> ContestWorld:
    world, daemon = ready()
    cut(world, daemon, "settlement.execute")
    packs = world.rows("select status from settlement_packs order by pack_id")
    assert [row["status"] for row in packs] == ["EXECUTED", "EXECUTED", "PENDING"]
    return world


@contextmanager
def connected(world: ContestWorld, who: str, folder: Path) -> Iterator[Any]:
    """Runs statements as `who`, in one transaction, which is committed at the end."""
    database = world.connection
    if not isinstance(database, PostgresDatabase):
        path = str(folder / "platform.db")
        own = sqlite.connect(path) if who == "platform" else apsw.Connection(path)
        with own:
            yield lambda sql: own.execute(sql).fetchall()
        return
    names = {role: role_of(database.schema, role) for role in (OWNER, *ROLES)}
    schema = database.schema
    user = "postgres" if who == "superuser" else names[who]
    postgresql.as_superuser(database, "" if who == "superuser" else f'alter role "{user}" login')
    with psycopg.connect(postgresql.url(), user=user) as connection:
        connection.execute(f"set search_path = {path_of(database.schema)}")
        yield lambda sql: connection.execute(sql.format(**names, schema=schema))  # type: ignore[arg-type]


# --- who finds it -----------------------------------------------------------------------------------------------------


def tables(world: ContestWorld) -> dict[str, list[dict[str, Any]]]:
    return {name: world.rows(f"select * from {name} order by {', '.join(table.key)}") for name, table in TABLES.items()}


def told(world: ContestWorld) -> dict[str, set[str]]:
    """What the fingerprint of the schema and each of the assertions say is wrong."""
    database = world.connection
    if isinstance(database, PostgresDatabase):
        database.connection.execute("reset role")  # whoever owns what now, the one who looks sees all of it
    schema = set(database.schema_differences())
    evidence = FakeEvidence(plan())
    for name, rows in tables(world).items():
        kinds = BOOKS[f"platform.{name}"].columns
        evidence.books[f"platform.{name}"] = [
            {column: bool(row[column]) if kind is Column.BOOL else row[column] for column, kind in kinds.items()}
            for row in rows
        ]
    if not hasattr(world, "anchored"):
        world.anchored = world.rows("select seq, hash from audit_log order by seq desc limit 1")  # type: ignore
    [head] = world.anchored  # type: ignore[attr-defined]
    evidence.books["anchor.heads"] = [
        {"n": 1, "at": world.runtime.at, "head_seq": head["seq"], "head_hash": head["hash"]}
    ]
    broken = {
        name: {one.message for one in judge_one(REGISTRY[name], evidence).broken}  # type: ignore[arg-type]
        for name in (CHAIN, ANCHOR, IMAGES)
    }
    return {SCHEMA: schema, **broken}
