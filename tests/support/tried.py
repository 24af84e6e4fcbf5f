"""Runbooks tried for real: the executor over opsctl, at the edge of a platform whose own jobs go on meanwhile.

Invariant: what a step sends goes through the real command, endpoint and service; a test says only in which state the
platform is, what happens meanwhile, and which answers get lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from absence.opsctl_commands import known_commands
from contest_platform import opsctl
from contest_platform.http import Request, Response
from contest_platform.jobs import MINUTE_MS, Job, next_tick
from contest_platform.store.tables import TABLES
from operations.runbooks import Alert, Outcome, Output, Runbook, StepRecord, execute, load
from tests.support.runbooks import finish

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
OPS = "ops:kim"
THINK_MS = 30_000
"""How long a person takes from one step to the next."""
LOST = Output(3, "error: the platform did not answer: deadline_exceeded\n")
REFUSED = Output(1, "error: refused\n")
OWN_TABLES = ("runbook_executions", "runbook_execution_steps", "audit_log", "access_log")
"""What every execution writes, whatever it does."""


class World(Protocol):
    """A platform under test: AdminWorld, or any other that has an edge, a clock and a way to look into its tables."""

    @property
    def app(self) -> Any: ...

    @property
    def runtime(self) -> Any: ...

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]: ...

    def headers(self) -> dict[str, str]: ...


@dataclass
class Tried:
    """The Control of one execution on `world`.

    `jobs`: those of the platform's own jobs that work on; none of them is a platform whose daemons are all down.
    `meanwhile`: step -> what happens just before it is sent for the first time. `refused`: step -> the answer in the
    place of doing anything. `lost`: steps whose command is carried out, and whose first answer never comes. `dropped`:
    steps whose command never arrives the first time.
    """

    world: World
    jobs: Sequence[Job] = ()
    meanwhile: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    refused: Mapping[str, Output] = field(default_factory=dict)
    lost: Sequence[str] = ()
    dropped: Sequence[str] = ()
    records: list[StepRecord] = field(default_factory=list)
    happened: set[str] = field(default_factory=set)
    _earliest: dict[str, int] = field(default_factory=dict)
    _executions: int = 0
    _recorded: int = 0

    def now(self) -> int:
        return int(self.world.runtime.at)

    async def start(self, name: str, version: str, system_state_before: Mapping[str, Any]) -> str:
        self._executions += 1
        body = {"runbook_name": name, "runbook_version": version, "executed_by": OPS,
                "system_state_before": dict(system_state_before)}  # fmt: skip
        answer = await self._tell("start", body, {"idempotency-key": f"{name}:{self.now()}:{self._executions}"})
        return str(answer.body["execution_id"])

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        if step in self.meanwhile and step not in self.happened:
            self.happened.add(step)
            self.meanwhile[step]()
        if step in self.refused:
            return self.refused[step]
        if step in self.dropped and f"{step} was dropped" not in self.happened:
            self.happened.add(f"{step} was dropped")
            return LOST
        headers = {"runbook-execution": execution_id, "runbook-step": step}
        output = await opsctl.run(argv, self.world.app.handle, {**self.world.headers(), **headers})
        if step in self.lost and f"{step} was lost" not in self.happened:
            self.happened.add(f"{step} was lost")
            return LOST
        return Output(output.status, output.text)

    async def record(self, execution_id: str, step: StepRecord) -> None:
        self.records.append(step)
        if step.status is None:
            return  # Nothing was sent: the platform keeps what was done.
        self._recorded += 1
        told = asdict(step)
        taken = ("section", "number", "file", "line", "template", "template_sha256", "bindings", "sent", "output",
                 "matched", "ok", "next")  # fmt: skip
        body = {name: told[name] for name in taken}
        body |= {"execution_id": execution_id, "n": self._recorded, "exit_status": step.status}
        await self._tell("steps", body)

    async def complete(
        self,
        execution_id: str,
        status: str,
        result: Mapping[str, Any],
        error_reason: str | None,
        system_state_after: Mapping[str, Any],
    ) -> None:
        body = {"execution_id": execution_id, "status": status, "result_json": dict(result),
                "error_reason": error_reason, "system_state_after": dict(system_state_after)}  # fmt: skip
        await self._tell("complete", body)

    async def state(self) -> Mapping[str, Any]:
        output = await opsctl.run(["state"], self.world.app.handle, self.world.headers())
        if output.status:
            return {"unknown": output.text}
        return dict(line.split("=", 1) for line in output.text.splitlines())

    async def think(self, what: str) -> None:
        await self.pass_time(THINK_MS)

    async def wait(self, seconds: int) -> None:
        await self.pass_time(seconds * 1_000)

    async def pass_time(self, ms: int) -> None:
        """Let the clock go on, from minute to minute, and every job that is due on its grid with it."""
        until = self.now() + ms
        while self.now() < until:
            self.world.runtime.at = min(until, next_tick(self.now() + 1, MINUTE_MS))
            for job in self.jobs:
                await self._tick(job)

    async def _tick(self, job: Job) -> None:
        due = await job.due()
        if due is not None and next_tick(max(due, self._earliest.get(job.name, 0)), job.period_ms) <= self.now():
            await job.work()
            self._earliest[job.name] = self.now() + 1

    async def _tell(self, what: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        request = Request("POST", f"/api/admin/runbooks/{what}", {**self.world.headers(), **(headers or {})}, body)
        answer: Awaitable[Response] = self.world.app.handle(request)
        response = await answer
        assert response.status == 200, (what, response)
        return response

    @property
    def steps(self) -> list[str]:
        """The steps that were sent, in order; one that was sent again and again stands once."""
        sent = [f"{record.section}/{record.number}" for record in self.records if record.status is not None]
        return [step for n, step in enumerate(sent) if n == 0 or sent[n - 1] != step]


@cache
def runbook(name: str) -> Runbook:
    """A document of `runbooks/` that has no problem of its own."""
    path = RUNBOOKS / f"{name}.md"
    return load([path], known_commands(), [RUNBOOKS.parent / "alerts"], all_of_them=False, root=RUNBOOKS.parent)[name]


def carry_out(name: str, control: Tried, **labels: str) -> Outcome:
    """Execute a document of `runbooks/` as for its first alert (none: without one) with these labels."""
    document = runbook(name)
    alert = Alert(document.alerts[0].text, labels, control.now()) if document.alerts else None
    return finish(execute(document, alert, control))


def healed(name: str, control: Tried, **labels: str) -> Tried:
    """Carry a document out, which has to go as written to its end."""
    outcome = carry_out(name, control, **labels)
    assert outcome.status == "completed", outcome.escalation and (outcome.escalation.reason, outcome.escalation.patch)
    [last] = control.world.rows("select status from runbook_executions order by start_time desc, id limit 1")
    assert last["status"] == "completed"
    return control


def handed_on(name: str, control: Tried, at: str, **labels: str) -> Outcome:
    """Carry a document out, which has to fail at step `at`, roll back as written, and hand the matter on."""
    outcome = carry_out(name, control, **labels)
    assert outcome.status in ("failed", "partial"), control.steps
    assert outcome.escalation is not None
    assert outcome.escalation.failed_step == at, outcome.escalation.reason
    assert outcome.escalation.rolled_back, outcome.escalation.reason
    return outcome


def tables(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but those that an execution itself is written in: the same if nothing was done."""
    rows = {
        name: world.rows(f"select * from {name} order by {', '.join(table.key)}")
        for name, table in sorted(TABLES.items()) if name not in OWN_TABLES
    }  # fmt: skip
    rows["checkpoints"] = [row for row in rows["checkpoints"] if not row["name"].startswith("runbooks.acted:")]
    return rows


def all_of(*services: Any) -> list[Job]:
    """The jobs of services, as their daemons would run them."""
    return [job for service in services for job in service.jobs()]


def forward(name: str) -> Iterable[str]:
    """The steps of a document that are not of its Rollback, in order."""
    return [step.id for step in runbook(name).path(rollback=False)]
