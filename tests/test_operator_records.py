"""What the simulated operator puts on record of an execution that fails: the platform takes every step of it."""

from __future__ import annotations

from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS
from operations.runbooks import Alert, Outcome, execute
from simulator.wires.control import OpsControl
from tests.support.admin_world import KIM, AdminWorld
from tests.support.prepared import prepared
from tests.support.runbooks import finish
from tests.support.tried import runbook


def carried_out(
    world: AdminWorld, notebook: list[tuple[Any, ...]], name: str, out_until: int = 0, **labels: str
) -> Outcome:
    """The operator's own Control, on a world of which it sees the clock, the edge and its notebook. Until `out_until`
    the platform serves nobody."""

    async def deadline(call: Awaitable[Any], after_ms: int) -> Any:
        return await call

    async def sleep_until(at: int) -> None:
        world.runtime.at = at

    async def handle(request: Request) -> Response:
        if world.runtime.at < out_until:
            return Response(503, {"error": "timeout"})
        return await world.app.handle(request)

    runtime = SimpleNamespace(now=lambda: world.runtime.at, deadline=deadline, sleep_until=sleep_until)
    around: Any = SimpleNamespace(
        runtime=runtime, edge=SimpleNamespace(request=handle), call=lambda call, _: call,
        books={
            "operator.notebook": SimpleNamespace(note=lambda *row: notebook.append(row)),
            "operator.unanswered": SimpleNamespace(note=lambda *_: None),
        },
        record=lambda *_, **__: None, bus=SimpleNamespace(consult=lambda *_: None),
        draws=SimpleNamespace(between=lambda *bounds: bounds[0]),
    )  # fmt: skip
    bearer = world.headers()["Authorization"].removeprefix("Bearer ")
    control = OpsControl(around, KIM, bearer, runbook(name), "incident_1", 1, sleep_until)
    document = runbook(name)
    return finish(execute(document, Alert(document.alerts[0].text, labels, world.runtime.at), control))


@pytest.mark.parametrize("sent_to", ["tr_7", None])
def test_a_step_of_rollback_that_is_not_needed_keeps_nothing_from_the_record(sent_to: str | None) -> None:
    world, notebook = prepared(), []  # type: ignore[var-annotated]
    # What had been given up is at the processor after all: Diagnosis stops there, before anything is to be undone.
    world.connection.execute(
        "update transfers set processor_transfer_id = ? where status = 'FAILED_TERMINAL'", (sent_to,)
    )
    labels = {"contest_id": "c1", "reason": "account_closed"}
    outcome = carried_out(world, notebook, "payout_destination_invalid", **labels)
    assert outcome.status == ("failed" if sent_to else "completed")
    if outcome.escalation is not None:
        assert outcome.escalation.rolled_back
        assert "recorded" not in outcome.escalation.reason
        assert [row[-3] for row in notebook if row[2] == "step"][-1] == "not needed"
    [ended] = world.rows("select status, error_reason from runbook_executions")
    assert ended["status"] == outcome.status
    sent = [record for record in outcome.records if record.status is not None]
    assert world.rows("select count(*) as n from runbook_execution_steps")[0]["n"] == len(sent)


@pytest.mark.parametrize(("out_h", "status"), [(1, "completed"), (3, "failed")])
def test_a_record_that_the_platform_cannot_take_is_offered_again_for_two_hours(out_h: int, status: str) -> None:
    world, notebook = prepared(), []  # type: ignore[var-annotated]
    begun_at = world.runtime.at
    world.connection.execute("update transfers set processor_transfer_id = null where status = 'FAILED_TERMINAL'")
    labels = {"contest_id": "c1", "reason": "account_closed"}
    outcome = carried_out(world, notebook, "payout_destination_invalid", begun_at + out_h * HOUR_MS, **labels)
    assert outcome.status == status
    if status == "failed":
        assert outcome.escalation is not None
        assert "HTTP 503" in outcome.escalation.reason
        assert begun_at + 1.9 * HOUR_MS < world.runtime.at <= begun_at + 2.1 * HOUR_MS
        assert notebook == []
