"""The store: append-only rows stay as they are, packs end by one hand only, transactions are whole or nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from contest_platform import checkpoints
from contest_platform.statuses import PACK_STATUSES
from contest_platform.store import sqlite
from contest_platform.store.compile import (
    POSTGRESQL_SQL,
    SCHEMA_SQL,
    compiled,
    compiled_for_postgresql,
    described_by,
)
from contest_platform.store.postgresql_objects import OBJECTS, SNAPSHOT
from contest_platform.store.schema import APPEND_ONLY, IRREPLACEABLE, METADATA
from contest_platform.store.tables import KEYS, TABLES
from contest_platform.store.triggers import UNTRUNCATED
from evidence.schemas.platform import BOOKS
from evidence.schemas.types import Column
from tests.support import postgresql
from tests.support.stores import REFUSED, database, on_each_store, using

NOW = 1_000_000
EXECUTION: dict[str, Any] = {
    "id": "x1", "runbook_name": "ingestion_lag", "runbook_version": "1.0.0", "executed_by": "ops:kim",
    "status": "in_progress", "execution_phase": None, "phase_step": None, "start_time": NOW, "end_time": None,
    "duration_seconds": None, "result_json": None, "error_reason": None, "system_state_before": "{}",
    "system_state_after": None, "created_at": NOW, "updated_at": NOW,
}  # fmt: skip
DAEMON = "system:settlement:1"
PACK: dict[str, Any] = {
    "pack_id": "p1", "contest_id": "c1", "entry_id": "e1", "status": "PENDING", "fail_reason_code": None,
    "fail_reason_detail": None, "created_at": NOW, "terminalized_at": None, "settled_by": None, "lease_epoch": None,
}  # fmt: skip
LEASE: dict[str, Any] = {
    "name": "settlement", "holder": "system:settlement:2", "epoch": 2, "acquired_at": NOW, "expires_at": NOW + 100,
}  # fmt: skip
END: dict[str, Any] = {
    "status": "EXECUTED", "fail_reason_code": None, "settled_by": "system:settlement:2", "lease_epoch": 2,
    "terminalized_at": NOW + 99,
}  # fmt: skip
WHY: dict[str, str | None] = {
    "EXECUTED": None, "FAILED": "outcome_inapplicable", "ORPHANED_OUTCOME_MISSING": "outcome_missing",
}  # fmt: skip
OTHER = {"TEXT": "another", "INTEGER": 77, "BIGINT": 77, "BOOLEAN": False}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "platform.db"
    connection = sqlite.connect(str(path))
    fill(connection)
    connection.close()
    return path


def fill(connection: Any) -> None:
    """What the rows of `values` refer to: executions in progress, and packs that have ended."""
    for execution_id in ("execution_id", OTHER["TEXT"]):
        insert(connection, "runbook_executions", {**EXECUTION, "id": execution_id})
    lease = {"name": "settlement", "holder": DAEMON, "epoch": 1, "acquired_at": 0, "expires_at": NOW - 1}
    insert(connection, "leases", lease)
    for pack_id in ("pack_id", OTHER["TEXT"]):
        insert(connection, "settlement_packs", {**PACK, "pack_id": pack_id, "entry_id": f"of {pack_id}"})
    connection.execute(
        "update settlement_packs set status = 'FAILED', fail_reason_code = 'x', terminalized_at = 5, settled_by = ?,"
        " lease_epoch = 1", (DAEMON,),
    )  # fmt: skip


@pytest.fixture
def path(template: Path, tmp_path: Path) -> str:
    return str(shutil.copy(template, str(tmp_path / "platform.db")))


@pytest.fixture
def own(path: str) -> Iterator[apsw.Connection]:
    """A connection of the platform."""
    connection = sqlite.connect(path)
    connection.execute("pragma synchronous = off")
    yield connection
    connection.close()


@pytest.fixture
def bare(path: str) -> Iterator[apsw.Connection]:
    """A connection of somebody else to the same database, without the platform's pragmas."""
    connection = apsw.Connection(path)
    connection.execute("pragma recursive_triggers = off")
    connection.execute("pragma synchronous = off")
    yield connection
    connection.close()


