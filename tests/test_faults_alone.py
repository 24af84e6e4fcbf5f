"""Without a fault no book shows its bite; one that never bites proves nothing, and is named.

That each is got over when it is alone stands in test_recoveries.py.
"""

from __future__ import annotations

import pytest

from fault_injectors import registry
from tests.support.command import Ran, SharedRuns, bitten

FAULTS = [name for name, fault in registry().items() if fault.kind == "fault"]


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
