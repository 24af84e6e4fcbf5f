"""Processes that have loaded what is the same for every task, and do each task in a fork of themselves.

Invariant: a task leaves nothing behind for the next, and one that takes its process with it costs itself alone. Between
the two sides go lines of JSON: one a task, and for each any number of answers and an end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

_ROOT = Path(__file__).parent.parent
_START = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from campaigns.{{}} import main; main()"

W = TypeVar("W", bound=AbstractContextManager[Any])
T = TypeVar("T")


class TaskFailed(Exception):
    """The task ended otherwise than it should have; the message says how, and may have several lines."""


class Forks:
    """A process of the kind above: `main` of a module of this package, which calls `serve`. A context manager: left,
    nothing of it runs on."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(module)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        # macOS says PermissionError of a group in which nobody is left but its leader, dead and not waited for yet.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait()

    def ask(self, task: dict[str, Any]) -> Iterator[Any]:
        """What is answered to `task`, one after the other. Raises TaskFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            print(json.dumps(task), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            told = json.loads(line)
            if "answer" in told:
                yield told["answer"]
            elif told["end"] is None:
                return
            else:
                raise TaskFailed(told["end"])
        raise TaskFailed("its process has ended")


class Crew(Generic[W]):
    """So many workers, each of them at one call at a time. A context manager: left, whatever they are at ends."""

    def __init__(self, make: Callable[[], W], count: int) -> None:
        self._pool, self._stack = ThreadPoolExecutor(count), ExitStack()
        self._free = SimpleQueue[W]()
        for _ in range(count):
            self._free.put(self._stack.enter_context(make()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._pool.shutdown(cancel_futures=True)

    def all(self, calls: Sequence[Callable[[W], T]], done: Callable[[int], None] = lambda _: None) -> list[T]:
        """What comes of each call, in their order. `done` is told how many are through. Raises what a call raises."""
        futures = [self._pool.submit(self._borrowing, call) for call in calls]
        for count, future in enumerate(as_completed(futures), 1):
            future.result()
            done(count)
        return [future.result() for future in futures]

    def _borrowing(self, call: Callable[[W], T]) -> T:
        worker = self._free.get()
        try:
            return call(worker)
        finally:
            self._free.put(worker)


# --- the other side ---------------------------------------------------------------------------------------------------


def serve(perform: Callable[..., Iterable[Any]]) -> None:
    """Do tasks until there are no more: `perform`, in a fork, is given what a task says by name, and yields answers."""
    child = 0
    try:
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                os._exit(_forked(perform, json.loads(line)))
            _, status = os.waitpid(child, 0)
            if status:
                code = os.waitstatus_to_exitcode(status)
                _say({"end": f"killed by signal {-code}" if code < 0 else f"it ended with {code} and said nothing"})
    except KeyboardInterrupt:
        if child:
            with suppress(ChildProcessError):  # it has been waited for
                os.waitpid(child, 0)
        sys.exit(130)


def _forked(perform: Callable[..., Iterable[Any]], task: dict[str, Any]) -> int:
    error = None
    try:
        for answer in perform(**task):
            _say({"answer": answer})
    except KeyboardInterrupt:
        return 130
    except BaseException:
        error = traceback.format_exc()
    _say({"end": error})
    return 0


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)