@pytest.fixture
def owners() -> Iterator[Any]:
    """A connection of the tables' owner in PostgreSQL, to a database like that of the others."""
    with using("postgresql"):
        found = database()
        fill(found)
        yield found


@pytest.fixture(params=["own", "bare", "owners"])
def connection(request: pytest.FixtureRequest) -> Any:
    """For what must protect the database from all of them: it is in the database, not in the connection."""
    return request.getfixturevalue(request.param)


def values(table: str, changed: bool = False) -> dict[str, Any]:
    """A row of `table`: the same for the same arguments; `changed` differs in every column."""
    row: dict[str, Any] = {}
    for column in METADATA.tables[table].columns:
        kind = str(column.type)
        row[column.name] = OTHER[kind] if changed else {"TEXT": column.name, "BOOLEAN": True}.get(kind, 5)
    if table == "runbook_execution_steps":
        row["n"] = 1  # the first of an execution that is in progress: see the template
    if table == "outcome_settlement_log":
        row |= {"prior_status": "PENDING", "new_status": "FAILED", "settled_by": DAEMON, "settled_at": 5}  # as was
    if table == "settlement_acceptance":
        row |= dict.fromkeys(("link_growth", "executed", "log_growth", "lvi"), "FAIL" if changed else "PASS")
    if "level" in row:
        row["level"] = "L2" if changed else "L1"
    if "verdict" in row:
        row["verdict"] = "DUPLICATE" if changed else "ADMIT"
    return row


def insert(connection: Any, table: str, row: dict[str, Any], verb: str = "insert") -> None:
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(f":{name}" for name in row)
    connection.execute(f"{verb} into {table} ({names}) values ({places})", row)


def rows(connection: Any, table: str) -> list[dict[str, Any]]:
    """All but the packs of the template, which have ended."""
    sql = f"select * from {table}"
    found = sqlite.query(connection, sql) if type(connection) is apsw.Connection else connection.query(sql)
    return [row for row in found if table != "settlement_packs" or not row["entry_id"].startswith("of ")]


def unique_keys(table: str) -> list[tuple[str, ...]]:
    """As the database itself tells them, not as our code does."""
    fresh = sqlite.connect()
    indexes = [row["name"] for row in sqlite.query(fresh, f"pragma index_list({table})") if row["unique"]]
    keys = [tuple(row["name"] for row in sqlite.query(fresh, f"pragma index_info({name})")) for name in indexes]
    whole = tuple(row["name"] for row in sqlite.query(fresh, f"pragma table_info({table})") if row["pk"])
    return sorted({whole, *keys})


UNIQUE_KEYS = [(table, key) for table in APPEND_ONLY for key in unique_keys(table)]


# --- append-only ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["update {table} set {key} = {key}", "delete from {table}"])
def test_an_append_only_row_is_neither_changed_nor_removed(connection: Any, table: str, statement: str) -> None:
    insert(connection, table, values(table))
    with pytest.raises(REFUSED, match=f"{table} is append-only"):
        connection.execute(statement.format(table=table, key=KEYS[table][0]))
    assert rows(connection, table) == [values(table)]


def refuses_to_replace(connection: Any, table: str, key: tuple[str, ...]) -> None:
    insert(connection, table, values(table))
    usurper = {**values(table, changed=True), **{name: values(table)[name] for name in key}}
    with pytest.raises(REFUSED, match=f"{table} is append-only"):
        insert(connection, table, usurper, "insert or replace")
    assert rows(connection, table) == [values(table)]


@pytest.mark.parametrize(("table", "key"), UNIQUE_KEYS)
def test_the_platform_cannot_replace_an_append_only_row_by_one_that_shares_anything_unique(
    own: apsw.Connection, table: str, key: tuple[str, ...]
) -> None:
    refuses_to_replace(own, table, key)


