"""What has drifted on a host: settings that are not as they should be, agents that report them, and reboots.

Invariant: `hosts.drifts` holds every change of a setting, so a setting is right exactly when its last row says so. With
nothing wrong nothing is kept, and nothing ticks.
"""

from __future__ import annotations

from typing import Protocol

from contest_platform.http import Response
from contest_platform.ports import CommandResult
from seams.faults import Action
from simulator.actors.context import NoteAction, World
from simulator.actors.fleet import DATABASE, DATABASE_HOST, DNS, DOMAIN_CONTROLLER, FLEET, Transport
from simulator.actors.host_commands import Asked
from simulator.actors.host_settings import CLOCK, CLOCK_CHECK, REFRESH_MS, SERVICE, SETTINGS, check_of

MINUTE_MS = 60_000
REPORT_EVERY_MIN = 5
BOOTED_MS = 5_000
SHUTDOWN_MS = 5_000
"""From the command to restart, which is answered, until the host lets nobody in any more."""
FULL = 100
FORKS = 3
"""One in so many connections finds no room for its process, where the kernel allows too few."""


class Hosts(Protocol):
    """What of the hosts beside their settings is needed here."""

    def stop_service(self, unit: str) -> int: ...

    def step_clock(self, host: str, offset_ms: int) -> int: ...

    def is_running(self, unit: str) -> bool: ...

    def reboot(self, host: str) -> None: ...

    def is_heard(self, host: str) -> bool: ...

    async def tell(self, host: str, check: str, target: str, observed: str) -> Response | None: ...

    async def tell_boot(self, host: str) -> Response | None: ...


