"""A human who takes a backup, changes the configuration and restarts the platform, in a simulated run."""

from __future__ import annotations

import shlex

import pytest

from assertions.judge import judge
from contest_platform import opsctl
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from evidence.journal import JournalWriter
from evidence.layout import ALERTS
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import load, make_plan
from seams.draws import Draws
from simulator.kernel import Kernel
from simulator.operations import ROOT, in_force
from simulator.run import begin, finish
from simulator.world import TOKEN_LIFE_S, World
from tests.support.admin_world import STEP
from tests.test_opsctl_run import Operator


class Keeper(Operator):
    async def run(self, line: str, **headers: str) -> None:
        output = await opsctl.run(shlex.split(line), self._world.edge.request, {**self._headers, **headers})
        self.outputs.append((line, output.status, output.text))

    async def work(self, at: int) -> None:
        world = self._world
        await world.runtime.sleep_until(at)
        world.record(self.id, "operator.paged", "tasks")
        self._headers = {"Authorization": f"Bearer {world.identity.issue(self.id, TOKEN_LIFE_S)}"}
        named = {"runbook_name": "configuration_change", "runbook_version": "1.0.0", "executed_by": self.id}
        started = await self.post("start", **named, system_state_before=await self.state())
        self.execution_id = started["execution_id"]
        lines = ('backup create --reason "before"', 'config apply auth_timeout_ms 8000 --reason "slow"',
                 'services restart settlement --reason "new"', 'services restart app --reason "new"')  # fmt: skip
        for n, line in enumerate(lines, 1):
            await self.run(line, **{"runbook-execution": self.execution_id, "runbook-step": f"Recovery/{n}"})
            await world.runtime.sleep_until(world.runtime.now() + MINUTE_MS)
            _, status, text = self.outputs[-1]
            record = {"n": n, "number": n, "sent": f"opsctl {line}", "exit_status": status, "output": text}
            await self.post("steps", execution_id=self.execution_id, **{**STEP, **record})
        backup_id = self.outputs[0][2].split("backup_id=")[1].split()[0]
        for line in (f"backup verify {backup_id}", "config show", "env compare"):
            await self.run(line)
        end = {"execution_id": self.execution_id, "status": "completed", "system_state_after": await self.state()}
        await self.post("complete", **end)


def test_a_backup_a_change_and_a_restart_are_in_the_books_and_the_run_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    plan = make_plan(load("small"), 1)
    rules = in_force({path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / ALERTS).glob("*.yml")})
    with RunWriter(tmp_path_factory.mktemp("kept"), "run") as writer:
        writer.write_plan(plan)
        kernel = Kernel(Draws(plan.root_key), JournalWriter(writer.journal), plan.starts_at)
        kernel.record("harness", "run.started", plan.scenario)
        world = World(plan, kernel, writer.books, rules)
        keeper = Keeper(world)
        world.runtime.spawn(begin(world), "preflight")
        world.runtime.spawn(keeper.work(plan.tournaments[0].starts_at - 10 * HOUR_MS + 3 * MINUTE_MS), "operator")
        kernel.run(until=plan.recovery_until_at)
        finish(world)
        world.connection.close()
        writer.seal({"code": "c0de" * 16})
        evidence = Evidence.open(writer.path)
        create, apply, settlement, app, verify, show, compare = keeper.outputs
        assert create[1:2] == (0,), create
        assert " restart_needed=yes" in apply[2]
        assert settlement[2].startswith("done: service=settlement hosts=")
        assert app[1] == opsctl.NO_ANSWER, "it was the one to answer"
        assert " intact=yes " in verify[2]
        assert " restart_needed=no " in show[2]
        assert "setting=auth_timeout_ms value=8000 running=8000\n" in show[2]
        assert "check=settings equal=no differences=1 first=auth_timeout_ms\n" in compare[2]
        [backup] = evidence.records("platform.backups")
        assert backup.taken_by == keeper.id
        # Nobody took another. That app was restarted since did not make it forget this one.
        [old] = [row for row in evidence.records("monitoring.alerts") if row.alert == "BackupTooOld"]
        assert (old.state, (old.at - backup.taken_at) // MINUTE_MS) == ("firing", 26 * 60)
        assert [row.version for row in evidence.records("platform.config_versions")] == [1, 2]
        broken = {result.id: [one.message for one in result.broken] for result in judge(evidence).results}
        assert [name for name, messages in broken.items() if messages] == ["runbooks.on_record"]