@pytest.mark.parametrize(("table", "key"), [one for one in UNIQUE_KEYS if one[0] in IRREPLACEABLE])
def test_nobody_can_replace_a_row_of_which_the_audit_log_does_not_tell_in_full(
    bare: apsw.Connection, table: str, key: tuple[str, ...]
) -> None:
    """What is replaced elsewhere is found: see test_replaced_rows.py."""
    refuses_to_replace(bare, table, key)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_an_append_only_row_is_not_overwritten_by_an_upsert(connection: Any, table: str) -> None:
    insert(connection, table, values(table))
    row = values(table, changed=True) | {name: values(table)[name] for name in KEYS[table]}
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(f":{name}" for name in row)
    key = ", ".join(KEYS[table])
    with pytest.raises(REFUSED, match=f"{table} is append-only"):
        connection.execute(
            f"insert into {table} ({names}) values ({places}) on conflict ({key}) do update set {KEYS[table][0]} = 99",
            row,
        )
    assert rows(connection, table) == [values(table)]


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_another_row_may_be_appended(connection: Any, table: str) -> None:
    insert(connection, table, values(table))
    insert(connection, table, values(table, changed=True))
    assert len(rows(connection, table)) == 2


def test_the_ledger_and_the_audit_log_are_append_only() -> None:
    assert {"audit_log", "access_log", "ledger_transactions", "ledger_postings", "outcome_settlement_log"} <= set(
        APPEND_ONLY
    )


# --- settlement packs -------------------------------------------------------------------------------------------------


def with_a_pack(connection: Any) -> Any:
    """One linked pack PENDING, and the settlement lease, which another had, held by the second daemon."""
    insert(connection, "settlement_packs", PACK)
    insert(connection, "outcome_pack_links", {"pack_id": "p1", "outcome_id": "o1", "linked_at": NOW})
    taken = ", ".join(f"{name} = :{name}" for name in LEASE)
    connection.execute(f"update leases set {taken} where name = :name", LEASE)
    return connection


@pytest.fixture
def packs(connection: Any) -> Any:
    return with_a_pack(connection)


def end(connection: Any, **changed: Any) -> None:
    row = {**END, "fail_reason_code": WHY.get(changed.get("status", "EXECUTED")), **changed}
    places = ", ".join(f"{name} = :{name}" for name in row)
    connection.execute(f"update settlement_packs set {places} where pack_id = 'p1'", row)


def status(connection: Any) -> list[str]:
    return [row["status"] for row in rows(connection, "settlement_packs")]


