"""The executor that has its trials made on a cluster of dask workers (`dask scheduler`, `dask worker`).

Invariant: a worker whose code is not that of the sweep finds out nothing: the sweep stops there and says so. The second
run of a seed has a process, and so a hash seed, of its own.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from campaigns.executors import HASH_SEED, Done, Take
from campaigns.seeds import CodeDiffers, Line, Task, Work, check, perform
from simulator.operations import ROOT

_CONNECT_S = 10
_ONE_AT_A_TIME = threading.Lock()
_APART = "import sys; sys.path.insert(0, sys.argv[1]); from campaigns.cluster import apart; apart()"


class ClusterRefused(Exception):
    """The cluster cannot be used. The message says why, and what to do."""


class Cluster:
    """One task under way for each worker process: a trial is Python from end to end, and threads would share it."""

    def __init__(self, work: Work, address: str) -> None:
        """`address` of the scheduler (`tcp://host:8786`). Raises ClusterRefused."""
        try:
            from distributed import Client
        except ImportError:
            raise ClusterRefused(
                "a cluster needs the package distributed: pip install 'founder-absence[cluster]'"
            ) from None
        self._work, self._address = work, address
        try:
            self._client = Client(address, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise ClusterRefused(
                f"no scheduler answers at {address} ({error}). Start one: dask scheduler; and for each core: "
                "dask worker ADDRESS --nthreads 1"
            ) from None
        self.workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if not self.workers:
            self._client.close()
            raise ClusterRefused(
                f"the scheduler at {address} has no workers. Start one for each core, in a checkout of this commit: "
                f"dask worker {address} --nthreads 1"
            )

    def run(self, take: Take) -> Iterator[Done]:
        from distributed import as_completed

        running: dict[Any, Task] = {}
        done = as_completed()
        while True:
            while len(running) < self.workers and (task := take("")) is not None:
                future = self._client.submit(perform_there, self._work, task, pure=False)
                running[future] = task
                done.add(future)
            if not running:
                return
            future = next(done)
            yield self._answer(future, running.pop(future))

    def _answer(self, future: Any, task: Task) -> Done:
        from distributed import KilledWorker

        try:
            line, worker = future.result()
        except KilledWorker:
            return Done(task, None, "")
        except CodeDiffers as differs:
            raise ClusterRefused(
                f"{differs}. Start the workers of {self._address} in a checkout of this commit. Nothing of what they "
                "would have found out was taken down."
            ) from None
        except Exception as error:
            raise ClusterRefused(
                f"a worker of {self._address} could not take its seed ({type(error).__name__}: {error}). Start the "
                "workers in a checkout of this commit, with its dependencies."
            ) from error
        finally:
            future.release()
        return Done(task, line, worker)

    def close(self) -> None:
        self._client.close()


def perform_there(work: Work, task: Task) -> tuple[Line | None, str]:
    """On a worker: the line of the task, None where the process that made it died, and who that was. Raises
    CodeDiffers, RuntimeError."""
    from distributed import get_worker

    address = str(get_worker().address)
    with _ONE_AT_A_TIME:
        check(work)
        if task.kind == "again":
            return _apart(work, task), f"{address}, apart"
        return perform(work, task), address


def _apart(work: Work, task: Task) -> Line | None:
    """`perform` in a process of its own: there may be no other worker, and those that dask's nanny starts have one hash
    seed, all of them. Its processes are daemons, which `multiprocessing` lets have no children."""
    environment = {name: value for name, value in os.environ.items() if name != HASH_SEED}
    ended = subprocess.run(
        [sys.executable, "-c", _APART, str(ROOT)],
        input=pickle.dumps((work, task)),
        capture_output=True,
        env=environment,
    )
    if ended.returncode > 0:
        raise RuntimeError(ended.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    if ended.returncode < 0:
        return None
    told = json.loads(ended.stdout)
    if "differs" in told:
        raise CodeDiffers(*told["differs"])
    line: Line = told["line"]
    return line


def apart() -> None:
    """What that process does: work and task, pickled, from standard input; the line, as JSON, to standard output. The
    code on the disk may have changed since the worker loaded it."""
    work, task = pickle.load(sys.stdin.buffer)
    try:
        check(work)
        told: dict[str, Any] = {"line": perform(work, task)}
    except CodeDiffers as differs:
        told = {"differs": differs.args}
    json.dump(told, sys.stdout)
