"""The fleet: hosts, the services on them, and the agent that reports a service which does not run.

Invariant: `hosts.services` holds every change of state, so a service runs exactly when its last row says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from contest_platform.http import Request, Response
from contest_platform.ports import CommandResult, ConnectionFailed, PortError
from seams.faults import Action
from simulator.actors import host_commands, host_shells
from simulator.actors.context import NoteAction, World
from simulator.actors.fleet import FLEET, Transport
from simulator.actors.host_drifts import Drifts
from simulator.actors.host_settings import CLOCK, SERVICE
from simulator.actors.host_shells import Verb
from simulator.actors.host_shells import parse as parse

By = Literal["boot", "shutdown", "crash", "kill", "command", "systemd", "deployment", "drift"]

HOSTS: dict[str, tuple[Transport, tuple[str, ...]]] = {
    name: (host.transport, (*host.units, *host.services)) for name, host in FLEET.items()
}
"""Each host: the transport it listens on (WinRM: Windows, SSH: Linux), and its services in the order of their start."""

MINUTE_MS = 60_000
SYSTEMD_RESTART_MS = 5_000
"""RestartSec=5 with Restart=always. A Windows service without failure actions stays stopped."""
BOOT_MS = 90_000
"""From the last word of a host that boots again until it listens, and until its services run."""
REPORT_EVERY_MIN = 5
REPORT_WITHIN_MS = 30_000
AGENT = "agent"
"""The service that reports; what it does not report, nobody hears of."""


class ServiceControl(Protocol):
    """What a host does to the processes of the platform."""

    def start(self, unit: str) -> int:
        """Begin a new life of `unit` and return its number, counted from 1."""

    def kill(self, unit: str) -> None:
        """End `unit` where it stands; nothing happens if it is dead."""


@dataclass(slots=True)
class _Service:
    """`change` is the number of the row that says how it stands. `ours`: a process of the platform."""

    host: str
    unit: str
    ours: bool
    running: bool = False
    incarnation: int = 0
    change: int = 0


@dataclass(slots=True)
class HostClock:
    """How far a host's clock is ahead of the time (ms); behind, below 0. `synced`: how often it was set right."""

    offset_ms: int = 0
    synced: int = 0


