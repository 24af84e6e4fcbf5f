"""The observer outside: it looks once a day and at the end, and what it wrote down is judged by what others knew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assertions.judge import judge
from contest_platform import opsctl
from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import ConnectionFailed
from evidence.journal import JournalWriter
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import load, make_plan
from seams.draws import Draws
from simulator.actors.observer import ANSWER_WITHIN_MS, DASHBOARDS, DAY_MS, LAST_BEFORE_MS, ObserverActor
from simulator.kernel import Kernel
from simulator.operations import shipped
from simulator.run import begin, finish
from simulator.world import TOKEN_LIFE_S, World
from tests.support.command import ROOT, Ran, run_into
from tests.support.fake_world import MONDAY, FakeWorld

NEW = ("alerts", "dashboards")
CALLS = ("absence.acts_in_steps", "absence.calls_on_record")


def operated(folder: Path) -> Path:
    path = folder / "operated.yaml"
    path.write_text((ROOT / "scenarios" / "small.yaml").read_text() + "\noperations: true\n")
    return path


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The small scenario with operations, and nothing goes wrong."""
    folder = tmp_path_factory.mktemp("watched")
    return run_into(folder / "out", operated(folder))


def test_it_looks_at_each_page_once_a_day_and_at_the_end_and_each_answers(watched: Ran) -> None:
    plan, rows = watched.evidence.plan, watched.rows("observer.dashboards")
    days = (plan.recovery_until_at - plan.starts_at) // DAY_MS
    for name in DASHBOARDS:
        asked = [row.at for row in rows if row.dashboard == name]
        assert [(at - plan.starts_at) // DAY_MS for at in asked] == [*range(days), days - 1]
        assert plan.recovery_until_at - LAST_BEFORE_MS <= asked[-1] < plan.recovery_until_at
        assert len({at % DAY_MS for at in asked}) == len(asked), "at an instant that nobody can know beforehand"
    assert {row.status for row in rows} == {200}
    assert all(row.at < row.answered_at for row in rows)


def test_what_it_saw_was_so_and_the_judge_says_so(watched: Ran) -> None:
    found = {result.id: result for result in watched.verdict.results if result.family in NEW or result.id in CALLS}
    statuses = {name: result.status.value for name, result in found.items()}
    seen = {name for name, status in statuses.items() if status == "PASS"}
    assert set(statuses.values()) <= {"PASS", "NOT_APPLICABLE"}, statuses
    assert {name for name in statuses if name.startswith("dashboards.")} <= seen
    assert {*CALLS, "alerts.watchdog"} <= seen


def test_a_run_without_operations_takes_no_look_and_judges_none(small_run: Ran) -> None:
    assert small_run.rows("observer.dashboards") == []
    tokens = small_run.rows("identity.events", action="issued")
    assert len(tokens) == len({row.principal for row in tokens}), "nobody was given a token to look with"
    statuses = {
        result.status.value for result in small_run.verdict.results if result.family in NEW or result.id in CALLS
    }
    assert statuses == {"NOT_APPLICABLE"}


def test_a_page_changed_on_its_way_is_found_out(watched: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge of a real run, with one number of one page another."""
    rows = [tuple(row) for row in watched.evidence.rows("observer.dashboards")]
    place = next(i for i, row in enumerate(rows) if row[3] == "operational")
    body = json.loads(rows[place][5])
    body["items"][0]["payments_unpaid"] += 1
    rows[place] = (*rows[place][:5], json.dumps(body), rows[place][6])
    evidence, real = Evidence.open(watched.path), Evidence.rows

    def changed(self: Evidence, book: str, *columns: str) -> Iterator[Any]:
        return iter(rows) if book == "observer.dashboards" and not columns else real(self, book, *columns)

    monkeypatch.setattr(Evidence, "rows", changed)
    broken = [result.id for result in judge(evidence).results if result.broken]
    assert broken == ["dashboards.state_as_audited"]


# --- the actor by itself ----------------------------------------------------------------------------------------------


def looked(world: FakeWorld, days: int = 1) -> list[dict[str, Any]]:
    observer = ObserverActor(world, "tok")  # type: ignore[arg-type]
    world.run(observer.watch(MONDAY, MONDAY + days * DAY_MS))
    return world.rows("observer.dashboards")


def test_it_shows_its_token_and_only_reads() -> None:
    world = FakeWorld()
    world.edge.answer = lambda request: Response(200, {"path": request.path})
    rows = looked(world)
    assert {(one.method, one.headers["Authorization"]) for _, one in world.edge.seen} == {("GET", "Bearer tok")}
    assert [row["body"] for row in rows[:4]] == [f'{{"path":"/api/admin/dashboards/{name}"}}' for name in DASHBOARDS]
    assert len(rows) == len(world.edge.seen) == 8, "once in the day, once at the end"


def test_other_keys_look_at_other_instants() -> None:
    assert looked(FakeWorld())[0]["at"] != looked(FakeWorld("01" * 16))[0]["at"]


def test_an_answer_that_is_an_error_is_noted_with_its_status() -> None:
    world = FakeWorld()
    world.edge.answer = lambda _: Response(503, {"error": "store_busy"})
    row = looked(world)[0]
    assert (row["status"], row["body"], row["problem"]) == (503, None, "store_busy")


def test_nobody_there_is_noted_as_such_and_the_next_page_is_asked_for_all_the_same() -> None:
    world = FakeWorld()

    def away(request: Request) -> Response:
        if request.path.endswith("operational"):
            raise ConnectionFailed("nothing listens")
        return Response(200)

    world.edge.answer = away
    rows = looked(world)[:4]
    assert [(row["status"], row["problem"]) for row in rows] == [(None, "connection_failed"), *[(200, "")] * 3]


def test_an_answer_that_does_not_come_is_given_up_after_a_minute() -> None:
    world = FakeWorld()

    async def lost(request: Request) -> Response:
        await world.never()
        raise AssertionError("unreachable")

    world.edge.request = lost  # type: ignore[method-assign]
    row = looked(world)[0]
    assert (row["status"], row["problem"]) == (None, "deadline_exceeded")
    assert row["answered_at"] - row["at"] == ANSWER_WITHIN_MS


# --- a call outside of any runbook ------------------------------------------------------------------------------------


def test_a_call_of_ops_outside_a_runbook_fails_the_run_although_the_platform_refused_it(tmp_path: Path) -> None:
    plan = make_plan(load(str(operated(tmp_path))), 1)
    with RunWriter(tmp_path / "out", "run") as writer:
        writer.write_plan(plan)
        for path, content in shipped().documents.items():
            writer.write(path, content)
        kernel = Kernel(Draws(plan.root_key), JournalWriter(writer.journal), plan.starts_at)
        kernel.record("harness", "run.started", plan.scenario)
        world = World(plan, kernel, writer.books, shipped())
        world.runtime.spawn(begin(world), "preflight")
        kim = next(principal.id for principal in plan.principals if principal.role == "ops")
        outputs = []

        async def reach_in() -> None:
            await world.runtime.sleep_until(plan.starts_at + 30 * HOUR_MS)
            world.record(kim, "operator.bored", "transfers")
            headers = {"Authorization": f"Bearer {world.identity.issue(kim, TOKEN_LIFE_S)}"}
            outputs.append(await opsctl.run(["transfers", "retry", "x"], world.edge.request, headers))

        world.runtime.spawn(reach_in(), kim)
        kernel.run(until=plan.recovery_until_at)
        finish(world)
        world.connection.close()
        writer.seal({"code": "c0de" * 16})
        verdict = judge(Evidence.open(writer.path))
    assert [output.status for output in outputs] == [opsctl.REFUSED]
    broken = {result.id: [one.message for one in result.broken] for result in verdict.results if result.broken}
    assert list(broken) == ["absence.acts_in_steps"], broken
    [message] = broken["absence.acts_in_steps"]
    assert message.startswith(f"{kim} called POST /api/admin/transfers/retry at ")
    assert message.endswith("while no runbook execution was open")
