"""Every fault by itself is got over in the way that it declares; what a runbook heals, is not healed without it.

A fault that is added is in these tests by being in the registry: it needs a world in which it bites (tests/support/
alone.py), and if a runbook heals it, that runbook.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

import fault_injectors
from evidence.plan import Plan
from fault_injectors import registry
from fault_injectors.processor import TransferReversed
from simulator.operations import shipped
from tests.support.alone import Run, changed, on_call, plan_of, simulated
from tests.support.command import KNOWN, bitten, held

FAULTS = {name: fault for name, fault in registry().items() if fault.kind == "fault"}
HEALED_BY = {name: fault.recovery.runbook for name, fault in FAULTS.items() if fault.recovery.by == "runbook"}
BESIDE = {
    "webhooks.storm": "duplicate_webhook",
    "platform.user_deleted": "user_deleted_after_settlement",
    "platform.monitoring_down": "alerting_down",
}
"""Faults that the platform gets over by itself, while ops is paged all the same: what happens to them without their
runbook happens to those whose recovery is one."""
OPENED = {**BESIDE, **HEALED_BY}
NEVER = "this is never said"

Make = Callable[[str], Run]


def made_once(folder: Path, of: Callable[[Path], Plan]) -> Run:
    """The run of a plan, made by whichever process of the session needs it first."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock"):
        if not (folder / "run").exists():
            simulated(of(folder), folder)
    return Run(folder / "run")


@pytest.fixture(scope="module")
def alone(shared: Path) -> Make:
    """The run of a fault alone, as it is declared: with ops on call if a runbook heals it, else with nobody."""

    @lru_cache(maxsize=KNOWN)
    def make(name: str) -> Run:
        def plan(folder: Path) -> Plan:
            made = plan_of(name, folder)
            return on_call(made) if name in HEALED_BY else made

        return made_once(shared / "alone" / name, plan)

    return make


@pytest.fixture(scope="module")
def attended(alone: Make, shared: Path) -> Make:
    """The run of a fault alone with ops on call."""

    @lru_cache(maxsize=KNOWN)
    def make(name: str) -> Run:
        if name in HEALED_BY:
            return alone(name)
        return made_once(shared / "attended" / name, lambda folder: on_call(plan_of(name, folder)))

    return make


def bitten_at(run: Run) -> int:
    return min(row.at for row in run.rows("injector.bites"))


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_got_over_in_the_way_that_it_declares(name: str, alone: Make) -> None:
    run, fault = alone(name), FAULTS[name]
    assert run.status == "PASS", (run.broken(), run.verdict.not_exercised)
    planned = run.evidence.plan.faults
    assert name in {fault.fault for fault in planned}
    for one in planned:
        shown = bitten(run, one)
        assert len(shown) >= one.bite.at_least, f"{one.bite.book} shows {shown} of {one.id}"
    assert run.rows("operator.escalations") == []
    orders = run.rows("platform.remediation_orders")
    executions = run.rows("platform.runbook_executions")
    if fault.recovery.by == "runbook":
        healing = [one for one in executions if one.runbook_name == fault.recovery.runbook]
        assert healing
        assert {one.status for one in healing} == {"completed"}
        assert min(one.start_time for one in healing) > bitten_at(run)
        return
    if not run.evidence.plan.operations:
        assert executions == [], "nobody was on call"
    assert bool(orders) is (fault.recovery.by == "rule")
    for order in orders:
        assert order.rule_id, "the healing engine acts by rule"
        assert order.issued_at > 0
        assert order.status == "COMPLETED"


def test_what_a_runbook_heals_is_not_healed_with_nobody_on_call(alone: Make, tmp_path: Path) -> None:
    for name in HEALED_BY:
        plan = alone(name).evidence.plan.model_copy(update={"operations": False})
        assert simulated(plan, tmp_path / name).status == "FAIL", name


