"""Every failure that was kept comes back after each change that changes nothing, made by itself, event by event."""

from __future__ import annotations

import pytest

from campaigns import capsules
from defects.model import Defect
from tests.support.capsules import CAPSULES
from tests.support.refactors import refactors, replayed_after

PLACES = sorted((CAPSULES / "failures").iterdir())


@pytest.fixture(scope="module")
def digests() -> list[str]:
    return [capsules.replay(capsules.read(place)).trial.digest for place in PLACES]


@pytest.mark.parametrize("refactor", refactors(), ids=lambda refactor: str(refactor.id))
def test_a_failure_comes_back_after_a_change_that_changes_nothing(refactor: Defect, digests: list[str]) -> None:
    assert replayed_after(refactor, *PLACES) == [(True, digest, 0) for digest in digests]
