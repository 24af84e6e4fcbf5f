"""Commands that write to a run root, killed: no half-truth is left, and the next command says what it found.

About ten kills each; `make proof` has two hundred. A killed `absence run` is in test_cli.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import after_kills

POINTS = 14


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return after_kills.template(tmp_path_factory.mktemp("template") / "runs")


@pytest.mark.parametrize("name", ["prune", "decide"])
def test_a_command_killed_at_any_call_leaves_no_half_truth_and_the_next_makes_it_good(
    name: str, like: Path, tmp_path: Path
) -> None:
    found = after_kills.check_all(name, like, tmp_path, POINTS, seed=8)
    assert found["killed"] >= POINTS - 2, found
    assert found["stale"], found
    assert found["untouched"], found