@pytest.mark.parametrize("name", OPENED)
def test_its_runbook_is_opened_by_an_alert_and_goes_as_written(name: str, attended: Make) -> None:
    run = attended(name)
    [*executions] = run.rows("platform.runbook_executions", runbook_name=OPENED[name])
    assert executions
    assert {one.status for one in executions} == {"completed"}
    assert run.rows("operator.escalations") == []
    assert run.status == "PASS", run.broken()
    alerts = {row.alert for row in run.rows("monitoring.alerts", state="firing")}
    # What is missed fires nowhere: a receiver outside sends its page.
    alerts |= {json.loads(row.details)["labels"].get("alertname") for row in run.rows("pager.events", action="trigger")}
    assert alerts & {alert.text for alert in shipped().runbooks[f"runbooks/{OPENED[name]}.md"].alerts}


def assert_handed_on(run: Run, runbook: str, said: str) -> None:
    assert run.status == "FAIL"
    escalations = run.rows("operator.escalations")
    assert [one.incident for one in escalations if said in one.reason], escalations
    assert any(said in message for message in run.broken()["runbooks.nothing_escalated"])
    triggered = [row.dedup_key for row in run.rows("pager.events", action="trigger")]
    # Whoever does what is due comes upon it too.
    due = {one.id.text for one in shipped().runbooks.values() if one.schedule is not None}
    assert {one.incident for one in escalations if one.runbook not in due} <= {*triggered}


@pytest.mark.parametrize("name", OPENED)
def test_without_its_runbook_it_is_handed_on_and_the_run_fails(name: str, attended: Make, tmp_path: Path) -> None:
    path = f"runbooks/{OPENED[name]}.md"
    without = changed(lambda documents: {one: text for one, text in documents.items() if one != path})
    run = simulated(attended(name).evidence.plan, tmp_path, without)
    assert_handed_on(run, OPENED[name], f"no runbook {path}")
    assert run.rows("platform.runbook_executions", runbook_name=OPENED[name]) == []


def first_expected(run: Run, runbook: str) -> tuple[str, int]:
    """The first step that went as expected, of those that look once if there is one: its id, and the line from which
    its expectations begin, counted from 1."""
    document = shipped().runbooks[f"runbooks/{runbook}.md"]
    steps = {step.id: step for step in document.steps()}
    executions = {row.id for row in run.rows("platform.runbook_executions", runbook_name=runbook)}
    taken = [
        steps[f"{row.section}/{row.number}"]
        for row in run.rows("platform.runbook_execution_steps", matched="expected")
        if row.execution_id in executions
    ]
    step = min(taken, key=lambda step: step.expectation.every_s is not None)
    return step.id, step.expectation.place.line


@pytest.mark.parametrize("name", OPENED)
def test_with_one_expected_line_broken_it_is_handed_on_and_the_run_fails(
    name: str, attended: Make, tmp_path: Path
) -> None:
    path = f"runbooks/{OPENED[name]}.md"
    step, line = first_expected(attended(name), OPENED[name])
    lines = shipped().documents[path].decode().split("\n")
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    broken = "\n".join([*lines[:line], indent + NEVER, *lines[line:]]).encode()
    run = simulated(attended(name).evidence.plan, tmp_path, changed(lambda documents: {**documents, path: broken}))
    assert_handed_on(run, OPENED[name], f"step {step} ({path}:")
    failed = run.rows("platform.runbook_executions", runbook_name=OPENED[name])
    assert {one.status for one in failed} == {"failed"}
    assert all(NEVER in one.package for one in run.rows("operator.escalations", runbook=OPENED[name]))


def test_a_runbook_that_is_to_heal_a_fault_is_named_and_there() -> None:
    for name, runbook in HEALED_BY.items():
        assert f"runbooks/{runbook}.md" in shipped().runbooks, name


def test_a_fault_that_a_runbook_heals_cannot_be_declared_without_it() -> None:
    class Unnamed(TransferReversed):
        recovery = TransferReversed.recovery.__class__("runbook", "Somebody looks into it.", 60)

    Unnamed.__module__ = TransferReversed.__module__
    fault_injectors.check(TransferReversed)
    with pytest.raises(fault_injectors.DeclarationError, match="names no runbook"):
        fault_injectors.check(Unnamed)
