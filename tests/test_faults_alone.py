"""Each fault by itself: the platform gets over it, and the book of its victim shows that it happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from fault_injectors import registry
from scenarios import load
from tests.support.command import Ran, SharedRuns, bitten, run_into, scenario_with

FAULTS = [name for name, fault in registry().items() if fault.kind == "fault"]
HOMES = {
    fault.fault: name
    for name in ("violations", "platform", "webhooks", "provider", "customers", "operated", "default")
    for fault in load(name).model.faults
}
"""Fault -> the shipped scenario that has it; the default, where it is one of several."""


def run_alone(name: str, runs: SharedRuns, folder: Path) -> Ran:
    """The shipped scenario that has the fault, with this one alone; the small scenario for a fault that none has, with
    somebody on call if only a runbook heals it."""
    if name in HOMES:
        return runs(HOMES[name], "--only", name)
    scenario = scenario_with(folder, name)
    if registry()[name].recovery.by == "runbook":
        scenario.write_text(f"{scenario.read_text()}\noperations: true\n")
    return run_into(folder / "out", scenario)


@pytest.mark.parametrize("name", FAULTS)
def test_the_platform_gets_over_the_fault_alone(name: str, runs: SharedRuns, tmp_path: Path) -> None:
    ran = run_alone(name, runs, tmp_path)
    assert ran.exit_code == 0, ran.stdout
    assert ran.verdict.status.value == "PASS"
    planned = ran.evidence.plan.faults
    assert name in {fault.fault for fault in planned}
    happened = ran.result("recovery.every_fault_bit")
    assert happened.status.value == "PASS"
    assert happened.saw == happened.owed == len(planned)
    for fault in planned:
        rows = bitten(ran, fault)
        assert len(rows) >= fault.bite.at_least, f"{fault.bite.book} shows {rows} of {fault.id}"


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_without_the_fault_shows_no_such_bite(name: str, runs: SharedRuns) -> None:
    """Otherwise the bite would prove nothing."""
    ran = runs("default", "--no-faults")
    assert ran.rows("injector.bites") == []
    book, where = registry()[name].bite.book, registry()[name].bite.where
    fixed = {column: value for column, value in where.items() if not str(value).startswith("$")}
    assert fixed, f"any row of {book} would show {name}"
    assert ran.rows(book, **fixed) == []


def test_with_every_fault_off_the_run_passes_and_lists_what_does_not_apply(runs: SharedRuns) -> None:
    ran = runs("default", "--no-faults")
    assert ran.exit_code == 0
    assert ran.verdict.status.value == "PASS"
    assert ran.evidence.plan.faults == []
    idle = {result.id for result in ran.verdict.results if result.status.value == "NOT_APPLICABLE"}
    assert {"recovery.every_fault_bit", "recovery.orders_end"} <= idle
    for name in idle:
        assert name in (ran.path / "report.md").read_text()
    assert "promises not applicable" in ran.stdout


def test_a_fault_keeps_its_binding_when_the_others_are_left_out(default_run: Ran, runs: SharedRuns) -> None:
    among_others = [fault for fault in default_run.evidence.plan.faults if fault.fault == "webhooks.lost"]
    assert runs("default", "--only", "webhooks.lost").evidence.plan.faults == among_others


def test_a_fault_that_meets_nothing_makes_the_run_inconclusive_and_is_named(runs: SharedRuns) -> None:
    ran = runs("never_bites")
    assert ran.exit_code == 12
    assert ran.verdict.status.value == "INCONCLUSIVE"
    [fault] = ran.evidence.plan.faults
    assert ran.rows("injector.bites") == []
    assert {missing.assertion for missing in ran.verdict.not_exercised} == {"recovery.every_fault_bit"}
    assert fault.id in ran.stdout
    assert fault.title in ran.stdout
    assert ran.stdout.startswith("? INCONCLUSIVE")


def test_a_fault_that_acted_but_left_no_trace_at_its_victim_would_not_count(runs: SharedRuns) -> None:
    """The injector's own word is not enough: the check of this file looks where the assertion looks."""
    ran = runs("default", "--only", "webhooks.lost")
    fault = ran.evidence.plan.faults[0]
    elsewhere = fault.model_copy(
        update={"bite": fault.bite.model_copy(update={"where": {"event_id": "$victim", "note": "repeat"}})}
    )
    assert bitten(ran, fault)
    assert bitten(ran, elsewhere) == []