def test_the_holder_of_the_lease_ends_a_pack(packs: Any) -> None:
    end(packs)
    assert status(packs) == ["EXECUTED"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"settled_by": "system:settlement:1"},
        {"settled_by": "ops:kim"},
        {"settled_by": None},
        {"lease_epoch": 1},
        {"lease_epoch": None},
        {"terminalized_at": NOW + 100},
        {"terminalized_at": NOW - 1},
        {"terminalized_at": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("into", ["EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING"])
def test_nobody_else_ends_a_pack(packs: Any, wrong: dict[str, Any], into: str) -> None:
    with pytest.raises(REFUSED, match="only the settlement daemon may leave PENDING"):
        end(packs, status=into, **wrong)
    assert status(packs) == ["PENDING"]


def test_nobody_ends_a_pack_without_a_lease(packs: Any) -> None:
    packs.execute("update leases set expires_at = acquired_at")
    with pytest.raises(REFUSED, match="only the settlement daemon"):
        end(packs)


@pytest.mark.parametrize(
    "again",
    [{"status": "PENDING"}, {"status": "FAILED"}, {"settled_by": "system:settlement:2"}, {"fail_reason_code": "x"}],
    ids=str,
)
def test_a_pack_ends_once_and_stays_as_it_ended(packs: Any, again: dict[str, Any]) -> None:
    end(packs)
    before = rows(packs, "settlement_packs")
    with pytest.raises(REFUSED, match="once"):
        end(packs, **again)
    with pytest.raises(REFUSED, match="once"):
        packs.execute(f"update settlement_packs set {next(iter(again))} = :v", {"v": next(iter(again.values()))})
    assert rows(packs, "settlement_packs") == before


def test_a_pack_without_a_link_is_not_executed(packs: Any) -> None:
    packs.execute("delete from outcome_pack_links")
    with pytest.raises(REFUSED, match="only through its outcome link"):
        end(packs)
    end(packs, status="ORPHANED_OUTCOME_MISSING")
    assert status(packs) == ["ORPHANED_OUTCOME_MISSING"]


@pytest.mark.parametrize("state", ["EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING"])
def test_a_pack_starts_pending(connection: Any, state: str) -> None:
    with pytest.raises(REFUSED, match="starts PENDING"):
        insert(connection, "settlement_packs", {**PACK, "status": state})
    assert rows(connection, "settlement_packs") == []


def test_packs_know_four_states_and_no_other(packs: Any) -> None:
    with pytest.raises(REFUSED, match="status_is_known"):
        end(packs, status="SETTLED", fail_reason_code="x")
    assert set(PACK_STATUSES) == {"PENDING", "EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING"}


def test_a_pack_is_not_deleted(packs: Any) -> None:
    with pytest.raises(REFUSED, match="not deleted"):
        packs.execute("delete from settlement_packs")
    assert status(packs) == ["PENDING"]


@pytest.mark.parametrize("fresh", [{"pack_id": "p1", "entry_id": "e9"}, {"pack_id": "p9", "entry_id": "e1"}], ids=str)
def test_nobody_can_replace_an_ended_pack_by_a_pending_one(packs: Any, fresh: dict[str, Any]) -> None:
    end(packs)
    verb = "insert or replace" if isinstance(packs, apsw.Connection) else "insert"
    with pytest.raises(REFUSED, match="not replaced"):
        insert(packs, "settlement_packs", {**PACK, **fresh}, verb)
    assert status(packs) == ["EXECUTED"]


def test_a_pending_pack_does_not_take_the_place_of_an_ended_one(packs: Any) -> None:
    end(packs)
    insert(packs, "settlement_packs", {**PACK, "pack_id": "p2", "entry_id": "e2"})
    update = "update or replace" if isinstance(packs, apsw.Connection) else "update"
    for column, value in (("pack_id", "p1"), ("entry_id", "e1")):
        with pytest.raises(REFUSED, match="only the settlement daemon"):
            packs.execute(f"{update} settlement_packs set {column} = ? where pack_id = 'p2'", (value,))
    assert sorted(status(packs)) == ["EXECUTED", "PENDING"]


# --- other rules of the schema ----------------------------------------------------------------------------------------


def test_a_payout_moves_money_once_an_entry_and_fails_only_with_a_reason() -> None:
    connection = sqlite.connect()
    transfer = {**values("transfers"), "status": "PENDING"}
    insert(connection, "transfers", transfer)
    for wrong, name in (
        ({"transfer_id": "other"}, "transfers.entry_id"),
        ({"transfer_id": "other", "entry_id": "other", "amount_cents": 0}, "a_transfer_moves_money"),
        (
            {"transfer_id": "other", "entry_id": "other", "status": "FAILED_TERMINAL", "reason": None},
            "a_failure_has_a_reason",
        ),
    ):
        with pytest.raises(REFUSED, match=name):
            insert(connection, "transfers", {**transfer, **wrong})


def test_a_customer_enters_a_contest_once() -> None:
    connection = sqlite.connect()
    entry = {**values("entries"), "status": "VALID"}
    insert(connection, "entries", entry)
    with pytest.raises(REFUSED, match=r"entries.contest_id, entries.user_id"):
        insert(connection, "entries", {**entry, "entry_id": "other"})


def test_the_tables_are_the_platforms_books_column_for_column() -> None:
    kinds = {
        "TEXT": {Column.STR, Column.JSON},
        "INTEGER": {Column.INT},
        "BIGINT": {Column.AT, Column.CENTS},
        "BOOLEAN": {Column.BOOL},
    }
    assert {f"platform.{name}" for name in METADATA.tables} == set(BOOKS)
    for name, table in METADATA.tables.items():
        book = BOOKS[f"platform.{name}"]
        assert table.columns.keys() == list(book.columns), name
        assert tuple(table.primary_key.columns.keys()) == book.key, name
        for column in table.columns:
            assert book.columns[column.name] in kinds[str(column.type)], f"{name}.{column.name}"


def test_the_compiled_schema_is_what_the_schema_says() -> None:
    changed = "schema.py, triggers.py or compile.py has changed: run `make snapshots`, and review"
    assert SCHEMA_SQL.read_text() == compiled(), changed
    assert POSTGRESQL_SQL.read_text() == compiled_for_postgresql(), changed


def test_postgresql_says_of_the_compiled_schema_what_is_written_down() -> None:
    """In the words of the version that the tests are run with; any other says the same."""
    assert described_by(postgresql.url()) == SNAPSHOT.read_text(), "run `make snapshots`, and review"


def test_each_store_has_the_same_tables_columns_triggers_and_indexes() -> None:
    with using("postgresql"):
        found = database().execute(OBJECTS).fetchall()
    here = {(str(kind), str(name)) for kind, name, _ in sqlite.connect().execute(sqlite.OBJECTS)}
    there = {(kind, name) for kind, name, _ in found}
    assert {one for one in here if one[0] != "view"} <= there
    more = {name for kind, name in there - here if kind == "trigger"}
    assert more == {f"{table}_refuses_truncate" for table in UNTRUNCATED}


@on_each_store
def test_the_database_has_the_columns_that_the_schema_says() -> None:
    connection = database()
    for name, table in METADATA.tables.items():
        found = [row["name"] for row in connection.query(
            "select name from pragma_table_info(?) order by cid" if isinstance(connection, sqlite.Connection) else
            "select column_name::text as name from information_schema.columns where table_schema = current_schema()"
            " and table_name = ? order by ordinal_position", (name,))]  # fmt: skip
        assert found == table.columns.keys()


def test_the_platform_knows_the_tables_as_the_schema_says_them() -> None:
    assert set(TABLES) == set(METADATA.tables)
    for name, table in METADATA.tables.items():
        assert TABLES[name].columns == tuple(table.columns.keys())
        assert TABLES[name].required == tuple(column.name for column in table.columns if not column.nullable)
        assert TABLES[name].key == KEYS[name] == tuple(table.primary_key.columns.keys())


@pytest.mark.parametrize("table", TABLES)
def test_a_row_has_no_second_key_under_which_it_could_be_replaced(table: str) -> None:
    """SQLite's own number of a row is its key, or there is none."""
    connection = sqlite.connect()
    kinds = dict(connection.execute("select name, type from pragma_table_info(?)", (table,)).fetchall())
    if [kinds[name] for name in KEYS[table]] == ["INTEGER"]:
        [(told, _)] = connection.execute(f"select rowid from {table} union all select 1").get_description()
        assert told == KEYS[table][0]
    else:
        with pytest.raises(apsw.SQLError, match="no such column: rowid"):
            connection.execute(f"select rowid from {table}")


def test_the_next_packs_of_a_contest_come_off_the_index_in_order() -> None:
    """Sorted out of all that are pending, they would cost a contest the square of its entries."""
    query = (
        "select pack_id from settlement_packs where contest_id = 'c' and status = 'PENDING' order by pack_id limit 9"
    )
    steps = [str(step) for *_, step in sqlite.connect().execute(f"explain query plan {query}")]
    assert len(steps) == 1
    assert "USING COVERING INDEX packs_by_contest" in steps[0]


def test_rows_of_another_width_are_refused_however_many_they_are() -> None:
    connection = sqlite.connect()
    rows = [("t1", f"g{n}", "a golfer", "active") for n in range(2 * sqlite.AT_ONCE)]
    short_and_long = [rows[0][:3], (*rows[1], "active"), *rows[2:]]
    columns = TABLES["golfers"].columns
    with pytest.raises(ValueError, match="golfers: expected rows of 4 values"):
        connection.transact(0, "", lambda tx: tx.insert_many("golfers", columns, short_and_long))
    assert sqlite.query(connection, "select * from golfers") == []


# --- transactions -----------------------------------------------------------------------------------------------------


def checkpoint(tx: Any, name: str = "a") -> None:
    tx.insert("checkpoints", {"name": name, "value": "1", "updated_at": tx.now})


@on_each_store
def test_a_transaction_that_raises_leaves_nothing() -> None:
    connection = database()

    def fn(tx: Any) -> None:
        checkpoint(tx)
        assert tx.one("select 1 from checkpoints") is not None
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError, match="after the write"):
        connection.transact(NOW, "ev-1", fn)
    assert rows(connection, "checkpoints") == []
    assert not connection.in_transaction


