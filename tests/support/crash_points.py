"""Every point at which a process can die, enumerated from the trace of a life that did not: before each statement,
before and after each commit, before and after each call to somebody outside.

Invariant: a life that is to die takes the steps of the trace up to that point, or the test that asked for it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw

from tests.support.contest_world import ContestWorld, Crash

T = TypeVar("T")


class Steps:
    """The steps of one life, by name; at number `dies_at` (from 1) it dies. None: it does not."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.taken: list[str] = []
        self._dies_at = dies_at

    def __call__(self, name: str) -> None:
        self.taken.append(name)
        if len(self.taken) == self._dies_at:
            raise Crash(name)


class SteppingProcessor:
    """The processor, as a process that takes steps reaches it."""

    def __init__(self, processor: Any, steps: Steps) -> None:
        self._processor, self._steps = processor, steps

    def __getattr__(self, operation: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(**params: Any) -> Any:
            self._steps(f"before the call {operation}")
            try:
                return await getattr(self._processor, operation)(**params)
            finally:
                self._steps(f"after the call {operation}")

        return call


@contextmanager
def taking(world: ContestWorld, steps: Steps) -> Iterator[None]:
    """The work of a life that is begun meanwhile in `world` is taken step by step."""
    processor, store = world.processor, world.store
    transact = store.transact

    def statement(_: apsw.Cursor, sql: str, bindings: Any) -> bool:
        words = " ".join(sql.split())
        if words != "rollback":  # which nobody sends who has died: the database does it by itself
            steps(f"before {words[:60]}")
        return True

    async def noted(operation: str, fn: Callable[[Any], T]) -> T:
        world.connection.exec_trace = statement
        try:
            answer = await transact(operation, fn)
        finally:
            world.connection.exec_trace = None
        steps(f"after the commit of {operation}")
        return answer

    world.processor = SteppingProcessor(processor, steps)  # type: ignore[assignment]
    store.transact = noted  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        world.processor, store.transact = processor, transact  # type: ignore[method-assign]
