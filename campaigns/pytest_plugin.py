"""Runs in tests: the option --absence-seed, the fixture `absence_run`, the marker `absence`, and what a failure shows.

Invariant: whoever uses none of them pays for this file alone. All that simulates is loaded by the first run.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from campaigns.published import Run
    from evidence.plan import Plan
    from scenarios import Scenario

MARKER = "absence(scenario='default', seeds=(1,), faults=None): what `absence_run()` runs, once for each seed"
_KNOWN = ("scenario", "seeds", "faults")
_SEEDS = range(2**64)
"""Those that `absence run` takes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("absence", "founder-absence simulation")
    group.addoption(
        "--absence-seed", action="append", type=_seeds, default=[], metavar="N",
        help="Seed of the runs, in the place of those that the tests name. Repeatable; 3,5 and 1:10 (without 10) too.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for runs comes once for each seed."""
    marker = metafunc.definition.get_closest_marker("absence")
    named = () if marker is None else _checked(metafunc, marker).kwargs.get("seeds", ())
    chosen = [seed for seeds in metafunc.config.getoption("absence_seed") for seed in seeds]
    seeds = list(dict.fromkeys(chosen or named))
    if seeds and "absence_seed" in metafunc.fixturenames:
        metafunc.parametrize("absence_seed", seeds, ids=[f"seed{seed}" for seed in seeds])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What fails after it has made runs shows for each of them what it came to, and the command that replays it."""
    report = yield
    runs = item.stash.get(_RUNS, {})
    if report.failed and runs:
        report.sections.append(("absence", "\n".join(line for run in runs.values() for line in run.told())))
    return report


@pytest.fixture
def absence_seed() -> int:
    """The seed of the runs of this test."""
    return 1


@pytest.fixture
def absence_run(
    request: pytest.FixtureRequest, absence_seed: int, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Call it to have a run: `absence_run("small", seed=3, faults=["webhooks.lost"])`. See docs/pytest.md."""
    marker = request.node.get_closest_marker("absence")
    marked: dict[str, Any] = {} if marker is None else marker.kwargs
    runs: dict[str, Run] = request.node.stash.setdefault(_RUNS, {})
    known = request.config.stash.setdefault(_KEPT, {})
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "absence-runs"

    def run(
        scenario: str | Path | Scenario | Plan | None = None,
        *,
        seed: int | None = None,
        faults: Sequence[str] | None = None,
    ) -> Run:
        """The run of `scenario`: a shipped name, a file, a Scenario; or a Plan, which has its seed and faults in it.

        What is not given the marker says, and after that `default`, the seed of this test, and the scenario's own
        faults; `faults` (ids) come in the place of those. One plan is run once a session. Raises ScenarioInvalid, and
        TypeError for a plan with a seed or with faults, those of the marker included."""
        from campaigns.published import run_of

        scenario = marked.get("scenario", "default") if scenario is None else scenario
        faults = marked.get("faults") if faults is None else faults
        plan = _plan(scenario, seed, absence_seed, faults)
        sha256 = plan.sha256()
        if sha256 not in known:
            known[sha256] = run_of(plan, root)
        return runs.setdefault(sha256, known[sha256])

    return run


_RUNS = pytest.StashKey[dict[str, "Run"]]()
"""Of a test: the runs that it asked for, by the hash of their plan."""
_KEPT = pytest.StashKey[dict[str, "Run"]]()
"""Of the session: the same of all tests."""


def _plan(scenario: Any, seed: int | None, default_seed: int, faults: Sequence[str] | None) -> Plan:
    from evidence.plan import Plan
    from scenarios import Scenario, load, make_plan

    if isinstance(scenario, Plan):
        if seed is not None or faults is not None:
            raise TypeError("a plan has its seed and its faults in it: give neither")
        return scenario
    loaded = scenario if isinstance(scenario, Scenario) else load(scenario)
    if faults is not None:
        loaded = loaded.facing(faults)
    return make_plan(loaded, default_seed if seed is None else seed)


def _checked(metafunc: pytest.Metafunc, marker: pytest.Mark) -> pytest.Mark:
    """`marker`, if it can mean anything. One that cannot would be a check that cannot fail."""
    where = metafunc.definition.nodeid
    unknown = [name for name in marker.kwargs if name not in _KNOWN]
    if marker.args or unknown:
        raise pytest.UsageError(f"{where}: the marker absence takes {', '.join(_KNOWN)}, each by its name")
    if "absence_run" not in metafunc.fixturenames:
        raise pytest.UsageError(f"{where}: it is marked absence and runs nothing: take the fixture absence_run")
    if "seeds" in marker.kwargs and not _are_seeds(seeds := marker.kwargs["seeds"]):
        raise pytest.UsageError(f"{where}: seeds is a list of seeds from 0 to 2**64 - 1, one at least: not {seeds!r}")
    return marker


def _are_seeds(seeds: Any) -> bool:
    """Whether there are any, and `absence run` takes each."""
    is_some = isinstance(seeds, list | tuple | range) and len(seeds) > 0
    return is_some and all(isinstance(seed, int) and seed in _SEEDS for seed in seeds)


def _seeds(text: str) -> list[int]:
    """`3`, `3,5` or `1:10`. Raises ArgumentTypeError, of which the option makes a usage error."""
    first, colon, last = text.partition(":")
    try:
        seeds = list(range(int(first), int(last))) if colon else [int(part) for part in text.split(",")]
    except (ValueError, OverflowError):
        seeds = []
    if not _are_seeds(seeds):
        raise ArgumentTypeError(f"{text!r} is no seed from 0 to 2**64 - 1, nor 3,5 or 1:10 of such")
    return seeds
