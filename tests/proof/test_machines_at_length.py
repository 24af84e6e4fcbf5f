"""The machines at length, and that each would fail: a platform with a defect planted in it does not get through."""

from __future__ import annotations

import pytest

from defects.model import Defect
from tests.support.machines import MACHINES, explore
from tests.support.machines.planted import DEFECTS, met

EXAMPLES = 1_000
SOUGHT = 400
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
def test_a_machine_fails_a_platform_with_a_defect(machine: str, defect: Defect) -> None:
    told = met(machine, defect, SOUGHT)
    assert told.startswith("broken: "), told


def test_every_machine_has_defects_that_it_fails() -> None:
    assert {machine: len(defects) >= 2 for machine, defects in DEFECTS.items()} == dict.fromkeys(MACHINES, True)
