"""Every point at which a process can die, enumerated from the trace of a life that did not: before each statement,
before and after each commit, before and after each call to somebody outside.

Invariant: a life that is to die takes the steps of the trace up to that point, or the test that asked for it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw

from contest_platform.store.postgresql import PostgresDatabase
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


class ToldCursor:
    """A cursor that tells of each statement before it sends it."""

    def __init__(self, cursor: Any, tell: Callable[[str], None]) -> None:
        self._cursor, self._tell = cursor, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, *params: Any) -> Any:
        self._tell(sql)
        return self._cursor.execute(sql, *params)


@contextmanager
def told_of_statements(database: Any, tell: Callable[[str], None]) -> Iterator[None]:
    """Each statement that goes to `database` meanwhile is told of before it is sent."""
    if isinstance(database, PostgresDatabase):
        own = database._control, database._cursor
        database._control, database._cursor = (ToldCursor(cursor, tell) for cursor in own)  # type: ignore[assignment]
        try:
            yield
        finally:
            database._control, database._cursor = own
        return

    def traced(_: apsw.Cursor, sql: str, __: Any) -> bool:
        tell(sql)
        return True

    database.exec_trace = traced
    try:
        yield
    finally:
        database.exec_trace = None


@contextmanager
def taking(world: ContestWorld, steps: Steps) -> Iterator[None]:
    """The work of a life that is begun meanwhile in `world` is taken step by step."""
    processor, store = world.processor, world.store
    transact = store.transact

    def statement(sql: str) -> None:
        words = " ".join(sql.split())
        if words != "rollback":  # which nobody sends who has died: the database does it by itself
            steps(f"before {words[:60]}")

    async def noted(operation: str, fn: Callable[[Any], T]) -> T:
        with told_of_statements(world.connection, statement):
            answer = await transact(operation, fn)
        steps(f"after the commit of {operation}")
        return answer

    world.processor = SteppingProcessor(processor, steps)  # type: ignore[assignment]
    store.transact = noted  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        world.processor, store.transact = processor, transact  # type: ignore[method-assign]
