"""Every failure that was kept comes back after each change that changes nothing, made by itself, event by event; and a
run with a planted defect is replayed with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns import capsules
from defects.model import Defect
from tests.support.capsules import CAPSULES
from tests.support.command import process, runs_in
from tests.support.refactors import refactors, replayed_after

PLACES = sorted((CAPSULES / "failures").iterdir())


@pytest.fixture(scope="module")
def digests() -> list[str]:
    return [capsules.replay(capsules.read(place)).trial.digest for place in PLACES]


@pytest.mark.parametrize("refactor", refactors(), ids=lambda refactor: str(refactor.id))
def test_a_failure_comes_back_after_a_change_that_changes_nothing(refactor: Defect, digests: list[str]) -> None:
    assert replayed_after(refactor, *PLACES) == [(True, digest, 0) for digest in digests]


def test_a_run_with_a_planted_defect_is_replayed_with_it(tmp_path: Path) -> None:
    assert process("run", "--defect", "prizes.rounding_keeps_a_cent", "--out", tmp_path).exit_code == 10
    [run_dir] = runs_in(tmp_path)
    for more in ((), ("--until", "day 9"), ("--tolerant",)):
        told = process("replay", run_dir, *more)
        assert told.exit_code == 0, told.stdout + told.stderr
        assert "REPRODUCED" in told.stdout
