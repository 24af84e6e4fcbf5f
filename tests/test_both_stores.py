"""One plan on both stores: the same events, the same rows in every book; and a server that is left as it was found.

The other shipped scenarios are compared in tests/proof/test_both_stores.py.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from absence.exit_codes import INTERRUPTED
from contest_platform.store.postgresql import create
from contest_platform.store.postgresql_making import connect
from tests.support import postgresql
from tests.support.command import SharedRuns, absence, scenario_with, start

SCENARIOS = ("small", "default", "chaos_lab")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_plan_of_a_run_on_sqlite_gives_the_same_run_on_postgresql(scenario: str, runs: SharedRuns) -> None:
    ran = runs(scenario)
    told = absence("replay", ran.path, "--store", postgresql.url(), "--json")
    assert told.exit_code == 0, told.stdout
    assert told.json["reproduced"] is True
    assert told.json["differing_books"] == []
    assert told.json["digest"] == json.loads((ran.path / "manifest.json").read_bytes())["digest"]


BY_HAND = (
    "violations.row_edited, params: {table: settlement_packs}",
    "violations.row_edit_refused, params: {table: ledger_postings}",
    "violations.audit_tail_cut, params: {rows: 3}",
    "violations.schema_changed, params: {what: trigger_dropped}",
    "violations.sql_session",
)  # fmt: skip


@pytest.mark.parametrize("violation", BY_HAND)
def test_what_a_human_does_by_hand_is_found_on_both_stores_by_the_same_assertions(
    violation: str, tmp_path: Path
) -> None:
    scenario = scenario_with(tmp_path, violation)
    told = [
        absence("run", scenario, "--out", tmp_path / f"out-{n}", "--store", store, "--json").json
        for n, store in enumerate(("sqlite", postgresql.url()))
    ]
    assert told[0]["digest"] == told[1]["digest"]
    assert told[0]["assertions"] == told[1]["assertions"]
    assert told[0]["verdict"] == "FAIL"


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of an empty database on the server, which is this test's own."""
    with postgresql.a_database() as url:
        yield url


def schemas(url: str) -> list[str]:
    with connect(url) as connection:
        found = connection.execute("select nspname from pg_namespace where nspname like 'absence%' order by 1")
        return [name for [name] in found]


def roles_of(schema: str) -> int:
    with connect(postgresql.url()) as connection:
        [[count]] = connection.execute("select count(*) from pg_roles where rolname like %s", [f"{schema}_%"])
        return int(count)


def test_a_run_leaves_nothing_on_the_server(server: str, tmp_path: Path) -> None:
    assert absence("run", "small", "--out", tmp_path, "--store", server).exit_code == 0
    assert schemas(server) == []


@pytest.mark.parametrize("later_ms", [0, 4, 12, 40])
def test_a_run_that_is_stopped_leaves_nothing_on_the_server(server: str, tmp_path: Path, later_ms: int) -> None:
    """Whether it is still making its tables then, or in the middle of a statement, or between two."""
    process = start("run", "default", "--out", tmp_path, "--store", server)
    while not schemas(server):
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(later_ms / 1000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert schemas(server) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_taken_away_by_the_next(server: str, tmp_path: Path) -> None:
    process = start("run", "default", "--out", tmp_path / "killed", "--store", server)
    while not schemas(server):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    [left] = schemas(server)
    assert roles_of(left) == 5
    wait_until_alone(server)
    assert absence("run", "small", "--out", tmp_path, "--store", server).exit_code == 0
    assert (schemas(server), roles_of(left)) == ([], 0)
    assert [path.name for path in (tmp_path / "killed").glob("default*")] == []


def wait_until_alone(url: str) -> None:
    """The server notices that a client is dead when it reads from it."""
    with connect(url) as connection:
        while connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall() != [(0,)]:
            time.sleep(0.02)


def test_what_somebody_has_open_is_not_taken_away(server: str, tmp_path: Path) -> None:
    with closing(create(server, "absence_mine")) as mine:
        assert absence("run", "small", "--out", tmp_path, "--store", server).exit_code == 0
        assert schemas(server) == ["absence_mine"]
        assert mine.query("select count(*) as n from contests") == [{"n": 0}]


def test_a_server_that_goes_away_ends_the_run_and_leaves_no_half_of_it(server: str, tmp_path: Path) -> None:
    process = start("run", "default", "--out", tmp_path, "--store", server)
    while not schemas(server):
        assert process.poll() is None
        time.sleep(0.02)
    with connect(server) as connection:
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where"
                           " datname = current_database() and pid <> pg_backend_pid()")  # fmt: skip
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert stderr.startswith("The database server of --store failed: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:1/x", "postgresql://me@127.0.0.1:1/x cannot be used: connection failed"),
        ("postgresql://[", "--store: postgresql://[ is no address of a server"),
        ("{nobody}", "cannot be used: connection failed"),
        ("{poor}", "lacks a right that a run needs: permission denied to create role"),
        ("{maker}", "lacks a right that a run needs: permission denied for database"),
        ("mysql://me@here/x", "'mysql://me@here/x' is neither sqlite nor postgresql://USER@HOST/DATABASE"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_used_is_named_with_what_it_lacks(
    server: str, store: str, told: str, tmp_path: Path
) -> None:
    own = server.rpartition("/apart_")[2].partition("?")[0]
    names = {role: f"{role}_{own}" for role in ("nobody", "poor", "maker")}
    urls = {role: server.replace("//postgres:", f"//{name}:") for role, name in names.items()}
    with connect(server) as connection:
        connection.execute(f"create role {names['poor']} login; create role {names['maker']} login createrole")
        try:
            said = absence("run", "small", "--out", tmp_path, "--store", store.format(**urls))
        finally:
            connection.execute(f"drop role {names['poor']}, {names['maker']}")
    assert said.exit_code == 2
    assert told in said.stderr
    assert "secret" not in said.stderr
    assert list(tmp_path.iterdir()) == []
    assert schemas(server) == []


def test_a_role_with_the_two_rights_that_are_asked_for_is_enough(server: str, tmp_path: Path) -> None:
    own = server.rpartition("/apart_")[2].partition("?")[0]
    with connect(server) as connection:
        connection.execute(f"create role may_{own} login createrole; grant create on database apart_{own} to may_{own}")
        try:
            url = server.replace("//postgres:", f"//may_{own}:")
            assert absence("run", "small", "--out", tmp_path, "--store", url).exit_code == 0
            assert schemas(server) == []
        finally:
            connection.execute(f"drop owned by may_{own}; drop role may_{own}")
