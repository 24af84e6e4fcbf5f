"""A run, a pruning and the recording of a decision, each killed at many instants (PROOF_KILLS of them, 200 by default).

A run leaves no run directory or a whole one; none of them leaves a half-truth; the next command says what it found.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import pytest

from tests.support import after_kills
from tests.support.command import absence
from tests.support.killing import RECOVER, half_written, stop

KILLS = int(os.environ.get("PROOF_KILLS", "200"))
BATCH = 20


@pytest.fixture(scope="session")
def whole_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long an undisturbed run writes."""
    return stop(tmp_path_factory.mktemp("whole") / "out", None).written_s


@pytest.mark.parametrize("batch", range(-(-KILLS // BATCH)))
def test_no_kill_leaves_a_half_written_run_and_the_next_run_cleans_up(
    batch: int, whole_s: float, tmp_path: Path
) -> None:
    random = Random(batch)
    killed = 0
    for _ in range(min(BATCH, KILLS - batch * BATCH)):
        stopped = stop(tmp_path, whole_s * random.random())
        killed += stopped.returncode == -signal.SIGKILL
        assert half_written(tmp_path) == [], f"killed after {stopped.written_s:.3f} of {whole_s:.3f} s"
        remains = after_kills.remains_of(tmp_path)
    assert killed, "every kill came too late"
    told = absence("run", "small", "--out", tmp_path, *RECOVER)
    assert told.exit_code == 0
    after_kills.told_of(remains, told)
    [run_dir] = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert absence("verify", run_dir).exit_code == 0


@pytest.fixture(scope="session")
def like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return after_kills.template(tmp_path_factory.mktemp("template") / "runs")


@pytest.mark.parametrize("batch", range(-(-KILLS // BATCH)))
@pytest.mark.parametrize("name", ["prune", "gate"])
def test_no_kill_of_a_command_leaves_a_half_truth_and_the_next_makes_it_good(
    name: str, batch: int, like: Path, tmp_path: Path
) -> None:
    points = min(BATCH, KILLS - batch * BATCH)
    found = after_kills.check_all(name, like, tmp_path, points, seed=1000 + batch)
    assert found["killed"] >= points * 0.9, found
    assert found["stale"], found
