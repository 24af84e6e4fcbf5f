"""Runs that many tests look at: each is made once a session, whichever worker asks first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Ran, SharedRuns


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def runs(shared: Path) -> SharedRuns:
    """Call with the arguments of `absence run` (but --out)."""
    return SharedRuns(shared / "shared-runs")


@pytest.fixture(scope="session")
def default_run(runs: SharedRuns) -> Ran:
    return runs("default")


@pytest.fixture(scope="session")
def small_run(runs: SharedRuns) -> Ran:
    return runs("small")