class HostsActor:
    """`agent_token` gives the bearer token with which the agent of a host reports to the platform."""

    def __init__(self, world: World, control: ServiceControl, agent_token: Callable[[str], str]) -> None:
        self._world, self._control, self._agent_token = world, control, agent_token
        self._requests = world.books["hosts.requests"]
        self._changes = world.books["hosts.services"]
        self._clocks = {host: HostClock() for host in HOSTS}
        self._silent: set[str] = set()
        """Hosts whose agent does not run."""
        self._down: set[str] = set()
        """Hosts that are between their shutdown and the end of their boot."""
        self.on_down: Callable[[str], None] = lambda _: None
        """Told of each host that goes down."""
        self._steps = world.books["hosts.clocks"]
        self._services = {
            unit: _Service(host, unit, unit in FLEET[host].units)
            for host, (_, units) in HOSTS.items()
            for unit in units
        }
        self.drifts = Drifts(world, self)

    def boot(self) -> None:
        """Start every service, host by host."""
        for service in self._services.values():
            self._start(service, "boot")

    def is_running(self, unit: str) -> bool:
        return self._services[unit].running

    def crash(self, unit: str) -> int | None:
        """`unit` dies without unwinding. Returns the number of the row in hosts.services, None if it did not run."""
        service = self._services[unit]
        return self._stop(service, "crash") if service.running else None

    def restart(self, unit: str, by: By) -> None:
        """Stop `unit`, if it runs, and start it again."""
        service = self._services[unit]
        if service.running:
            self._stop(service, by)
        self._start(service, by)

    # --- reboots -----------------------------------------------------------------------------------------------------

    def is_down(self, host: str) -> bool:
        return host in self._down

    def go_down(self, host: str) -> None:
        """Every service ends, and nobody is let in."""
        self._world.record(f"host:{host}", "host.down", host)
        self._down.add(host)
        for service in self._services.values():
            if service.host == host and service.running:
                self._stop(service, "shutdown")
        self.on_down(host)

    def come_up(self, host: str) -> None:
        self._world.record(f"host:{host}", "host.up", host)
        self._down.discard(host)
        self.drifts.booted(host)
        for service in self._services.values():
            if service.host == host and not service.running:
                self._start(service, "boot")

    def reboot(self, host: str) -> None:
        """Everything on `host` stops, and all of its services start once it is up again. Nothing if it is down."""
        if host not in self._down:
            self.go_down(host)
            self._world.runtime.spawn(self._boot(host), f"boot {host}")

    async def _boot(self, host: str) -> None:
        await self._world.runtime.sleep_until(self._world.runtime.now() + BOOT_MS)
        self.come_up(host)

    async def pull_crash(self, action: Action, note: NoteAction) -> None:
        """The lever services.crash."""
        row = self.crash(action.entity)
        if row is not None:
            note(action, str(row))

    async def pull_kill(self, action: Action, note: NoteAction) -> None:
        """The lever services.kill."""
        service = self._services[action.entity]
        if service.running:
            note(action, str(self._stop(service, "kill", reports_once=action.params["agent_dies"])))

    # --- clocks ------------------------------------------------------------------------------------------------------

    def clock_of(self, unit: str) -> HostClock:
        """The clock of the host that `unit` runs on."""
        return self._clocks[self._services[unit].host]

    async def pull_skew(self, action: Action, note: NoteAction) -> None:
        """The lever hosts.skew: the clock is stepped by `offset_ms`, and back after `for_ms`, unless it has been set
        right by then."""
        offset_ms: int = action.params["offset_ms"]
        note(action, str(self._step(action.entity, offset_ms)))
        synced = self._clocks[action.entity].synced
        await self._world.runtime.sleep_until(action.at + action.params["for_ms"])
        if self._clocks[action.entity].synced == synced:
            self._step(action.entity, -offset_ms)

    def _step(self, host: str, by_ms: int) -> int:
        clock = self._clocks[host]
        clock.offset_ms += by_ms
        self._world.record(f"host:{host}", "clock.stepped", host, by_ms=by_ms, offset_ms=clock.offset_ms)
        state = "wrong" if clock.offset_ms else "right"
        number = self._steps.note(self._world.runtime.now(), host, by_ms, clock.offset_ms, state)
        self.drifts.told(
            host, CLOCK, str(clock.offset_ms), not clock.offset_ms, "drift" if clock.offset_ms else "command"
        )
        return number

    # --- drifts (host_drifts.Hosts) ----------------------------------------------------------------------------------

    def host_of(self, unit: str) -> str:
        return self._services[unit].host

    def stop_service(self, unit: str) -> int:
        """Somebody stops it on purpose."""
        return self._stop(self._services[unit], "drift")

    def step_clock(self, host: str, offset_ms: int) -> int:
        return self._step(host, offset_ms - self._clocks[host].offset_ms)

    def is_heard(self, host: str) -> bool:
        """Whether the agent of the host can report."""
        return host not in self._silent and host not in self._down

    async def tell(self, host: str, check: str, target: str, observed: str) -> Response | None:
        """What the platform's edge answered to the agent's report; None if nobody did."""
        return await self._tell(host, check, target, observed)

    async def tell_boot(self, host: str) -> Response | None:
        """The agent says that its host has started."""
        self._world.record(f"agent:{host}", "boot.reported", host)
        return await self._send(host, "/api/agent/boots", {"host": host})

    # --- agents ------------------------------------------------------------------------------------------------------

    async def pull_silence(self, action: Action, note: NoteAction) -> None:
        """The lever hosts.silence: the agent dies, and is started again `for_ms` later."""
        host = action.entity
        self._silent.add(host)
        note(action, str(self._agent_is(host, "stopped", "crash")))
        await self._world.runtime.sleep_until(action.at + action.params["for_ms"])
        self._silent.discard(host)
        self._agent_is(host, "running", "command")

    def _agent_is(self, host: str, state: str, by: By) -> int:
        self._world.record(f"host:{host}", f"service.{state}", AGENT, by=by)
        return self._changes.note(self._world.runtime.now(), host, AGENT, state, by, 1)

    async def pull_report(self, action: Action, note: NoteAction) -> None:
        """The lever hosts.report: the agent reports a check that fails, and again while it does. Noted with the id of
        the incident that the platform makes of it."""
        runtime, (host, params) = self._world.runtime, (action.entity, action.params)
        noted: set[str] = set()
        for nth in range(params["reports"]):
            await runtime.sleep_until(action.at + nth * REPORT_EVERY_MIN * MINUTE_MS)
            answer = await self._tell(host, params["check"], params["target"], params["observed"])
            incident = str(answer.body["incident_id"]) if answer is not None and answer.status == 202 else ""
            if incident and incident not in noted:
                noted.add(incident)
                note(action, incident)

    # --- what comes in over the network ------------------------------------------------------------------------------

    @property
    def next_request(self) -> int:
        """The number that the next request will have in hosts.requests."""
        return self._requests.count + 1

    @property
    def next_change(self) -> int:
        """The number that the next change of state will have in hosts.services."""
        return self._changes.count + 1

    def run(self, host: str, command: str, args: Sequence[str], answered: bool) -> CommandResult:
        """Run a command that arrived. `answered`: whether the answer will reach who asked. Raises ConnectionFailed
        while the host is starting."""
        transport, _ = HOSTS[host]
        if host in self._down:
            self.refuse(host, command, args, "refused")
            raise ConnectionFailed(f"{host} is starting")
        asked = host_commands.asked(transport, command, args)
        verb, target = parse(transport, command, args)
        service = self._services.get(target)
        if service is not None and service.host != host:
            service = None
        number = self.next_request
        self._world.record(f"host:{host}", "host.command", f"request:{number}", command=command, args=list(args))
        if asked is not None:
            result = self.drifts.run(host, transport, asked)
        elif verb == "clock" or verb == "sync" or verb == "drift":
            result = self._clock(host, verb)
        else:
            result = self._execute(transport, verb, service, " ".join((command, *args)), target)
        self._note(host, command, args, "ran", result, answered)
        return result

    def fail(self, host: str, command: str, args: Sequence[str], error: str) -> CommandResult:
        """A command that arrived, ran, and did nothing but say `error`."""
        self._world.record(f"host:{host}", "host.failed", f"request:{self.next_request}", command=command, error=error)
        result = CommandResult(1, "", f"{command} : {error}\n")
        self._note(host, command, args, "ran", result, answered=True)
        return result

    def refuse(self, host: str, command: str, args: Sequence[str], outcome: str) -> None:
        """A connection that the host's stack turned away."""
        self._world.record(f"host:{host}", "host.refused", f"request:{self.next_request}", outcome=outcome)
        self._note(host, command, args, outcome, None, answered=False)

    def _note(
        self, host: str, command: str, args: Sequence[str], outcome: str, result: CommandResult | None, answered: bool
    ) -> None:
        self._requests.note(
            self._world.runtime.now(),
            host,
            HOSTS[host][0],
            command,
            json.dumps(list(args), separators=(",", ":")),
            outcome,
            result is not None,
            None if result is None else result.exit_code,
            answered,
        )

    # --- commands ----------------------------------------------------------------------------------------------------

    def _execute(
        self, transport: Transport, verb: Verb | None, service: _Service | None, line: str, target: str
    ) -> CommandResult:
        if verb is None:
            return host_shells.unknown_command(transport, line)
        if service is None:
            return host_shells.unknown_service(transport, line, target)
        if verb == "restart":
            self.restart(service.unit, "command")
        if verb == "stop" and service.running:
            self._stop(service, "command")
        if verb == "start" and not service.running:
            self._start(service, "command")
        return (
            host_shells.state(transport, service.unit, service.running) if verb == "query" else CommandResult(0, "", "")
        )

    def _clock(self, host: str, verb: Literal["clock", "sync", "drift"]) -> CommandResult:
        clock = self._clocks[host]
        if verb == "clock":
            return CommandResult(0, f"{(self._world.runtime.now() + clock.offset_ms) // 1_000}\n", "")
        if verb == "drift":
            return CommandResult(0, host_shells.offset(HOSTS[host][0], clock.offset_ms), "")
        clock.synced += 1
        if clock.offset_ms:
            self._step(host, -clock.offset_ms)
        if HOSTS[host][0] == "ssh":
            return CommandResult(0, "200 OK\n", "")
        lines = ("Sending resync command to local computer", "The command completed successfully.", "")
        return CommandResult(0, "\r\n".join(lines), "")

    # --- states ------------------------------------------------------------------------------------------------------

    def _start(self, service: _Service, by: By) -> None:
        service.incarnation = self._control.start(service.unit) if service.ours else service.incarnation + 1
        self._change(service, running=True, by=by)

    def _stop(self, service: _Service, by: By, *, reports_once: bool = False) -> int:
        if service.ours:
            self._control.kill(service.unit)
        row = self._change(service, running=False, by=by)
        spawn = self._world.runtime.spawn
        if by == "crash" and HOSTS[service.host][0] == "ssh":
            spawn(self._systemd(service, row), f"systemd {service.unit}")
        spawn(self._agent(service, row, reports_once), f"agent {service.unit}")
        return row

    def _change(self, service: _Service, running: bool, by: By) -> int:
        state = "running" if running else "stopped"
        service.running = running
        self._world.record(
            f"host:{service.host}", f"service.{state}", service.unit, by=by, incarnation=service.incarnation
        )
        service.change = self._changes.note(
            self._world.runtime.now(), service.host, service.unit, state, by, service.incarnation
        )
        self.drifts.told(service.host, f"{SERVICE}{service.unit}", state, running, by)
        return service.change

    async def _systemd(self, service: _Service, stop: int) -> None:
        runtime = self._world.runtime
        await runtime.sleep_until(runtime.now() + SYSTEMD_RESTART_MS)
        if service.change == stop:
            self._start(service, "systemd")

    async def _agent(self, service: _Service, stop: int, reports_once: bool) -> None:
        """Report at the next whole minute that `service` is stopped, again while it is; sooner if nobody took it."""
        runtime = self._world.runtime
        minute = runtime.now() // MINUTE_MS + 1
        while True:
            await runtime.sleep_until(minute * MINUTE_MS)
            if service.change != stop:
                return
            taken = await self._report(service)
            if reports_once and taken:
                return
            minute += REPORT_EVERY_MIN if taken else 1

    async def _report(self, service: _Service) -> bool:
        """Whether somebody at the platform's edge took the report."""
        if not self.is_heard(service.host):
            return False
        answer = await self._tell(service.host, "service_running", service.unit, "stopped")
        return answer is not None and answer.status < 500

    async def _tell(self, host: str, check: str, target: str, observed: str) -> Response | None:
        """What the platform's edge answered to the report; None if nobody did."""
        self._world.record(f"agent:{host}", "incident.reported", target, check=check, observed=observed)
        body = {"host": host, "check": check, "target": target, "observed": observed}
        return await self._send(host, "/api/agent/incidents", body)

    async def _send(self, host: str, path: str, body: Mapping[str, str]) -> Response | None:
        world = self._world
        headers = {"Authorization": f"Bearer {self._agent_token(host)}"}
        sending = world.call(self._post(Request("POST", path, headers, body)), f"agent post {host}")
        try:
            return await world.runtime.deadline(sending, REPORT_WITHIN_MS)
        except PortError:
            return None

    async def _post(self, request: Request) -> Response:
        return await self._world.edge.request(request)
