"""The clocks of the hosts: how far each is from the database's, and having one take the time from its source again.

Invariant: nothing is dated by a host's clock that matters; a wrong one makes jobs early or late, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contest_platform.errors import code_of
from contest_platform.ports import CommandResult, PortError, Ports
from contest_platform.service import Config, Refusal

TELL = {"linux": ("date", "+%s"), "windows": ("[DateTimeOffset]::UtcNow.ToUnixTimeSeconds()",)}
"""What prints the seconds since 1970."""
SYNC = {"linux": ("chronyc", "makestep"), "windows": ("w32tm", "/resync")}
"""What steps the clock to the time of its source at once; a right one it leaves as it is (docs of chrony, of w32tm)."""


class Reading(NamedTuple):
    """`ahead_s`: how far the host's clock is ahead of the database's; None when it did not tell, for what `problem`
    says. An answer is under way for a second or two, so less than that says nothing."""

    ahead_s: int | None
    problem: str | None


class HostClocks:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config

    async def read(self, host: str) -> Reading:
        try:
            result = await self._send(host, TELL[self._config.hosts[host]])
        except PortError as error:
            return Reading(None, code_of(error))
        told = result.stdout.strip()
        if not (told.isascii() and told.isdigit()):
            return Reading(None, f"exit {result.exit_code}")
        now = await self._ports.store.transact("hosts.clock", lambda tx: tx.now)
        return Reading(int(told) - now // 1000, None)

    async def sync(self, host: str) -> Refusal | None:
        """Have the host take the time. Raises PortError when it does not answer: whether it did is unknown then."""
        result = await self._send(host, SYNC[self._config.hosts[host]])
        return Refusal(409, f"{host} did not take the time: exit {result.exit_code}") if result.exit_code else None

    async def _send(self, host: str, line: Sequence[str]) -> CommandResult:
        command, *args = line
        call = self._ports.hosts.run(host=host, command=command, args=args)
        return await self._ports.runtime.deadline(call, self._config.host_timeout_ms)
