"""Every shipped scenario on both stores: the same events, and the same rows in every book."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import postgresql
from tests.support.command import ROOT, absence, run_into
from tests.test_both_stores import SCENARIOS

OTHERS = sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml") if path.stem not in SCENARIOS)


@pytest.mark.parametrize("scenario", OTHERS)
def test_the_plan_of_a_run_on_sqlite_gives_the_same_run_on_postgresql(scenario: str, tmp_path: Path) -> None:
    ran = run_into(tmp_path, scenario)
    told = absence("replay", ran.path, "--store", postgresql.url())
    assert told.exit_code == 0, told.stdout
    assert told.stdout.startswith("REPRODUCED")
