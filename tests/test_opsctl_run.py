"""A human with opsctl in a simulated run: what is done in a runbook is in every book, and the judge finds nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from assertions.judge import judge
from contest_platform import opsctl
from contest_platform.http import Request
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from evidence.journal import JournalWriter
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import load, make_plan
from seams.draws import Draws
from simulator.kernel import Kernel
from simulator.run import begin, finish
from simulator.world import TOKEN_LIFE_S, World
from tests.support.admin_world import STEP


class Operator:
    """Executes a runbook of three commands on the platform's public address, and notes what came of each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.id = next(principal.id for principal in world.plan.principals if principal.role == "ops")
        self._headers: dict[str, str] = {}
        self.outputs: list[tuple[str, int, str]] = []
        self.execution_id = ""
        self.states: list[Mapping[str, Any]] = []

    async def post(self, path: str, **body: Any) -> Mapping[str, Any]:
        response = await self._world.edge.request(Request("POST", f"/api/admin/runbooks/{path}", self._headers, body))
        assert response.status == 200, response
        return response.body

    async def state(self) -> Mapping[str, Any]:
        response = await self._world.edge.request(Request("GET", "/api/admin/state", self._headers))
        self.states.append(response.body)
        return response.body

    async def run(self, line: str, **headers: str) -> None:
        output = await opsctl.run(line.split(), self._world.edge.request, {**self._headers, **headers})
        self.outputs.append((line, output.status, output.text))

    async def work(self, at: int) -> None:
        world = self._world
        await world.runtime.sleep_until(at)
        world.record(self.id, "operator.paged", "ingestion_lag")  # what follows has its cause in this
        self._headers = {"Authorization": f"Bearer {world.identity.issue(self.id, TOKEN_LIFE_S)}"}
        await self.run("settlement rerun c1 --reason outside")
        await self.run("hosts services lin-app-1")
        named = {"runbook_name": "ingestion_lag", "runbook_version": "1.0.0", "executed_by": self.id}
        started = await self.post("start", **named, system_state_before=await self.state())
        self.execution_id = started["execution_id"]
        tournament = world.plan.tournaments[0].id
        for n, line in enumerate(
            ("ingestion status", f"ingestion poll {tournament}", f"scores replay {tournament}"), 1
        ):
            step = {"runbook-execution": self.execution_id, "runbook-step": f"Recovery/{n}"}
            await self.run(line, **step)
            _, status, text = self.outputs[-1]
            record = {"n": n, "number": n, "sent": f"opsctl {line}", "exit_status": status, "output": text}
            await self.post("steps", execution_id=self.execution_id, **{**STEP, **record})
        end = {"execution_id": self.execution_id, "status": "completed", "system_state_after": await self.state()}
        await self.post("complete", **end)
        await self.post("complete", **end)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Evidence]]:
    plan = make_plan(load("small"), 1)
    with RunWriter(tmp_path_factory.mktemp("operated"), "run") as writer:
        writer.write_plan(plan)
        kernel = Kernel(Draws(plan.root_key), JournalWriter(writer.journal), plan.starts_at)
        kernel.record("harness", "run.started", plan.scenario)
        world = World(plan, kernel, writer.books)
        operator = Operator(world)
        world.runtime.spawn(begin(world), "preflight")
        # Three minutes after a poll of the hour, long before play: the next would be due at the next hour.
        world.runtime.spawn(operator.work(plan.tournaments[0].starts_at - 10 * HOUR_MS + 3 * MINUTE_MS), "operator")
        kernel.run(until=plan.recovery_until_at)
        finish(world)
        world.connection.close()
        writer.seal({"code": "c0de" * 16})
        yield operator, Evidence.open(writer.path)


def test_the_judge_finds_nothing_wrong_but_that_this_human_keeps_no_notebook(run: tuple[Operator, Evidence]) -> None:
    verdict = judge(run[1])
    broken = {result.id: [one.message for one in result.broken] for result in verdict.results if result.broken}
    assert list(broken) == ["runbooks.on_record"]
    assert ["no notebook does" in message for message in broken["runbooks.on_record"]] == [True]


def test_every_command_had_its_output_and_the_one_outside_the_runbook_was_refused(
    run: tuple[Operator, Evidence],
) -> None:
    operator, _ = run
    outside, services, status, poll, replay = operator.outputs
    assert services[2] == (
        "host=lin-app-1 service=app state=running detail=active\n"
        "host=lin-app-1 service=ingestion state=stopped detail=inactive\n"
        "host=lin-app-1 service=settlement state=stopped detail=inactive\n"
    )
    assert outside[1:] == (1, "error: no runbook-execution header: ops acts only in a step of a runbook\n")
    assert " in_play=no lag_s=0 last_success_at=20" in status[2]
    assert poll[2].startswith("accepted: tournament_id=")
    assert replay[1:] == (0, f"done: tournament_id={poll[0].split()[2]} mismatches=0 changed=no\n")
    assert operator.states[0].keys() == operator.states[1].keys()


def test_the_books_hold_the_execution_and_its_steps(run: tuple[Operator, Evidence]) -> None:
    operator, evidence = run
    [execution] = evidence.records("platform.runbook_executions")
    assert (execution.id, execution.executed_by, execution.status) == (operator.execution_id, operator.id, "completed")
    assert execution.duration_seconds == (execution.end_time - execution.start_time) // 1000
    assert (execution.execution_phase, execution.phase_step) == ("Recovery", 3)
    assert json.loads(execution.system_state_before) == operator.states[0]
    steps = evidence.records("platform.runbook_execution_steps")
    assert [(step.sent, step.exit_status, step.output) for step in steps] == [
        (f"opsctl {line}", status, text) for line, status, text in operator.outputs[2:]
    ]
    refused = [row for row in evidence.rows("platform.audit_log", "action", "actor") if row[0].startswith("refuse.s")]
    assert refused == [("refuse.settlement_rerun", operator.id)]


def test_the_poll_that_was_asked_for_came_at_the_next_instant(run: tuple[Operator, Evidence]) -> None:
    _, evidence = run
    [asked_at] = [
        at for at, action in evidence.rows("platform.audit_log", "at", "action") if action == "ops.ingestion_poll"
    ]
    polls = [at for (at,) in evidence.rows("provider.requests", "at")]
    assert (
        [at for at in polls if asked_at < at < asked_at + 50 * MINUTE_MS]
        == [at for at in polls if asked_at + 6 * MINUTE_MS < at < asked_at + 9 * MINUTE_MS]
        != []
    )
