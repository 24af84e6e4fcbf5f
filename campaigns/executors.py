"""Where the trials of a sweep are made: in processes of this machine, or on a cluster. One interface, two executors.

Invariant: an executor asks for the next task only when it has somebody to do it, and answers each task once: with its
line, or with None where its worker died over it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from campaigns.seeds import CodeDiffers, Line, Task, Work, check, perform

DEATHS_MAX = 5
"""So many deaths with no answer in between, and it is not the seeds that kill the workers."""
_GRACE_S = 5
HASH_SEED = "PYTHONHASHSEED"
"""Each worker has a hash seed of its own, even where the environment gives one: what depends on it shows in the second
run of a seed."""


class Done(NamedTuple):
    """`line` is None where the worker died. `worker`: the name of the process."""

    task: Task
    line: Line | None
    worker: str


Take = Callable[[str], Task | None]
"""The next task for the worker of that name; None: there is none now."""


class Executor(Protocol):
    """`workers`: how many tasks are under way at once."""

    workers: int

    def run(self, take: Take) -> Iterator[Done]:
        """Do tasks until there are none and all are done; `take` is asked anew after each. Raises CodeDiffers,
        WorkersDie."""
        ...

    def close(self) -> None:
        """End the workers at once, whatever they are at."""
        ...


class WorkersDie(Exception):
    """One worker after the other died, whatever it was given."""


# --- processes of this machine ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Worker:
    name: str
    process: SpawnProcess
    pipe: Connection
    task: Task | None = None


class Processes:
    """Each is spawned, not forked: so each has a hash seed of its own, and what depends on one differs between two. It
    loads the project once and then takes task after task. Ctrl-C does not reach it. What it writes on the way lies in
    one directory, which goes with the executor though a process be killed over its trial."""

    def __init__(self, work: Work, workers: int, prepare: Callable[[], None] | None = None) -> None:
        """`prepare` is called in each process before its first task."""
        self.workers = workers
        self._work, self._prepare = work, prepare
        self._made, self._deaths = 0, 0
        self._all: list[_Worker] = []
        self._scratch = TemporaryDirectory(prefix="absence-sweep-")

    def run(self, take: Take) -> Iterator[Done]:
        self._all += [self._start() for _ in range(self.workers - len(self._all))]
        while True:
            for worker in self._all:
                if worker.task is None and (task := take(worker.name)) is not None:
                    self._give(worker, task)
            busy = {worker.pipe: worker for worker in self._all if worker.task is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                yield self._answer(busy[pipe])  # type: ignore[index]

    def _give(self, worker: _Worker, task: Task) -> None:
        if task.elsewhere == worker.name:
            self._replace(worker)
        worker.task = task
        with contextlib.suppress(OSError):  # it died idle: its end of the pipe will say so
            worker.pipe.send(task)

    def _answer(self, worker: _Worker) -> Done:
        task, name = worker.task, worker.name
        assert task is not None
        worker.task = None
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._deaths += 1
            if self._deaths == DEATHS_MAX:
                raise WorkersDie(
                    f"{DEATHS_MAX} worker processes died one after the other, the last with exit code "
                    f"{_ended(worker.process)}: is there memory enough for {self.workers}?"
                ) from None
            self._replace(worker)
            return Done(task, None, name)
        if isinstance(answer, CodeDiffers):
            raise answer
        self._deaths = 0
        return Done(task, answer, name)

    def _start(self) -> _Worker:
        self._made += 1
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(
            target=_serve,
            args=(theirs, self._work, self._prepare, self._scratch.name),
            name=f"sweep-{self._made}",
            daemon=True,
        )
        # A process starts with the signals blocked that its parent had blocked: this one never hears of Ctrl-C.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        one_for_all = os.environ.pop(HASH_SEED, None)
        try:
            process.start()
        finally:
            if one_for_all is not None:
                os.environ[HASH_SEED] = one_for_all
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process.name, process, ours)

    def _replace(self, worker: _Worker) -> None:
        _end(worker)
        fresh = self._start()
        worker.name, worker.process, worker.pipe = fresh.name, fresh.process, fresh.pipe

    def close(self) -> None:
        for worker in self._all:
            worker.process.kill()
        for worker in self._all:
            _end(worker)
        self._all.clear()
        self._scratch.cleanup()


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()


def _ended(process: SpawnProcess) -> int | None:
    process.join(_GRACE_S)
    return process.exitcode


def _serve(pipe: Connection, work: Work, prepare: Callable[[], None] | None, scratch: str) -> None:
    """What a process does until the other end of the pipe is closed, or gone."""
    tempfile.tempdir = scratch
    if prepare is not None:
        prepare()
    with contextlib.suppress(EOFError, OSError):
        try:
            check(work)
        except CodeDiffers as differs:
            pipe.recv()
            pipe.send(differs)
            return
        gc.freeze()  # what has been loaded is no garbage
        while True:
            pipe.send(perform(work, pipe.recv()))
            gc.collect()  # a trial ends in knots: left lying, those of several take twice the memory (measured)
