"""The runbook control plane: who executes which runbook, each step before the next begins, and how it ended.

Invariant: an execution is one row that ends once, and its steps are only added to while it is in progress; the database
refuses everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from contest_platform import audit, checkpoints
from contest_platform.access import header
from contest_platform.audit import Context
from contest_platform.fields import BadFieldError, Field, checked
from contest_platform.http import Request, Response
from contest_platform.instants import rfc3339
from contest_platform.jobs import Job
from contest_platform.ports import Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.statuses import EXECUTION_ENDS

START = (
    Field("runbook_name", "name of the runbook"),
    Field("runbook_version", "version of the runbook"),
    Field("executed_by", "the principal who executes it: the caller"),
    Field("system_state_before", "the state of the system before it", "object", required=False),
)
STEP = (
    Field("execution_id", "the execution, in progress"),
    Field("n", "which step of the execution this is, from 1", "integer", least=1),
    Field("section", "of the document"),
    Field("number", "of the step in its section", "integer", least=1),
    Field("file", "the document"),
    Field("line", "where the step stands in it", "integer", least=1),
    Field("template", "the command as it stands there"),
    Field("template_sha256", "SHA-256 of the template's UTF-8, in hex"),
    Field("bindings", "what filled its placeholders", "object", required=False),
    Field("sent", "what was sent, byte for byte"),
    Field("exit_status", "of the command", "integer"),
    Field("output", "of the command", required=False),
    Field("matched", "the expectation or branch that the output met", required=False),
    Field("ok", "whether the runbook goes on", "boolean"),
    Field("next", "what follows", required=False),
)
COMPLETE = (
    Field("execution_id", "the id that the start answered with"),
    Field("status", "how it ended", choices=EXECUTION_ENDS),
    Field("result_json", "what came of it", "object", required=False),
    Field("error_reason", "why, unless it was completed", required=False),
    Field("system_state_after", "the state of the system after it", "object", required=False),
)
_STEP_HEADER = r"[A-Z][A-Za-z ]*/[1-9][0-9]*"


def execution_problem(tx: Tx, principal: str, request: Request) -> tuple[str, str, str | None]:
    """(execution id, step, what is wrong with them or None) of the headers with which a step of a runbook acts."""
    execution_id = header(request.headers, "runbook-execution") or ""
    step = header(request.headers, "runbook-step") or ""
    if not execution_id:
        return "", step, "no runbook-execution header: ops acts only in a step of a runbook"
    if re.fullmatch(_STEP_HEADER, step) is None:
        return execution_id, step, "no runbook-step header like Recovery/2"
    row = tx.one("select executed_by, status from runbook_executions where id = :id", {"id": execution_id})
    if row is None:
        return execution_id, step, f"no runbook execution {execution_id}"
    if row["executed_by"] != principal:
        return execution_id, step, f"runbook execution {execution_id} is not {principal}'s"
    if row["status"] != "in_progress":
        return execution_id, step, f"runbook execution {execution_id} is {row['status']}"
    last = checkpoints.read(tx, _acted(execution_id))
    if last is not None and last["step"] != step and last["recorded"] == _recorded(tx, execution_id):
        return execution_id, step, f"runbook step {last['step']} has acted and is not on record"
    return execution_id, step, None


def note_acting(tx: Tx, execution_id: str, step: str) -> None:
    """A step acts now: until it is on record no other one may."""
    note = {"step": step, "recorded": _recorded(tx, execution_id)}
    if checkpoints.read(tx, _acted(execution_id)) != note:
        checkpoints.save(tx, _acted(execution_id), note)


def _acted(execution_id: str) -> str:
    return f"runbooks.acted:{execution_id}"


def _recorded(tx: Tx, execution_id: str) -> int:
    last = _last_step(tx, execution_id)
    return 0 if last is None else int(last["n"])


class RunbooksService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports

    def jobs(self) -> Sequence[Job]:
        return ()

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/api/admin/runbooks/start"): Route("admin", self._start, "Begin an execution", START),
            ("POST", "/api/admin/runbooks/steps"): Route("admin", self._record, "Record a step", STEP),
            ("POST", "/api/admin/runbooks/complete"): Route("admin", self._complete, "End an execution", COMPLETE),
        }

    async def _start(self, request: Request, principal: str) -> Response:
        """-> {timestamp, execution_id}. With an `idempotency-key` header the same again is answered the same."""
        key = header(request.headers, "idempotency-key")
        ids = self._ports.ids
        execution_id = ids.new("execution", principal, key) if key else ids.new("execution")
        return await self._take("start", START, request, principal, lambda tx, given: _start(tx, execution_id, given))

    async def _record(self, request: Request, principal: str) -> Response:
        """-> {timestamp, success}. The very same step again is answered the same, for its answer may have been lost."""
        return await self._take("step", STEP, request, principal, _record)

    async def _complete(self, request: Request, principal: str) -> Response:
        """-> {timestamp, success}. The very same end again is answered the same, for its answer may have been lost."""
        return await self._take("complete", COMPLETE, request, principal, _complete)

    async def _take(
        self, what: str, fields: Sequence[Field], request: Request, principal: str,
        take: Callable[[Tx, dict[str, Any]], dict[str, Any] | Refusal],
    ) -> Response:  # fmt: skip
        """Check the fields and `take` them, or refuse, on record."""
        execution_id = str(request.body.get("execution_id") or "")

        def run(tx: Tx) -> Response:
            body: dict[str, Any]
            try:
                answer = take(tx, {**checked(fields, request.body), "principal": principal})
                if not isinstance(answer, Refusal):
                    return Response(200, answer)
                status, body = answer.status, {"error": answer.reason}
            except BadFieldError as bad:
                status, body = 400, {"error": str(bad), "field": bad.field}
            ctx = Context(principal, execution_id or "runbooks")
            subject = f"runbook_executions/{execution_id}"
            audit.append(tx, ctx, f"refuse.runbook_{what}", subject, reason=body["error"])
            return Response(status, body)

        return await self._ports.store.transact(f"runbooks.{what}", run)


def _start(tx: Tx, execution_id: str, given: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    principal = given["principal"]
    if given["executed_by"] != principal:
        return Refusal(403, f"executed_by: {principal} calls, and starts no runbook in another's name")
    same = {name: given[name] for name in ("runbook_name", "runbook_version", "executed_by")}
    same["system_state_before"] = _json(given["system_state_before"])
    row = tx.one("select * from runbook_executions where id = :id", {"id": execution_id})
    if row is not None:
        if any(row[name] != value for name, value in same.items()):
            return Refusal(409, "another execution was started with this idempotency key")
        return {"timestamp": rfc3339(row["start_time"], ms=True), "execution_id": execution_id}
    begun = {
        "id": execution_id, **same, "status": "in_progress", "execution_phase": None, "phase_step": None,
        "start_time": tx.now, "end_time": None, "duration_seconds": None, "result_json": None, "error_reason": None,
        "system_state_after": None, "created_at": tx.now, "updated_at": tx.now,
    }  # fmt: skip
    audit.insert(tx, Context(principal, execution_id), "runbook_executions", begun, f"starts {same['runbook_name']}")
    return {"timestamp": rfc3339(tx.now, ms=True), "execution_id": execution_id}


def _record(tx: Tx, given: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    row = _own(tx, given)
    if isinstance(row, Refusal):
        return row
    if sha256(given["template"].encode()).hexdigest() != given["template_sha256"]:
        raise BadFieldError("template_sha256", "is not the hash of the template")
    step = {name: given[name] for name in (field.name for field in STEP)}
    step["bindings"] = audit.canonical(given["bindings"] or {})
    step["output"] = given["output"] or ""
    key = {"id": row["id"], "n": step["n"]}
    same = tx.one("select * from runbook_execution_steps where execution_id = :id and n = :n", key)
    if same is not None:
        if any(same[name] != value for name, value in step.items()):
            return Refusal(409, f"step {step['n']} is on record, and is another")
        return {"timestamp": rfc3339(same["at"], ms=True), "success": True}
    if row["status"] != "in_progress":
        return Refusal(409, f"runbook execution {row['id']} is {row['status']}")
    last = _last_step(tx, row["id"])
    expected = 1 if last is None else last["n"] + 1
    if step["n"] != expected:
        return Refusal(409, f"expected step {expected}, not step {step['n']}")
    ctx = Context(given["principal"], row["id"])
    reason = f"runbook step {step['section']}/{step['number']}"
    audit.insert(tx, ctx, "runbook_execution_steps", {**step, "at": tx.now}, reason)
    return {"timestamp": rfc3339(tx.now, ms=True), "success": True}


def _complete(tx: Tx, given: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    row = _own(tx, given)
    if isinstance(row, Refusal):
        return row
    if given["status"] == "completed" and given["error_reason"] is not None:
        raise BadFieldError("error_reason", "an execution that was completed has none")
    end: dict[str, Any] = {
        "status": given["status"],
        "result_json": _json(given["result_json"]),
        "error_reason": given["error_reason"],
        "system_state_after": _json(given["system_state_after"]),
    }
    if row["status"] != "in_progress":
        if any(row[name] != value for name, value in end.items()):
            return Refusal(409, f"runbook execution {row['id']} is {row['status']}")
        return {"timestamp": rfc3339(row["end_time"], ms=True), "success": True}
    last = _last_step(tx, row["id"])
    changes = {
        **end,
        "execution_phase": None if last is None else last["section"],
        "phase_step": None if last is None else last["number"],
        "end_time": tx.now,
        "duration_seconds": (tx.now - row["start_time"]) // 1000,
        "updated_at": tx.now,
    }
    ctx = Context(given["principal"], row["id"])
    reason = given["error_reason"] or f"ends {row['runbook_name']}"
    audit.update(tx, ctx, "runbook_executions", {"id": row["id"]}, changes, reason, row)
    checkpoints.remove(tx, _acted(row["id"]))
    return {"timestamp": rfc3339(tx.now, ms=True), "success": True}


def _own(tx: Tx, given: Mapping[str, Any]) -> Row | Refusal:
    execution_id, principal = given["execution_id"], given["principal"]
    row = tx.one("select * from runbook_executions where id = :id", {"id": execution_id})
    if row is None:
        return Refusal(404, f"no runbook execution {execution_id}")
    if row["executed_by"] != principal:
        return Refusal(403, f"runbook execution {execution_id} is not {principal}'s")
    return row


def _last_step(tx: Tx, execution_id: str) -> Row | None:
    sql = "select n, section, number from runbook_execution_steps where execution_id = :id order by n desc limit 1"
    return tx.one(sql, {"id": execution_id})


def _json(value: Any) -> str | None:
    return None if value is None else audit.canonical(value)
