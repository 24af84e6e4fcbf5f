"""Runs made to see what they exercise: scenarios × seeds, simulated and judged side by side in processes.

Invariant: what is found does not depend on how many processes there are, nor on which is done first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from absence import collecting
from absence.coverage import Seen, seen
from absence.errors import explain
from absence.exit_codes import ExitCode


class Task(NamedTuple):
    scenario: str
    seed: int
    on_call: bool
    out: Path


class Made(NamedTuple):
    """A run that was made, and what it exercised."""

    scenario: str
    seed: int
    verdict: str
    first_broken: str
    seen: Seen


class RunFailed(Exception):
    """A run could not be made: the exit code to end with, and what to say."""

    def __init__(self, code: ExitCode, lines: list[str]) -> None:
        super().__init__(code, lines)
        self.code, self.lines = code, lines


def tasks(scenarios: Iterable[str], seeds: int, on_call: bool, out: Path) -> list[Task]:
    """Every scenario under the seeds 1 to `seeds`."""
    return [Task(scenario, seed, on_call, out) for seed in range(1, seeds + 1) for scenario in scenarios]


def with_operations(scenarios: Iterable[str]) -> list[str]:
    """Those that have ops on call."""
    from scenarios import load

    return [name for name in scenarios if load(name).model.operations]


def make(task: Task) -> Made:
    """Simulate and judge one. Raises RunFailed, which unlike other exceptions finds its way out of a process."""
    try:
        return _made(task)
    except Exception as error:
        code, lines = explain(error)
        raise RunFailed(code, [f"{task.scenario} --seed {task.seed}: {line}" for line in lines]) from None


def _made(task: Task) -> Made:
    from absence.pipeline import execute
    from evidence.run import Evidence
    from scenarios import load, make_plan

    plan = make_plan(load(task.scenario), task.seed)
    if task.on_call:
        plan = plan.model_copy(update={"operations": True})
    outcome = execute(plan, task.out)
    verdict = outcome.story.verdict
    broken = f"{verdict.first_broken.assertion}: {verdict.first_broken.message}" if verdict.first_broken else ""
    return Made(
        task.scenario, task.seed, verdict.status.value, broken, seen(Evidence.open(outcome.published.path))
    )  # fmt: skip


def make_all(todo: Sequence[Task], processes: int, done: Callable[[int, int], None]) -> list[Made]:
    """All of them, in their order. Raises RunFailed. `done(how many, of how many)` is called as they come in."""
    found = []
    done(0, len(todo))
    for made in _each(todo, processes):
        found.append(made)
        done(len(found), len(todo))
    return found


def _each(todo: Sequence[Task], processes: int) -> Iterator[Made]:
    if processes == 1 or len(todo) == 1:
        yield from map(make, todo)
        return
    with ProcessPoolExecutor(min(processes, len(todo)), get_context("spawn"), collecting.rarely) as pool:
        yield from pool.map(make, todo)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def somewhere(out: Path | None) -> Iterator[Path]:
    """Where runs go: to be kept, or to be gone when this is over."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="absence-coverage-") as folder:
        yield Path(folder)
