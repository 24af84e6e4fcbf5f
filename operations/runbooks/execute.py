"""Carries a runbook out to the letter, and hands the matter on when it does not go as written.

Invariant: what is sent is the open document's own line, and each step is on record before the next begins. Whatever is
not as expected ends in Rollback, in a failed execution and in an escalation; nothing is tried that is not written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from operations.runbooks.document import Branch, Runbook, Step, Target
from operations.runbooks.match import Judgement, Output, judge, like
from operations.runbooks.patch import as_it_came
from operations.runbooks.render import Refused, Rendered, render

VISITS = 100
"""So often may an execution come to one step: a loop that has not ended by then is not as expected."""
_CONTEST = re.compile(r"\bcontest(?:_id)?=([^\s\"]+)")


class Unrecorded(Exception):
    """The record could not be written (raised by a Control that has given up). Nothing may be done off the record."""


class Control(Protocol):
    """All that whoever carries out a runbook can do. Instants are in milliseconds, UTC."""

    def now(self) -> int: ...

    async def start(self, name: str, version: str, system_state_before: Mapping[str, Any]) -> str:
        """Open a record; returns the execution's id. Raises Unrecorded."""
        ...

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        """Send `opsctl` and the arguments. No answer in `timeout_s` is an output too: exit status 3."""
        ...

    async def record(self, execution_id: str, step: StepRecord) -> None:
        """Append a step to the record. Raises Unrecorded."""
        ...

    async def complete(
        self,
        execution_id: str,
        status: str,
        result: Mapping[str, Any],
        error_reason: str | None,
        system_state_after: Mapping[str, Any],
    ) -> None:
        """Close the record: completed, failed or partial. Raises Unrecorded."""
        ...

    async def state(self) -> Mapping[str, Any]:
        """The system's state, as far as it can be seen."""
        ...

    async def think(self, what: str) -> None:
        """The time that a person takes before acting."""
        ...

    async def wait(self, seconds: int) -> None:
        """As long as the document says, by the clock, before the same command is sent again."""
        ...


@dataclass(frozen=True, slots=True)
class Alert:
    """What opened the runbook. `labels` are all that it can bind."""

    name: str
    labels: Mapping[str, str]
    at: int


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One sending of one step's command. `matched`: `expected`, `otherwise`, `branch N`, `not yet` (it will be sent
    again), `not needed` (what it undoes was not done), `refused` (it could not be rendered: nothing was sent) or
    `mismatch`; `why` a mismatch or refusal is one. `next`: a step, `done`, `partial`, `rollback` or `escalate`.
    `status` is None where nothing was sent."""

    section: str
    number: int
    file: str
    line: int
    template: str
    template_sha256: str
    bindings: Mapping[str, str]
    sent: str
    status: int | None
    output: str
    matched: str
    why: str
    ok: bool
    next: str
    began_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class Escalation:
    """What somebody needs who was not there (source 004, "Escalation Information"). `patch`: a diff of the document in
    which the failed step expects what came; empty if nothing was sent. `rolled_back`: Rollback went as written."""

    at: int
    reason: str
    runbook: str
    version: str
    execution_id: str
    alert: Alert | None
    failed_step: str
    steps_tried: tuple[StepRecord, ...]
    rolled_back: bool
    state_before: Mapping[str, Any]
    state_after: Mapping[str, Any]
    affected_contests: tuple[str, ...]
    patch: str

    def package(self) -> dict[str, Any]:
        """As plain data, with all diagnostic outputs beside the steps."""
        told = asdict(self)
        told["diagnostics"] = [
            {"step": f"{r.section}/{r.number}", "sent": r.sent, "status": r.status, "output": r.output}
            for r in self.steps_tried
            if r.sent
        ]
        return told


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended: `completed`, or `failed` or `partial` with an escalation."""

    status: str
    execution_id: str
    records: tuple[StepRecord, ...]
    escalation: Escalation | None


@dataclass(frozen=True, slots=True)
class _Failure:
    step: str
    reason: str
    status: str = "failed"
    patch: str = ""


