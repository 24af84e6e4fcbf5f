"""Runbook executions in the database: one update from in progress to an end, and nothing else, whoever connects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contest_platform.statuses import EXECUTION_ENDS, EXECUTION_STATUSES
from contest_platform.store import sqlite
from tests.support.stores import REFUSED, database, using
from tests.test_store import EXECUTION, NOW, insert, rows, values

END: dict[str, Any] = {
    "status": "completed", "end_time": NOW + 61_999, "duration_seconds": 61, "updated_at": NOW + 61_999,
    "execution_phase": "Verification", "phase_step": 2, "result_json": "{}", "system_state_after": "{}",
}  # fmt: skip


@pytest.fixture(params=["on", "off", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[Any]:
    """With an execution in progress; of the platform, and of somebody else without the platform's pragmas; and one of
    the tables' owner."""
    with using("postgresql" if request.param == "postgresql" else "sqlite"):
        found = database()
        if request.param != "postgresql":
            found.execute(f"pragma recursive_triggers = {request.param}")
        insert(found, "runbook_executions", EXECUTION)
        yield found


@pytest.fixture(params=["on", "off"])
def embedded(request: pytest.FixtureRequest) -> Any:
    """The same, of SQLite: for what only SQLite knows how to say."""
    found = sqlite.connect()
    found.execute(f"pragma recursive_triggers = {request.param}")
    insert(found, "runbook_executions", EXECUTION)
    return found


def update(connection: Any, verb: str = "update", **changed: Any) -> None:
    row = {**END, **changed}
    places = ", ".join(f"{name} = :{name}" for name in row)
    connection.execute(f"{verb} runbook_executions set {places} where id = 'x1'", row)


@pytest.mark.parametrize("status", EXECUTION_ENDS)
def test_an_execution_ends_once(connection: Any, status: str) -> None:
    update(connection, status=status)
    ended = rows(connection, "runbook_executions")
    assert ended == [{**EXECUTION, **END, "status": status}]
    for again in ({"status": status}, {"status": "in_progress"}, {"result_json": "[]"}):
        with pytest.raises(REFUSED, match="ends once"):
            update(connection, **again)
        name, value = next(iter(again.items()))
        with pytest.raises(REFUSED, match="ends once"):
            connection.execute(f"update runbook_executions set {name} = ?", (value,))
    assert rows(connection, "runbook_executions") == ended


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "in_progress"},
        {"status": "pending"},
        {"end_time": None},
        {"end_time": NOW - 1, "updated_at": NOW - 1},
        {"updated_at": NOW},
        {"duration_seconds": 60},
        {"duration_seconds": None},
        {"id": "x2"},
        *({name: "another"} for name in ("runbook_name", "runbook_version", "executed_by", "system_state_before")),
        {"system_state_before": None},
        {"start_time": NOW + 1},
        {"created_at": NOW + 1},
    ],
    ids=str,
)
def test_nothing_but_the_end_of_an_execution_changes(connection: Any, wrong: dict[str, Any]) -> None:
    verbs = [
        "update",
        *(["update or replace", "update or ignore"] if isinstance(connection, sqlite.Connection) else []),
    ]
    for verb in verbs:
        with pytest.raises(REFUSED, match="ends once"):
            update(connection, verb, **wrong)
        assert rows(connection, "runbook_executions") == [EXECUTION]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"status": status} for status in EXECUTION_STATUSES if status != "in_progress"),
        *({name: END[name]} for name in ("end_time", "duration_seconds", "result_json", "system_state_after")),
        {"error_reason": "no"}, {"execution_phase": "Recovery"}, {"phase_step": 1},
        {"created_at": NOW - 1}, {"updated_at": NOW + 1},
    ],
    ids=str,
)  # fmt: skip
def test_an_execution_starts_in_progress_with_nothing_of_its_end(connection: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(REFUSED, match="starts in progress"):
        insert(connection, "runbook_executions", {**EXECUTION, "id": "x2", **wrong})


def test_an_execution_knows_five_statuses_and_no_negative_duration(connection: Any) -> None:
    assert EXECUTION_STATUSES == ("pending", "in_progress", "completed", "failed", "partial")
    connection.by_hand(["drop trigger runbook_executions_end_once"], "superuser")
    with pytest.raises(REFUSED, match="status_is_known"):
        update(connection, status="done")
    with pytest.raises(REFUSED, match="a_duration_is_not_negative"):
        update(connection, duration_seconds=-1)


@pytest.mark.parametrize("verb", ["insert or replace", "replace", "insert or ignore"])
@pytest.mark.parametrize("ended", [False, True])
def test_an_execution_is_not_replaced(embedded: Any, verb: str, ended: bool) -> None:
    if ended:
        update(embedded)
    before = rows(embedded, "runbook_executions")
    with pytest.raises(REFUSED, match="not replaced"):
        insert(embedded, "runbook_executions", {**EXECUTION, "executed_by": "ops:eve"}, verb)
    assert rows(embedded, "runbook_executions") == before


def test_an_execution_that_is_there_is_not_begun_again(connection: Any) -> None:
    with pytest.raises(REFUSED, match="not replaced"):
        insert(connection, "runbook_executions", {**EXECUTION, "executed_by": "ops:eve"})
    assert rows(connection, "runbook_executions") == [EXECUTION]


def test_an_execution_is_not_deleted(connection: Any) -> None:
    with pytest.raises(REFUSED, match="not deleted"):
        connection.execute("delete from runbook_executions")
    assert rows(connection, "runbook_executions") == [EXECUTION]


def step(n: int, execution_id: str = "x1") -> dict[str, Any]:
    return {**values("runbook_execution_steps"), "execution_id": execution_id, "n": n}


def test_steps_follow_one_another_while_their_execution_is_in_progress(connection: Any) -> None:
    for wrong in (step(2), step(0), step(-1), step(1, "x9")):
        with pytest.raises(REFUSED):
            insert(connection, "runbook_execution_steps", wrong)
    insert(connection, "runbook_execution_steps", step(1))
    insert(connection, "runbook_execution_steps", step(2))
    with pytest.raises(REFUSED, match="a step follows the one before it"):
        insert(connection, "runbook_execution_steps", step(4))
    update(connection)
    with pytest.raises(REFUSED, match="a step follows the one before it"):
        insert(connection, "runbook_execution_steps", step(3))
    assert [row["n"] for row in rows(connection, "runbook_execution_steps")] == [1, 2]


def test_the_indexes_are_those_that_are_asked_for(embedded: Any) -> None:
    names = {f"idx_runbook_executions_{column}": column for column in ("created_at", "runbook_name", "status")}
    for name, column in names.items():
        assert next(row["name"] for row in sqlite.query(embedded, f"pragma index_info({name})")) == column