@on_each_store
def test_a_transaction_that_failed_may_be_run_again() -> None:
    connection = database()
    runs: list[int] = []

    def fn(tx: Any) -> str:
        runs.append(len(runs))
        checkpoint(tx)
        if len(runs) == 1:
            raise ConnectionError
        return "done"

    with pytest.raises(ConnectionError):
        connection.transact(NOW, "ev-1", fn)
    result, _ = connection.transact(NOW, "ev-1", fn)
    assert (result, len(rows(connection, "checkpoints"))) == ("done", 1)


def test_a_process_that_dies_within_a_transaction_leaves_nothing(path: str) -> None:
    connection = sqlite.connect(path)
    connection.execute("begin immediate")
    checkpoint(sqlite.SqliteTx(connection, NOW, "ev-1"))
    connection.close()
    assert rows(sqlite.connect(path), "checkpoints") == []


def test_what_was_committed_is_there_after_a_restart(path: str) -> None:
    connection = sqlite.connect(path)
    connection.transact(NOW, "ev-1", checkpoint)
    connection.close()
    assert [row["name"] for row in rows(sqlite.connect(path), "checkpoints")] == ["a"]


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    class DiesHalfway(apsw.Connection):
        def execute(self, sql: str, *args: Any) -> apsw.Cursor:
            if "settlement_packs_refuse_delete" in sql:
                raise KeyboardInterrupt
            return super().execute(sql, *args)

    path = str(tmp_path / "new.db")
    connection = DiesHalfway(path)
    with pytest.raises(KeyboardInterrupt):
        sqlite.create(connection)
    connection.close()
    assert rows(apsw.Connection(path), "sqlite_master") == []