class Drifts:
    def __init__(self, world: World, hosts: Hosts) -> None:
        self._world, self._hosts = world, hosts
        self._book = world.books["hosts.drifts"]
        self._wrong: dict[tuple[str, str], str] = {}
        """(host, setting) -> value, of settings that are not as they should be."""
        self._changed: dict[tuple[str, str], int] = {}
        """The row that says how a setting stands which has drifted once."""
        self._forks = 0

    # --- levers ------------------------------------------------------------------------------------------------------

    async def pull_drift(self, action: Action, note: NoteAction) -> None:
        """The lever hosts.drift. Noted with the row of each setting."""
        host = action.entity
        for setting, value in action.params["settings"].items():
            number = self._drift(host, setting, value)
            if number is not None:
                note(action, str(number))
        after_ms = action.params.get("reboot_after_ms", 0)
        if after_ms:
            await self._world.runtime.sleep_until(action.at + after_ms)
            self._hosts.reboot(host)

    def _drift(self, host: str, setting: str, value: str) -> int | None:
        if setting == CLOCK:
            self._changed[host, CLOCK] = 0
            self._hosts.step_clock(host, int(value))
        elif setting.startswith(SERVICE):
            if not self._hosts.is_running(setting.removeprefix(SERVICE)):
                return None
            self._changed[host, setting] = 0
            self._hosts.stop_service(setting.removeprefix(SERVICE))
        else:
            return self._put(host, setting, value, "drift")
        return self._changed[host, setting]

    async def pull_reboot(self, action: Action, note: NoteAction) -> None:
        """The lever hosts.reboot."""
        note(action, action.entity)
        self._hosts.reboot(action.entity)

    # --- settings ----------------------------------------------------------------------------------------------------

    def value(self, host: str, setting: str) -> str:
        return self._wrong.get((host, setting), SETTINGS[setting].good)

    def _put(self, host: str, setting: str, value: str, by: str) -> int | None:
        """Set it; the row, None if it was so already."""
        spec = SETTINGS[setting]
        if self.value(host, setting) == value:
            return None
        if value == spec.good:
            del self._wrong[host, setting]
        else:
            self._wrong[host, setting] = value
        number = self._note(host, setting, value, value == spec.good, by)
        if spec.check and value != spec.good:
            self._report(host, setting, spec.check, spec.target)
        if value == spec.good:
            self._feed_back(host, setting)
        return number

    def _note(self, host: str, setting: str, value: str, right: bool, by: str) -> int:
        self._world.record(f"host:{host}", "setting.changed", setting, value=value, right=right, by=by)
        number = self._book.note(
            self._world.runtime.now(),
            host,
            FLEET[host].os,
            setting,
            check_of(setting),
            value,
            "right" if right else "wrong",
            by,
        )
        self._changed[host, setting] = number
        return number

    def told(self, host: str, setting: str, value: str, right: bool, by: str) -> None:
        """A clock or a service has changed: on record here if it has drifted."""
        if (host, setting) not in self._changed:
            return
        self._note(host, setting, value, right, by)
        if setting == CLOCK and not right:
            self._report(host, CLOCK, CLOCK_CHECK, CLOCK)

    def _feed_back(self, host: str, setting: str) -> None:
        """Have the stored policy applied again, where it still says otherwise."""
        for source, spec in SETTINGS.items():
            if spec.feeds == setting and spec.when == "refresh" and (host, source) in self._wrong:
                self._world.runtime.spawn(self._refresh(host, source), f"policy {host} {source}")

    async def _refresh(self, host: str, source: str) -> None:
        runtime = self._world.runtime
        await runtime.sleep_until(runtime.now() + REFRESH_MS)
        self._put(host, SETTINGS[source].feeds, self.value(host, source), "policy")

    # --- commands ----------------------------------------------------------------------------------------------------

    def run(self, host: str, transport: Transport, asked: Asked) -> CommandResult:
        line = asked.line
        if line.does == "boot":
            self._world.runtime.spawn(self._shut_down(host), f"shutdown {host}")
            return CommandResult(0, "", "")
        if line.does == "set" and not self._ignored(host, line.setting):
            self._put(host, line.setting, asked.value, "command")
        if line.does == "load":
            self._put(host, SETTINGS[line.setting].feeds, self.value(host, line.setting), "command")
        value = self.value(host, line.setting)
        return CommandResult(line.exits(value), line.prints(value), "")

    async def _shut_down(self, host: str) -> None:
        await self._world.runtime.sleep_until(self._world.runtime.now() + SHUTDOWN_MS)
        self._hosts.reboot(host)

    def _ignored(self, host: str, setting: str) -> bool:
        """Whether the host lets nobody set it: with tamper protection on, a change of Defender is dropped unsaid
        (learn.microsoft.com, Microsoft Defender: tamper protection)."""
        return setting == "defender.realtime" and (host, "defender.tamper") in self._wrong

    # --- reboots -----------------------------------------------------------------------------------------------------

    def booted(self, host: str) -> None:
        """The host comes up: settings take what they are fed from, and its agent tells of the start."""
        for source, spec in SETTINGS.items():
            if spec.feeds and spec.when == "boot" and spec.transport == FLEET[host].transport:
                self._put(host, spec.feeds, self.value(host, source), "boot")
        self._world.runtime.spawn(self._tell_boot(host), f"agent {host} boot")

    async def _tell_boot(self, host: str) -> None:
        """Once, and each minute while nobody takes it; who does not run tells nobody."""
        told, wait_ms = None, BOOTED_MS
        while told is None or told.status >= 500:
            await self._world.runtime.sleep_until(self._world.runtime.now() + wait_ms)
            if not self._hosts.is_heard(host):
                return
            told, wait_ms = await self._hosts.tell_boot(host), MINUTE_MS

    # --- agents ------------------------------------------------------------------------------------------------------

    def _report(self, host: str, setting: str, check: str, target: str) -> None:
        since = self._changed[host, setting]
        self._world.runtime.spawn(self._agent(host, setting, check, target, since), f"agent {host} {setting}")

    async def _agent(self, host: str, setting: str, check: str, target: str, since: int) -> None:
        """Report at the next whole minute, and every five while it lasts; each minute while nobody takes it."""
        runtime = self._world.runtime
        minute = runtime.now() // MINUTE_MS + 1
        while True:
            await runtime.sleep_until(minute * MINUTE_MS)
            if self._changed[host, setting] != since:
                return
            observed = "off" if setting == CLOCK else self.value(host, setting)
            answer = await self._hosts.tell(host, check, target, observed) if self._hosts.is_heard(host) else None
            minute += REPORT_EVERY_MIN if answer is not None and answer.status < 500 else 1

    # --- what it does to the platform --------------------------------------------------------------------------------

    def resolves(self, host: str) -> bool:
        """Whether a name outside can be looked up from `host`: those that run Windows ask the domain controller."""
        if FLEET[host].transport != "winrm":
            return True
        return (DOMAIN_CONTROLLER, "dns.client") not in self._wrong and self._hosts.is_running(DNS)

    def refuses(self, host: str, operation: str) -> str:
        """Why a process on `host` gets no connection to the database now; "" if it does."""
        if int(self.value(host, "disk.C" if FLEET[host].transport == "winrm" else "disk.var")) >= FULL:
            return "no space left on device"
        if not self._hosts.is_running(DATABASE):
            return "connection refused"
        if (DATABASE_HOST, "sysctl.threads") in self._wrong:
            self._forks += 1
            if self._world.draws.below(FORKS, "hosts.fork", operation, str(self._forks)) == 0:
                return "could not fork new process for connection: Resource temporarily unavailable"
        return ""
