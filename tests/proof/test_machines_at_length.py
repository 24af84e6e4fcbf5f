"""The machines at length, and that each of their promises can break: a defect planted in the platform is told of by the
one that it is planted for."""

from __future__ import annotations

import pytest

from defects.model import Defect
from tests.support.machines import MACHINES, explore
from tests.support.machines.planted import DEFECTS, met

EXAMPLES = 1_000
SOUGHT = 1_000
"""Examples in which a planted defect has to show."""


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_holds_at_length(machine: str) -> None:
    explore(MACHINES[machine](), EXAMPLES, steps=40)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_platform_without_a_defect_holds_in_a_process_of_its_own(machine: str) -> None:
    assert met(machine, None, 20) == "held"


@pytest.mark.parametrize(
    ("machine", "defect"),
    [pytest.param(machine, defect, id=defect.id) for machine, defects in DEFECTS.items() for defect in defects],
)
def test_a_machine_tells_of_a_defect_by_the_promise_that_it_breaks(machine: str, defect: Defect) -> None:
    told = met(machine, defect, SOUGHT)
    assert told.partition(": ")[0] == defect.breaks[0], told


@pytest.mark.parametrize("machine", MACHINES)
def test_every_promise_of_a_machine_has_a_defect_that_breaks_it(machine: str) -> None:
    parts = MACHINES[machine]().setup_state()
    rules = {rule.function.__name__ for rule in (*parts.rules, *parts.initializers)}
    promises = {"teardown", *(invariant.function.__name__ for invariant in parts.invariants)}
    assert {name for defect in DEFECTS[machine] for name in defect.breaks} - rules == promises
