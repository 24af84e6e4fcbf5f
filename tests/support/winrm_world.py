"""A Windows host behind the real wire, the platform's client before it, and one thing that goes wrong between them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from contest_platform.ports import CommandResult, ConnectionLost, HttpAnswer
from contest_platform.transports.winrm import WinRM
from seams.faults import Binding, Call, Effect, Fault, Parameters
from simulator.actors import wsman
from simulator.actors.hosts import HostsActor
from simulator.actors.winrm import SHIPPED, Release, WinrmService
from simulator.wires.hosts import WsmanWire
from tests.support.fake_world import FakeWorld

HOST = "win-ingest-1"
BUDGET_MS = 59_500


class Befalls(Fault):
    """`effect` at the first `times` crossings of an operation, after `spared` of them."""

    def __init__(self, operation: str, effect: Effect, times: int = 1_000, spared: int = 0) -> None:
        super().__init__("f1", Binding(), Parameters())
        self.seam, self.operation = "winrm", operation  # type: ignore[misc]
        self._effect, self._spared, self._left = effect, spared, times

    def effect(self, call: Call) -> Effect | None:
        if self._spared:
            self._spared -= 1
            return None
        self._left -= 1
        return self._effect if self._left >= 0 else None


class Control:
    def start(self, unit: str) -> int:
        return 1

    def kill(self, unit: str) -> None:
        pass


class Resets:
    """The Wsman port, with the connection broken after the first message of an operation has done its work."""

    def __init__(self, wire: WsmanWire, operation: str) -> None:
        self._wire, self._operation = wire, operation

    async def post(self, *, host: str, body: bytes) -> HttpAnswer:
        answer = await self._wire.post(host=host, body=body)
        message = wsman.parse(body)
        if message is not None and message.operation == self._operation:
            self._operation = ""
            raise ConnectionLost("reset by peer")
        return answer


class OneHost:
    def __init__(self, *faults: Fault, release: Release = SHIPPED, resets: str = "") -> None:
        self.world = FakeWorld("00" * 16, faults)
        self.actor = HostsActor(self.world, Control(), lambda host: f"token of {host}")  # type: ignore[arg-type]
        self.service = WinrmService(self.world, self.actor, release)  # type: ignore[arg-type]
        wire: Any = WsmanWire(self.world, self.actor, self.service, lambda: None)  # type: ignore[arg-type]
        if resets:
            wire = Resets(wire, resets)
        numbers = count(1)
        self.message_id: Callable[[], str] = lambda: f"uuid:{next(numbers):032X}"
        self.client = WinRM(wire, self.world.runtime, self.message_id, BUDGET_MS)
        self.actor.boot()

    def run(self, command: str = "Restart-Service", *args: str) -> CommandResult:
        return self.world.run(self.client.run(HOST, command, args or ("ingestion",)))  # type: ignore[no-any-return]

    def ran(self) -> int:
        """How many commands the host has run."""
        return sum(row["ran"] for row in self.world.rows("hosts.requests"))

    def operations(self) -> list[str]:
        return [row["operation"] for row in self.world.rows("hosts.exchanges")]

    def shells(self) -> list[tuple[str, int, int | None]]:
        """(how, opened_at, closed_at) of every shell, those that are open now last. Asked once, at the end."""
        self.service.close_books()
        return [(row["how"], row["opened_at"], row["closed_at"]) for row in self.world.rows("hosts.shells")]

    def open_shells(self) -> int:
        return sum(how == "open" for how, _, _ in self.shells())
