"""Each fault of the platform alone, under ten seeds: got over, and shown by its victim's book."""

from __future__ import annotations

from pathlib import Path

import pytest

from absence.pipeline import execute
from scenarios import load, make_plan

FAULTS = sorted({fault.fault for fault in load("platform").model.faults})


@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("fault", FAULTS)
def test_the_platform_gets_over_it_whatever_the_seed(fault: str, seed: int, tmp_path: Path) -> None:
    verdict = execute(make_plan(load("platform").with_faults((fault,)), seed), tmp_path).story.verdict
    assert verdict.status.value == "PASS", (verdict.first_broken, verdict.not_exercised)
    happened = next(result for result in verdict.results if result.id == "recovery.every_fault_bit")
    assert happened.saw == happened.owed > 0
