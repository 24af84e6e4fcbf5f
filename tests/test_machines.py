"""Services as machines beside small models: few examples here, many in tests/proof/test_machines_at_length.py."""

from __future__ import annotations

import pytest

from tests.support.machines import MACHINES, explore


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_holds_whatever_the_world_does_to_it(machine: str) -> None:
    explore(MACHINES[machine](), 30)
