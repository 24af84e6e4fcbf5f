"""The executor that has its trials made on a cluster of dask workers (`dask scheduler`, `dask worker`).

Invariant: a worker whose code is not that of the sweep finds out nothing: the sweep stops there and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from campaigns.executors import Done, Take
from campaigns.seeds import CodeDiffers, Line, Task, Work, check, perform

_CONNECT_S = 10
_ONE_AT_A_TIME = threading.Lock()


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
        self._names = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        self.workers = len(self._names)
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
                future = self._client.submit(perform_there, self._work, task, pure=False, **self._preferred(task))
                running[future] = task
                done.add(future)
            if not running:
                return
            future = next(done)
            yield self._answer(future, running.pop(future))

    def _preferred(self, task: Task) -> dict[str, Any]:
        others = [name for name in self._names if name != task.elsewhere]
        return {"workers": others, "allow_other_workers": True} if task.elsewhere and others else {}

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


def perform_there(work: Work, task: Task) -> tuple[Line, str]:
    """On a worker: the line of the task, and the worker's address. Raises CodeDiffers."""
    from distributed import get_worker

    with _ONE_AT_A_TIME:
        check(work)
        return perform(work, task), str(get_worker().address)
