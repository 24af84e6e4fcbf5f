"""The two shells, as far as they are used for services and clocks: what a command line would do, and what it prints.

Invariant: it says and does what PowerShell and systemctl would; what neither knows is an error in their words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from contest_platform.ports import CommandResult
from simulator.actors import host_commands
from simulator.actors.fleet import Transport

Verb = Literal["query", "start", "stop", "restart", "clock", "sync", "drift", "set", "load", "boot"]

_VERBS: dict[tuple[Transport, str], Verb] = {
    ("winrm", "Get-Service"): "query",
    ("winrm", "Start-Service"): "start",
    ("winrm", "Stop-Service"): "stop",
    ("winrm", "Restart-Service"): "restart",
    ("ssh", "systemctl is-active"): "query",
    ("ssh", "systemctl start"): "start",
    ("ssh", "systemctl stop"): "stop",
    ("ssh", "systemctl restart"): "restart",
}

_OF_THE_CLOCK: dict[tuple[Transport, str], Verb] = {
    ("winrm", "[DateTimeOffset]::UtcNow.ToUnixTimeSeconds()"): "clock",
    ("winrm", "w32tm /resync"): "sync",
    ("winrm", "w32tm /stripchart /computer:time.windows.com /samples:1 /dataonly"): "drift",
    ("ssh", "date +%s"): "clock",
    ("ssh", "chronyc makestep"): "sync",
    ("ssh", "chronyc tracking"): "drift",
}


def parse(transport: Transport, command: str, args: Sequence[str]) -> tuple[Verb | None, str]:
    """What a command line would do, and to which service; (None, …) if the host knows no such command."""
    words = [command, *args]
    asked = host_commands.asked(transport, command, args)
    if asked is not None:
        return asked.line.does, asked.line.setting
    of_the_clock = _OF_THE_CLOCK.get((transport, " ".join(words)))
    if of_the_clock is not None:
        return of_the_clock, ""
    if transport == "ssh":
        words = [" ".join(words[:2]), *words[2:]]
    verb = _VERBS.get((transport, words[0]))
    target = words[1].removesuffix(".service") if len(words) == 2 else ""
    return (verb if target else None), target


def offset(transport: Transport, offset_ms: int) -> str:
    """How far the clock is off, as its time service tells it: seconds to add (w32tm), or ahead of NTP (chronyc)."""
    whole, rest = divmod(abs(offset_ms), 1_000)
    if transport == "winrm":
        sign = "-" if offset_ms > 0 else "+"
        return f"Collecting 1 samples.\r\n{sign}{whole:02}.{rest:03}0000s\r\n"
    way = "fast" if offset_ms > 0 else "slow"
    return f"Stratum         : 3\nSystem time     : {whole}.{rest:03}000000 seconds {way} of NTP time\n"


def state(transport: Transport, unit: str, running: bool) -> CommandResult:
    if transport == "ssh":
        return CommandResult(0, "active\n", "") if running else CommandResult(3, "inactive\n", "")
    state = "Running" if running else "Stopped"
    lines = ("", "Status   Name               DisplayName", "------   ----               -----------")
    return CommandResult(0, "\r\n".join((*lines, f"{state:<8} {unit:<18} {unit}", "", "")), "")


def unknown_service(transport: Transport, line: str, target: str) -> CommandResult:
    words = line.split()
    if transport == "winrm":
        return CommandResult(1, "", f"{words[0]} : Cannot find any service with service name '{target}'.\r\n")
    if words[1] == "is-active":
        return CommandResult(4, "inactive\n", "")
    return CommandResult(5, "", f"Failed to {words[1]} {target}.service: Unit {target}.service not found.\n")


def unknown_command(transport: Transport, line: str) -> CommandResult:
    if transport == "winrm":
        return CommandResult(1, "", f"{line} : The term is not recognized as a cmdlet with one service name.\r\n")
    return CommandResult(127, "", f"bash: {line}: command not found\n")