@pytest.mark.parametrize("cache_pages", [10, 40])
def test_a_transaction_that_outgrew_the_page_cache_is_rolled_back_whole(tmp_path: Path, cache_pages: int) -> None:
    """What a transaction has changed goes to the file before its end when the cache is full: that is undone too."""
    kept, tried = sqlite.connect(), sqlite.connect_unnamed(tmp_path)
    tried.execute(f"pragma cache_size = {cache_pages}")
    random = Random(cache_pages)
    seq = 0

    def change(connection: Any, first: int, count: int, keys: list[int]) -> None:
        entries = [{**values("entries"), "entry_id": f"e{n}", "user_id": f"u{n}", "status": "VALID"} for n in keys]
        for entry in entries:
            insert(connection, "entries", {**entry, "roster": "g" * 400}, "insert or replace")
        connection.execute("update entries set roster = roster || ? where entry_id > ?", ("h" * 50, f"e{keys[0]}"))
        for n in range(first, first + count):
            insert(connection, "audit_log", {**values("audit_log"), "seq": n, "after": "a" * 300})

    for _ in range(15):
        count, keys = random.choice((1, 20, 300)), [random.randrange(500) for _ in range(random.choice((1, 30)))]
        tried.execute("begin immediate")
        change(tried, seq, count, keys)
        if random.random() < 0.5:
            tried.execute("rollback")
        else:
            tried.execute("commit")
            change(kept, seq, count, keys)
            seq += count
        for table, key in (("entries", "entry_id"), ("audit_log", "seq")):
            query = f"select * from {table} order by {key}"
            assert list(map(tuple, tried.execute(query))) == list(map(tuple, kept.execute(query)))
        assert [tuple(row) for row in tried.execute("pragma integrity_check")] == [("ok",)]


def test_an_unnamed_database_is_nowhere_to_be_found(tmp_path: Path) -> None:
    connection = sqlite.connect_unnamed(tmp_path)
    connection.transact(NOW, "ev-1", checkpoint)
    assert list(tmp_path.iterdir()) == []
    assert [row["name"] for row in rows(connection, "checkpoints")] == ["a"]


