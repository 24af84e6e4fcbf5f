"""A run killed at many instants (PROOF_KILLS of them, 200 by default): no run directory, or a whole one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import pytest

from tests.support.command import absence
from tests.support.killing import half_written, stop

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
    assert killed, "every kill came too late"
    assert absence("run", "small", "--out", tmp_path).exit_code == 0
    [run_dir] = tmp_path.iterdir()
    assert absence("verify", run_dir).exit_code == 0
