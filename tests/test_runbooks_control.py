"""The runbook control plane: an execution begins, is recorded step by step, and ends once, all of it on record."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from contest_platform.access import ROLES
from contest_platform.ports import Introspection
from tests.support.admin_world import EVE, KIM, LEE, START, STEP, AdminWorld
from tests.support.platform_ports import START as NOW

BEFORE = {"payout_transfers_stuck": 2, "last_scheduler_run": "2026-02-16T19:30:00Z"}
RFC3339_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def world() -> AdminWorld:
    return AdminWorld()


def only(world: AdminWorld, table: str) -> dict[str, Any]:
    [row] = world.rows(f"select * from {table}")
    return row


def complete(world: AdminWorld, execution_id: str, principal: str = KIM, **more: Any) -> Any:
    return world.call(
        "POST", "runbooks/complete", {"execution_id": execution_id, "status": "completed", **more}, principal
    )


def record(world: AdminWorld, execution_id: str, principal: str = KIM, **more: Any) -> Any:
    return world.call("POST", "runbooks/steps", {"execution_id": execution_id, **STEP, **more}, principal)


# --- start ------------------------------------------------------------------------------------------------------------


def test_a_start_is_one_row_in_progress_and_answers_when_and_under_which_id(world: AdminWorld) -> None:
    response = world.call("POST", "runbooks/start", {**START, "system_state_before": BEFORE})
    assert response.status == 200
    assert set(response.body) == {"timestamp", "execution_id"}
    assert response.body["timestamp"] == "2026-01-05T00:00:00.000Z"
    row = only(world, "runbook_executions")
    assert row == {
        "id": response.body["execution_id"], "runbook_name": "transfer_stuck", "runbook_version": "1.0.0",
        "executed_by": KIM, "status": "in_progress", "execution_phase": None, "phase_step": None, "start_time": NOW,
        "end_time": None, "duration_seconds": None, "result_json": None, "error_reason": None,
        "system_state_before": json.dumps(BEFORE, sort_keys=True, separators=(",", ":")), "system_state_after": None,
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    [audited] = world.audited("runbook_executions.insert")
    assert (audited["actor"], audited["correlation"], json.loads(audited["after"])) == (KIM, row["id"], row)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"runbook_name": None}, "runbook_name"),
        ({"runbook_name": ""}, "runbook_name"),
        ({"runbook_version": 1}, "runbook_version"),
        ({"runbook_version": None}, "runbook_version"),
        ({"executed_by": None}, "executed_by"),
        ({"system_state_before": "all well"}, "system_state_before"),
        ({"system_state_before": [1]}, "system_state_before"),
        ({"status": "completed"}, "status"),
    ],
    ids=str,
)
def test_a_start_with_a_bad_field_is_refused_and_says_which(
    world: AdminWorld, change: dict[str, Any], field: str
) -> None:
    response = world.call("POST", "runbooks/start", {**START, **change})
    assert (response.status, response.body["field"]) == (400, field)
    assert field in response.body["error"]
    assert world.rows("select * from runbook_executions") == []
    assert world.refusals() == [("refuse.runbook_start", KIM, response.body["error"])]


def test_nobody_starts_a_runbook_in_anothers_name(world: AdminWorld) -> None:
    assert world.call("POST", "runbooks/start", START, LEE).status == 403
    assert world.rows("select * from runbook_executions") == []
    assert [refusal[:2] for refusal in world.refusals()] == [("refuse.runbook_start", LEE)]


def test_a_start_whose_answer_was_lost_is_asked_again_under_its_key_and_begins_nothing_new(world: AdminWorld) -> None:
    first = world.call("POST", "runbooks/start", START, idempotency_key="alert-7")
    world.runtime.at += 5_000
    assert world.call("POST", "runbooks/start", START, idempotency_key="alert-7") == first
    other = {**START, "runbook_name": "another"}
    assert world.call("POST", "runbooks/start", other, idempotency_key="alert-7").status == 409
    assert world.call("POST", "runbooks/start", START, idempotency_key="alert-8").body != first.body
    assert world.call("POST", "runbooks/start", START).body != first.body
    assert len(world.rows("select * from runbook_executions")) == 3
    as_lee = world.call("POST", "runbooks/start", {**START, "executed_by": LEE}, LEE, idempotency_key="alert-7")
    assert as_lee.status == 200
    assert as_lee.body["execution_id"] != first.body["execution_id"]


@pytest.mark.parametrize("path", ["runbooks/start", "runbooks/steps", "runbooks/complete"])
def test_only_those_who_may_administer_are_let_in(world: AdminWorld, path: str) -> None:
    for principal in ("customer:ann", "agent:lin-1"):
        assert world.call("POST", path, START, principal).status == 403
    world.auth.answers[f"tok-{EVE}"] = Introspection(False, EVE, "revoked")
    assert world.call("POST", path, START, EVE).status == 401
    assert world.rows("select * from runbook_executions") == []
    assert len(world.rows("select * from access_log where not allowed")) == 3
    assert ROLES["admin"] == ("ops", "engineer", "founder")


# --- steps ------------------------------------------------------------------------------------------------------------


def test_a_step_is_recorded_whole_with_its_instant_and_its_audit_row(world: AdminWorld) -> None:
    execution_id = world.start()
    world.runtime.at += 90_250
    response = record(world, execution_id)
    assert (response.status, response.body) == (200, {"timestamp": "2026-01-05T00:01:30.250Z", "success": True})
    row = only(world, "runbook_execution_steps")
    bindings = {"bindings": '{"transfer":"payout_1"}'}
    assert row == {**STEP, **bindings, "execution_id": execution_id, "at": NOW + 90_250, "ok": 1}
    [audited] = world.audited("runbook_execution_steps.insert")
    assert json.loads(audited["after"]) == {**row, "ok": True}
    assert (audited["subject"], audited["correlation"]) == (f"runbook_execution_steps/{execution_id}/1", execution_id)
    assert audited["reason"] == "runbook step Recovery/2"


def test_a_step_without_an_output_is_recorded_too(world: AdminWorld) -> None:
    assert record(world, world.start(), output="", matched=None, next=None, bindings=None, ok=False).status == 200
    row = only(world, "runbook_execution_steps")
    assert (row["output"], row["matched"], row["next"], row["bindings"], row["ok"]) == ("", None, None, "{}", 0)


def test_steps_come_one_after_the_other_and_the_same_again_is_no_other(world: AdminWorld) -> None:
    execution_id = world.start()
    assert record(world, execution_id, n=2).status == 409
    first = record(world, execution_id)
    world.runtime.at += 1_000
    assert record(world, execution_id) == first
    changed = record(world, execution_id, output="something else")
    assert (changed.status, changed.body["error"]) == (409, "step 1 is on record, and is another")
    assert record(world, execution_id, n=3).body["error"] == "expected step 2, not step 3"
    assert record(world, execution_id, n=2).status == 200
    assert [row["n"] for row in world.rows("select n from runbook_execution_steps")] == [1, 2]
    assert len(world.refusals()) == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({name: None}, name) for name in STEP if name not in ("bindings", "output", "matched", "next")),
        ({"n": 0}, "n"),
        ({"n": "1"}, "n"),
        ({"n": True}, "n"),
        ({"ok": 1}, "ok"),
        ({"bindings": ["x"]}, "bindings"),
        ({"template": "opsctl transfers fail {transfer}"}, "template_sha256"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_step_with_a_bad_field_is_refused_and_says_which(
    world: AdminWorld, change: dict[str, Any], field: str
) -> None:
    response = record(world, world.start(), **change)
    assert (response.status, response.body["field"]) == (400, field)
    assert world.rows("select * from runbook_execution_steps") == []
    assert world.refusals() == [("refuse.runbook_step", KIM, response.body["error"])]


def test_no_step_is_recorded_for_an_execution_that_is_unknown_anothers_or_over(world: AdminWorld) -> None:
    assert record(world, "execution_9").status == 404
    execution_id = world.start()
    assert record(world, execution_id, LEE).status == 403
    recorded = record(world, execution_id)
    assert complete(world, execution_id).status == 200
    assert record(world, execution_id, n=2).status == 409
    assert record(world, execution_id) == recorded, "its answer may have been lost"
    assert len(world.refusals()) == 3


# --- complete ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "failed", "partial"])
def test_an_execution_ends_with_its_duration_its_last_step_and_what_was_told(world: AdminWorld, status: str) -> None:
    execution_id = world.start(system_state_before=BEFORE)
    record(world, execution_id)
    world.runtime.at += 299_999
    told = {"result_json": {"transfers_recovered": 2}, "system_state_after": {"payout_transfers_stuck": 0}}
    told |= {} if status == "completed" else {"error_reason": "one is stuck"}  # type: ignore[dict-item]
    response = complete(world, execution_id, status=status, **told)
    assert (response.status, response.body) == (200, {"timestamp": "2026-01-05T00:04:59.999Z", "success": True})
    row = only(world, "runbook_executions")
    assert (row["status"], row["duration_seconds"], row["end_time"]) == (status, 299, NOW + 299_999)
    assert (row["execution_phase"], row["phase_step"]) == ("Recovery", 2)
    assert (row["result_json"], row["system_state_after"]) == (
        '{"transfers_recovered":2}',
        '{"payout_transfers_stuck":0}',
    )
    assert row["error_reason"] == told.get("error_reason")
    [audited] = world.audited("runbook_executions.update")
    assert (audited["actor"], audited["correlation"]) == (KIM, execution_id)
    assert {name: row[name] for name in json.loads(audited["after"])} == json.loads(audited["after"])
    assert json.loads(audited["before"])["status"] == "in_progress"


def test_an_execution_that_took_no_step_says_so(world: AdminWorld) -> None:
    complete(world, world.start(), status="failed")
    row = only(world, "runbook_executions")
    assert (row["execution_phase"], row["phase_step"], row["duration_seconds"]) == (None, None, 0)


def test_the_very_same_end_again_is_answered_the_same_because_the_answer_may_have_been_lost(world: AdminWorld) -> None:
    execution_id = world.start()
    told = {"status": "partial", "error_reason": "2 of 3", "result_json": {"b": 1, "a": 2}}
    first = complete(world, execution_id, **told)
    world.runtime.at += 60_000
    again = complete(world, execution_id, **{**told, "result_json": {"a": 2, "b": 1}})
    assert (again.status, again.body) == (200, first.body)
    assert RFC3339_MS.fullmatch(again.body["timestamp"])
    assert len(world.audited("runbook_executions.update")) == 1
    for other in ({"status": "completed", "error_reason": None}, {"result_json": {}}, {"error_reason": "1 of 3"},
                  {"system_state_after": {}}):  # fmt: skip
        assert complete(world, execution_id, **{**told, **other}).status == 409
    assert only(world, "runbook_executions")["status"] == "partial"
    assert len(world.refusals()) == 4


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": None}, "status"),
        ({"status": "in_progress"}, "status"),
        ({"status": "pending"}, "status"),
        ({"status": "done"}, "status"),
        ({"execution_id": None}, "execution_id"),
        ({"execution_id": 7}, "execution_id"),
        ({"result_json": "fine"}, "result_json"),
        ({"error_reason": {"code": 1}}, "error_reason"),
        ({"error_reason": "none really"}, "error_reason"),
        ({"system_state_after": 1}, "system_state_after"),
        ({"duration_seconds": 1}, "duration_seconds"),
    ],
    ids=str,
)
def test_an_end_with_a_bad_field_is_refused_and_says_which(
    world: AdminWorld, change: dict[str, Any], field: str
) -> None:
    body = {"execution_id": world.start(), "status": "completed", **change}
    response = world.call("POST", "runbooks/complete", body)
    assert (response.status, response.body["field"]) == (400, field)
    assert only(world, "runbook_executions")["status"] == "in_progress"
    assert world.refusals() == [("refuse.runbook_complete", KIM, response.body["error"])]


def test_an_unknown_execution_is_not_found_and_anothers_is_not_ended(world: AdminWorld) -> None:
    assert complete(world, "execution_9").status == 404
    assert complete(world, world.start(), LEE).status == 403
    assert [refusal[1] for refusal in world.refusals()] == [KIM, LEE]
    assert only(world, "runbook_executions")["status"] == "in_progress"


def test_what_could_not_be_written_is_answered_as_such_and_leaves_nothing(world: AdminWorld) -> None:
    world.store.fails = lambda operation: operation.startswith("runbooks.")
    assert world.call("POST", "runbooks/start", START).status == 503
    world.store.fails = lambda _: False
    assert world.rows("select * from runbook_executions") == []
