"""The loop of a sweep: past failures first, then seed after seed, some of them twice, until all are done or enough is.

Invariant: whatever a worker answers is in the book before anything else is asked of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from campaigns.corpus import PastFailure
from campaigns.executors import Done, Executor
from campaigns.seeds import NOTHING, Task
from campaigns.sweep_book import SweepBook

LOST = "LOST"
"""The status of a seed over which two workers died."""
_TRIES = 2


@dataclass(slots=True)
class Pace:
    """How far it is and how fast it goes: of `due` tasks `done` by now; in this session `trials` in `seconds` of the
    wall, of which the workers had a trial for `busy_s`, and a processor for `cpu_s`."""

    due: int
    done: int
    workers: int
    trials: int = 0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    @property
    def per_s(self) -> float:
        """Trials per second of the wall."""
        return self.trials / self.seconds

    @property
    def per_core(self) -> float:
        """Trials per second of a processor's time."""
        return self.trials / self.cpu_s if self.cpu_s else 0.0

    @property
    def efficiency(self) -> float:
        """The share of the workers' time in which they had a trial."""
        return self.busy_s / (self.seconds * self.workers)

    @property
    def left_s(self) -> float | None:
        return (self.due - self.done) / self.per_s if self.trials else None

    def to_json(self) -> dict[str, Any]:
        return {
            "trials": self.trials, "workers": self.workers, "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_s, 1), "per_second": round(self.per_s, 3),
            "per_core_second": round(self.per_core, 3), "efficiency": round(self.efficiency, 3),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """When it is enough for this session, though seeds are left: after `budget_s` seconds of it, or so many seeds that
    failed in it; None: never."""

    budget_s: float | None = None
    failures: int | None = None


def run(
    book: SweepBook,
    executor: Executor,
    past: Sequence[PastFailure],
    limits: Limits,
    progress: Callable[[Pace], None],
) -> Pace:
    """Do what the book lacks. Raises whatever the executor does; what came in until then is in the book."""
    queue = _Queue(book, past)
    pace = Pace(queue.due, queue.due - queue.left, executor.workers)
    failures = 0
    progress(pace)
    for done in executor.run(queue.take):
        if queue.settle(done):
            pace.done += 1
        if done.line is not None:
            pace.trials += 1
            pace.busy_s += done.line["ms"] / 1000
            pace.cpu_s += done.line["cpu_ms"] / 1000
            failures += done.task.kind == "seed" and done.line["status"] == "FAIL"
        progress(pace)
        if limits.budget_s is not None and pace.seconds > limits.budget_s:
            break
        if limits.failures is not None and failures >= limits.failures:
            break
    return pace


class _Queue:
    """What is left to be done. A second run waits until its first is done, and goes to another process."""

    def __init__(self, book: SweepBook, past: Sequence[PastFailure]) -> None:
        self._book = book
        sheet = book.sheet
        every = range(sheet.first, sheet.last, sheet.again_every)
        self.due = len(past) + sheet.last - sheet.first + len(every)
        self._twice = every
        self._first = deque(
            Task("past", one.name, one.plan_json, one.operations) for one in past if one.name not in book.past
        )
        self._seeds = iter(seed for seed in range(sheet.first, sheet.last) if seed not in book.lines)
        self._again = deque(Task("again", str(seed)) for seed in every if seed in book.lines and seed not in book.again)
        self.left = self.due - len(book.past) - len(book.lines) - len(book.again)

    def take(self, worker: str) -> Task | None:
        if self._first:
            return self._first.popleft()
        if self._again and self._again[0].elsewhere != worker:
            return self._again.popleft()
        seed = next(self._seeds, None)
        if seed is not None:
            return Task("seed", str(seed))
        return self._again.popleft() if self._again else None

    def settle(self, done: Done) -> bool:
        """Take down what came of a task; False if it is to be tried once more."""
        task = done.task
        line = done.line
        if line is None:
            self._book.add("died", task.key, {"kind": task.kind})
            if self._book.deaths[task.kind, task.key] < _TRIES:
                self._first.append(task)
                return False
            line = {**NOTHING, "status": LOST, "ms": 0, "cpu_ms": 0}
        self._book.add(task.kind, task.key, line)
        if task.kind == "seed" and int(task.key) in self._twice:
            self._again.append(Task("again", task.key, elsewhere=done.worker))
        return True