async def execute(runbook: Runbook, alert: Alert | None, control: Control) -> Outcome:
    """Carry `runbook` out. Raises nothing of its own: what goes wrong is an outcome."""
    return await _Execution(runbook, alert, control).run()


class _Execution:
    def __init__(self, runbook: Runbook, alert: Alert | None, control: Control) -> None:
        self.runbook, self.alert, self.control = runbook, alert, control
        self.id = ""
        self.records: list[StepRecord] = []
        self.sent: set[str] = set()
        self.bindings: dict[str, str] = {}
        if alert is not None:
            self.bindings = {f"alert.{label}": value for label, value in sorted(alert.labels.items())}

    async def run(self) -> Outcome:
        control, runbook = self.control, self.runbook
        await control.think(f"open {runbook.id}")
        before = await control.state()
        rolled_back = False
        failure: _Failure | None = None
        try:
            self.id = await control.start(runbook.id.text, runbook.version, before)
            failure = await self._follow(rollback=False)
            if failure is not None:
                undo = await self._follow(rollback=True)
                rolled_back = undo is None
                if undo is not None:
                    failure = replace(failure, status="failed", reason=f"{failure.reason}; then {undo.reason}")
        except Unrecorded as lost:
            failure = self._off_record(failure, lost)
        after = await control.state()
        status = "completed" if failure is None else failure.status
        if self.id:
            try:
                await control.complete(self.id, status, self._result(), failure.reason if failure else None, after)
            except Unrecorded as lost:
                failure = self._off_record(failure, lost)
                status = failure.status
        escalation = None if failure is None else self._escalation(failure, rolled_back, before, after)
        return Outcome(status, self.id, tuple(self.records), escalation)

    def _off_record(self, failure: _Failure | None, lost: Unrecorded) -> _Failure:
        """What could not be recorded stops everything, Rollback included."""
        if failure is not None:
            return replace(failure, reason=f"{failure.reason}; then it could not be recorded: {lost}")
        last = f"{self.records[-1].section}/{self.records[-1].number}" if self.records else ""
        return _Failure(last, f"it could not be recorded: {lost}")

    # --- steps ------------------------------------------------------------------------------------------------------

    async def _follow(self, rollback: bool) -> _Failure | None:
        """Take the steps of the document, or those of Rollback, to their end; what failed, if anything did."""
        path = self.runbook.path(rollback)
        visits: dict[str, int] = {}
        step = path[0] if path else None
        while step is not None:
            visits[step.id] = visits.get(step.id, 0) + 1
            if visits[step.id] > VISITS:
                return _Failure(step.id, f"step {step.id} came up more than {VISITS} times: this loop does not end")
            following = next((path[n + 1] for n, one in enumerate(path[:-1]) if one is step), None)
            if step.after is not None and str(step.after) not in self.sent:
                await self._record(step, "not needed", following.id if following else self._end(rollback))
                step = following
                continue
            verdict, failure = await self._perform(step, following, rollback)
            if failure is not None:
                return failure
            target = verdict.branch.target if verdict.branch else None
            if target is None:
                step = following
            elif target.to == "step":
                step = self.runbook.step(target)
            elif target.to == "done":
                return None
            else:
                reason = f"step {step.id} says {target.to}: {self._gist(self.records[-1], verdict.branch)}"
                return _Failure(step.id, reason, "partial" if target.to == "partial" else "failed")
        return None

    async def _perform(self, step: Step, following: Step | None, rollback: bool) -> tuple[Judgement, _Failure | None]:
        """Send a step's command, once or as often as the step says, and record each sending."""
        await self.control.think(step.id)
        expected = step.expectation
        until: int | None = None
        failed = "escalate" if rollback else "rollback"
        bindings = dict(self.bindings)
        while True:
            try:
                rendered = render(step.command.template, bindings)
            except Refused as refused:
                why = f"step {step.id} ({step.place}) cannot be sent: {refused}"
                await self._record(step, "refused", failed, why=why)
                return Judgement("mismatch", why=why), _Failure(step.id, why)
            output, began = await self._send(step, rendered)
            until = began + expected.within_s * 1000 if until is None else until
            now = self.control.now()
            verdict = judge(step, output, bindings, now - began)
            if verdict.ok:
                self.bindings.update(verdict.captured)
                target = verdict.branch.target if verdict.branch else None
                leads = self._leads(target, following, rollback)
                await self._record(step, verdict.matched, leads, rendered, output, began, bindings=bindings)
                return verdict, None
            if expected.every_s is None or now + expected.every_s * 1000 > until:
                break
            await self._record(step, "not yet", step.id, rendered, output, began, verdict.why, bindings)
            await self.control.wait(expected.every_s)
        await self._record(step, "mismatch", failed, rendered, output, began, verdict.why, bindings)
        patch = as_it_came(self.runbook, step, output, bindings, now - began)
        return verdict, _Failure(step.id, f"step {step.id} ({step.place}): {verdict.why}", patch=patch)

    async def _send(self, step: Step, rendered: Rendered) -> tuple[Output, int]:
        # Sent from here on, whether or not an answer comes: Rollback has to undo what may have been done.
        self.sent.add(step.id)
        began = self.control.now()
        output = await self.control.send(self.id, step.id, rendered.argv, step.expectation.answer_s)
        return output, began if output.sent_at is None else output.sent_at

    def _leads(self, target: Target | None, following: Step | None, rollback: bool) -> str:
        if target is None:
            return following.id if following else self._end(rollback)
        if target.to == "done":
            return self._end(rollback)
        if target.to == "escalate":
            return "escalate" if rollback else "rollback"
        return str(target)

    @staticmethod
    def _end(rollback: bool) -> str:
        return "escalate" if rollback else "done"

    async def _record(
        self,
        step: Step,
        matched: str,
        leads: str,
        rendered: Rendered | None = None,
        output: Output | None = None,
        began: int | None = None,
        why: str = "",
        bindings: Mapping[str, str] | None = None,
    ) -> None:
        template = step.command.template
        now = self.control.now()
        record = StepRecord(
            section=step.section,
            number=step.number,
            file=self.runbook.file,
            line=step.command.place.line,
            template=template,
            template_sha256=hashlib.sha256(template.encode()).hexdigest(),
            bindings=dict(self.bindings if bindings is None else bindings),
            sent=rendered.sent.decode() if rendered else "",
            status=output.status if output else None,
            output=output.text if output else "",
            matched=matched,
            why=why,
            ok=matched not in ("mismatch", "refused"),
            next=leads,
            began_at=now if began is None else began,
            ended_at=now,
        )
        self.records.append(record)
        await self.control.record(self.id, record)

    # --- what is handed on -------------------------------------------------------------------------------------------

    def _result(self) -> dict[str, Any]:
        captured = {name: value for name, value in sorted(self.bindings.items()) if not name.startswith("alert.")}
        return {"steps": len(self.records), "captured": captured}

    def _gist(self, record: StepRecord, branch: Branch | None) -> str:
        """The line of the answer for which the branch was taken; where it was for none of them, the first."""
        lines = record.output.split("\n")
        line = branch.condition.line if branch is not None and branch.condition is not None else None
        found = next((text for text in lines if line is not None and like(line, text, self.bindings)), lines[0])
        return found or f"exit {record.status}"

    def _escalation(
        self, failure: _Failure, rolled_back: bool, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Escalation:
        contests = {
            value for name, value in self.bindings.items() if name.rpartition(".")[2] in ("contest", "contest_id")
        }
        for record in self.records:
            contests.update(_CONTEST.findall(record.output))
        return Escalation(
            at=self.control.now(),
            reason=failure.reason,
            runbook=self.runbook.id.text,
            version=self.runbook.version,
            execution_id=self.id,
            alert=self.alert,
            failed_step=failure.step,
            steps_tried=tuple(self.records),
            rolled_back=rolled_back,
            state_before=before,
            state_after=after,
            affected_contests=tuple(sorted(contests)),
            patch=failure.patch,
        )
