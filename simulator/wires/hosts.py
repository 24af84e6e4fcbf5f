"""The way to the hosts: HTTP to the WinRM service of a Windows host, SSH to a Linux one.

Invariant: a command either ran on the host, once, or did not; only the caller may not know which.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable

from contest_platform.ports import CommandResult, ConnectionFailed, ConnectionLost, HttpAnswer
from seams.faults import Die, Falsify, LoseAnswer, LoseRequest, Refuse, Stall
from simulator.actors import wsman
from simulator.actors.context import World
from simulator.actors.hosts import HOSTS, HostsActor, parse
from simulator.actors.winrm import WinrmService
from simulator.actors.wsman import Message

POST_MS = (40, 300)
"""From a message to its answer, what the host takes over it not included."""
EXEC_MS = (200, 1_500)
"""From the connection to the answer, the handshake included."""
CONNECT_TIMEOUT_MS = 10_000
"""How long a client waits for a connection that nobody refuses."""
USER = "svc-healing"
"""The account under which the platform signs in."""


class WsmanWire:
    """The Wsman port. Seam "winrm", operation "connect": Refuse and LoseRequest; and each operation of the protocol, in
    small letters: what seams.catalogue lists."""

    def __init__(self, world: World, actor: HostsActor, service: WinrmService, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._service, self._guard = world, actor, service, guard

    def post(self, *, host: str, body: bytes) -> Awaitable[HttpAnswer]:
        self._guard()
        return self._world.call(self._post(host, body), f"wsman.post {host}")

    async def _post(self, host: str, body: bytes) -> HttpAnswer:
        world, runtime = self._world, self._world.runtime
        if host not in HOSTS:
            raise ConnectionFailed(f"no host is called {host}")
        sent_at, message = runtime.now(), wsman.parse(body)
        latency_ms = world.draws.between(*POST_MS, "winrm.latency", host, message and message.message_id, sent_at)
        await runtime.sleep_until(sent_at + latency_ms // 2)
        await self._connect(host, sent_at)
        answer = await self._exchange(host, body, message)
        await runtime.sleep_until(runtime.now() + latency_ms - latency_ms // 2)
        return answer

    async def _connect(self, host: str, sent_at: int) -> None:
        if self._actor.is_down(host):
            self._actor.refuse(host, "", (), "refused")
            raise ConnectionFailed(f"{host} is down")
        match self._world.bus.consult("winrm", "connect", host, str(self._actor.next_request)):
            case None:
                return
            case Refuse(status=0):
                self._actor.refuse(host, "", (), "refused")
                raise ConnectionFailed(f"{host} refused the connection to WinRM")
            case LoseRequest():
                self._actor.refuse(host, "", (), "dropped")
                await self._world.runtime.sleep_until(sent_at + CONNECT_TIMEOUT_MS)
                raise ConnectionFailed(f"{host} did not answer within {CONNECT_TIMEOUT_MS} ms: no connection")
            case effect:
                raise TypeError(f"the seam winrm does not carry out {effect} at connect: see seams.catalogue")

    async def _exchange(self, host: str, body: bytes, message: Message | None) -> HttpAnswer:
        service = self._service
        if message is None:
            return await service.handle(host, USER, message)
        entity = host
        if message.operation == "Command":
            verb, _ = parse(HOSTS[host][0], *wsman.command_line(message.words))
            entity = f"{host}/{verb}"
        match self._world.bus.consult("winrm", message.operation.lower(), entity, message.message_id):
            case None:
                return await service.handle(host, USER, message)
            case Refuse(status=0, error_code=error) if error:
                return await service.handle(host, USER, message, fails=error)
            case Refuse(status=500, error_code=fault) if fault:
                name, _, form = fault.partition("/")
                return service.refuse(host, message, name, wmi=form == "wmi")
            case Refuse(status=status) if status:
                return service.turn_away(host, message, status)
            case Falsify(kind="html"):
                return service.turn_away(host, message, 200, wsman.HTML)
            case Falsify(kind="unrelated"):
                return await service.handle(host, USER, message, relates_to="uuid:00000000-0000-0000-0000-000000000000")
            case Falsify(kind="no_exit_code"):
                return await service.handle(host, USER, message, with_exit_code=False)
            case Stall(by_ms=by_ms):
                return await service.handle(host, USER, message, slower_ms=by_ms)
            case LoseRequest():
                await self._world.never()
            case LoseAnswer():
                await service.handle(host, USER, message, answered=False)
                await self._world.never()
            case Die(committed=False):
                service.end(host, "restart")
                return await service.handle(host, USER, message)
            case Die():
                service.turn_away(host, message, 0)
                self._actor.reboot(host)
                raise ConnectionLost(f"the connection to {host} was reset")
            case effect:
                raise TypeError(f"the seam winrm does not carry out {effect}: see seams.catalogue")
        raise AssertionError("unreachable: nothing comes after never")


class SshWire:
    """The Ssh port. Seam "ssh", operation "run": Refuse (with an error code the command runs and ends with that error),
    LoseRequest and LoseAnswer."""

    def __init__(self, world: World, actor: HostsActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def exec(self, *, host: str, line: str) -> Awaitable[CommandResult]:
        self._guard()
        return self._world.call(self._exec(host, line), f"ssh.exec {host}")

    async def _exec(self, host: str, line: str) -> CommandResult:
        world, actor, runtime = self._world, self._actor, self._world.runtime
        if host not in HOSTS:
            raise ConnectionFailed(f"no host is called {host}")
        command, *args = shlex.split(line)
        sent_at = runtime.now()
        latency_ms = world.draws.between(*EXEC_MS, "hosts.latency", host, command, sent_at)
        await runtime.sleep_until(sent_at + latency_ms // 2)
        if actor.is_down(host):
            actor.refuse(host, command, args, "refused")
            raise ConnectionFailed(f"{host} is down")
        verb, _ = parse("ssh", command, args)
        match world.bus.consult("ssh", "run", f"{host}/{verb}", str(actor.next_request)):
            case None:
                result = actor.run(host, command, args, answered=True)
            case Refuse(status=0, error_code=error) if error:
                result = actor.fail(host, command, args, error)
            case Refuse(status=0):
                actor.refuse(host, command, args, "refused")
                raise ConnectionFailed(f"{host} refused the connection to SSH")
            case LoseRequest():
                await world.never()
                raise AssertionError("unreachable: nothing comes after never")
            case LoseAnswer():
                actor.run(host, command, args, answered=False)
                await world.never()
                raise AssertionError("unreachable: nothing comes after never")
            case effect:
                raise TypeError(f"the seam ssh does not carry out {effect}: see seams.catalogue")
        await runtime.sleep_until(sent_at + latency_ms)
        return result
