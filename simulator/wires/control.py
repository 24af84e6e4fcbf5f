"""The way of ops to the platform: `opsctl` lines of an open runbook become requests at its edge, and nothing else does.

Invariant: every request is noted in the operator's own book before it is sent, and carries the execution that it is of.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from contest_platform import opsctl
from contest_platform.access import UNREACHABLE
from contest_platform.http import Request, Response
from contest_platform.ports import DeadlineExceeded, PortError
from operations.runbooks.document import Runbook
from operations.runbooks.execute import StepRecord, Unrecorded
from operations.runbooks.match import Output
from seams.faults import Delay, LoseAnswer, LoseRequest
from simulator.actors.context import World

START, STEPS, COMPLETE = (f"/api/admin/runbooks/{end}" for end in ("start", "steps", "complete"))
ANSWER_WITHIN_MS = 60_000
RETRY_MS, PATIENCE_MS = 60_000, 2 * 3_600_000
"""Nothing is done off the record, so while the platform cannot take it (its database or the sign-in may be what is
out of order) a person tries again, so often and for so long."""
NO_ANSWER = 3
"""Exit status of a command that got no answer."""
THINK_MS = (15_000, 120_000)
"""How long a person takes from one step to the next."""


class OpsControl:
    """The Control of one execution of `runbook` by `principal`, on occasion of `incident`: the pager's, or that the
    runbook is due. `sleep_until`: how the principal waits for the clock."""

    def __init__(
        self, world: World, principal: str, token: str, runbook: Runbook, incident: str, visit: int,
        sleep_until: Callable[[int], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._world, self._principal, self._token = world, principal, token
        self._runbook, self._incident, self._visit = runbook, incident, visit
        self._sleep_until = sleep_until
        self._book, self._unanswered = world.books["operator.notebook"], world.books["operator.unanswered"]
        self._thoughts = self._steps = 0

    def now(self) -> int:
        return self._world.runtime.now()

    async def start(self, name: str, version: str, system_state_before: Mapping[str, Any]) -> str:
        body = {
            "runbook_name": name,
            "runbook_version": version,
            "executed_by": self._principal,
            "system_state_before": system_state_before,
        }
        answer = await self._tell(START, body, {"idempotency-key": f"{self._incident}:{self._visit}"})
        execution_id = str(answer.body["execution_id"])
        # The document as it lies open, by its hash.
        self._note("started", execution_id, detail=sha256(self._runbook.source.encode()).hexdigest())
        return execution_id

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        headers = {"runbook-execution": execution_id, "runbook-step": step}
        entity, within_ms = f"{self._runbook.id}/{step}", timeout_s * 1_000
        effect = self._world.bus.consult("control", "command", entity, execution_id)
        if isinstance(effect, Delay):
            self._note("called_away", execution_id, detail=entity)
            await self._world.runtime.sleep_until(self.now() + effect.by_ms)
        sent_at = self.now()
        if not isinstance(effect, LoseRequest):
            output = await self._run(argv, headers, within_ms)
        if isinstance(effect, LoseRequest | LoseAnswer):
            await self._world.runtime.sleep_until(sent_at + within_ms)
            self._unanswered.note(self.now(), self._principal, execution_id, entity, DeadlineExceeded.code)
            return Output(NO_ANSWER, f"error: {DeadlineExceeded.code}\n")
        return replace(output, sent_at=sent_at)

    async def record(self, execution_id: str, step: StepRecord) -> None:
        self._note_step(execution_id, step)
        if step.status is None:
            return  # Nothing was sent, which is the notebook's affair: the platform keeps what it was asked.
        self._steps += 1
        await self._tell(STEPS, {"execution_id": execution_id, "n": self._steps, **_body(step)})

    async def complete(
        self,
        execution_id: str,
        status: str,
        result: Mapping[str, Any],
        error_reason: str | None,
        system_state_after: Mapping[str, Any],
    ) -> None:
        self._note(status, execution_id, detail=error_reason or "")
        body = {
            "execution_id": execution_id,
            "status": status,
            "result_json": result,
            "system_state_after": system_state_after,
        }
        await self._tell(COMPLETE, body if error_reason is None else {**body, "error_reason": error_reason})

    async def state(self) -> Mapping[str, Any]:
        output = await self._run(["state"], {}, ANSWER_WITHIN_MS)
        if output.status:
            return {"unknown": output.text}
        return dict(pair.split("=", 1) for line in output.lines for pair in line.split() if "=" in pair)

    async def think(self, what: str) -> None:
        self._thoughts += 1
        world, site = self._world, "operator.thinks"
        pause_ms = world.draws.between(*THINK_MS, site, self._incident, self._visit, self._thoughts)
        await world.runtime.sleep_until(world.runtime.now() + pause_ms)

    async def wait(self, seconds: int) -> None:
        await self._sleep_until(self._world.runtime.now() + seconds * 1_000)

    # --- the line ----------------------------------------------------------------------------------------------------

    async def _run(self, argv: Sequence[str], headers: Mapping[str, str], within_ms: int) -> Output:
        async def send(request: Request) -> Response:
            return await self._request(request)

        running = self._world.call(opsctl.run(argv, send, headers), f"opsctl {' '.join(argv)}")
        try:
            output = await self._world.runtime.deadline(running, within_ms)
        except PortError as error:
            return Output(NO_ANSWER, f"error: {error.code}")
        return Output(output.status, output.text)

    async def _request(self, request: Request) -> Response:
        headers = {**request.headers, "Authorization": f"Bearer {self._token}"}
        return await self._world.edge.request(replace(request, headers=headers))

    async def _tell(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        """Said again until it is answered, for the same words again change nothing. Raises Unrecorded when the platform
        does not take it."""
        given_up_at = self.now() + PATIENCE_MS
        while True:
            asking = self._world.call(self._request(Request("POST", path, headers or {}, body)), f"ops {path}")
            try:
                answer = await self._world.runtime.deadline(asking, ANSWER_WITHIN_MS)
            except PortError as error:
                problem = error.code
                self._unanswered.note(self.now(), self._principal, str(body.get("execution_id", "")), path, problem)
            else:
                if answer.status == 200:
                    return answer
                said = str(answer.body.get("error", ""))
                problem = f"HTTP {answer.status}: {said}"
                if answer.status < 500 and not said.startswith(UNREACHABLE):
                    raise Unrecorded(f"POST {path}: {problem}")
            if self.now() + RETRY_MS > given_up_at:
                raise Unrecorded(f"POST {path}: {problem}")
            await self.wait(RETRY_MS // 1000)

    # --- the notebook ------------------------------------------------------------------------------------------------

    def _note(self, action: str, execution_id: str, detail: str = "") -> None:
        runbook = self._runbook
        self._world.record(self._principal, f"runbook.{action}", runbook.id.text, execution=execution_id)
        self._book.note(
            self.now(), self._principal, action, self._incident, runbook.id.text, runbook.version, execution_id,
            None, None, None, None, None, None, None, None, None, None, detail,
        )  # fmt: skip

    def _note_step(self, execution_id: str, step: StepRecord) -> None:
        runbook, name = self._runbook, f"{step.section}/{step.number}"
        self._world.record(self._principal, "runbook.step", runbook.id.text, step=name, sent=step.sent, ok=step.ok)
        self._book.note(
            self.now(), self._principal, "step", self._incident, runbook.id.text, runbook.version, execution_id,
            name, step.line, step.template, step.template_sha256, json.dumps(step.bindings, sort_keys=True),
            step.sent, step.status, step.output, step.matched, step.ok, step.why,
        )  # fmt: skip


def _body(step: StepRecord) -> dict[str, Any]:
    return {
        "section": step.section,
        "number": step.number,
        "file": step.file,
        "line": step.line,
        "template": step.template,
        "template_sha256": step.template_sha256,
        "bindings": dict(step.bindings),
        "sent": step.sent,
        "exit_status": step.status,
        "output": step.output,
        "matched": step.matched,
        "ok": step.ok,
        "next": step.next,
    }
