"""Whoever is on call gets into no fault's way: what the platform gets over by itself, it gets over beside ops too."""

from __future__ import annotations

from pathlib import Path

import pytest

from fault_injectors import registry
from tests.support.alone import on_call, plan_of, simulated

FAULTS = [name for name, fault in registry().items() if fault.kind == "fault" and fault.recovery.by != "runbook"]
"""What a runbook heals is tried with ops on call anyway."""


@pytest.mark.parametrize("name", FAULTS)
def test_with_ops_on_call_it_is_got_over_and_nothing_is_handed_on(name: str, tmp_path: Path) -> None:
    run = simulated(on_call(plan_of(name, tmp_path)), tmp_path)
    assert run.status == "PASS", (run.broken(), run.verdict.not_exercised)
    assert run.rows("operator.escalations") == []
    assert {one.status for one in run.rows("platform.runbook_executions")} <= {"completed"}