def test_the_store_works_in_a_process_that_has_a_database_open_already() -> None:
    """What is set for all of SQLite can then no longer be set."""
    code = (
        "import apsw; c = apsw.Connection(':memory:'); c.execute('create table t (x)')\n"
        "from contest_platform.store import sqlite; d = sqlite.connect()\n"
        "print(*c.execute('select count(*) from t').fetchone(), *d.execute('select count(*) from entries').fetchone())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "0 0\n"


def test_two_writers_do_not_interleave(path: str) -> None:
    first, second = sqlite.connect(path), sqlite.connect(path)
    second.execute("pragma busy_timeout = 0")

    def fn(tx: sqlite.SqliteTx) -> None:
        checkpoint(tx)
        with pytest.raises(apsw.BusyError):
            second.transact(NOW, "ev-2", lambda other: checkpoint(other, "b"))

    first.transact(NOW, "ev-1", fn)
    assert [row["name"] for row in rows(second, "checkpoints")] == ["a"]


@on_each_store
def test_a_transaction_tells_what_it_did() -> None:
    connection = database()

    def fn(tx: Any) -> None:
        checkpoint(tx)
        tx.run("update checkpoints set value = '2'")
        tx.all("select 1")
        tx.notify("payouts")
        tx.notify("payouts")

    _, tx = connection.transact(NOW, "ev-1", fn)
    assert (tx.statements, tx.changes, tx.topics) == (3, 2, ["payouts"])


# --- what a transaction knows from those before it --------------------------------------------------------------------

NOTES = ("note:", "note;")


def read(connection: Any, name: str = "a") -> Any:
    return connection.transact(NOW, "ev-1", lambda tx: checkpoints.read(tx, name))[0]


def save(connection: Any, value: int | None, name: str = "a", fails: bool = False) -> None:
    def fn(tx: sqlite.SqliteTx) -> None:
        if value is None:
            checkpoints.remove(tx, name)
        else:
            checkpoints.save(tx, name, value)
        if fails:
            raise RuntimeError

    connection.transact(NOW, "ev-1", fn)


def has_notes(connection: Any) -> bool:
    return not connection.transact(NOW, "ev-1", lambda tx: checkpoints.none_between(tx, *NOTES))[0]


def test_what_is_known_is_not_read_again_until_somebody_else_writes(path: str) -> None:
    first, second = sqlite.connect(path), sqlite.connect(path)
    save(first, 1)
    assert read(first) == 1
    _, tx = first.transact(NOW, "ev-1", lambda tx: checkpoints.read(tx, "a"))
    assert tx.statements == 0
    save(second, 2)
    _, tx = first.transact(NOW, "ev-1", lambda tx: checkpoints.read(tx, "a"))
    assert tx.statements == 1


def test_a_checkpoint_is_what_was_saved_last_whoever_saved_it(path: str) -> None:
    first, second = sqlite.connect(path), sqlite.connect(path)
    assert read(first) is None
    for value, writer in ((1, first), (2, second), (3, first), (None, second), (4, second), (None, first)):
        save(writer, value)
        assert read(first) == read(second) == value
    second.execute("insert into checkpoints values ('a', '9', 0)")
    assert read(first) == read(second) == 9


def test_what_was_rolled_back_is_not_known(path: str) -> None:
    connection = sqlite.connect(path)
    save(connection, 1)
    assert (read(connection), has_notes(connection)) == (1, False)
    for name in ("a", "note:1"):
        with pytest.raises(RuntimeError):
            save(connection, 2, name, fails=True)
    assert (read(connection), read(connection, "note:1"), has_notes(connection)) == (1, None, False)


def test_whether_there_is_a_note_is_known_until_one_is_saved_whoever_saves_it(path: str) -> None:
    first, second = sqlite.connect(path), sqlite.connect(path)
    assert not has_notes(first)
    save(first, 1, "note;")
    assert not has_notes(first)
    save(first, 1, "note:1")
    assert has_notes(first)
    save(second, None, "note:1")
    assert not has_notes(first)
    save(second, 1, "note:2")
    assert has_notes(first)
    save(first, None, "note:2")
    assert not has_notes(first)
