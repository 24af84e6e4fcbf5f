"""Runs that many tests look at: each is made once a session, whichever worker asks first."""

from __future__ import annotations

import os

import pytest

from tests.support.command import Ran, SharedRuns


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SharedRuns:
    """Call with the arguments of `absence run` (but --out)."""
    base = tmp_path_factory.getbasetemp()
    return SharedRuns((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-runs")


@pytest.fixture(scope="session")
def default_run(runs: SharedRuns) -> Ran:
    return runs("default")


@pytest.fixture(scope="session")
def small_run(runs: SharedRuns) -> Ran:
    return runs("small")
