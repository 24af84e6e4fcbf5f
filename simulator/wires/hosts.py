"""The way to the hosts: WinRM to Windows, SSH to Linux.

Invariant: a command either ran on the host, once, or did not; only the caller may not know which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from contest_platform.ports import CommandResult, ConnectionFailed, HostError
from seams.faults import LoseAnswer, LoseRequest, Refuse
from simulator.actors.context import World
from simulator.actors.hosts import HOSTS, HostsActor, parse

LATENCY_MS = (200, 1_500)
"""From the connection to the answer, a handshake and a shell included."""


class HostWire:
    """The HostTransport port. Seams "winrm" and "ssh", operation "run": Refuse (with an error code the
    command runs and ends with that error), LoseRequest and LoseAnswer."""

    def __init__(self, world: World, actor: HostsActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def run(self, *, host: str, command: str, args: Sequence[str]) -> Awaitable[CommandResult]:
        """Raises ConnectionFailed when the host is unknown or refuses, HostError for an HTTP error of WinRM."""
        self._guard()
        return self._world.call(self._run(host, command, tuple(args)), f"hosts.run {host}")

    async def _run(self, host: str, command: str, args: tuple[str, ...]) -> CommandResult:
        world, actor, runtime = self._world, self._actor, self._world.runtime
        if host not in HOSTS:
            raise ConnectionFailed(f"no host is called {host}")
        transport, _ = HOSTS[host]
        sent_at = runtime.now()
        latency_ms = world.draws.between(*LATENCY_MS, "hosts.latency", host, command, sent_at)
        await runtime.sleep_until(sent_at + latency_ms // 2)
        verb, _ = parse(transport, command, args)
        match world.bus.consult(transport, "run", f"{host}/{verb}", str(actor.next_request)):
            case None:
                result = actor.run(host, command, args, answered=True)
            case Refuse(status=0, error_code=error) if error:
                result = actor.fail(host, command, args, error)
            case Refuse(status=0):
                actor.refuse(host, command, args, "refused")
                raise ConnectionFailed(f"{host} refused the {transport} connection")
            case Refuse(status=status):
                actor.refuse(host, command, args, f"http_{status}")
                raise HostError(f"http_{status}", f"{host} answered {status} and ran nothing")
            case LoseRequest():
                await world.never()
                raise AssertionError("unreachable: nothing comes after never")
            case LoseAnswer():
                actor.run(host, command, args, answered=False)
                await world.never()
                raise AssertionError("unreachable: nothing comes after never")
            case effect:
                raise TypeError(f"the seam {transport} does not carry out {effect}: see seams.catalogue")
        await runtime.sleep_until(sent_at + latency_ms)
        return result
