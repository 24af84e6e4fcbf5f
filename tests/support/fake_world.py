"""A small world for tests of actors and wires: real kernel and bus, books in memory, an edge that answers as told."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from contest_platform.http import Request, Response
from evidence.journal import JournalWriter
from evidence.schemas import BOOKS
from seams.bus import SeamBus
from seams.draws import Draws
from seams.faults import Call, Effect, Fault
from simulator.kernel import Kernel

MONDAY = 1_799_020_800_000
"""2027-01-04 00:00 UTC, a whole minute."""


class ListBook:
    def __init__(self, name: str) -> None:
        self._columns = tuple(BOOKS[name].columns)
        self.rows: list[dict[str, Any]] = []

    @property
    def count(self) -> int:
        return len(self.rows)

    def add(self, *values: Any) -> int:
        self.rows.append(dict(zip(self._columns, values, strict=True)))
        return self.count

    def note(self, *values: Any) -> int:
        return self.add(self.count + 1, *values)

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.add(*row)


class FakeEdge:
    """The platform's edge. `answer` may raise what the real one raises."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.seen: list[tuple[int, Request]] = []
        self.answer: Callable[[Request], Response] = lambda _: Response(200)

    async def request(self, request: Request) -> Response:
        self.seen.append((self._kernel.runtime.now(), request))
        return self.answer(request)


class FakeWorld:
    def __init__(self, key: str = "00" * 16, faults: Sequence[Fault] = ()) -> None:
        self.journal = io.BytesIO()
        self.draws = Draws(key)
        self.kernel = Kernel(self.draws, JournalWriter(self.journal), MONDAY)
        self.runtime = self.kernel.runtime
        self.books = {name: ListBook(name) for name in BOOKS}
        self.edge = FakeEdge(self.kernel)
        self.bites: list[tuple[str, str, str]] = []
        """(fault id, effect, victim)"""
        self.use(*faults)

    def use(self, *faults: Fault) -> None:
        def note(call: Call, fault: Fault, effect: Effect, victim: str) -> None:
            self.bites.append((fault.fault_id, type(effect).__name__, victim))

        self.bus = SeamBus(faults, self.runtime.now, note)

    def call(self, work: Coroutine[Any, Any, Any], name: str) -> Awaitable[Any]:
        return self.kernel.call(work, name)

    def never(self) -> Awaitable[None]:
        return self.kernel.never()

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        return self.kernel.record(actor, kind, subject, **data)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` to its end and return its value, or raise what it raised."""
        ok, value = self.kernel.run(until=self.kernel.start(work, "test"))
        if ok:
            return value
        raise value

    def run_for(self, ms: int) -> None:
        self.kernel.run(until=self.runtime.now() + ms)

    def rows(self, book: str) -> list[dict[str, Any]]:
        return self.books[book].rows

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]
