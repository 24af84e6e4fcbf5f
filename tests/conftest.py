"""Runs that many tests look at: each is made once a session, whichever worker asks first."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Ran, SharedRuns
from tests.support.stores import STORES, using

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background has them, and all that they start, not listen to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
DIED_AT = "test_a_daemon_that_dies_there"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many crash points were enumerated, and how many were passed (see test_crash_points.py); how many attempts to
    get past the triggers came to what (see test_bypasses.py)."""
    counted = Counter(
        ("-".join(report.nodeid.partition("[")[2].split("-")[:2]).replace("-", " on "), outcome)
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, [])
        if DIED_AT in report.nodeid
    )
    for daemon in sorted({daemon for daemon, _ in counted}):
        points = sum(count for (died, _), count in counted.items() if died == daemon)
        passed = counted[daemon, "passed"]
        terminalreporter.write_line(f"crash points of {daemon}: {points} enumerated, {passed} passed")
    tried = Counter(
        tuple(told) for report in terminalreporter.stats.get("passed", []) for name, told in report.user_properties
        if name == "bypass" and report.when == "call"
    )  # fmt: skip
    for store in sorted({store for store, _ in tried}):
        refused, found = tried[store, "refused"], tried[store, "found"]
        terminalreporter.write_line(f"ways past the triggers of {store}: {refused} refused, {found} found")


@pytest.fixture(autouse=True)
def _incidents_of_no_root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that have no run root note their incidents in `runs`; those of the tests, where nobody looks."""
    monkeypatch.setattr("absence.incidents.DEFAULT_ROOT", tmp_path_factory.getbasetemp() / "no-root")


@pytest.fixture(params=STORES)
def each_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The worlds of a test stand on this store: see tests/support/stores.py."""
    with using(request.param) as store:
        yield store


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
