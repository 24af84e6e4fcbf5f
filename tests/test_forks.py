"""Tasks in forks of a process: how each ends is told, and none outlives the process that asked for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from campaigns import forks
from campaigns.forks import Forks, TaskFailed
from tests.support.command import ROOT

TASKS = """
import os, signal, sys, time

def perform(code=None, left=None):
    if code is not None:
        os._exit(code)
    yield os.getpid()
    if left is not None:
        try:
            open(left, "w").close()
            signal.pause()
        finally:
            time.sleep(0.5)
            os.unlink(left)
"""


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from campaigns.forks import serve; serve(perform)"
    monkeypatch.setattr(forks, "_START", f"{TASKS.replace('{', '{{').replace('}', '}}')}\n{start} # {{}}")


def test_a_task_that_ends_its_process_has_failed_and_the_next_is_done() -> None:
    with Forks("tasks") as worker:
        with pytest.raises(TaskFailed, match="it ended with 3 and said nothing"):
            list(worker.ask({"code": 3}))
        assert len(list(worker.ask({}))) == 1


def test_left_while_a_task_goes_on_it_has_ended_what_the_task_has_to_end(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with Forks("tasks") as worker:
        child = next(worker.ask({"left": str(left)}))
        while not left.exists():
            os.sched_yield()
    assert not left.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_group_of_which_only_the_dead_leader_is_left_may_not_be_ours_to_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(group: int, number: int) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refuse)
    with Forks("tasks") as worker:
        assert len(list(worker.ask({}))) == 1
