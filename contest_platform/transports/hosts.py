"""The way to the hosts: WinRM to Windows, SSH to Linux, put together from the lower ports.

Invariant: every command ends within `timeout_ms`, in a result or in an error that says whether it may have run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from hashlib import sha256

from contest_platform.ports import CommandResult, ConnectionFailed, Ids, Runtime, Ssh, Wsman
from contest_platform.transports import lines
from contest_platform.transports.winrm import WinRM

MARGIN_MS = 500
"""So much earlier than a caller with the same patience do we give up: it learns from us what may have become of it."""


class HostTransports:
    """The HostTransport port. `hosts`: the fleet, host -> operating system, windows or linux."""

    def __init__(
        self, *, wsman: Wsman, ssh: Ssh, runtime: Runtime, ids: Ids, hosts: Mapping[str, str], timeout_ms: int
    ) -> None:
        self._ssh, self._runtime, self._ids, self._hosts = ssh, runtime, ids, hosts
        self._budget_ms = timeout_ms - MARGIN_MS
        self._winrm = WinRM(wsman, runtime, self._message_id, self._budget_ms)

    def run(self, *, host: str, command: str, args: Sequence[str]) -> Awaitable[CommandResult]:
        """Raises ConnectionFailed, DeadlineExceeded, ConnectionLost and HostError; see WinRM.run."""
        return self._run(host, command, args)

    async def _run(self, host: str, command: str, args: Sequence[str]) -> CommandResult:
        system = self._hosts.get(host)
        if system is None:
            raise ConnectionFailed(f"no host is called {host}")
        if system == "windows":
            return await self._winrm.run(host, command, args)
        executing = self._ssh.exec(host=host, line=lines.posix(command, args))
        return await self._runtime.deadline(executing, self._budget_ms)

    def _message_id(self) -> str:
        """A UUID in the form that Windows writes it in (MS-WSMV 2.2.4.40 wants a uuid: URI)."""
        digits = sha256(self._ids.new("message").encode()).hexdigest().upper()
        return f"uuid:{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
