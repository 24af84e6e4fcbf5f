"""Commands that write to a run root, killed: no half-truth is left, and the next command says what it found.

Eight kills each; `make proof` has two hundred. A killed `absence run` is in test_cli.py.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from evidence import atomic
from evidence.sweeping import leftovers, sweep
from tests.support import after_kills
from tests.support.killed_commands import dying, in_child

POINTS = 8


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return after_kills.template(tmp_path_factory.mktemp("template") / "runs")


@pytest.mark.parametrize("name", ["prune", "gate"])
def test_a_command_killed_at_any_call_leaves_no_half_truth_and_the_next_makes_it_good(
    name: str, like: Path, tmp_path: Path
) -> None:
    found = after_kills.check_all(name, like, tmp_path, POINTS, seed=8)
    assert found["killed"] >= POINTS - 2, found
    assert found["stale"], found
    assert found["untouched"], found


def test_a_record_that_is_written_anew_is_the_old_or_the_new_at_every_call(tmp_path: Path) -> None:
    path, old, new = tmp_path / "decisions" / "record.json", b"old", b"new" * 50_000
    atomic.write(path, old)

    def write() -> None:
        atomic.write(path, new)

    calls, _ = dying(write)
    seen = set()
    for at_call in range(1, calls):
        atomic.write(path, old)
        assert in_child(write, at_call=at_call) == signal.SIGKILL
        found = path.read_bytes()
        assert found in (old, new)
        left = leftovers(tmp_path)
        assert sweep(tmp_path) == left
        assert os.listdir(path.parent) == [path.name]
        seen.add((found == new, bool(left)))
    assert seen == {(False, False), (False, True), (True, False)}


def test_no_sweep_takes_the_file_that_a_living_command_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    during = []

    def fsync(_: int) -> None:
        during.append((leftovers(tmp_path), sweep(tmp_path)))

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    atomic.write(tmp_path / "record.json", b"whole")
    (seen, swept), *_ = during
    assert [left.in_use for left in seen] == [True]
    assert swept == []
    assert (tmp_path / "record.json").read_bytes() == b"whole"
