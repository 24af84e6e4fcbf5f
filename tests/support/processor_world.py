"""A small world around the payment processor: the real kernel, an endpoint that answers by script, faults by script.

Invariant: nothing here knows how the processor works; it only carries calls and remembers what it was sent.
"""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from contest_platform.http import Request, Response
from contest_platform.ports import ConnectionFailed, Intent, ProcessorError
from evidence.books import BookSet, read_rows
from evidence.journal import JournalWriter
from evidence.schemas import BOOKS
from seams.bus import SeamBus
from seams.draws import Draws
from seams.faults import Call, Effect
from simulator.actors.processor import ProcessorActor
from simulator.kernel import Kernel
from simulator.wires.processor import ProcessorWire

DAY_MS = 86_400_000
STARTS_AT = 20_601 * DAY_MS
SECRET = "whsec_test"


class Scripted:
    """Does `effects[n]` to the n-th crossing of a seam (from 0) and nothing to later ones."""

    also = ()

    def __init__(self, seam: str, operation: str, *effects: Effect | None) -> None:
        self.seam, self.operation, self.effects = seam, operation, effects
        self.calls: list[Call] = []

    def effect(self, call: Call) -> Effect | None:
        self.calls.append(call)
        n = len(self.calls) - 1
        return self.effects[n] if n < len(self.effects) else None


class Endpoint:
    """The platform's address. `answers` gives the n-th request a status, None (nobody listens) or "never" (silence)."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.answers: Callable[[int], int | str | None] = lambda _: 200
        self.received: list[tuple[int, Request]] = []

    async def request(self, request: Request) -> Response:
        answer = self.answers(len(self.received))
        self.received.append((self._kernel.runtime.now(), request))
        if answer is None:
            raise ConnectionFailed(request.path)
        if answer == "never":
            await self._kernel.never()
        assert isinstance(answer, int)
        return Response(answer)

    def headers(self) -> list[tuple[int, str]]:
        return [(at, request.headers["Stripe-Signature"]) for at, request in self.received]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(request.raw) for _, request in self.received]


class ProcessorWorld:
    """Implements simulator.actors.context.World; `actor` is a processor in it with `opening_cents` available."""

    def __init__(self, folder: Path, *faults: Scripted, opening_cents: int = 100_000_00) -> None:
        self.draws = Draws("00112233445566778899aabbccddeeff")
        self.journal = io.BytesIO()
        self.writer = JournalWriter(self.journal)
        self.kernel = Kernel(self.draws, self.writer, STARTS_AT)
        self.runtime = self.kernel.runtime
        self.victims: list[str] = []
        self.bus = SeamBus(
            faults,  # type: ignore[arg-type]
            self.runtime.now,
            lambda *crossing: self.victims.append(crossing[-1]),
        )
        self._folder = folder / "books"
        self.books = BookSet(self._folder)
        self.edge = Endpoint(self.kernel)
        self.actor = ProcessorActor(self, opening_balance_cents=opening_cents, webhook_secret=SECRET)
        self._closed = False

    def call(self, work: Coroutine[Any, Any, Any], name: str) -> Awaitable[Any]:
        return self.kernel.call(work, name)

    def never(self) -> Awaitable[None]:
        return self.kernel.never()

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        return self.kernel.record(actor, kind, subject, **data)

    # --- driving it ----------------------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        self.kernel.run(until=self.runtime.now() + ms)

    def settle(self) -> None:
        """Run until nothing is left to happen: it returns only if nothing polls."""
        self.kernel.run()

    def do(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to one call through a wire, or its exception."""

        async def main() -> Any:
            return await call()

        task = self.kernel.start(main(), "test")
        self.kernel.run(until=task)
        ok, value = task.value
        if ok:
            return value
        raise value

    # --- requests straight to the actor ---------------------------------------------------------------------------

    def handle(self, operation: str, key: str | None = None, **params: Any) -> Any:
        return self.actor.handle("platform", operation, params, key, "c1/u1")

    def intent(self, key: str = "in-1", amount: int = 2_500) -> Intent:
        metadata = {"contest_id": "c1", "entry_id": f"entry-{key}", "user_id": "u1"}
        made: Intent = self.handle("intents.create", key, amount_cents=amount, metadata=metadata)
        return made

    def paid(self, key: str = "in-1", amount: int = 2_500) -> Intent:
        captured: Intent = self.handle("intents.confirm", intent=self.intent(key, amount).id)
        return captured

    def transfer(self, key: str | None = "tr-1", amount: int = 1_000, destination: str = "acct_1") -> Any:
        metadata = {"contest_id": "c1", "entry_id": "entry-1", "user_id": "u1"}
        return self.handle(
            "transfers.create",
            key,
            amount_cents=amount,
            destination=destination,
            transfer_group="c1",
            metadata=metadata,
        )

    def refund(self, intent_id: str, amount: int, key: str | None = "re-1") -> Any:
        metadata = {"contest_id": "c1", "entry_id": "entry-1", "user_id": "u1"}
        return self.handle("refunds.create", key, intent=intent_id, amount_cents=amount, metadata=metadata)

    def error(self, call: Callable[[], Any]) -> tuple[int, str, str | None]:
        """(status, type, code) of the error that `call` must end in."""
        try:
            answer = call()
        except ProcessorError as error:
            return error.status, error.type, error.error_code
        raise AssertionError(f"was answered with {answer!r} instead of refused")

    # --- what is on record -------------------------------------------------------------------------------------------

    def rows(self, book: str) -> list[dict[str, Any]]:
        """The rows of a book as a reader of the evidence sees them. Ends the run: ask at the end of a test."""
        if not self._closed:
            self.settle()
            self.actor.close_books()
            self.books.close()
            self._closed = True
        columns = list(BOOKS[book].columns)
        return [dict(zip(columns, row, strict=True)) for row in read_rows(self._path(book), BOOKS[book], columns)]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]

    def _path(self, book: str) -> Path:
        return self._folder / f"{book}.parquet"


def wire_of(world: ProcessorWorld) -> ProcessorWire:
    return ProcessorWire(world, world.actor, "platform", lambda: None)


def send_transfer(wire: ProcessorWire, key: str = "tr-1", amount: int = 1_000) -> Any:
    return wire.create_transfer(
        amount_cents=amount,
        destination="acct_1",
        transfer_group="c1",
        metadata={"contest_id": "c1", "entry_id": "entry-1", "user_id": "u1"},
        idempotency_key=key,
    )


def every_event(world: ProcessorWorld) -> list[dict[str, Any]]:
    """The bodies of one event of each type that the processor creates."""
    paid, other = world.paid("a"), world.intent("b")
    world.refund(paid.id, 400)
    world.handle("intents.cancel", "cancel", intent=other.id)
    world.transfer()
    for key, won in (("won", True), ("lost", False)):
        world.actor.close_dispute(world.actor.open_dispute(world.paid(key).id), won)
    return [dict(e.body) for e in world.handle("events.list", after=None, limit=100)]
