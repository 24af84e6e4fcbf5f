"""Which process a number means: of this boot of the machine, in this space of numbers, started at this instant.

What the system does not say is "", and equal to itself: a lock is never taken for stale for want of knowledge.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = "/proc/self/ns/pid"
_DEAD = "ZX"
"""A zombie does nothing any more: only its parent has not asked yet how it ended."""


@cache
def boot_id() -> str:
    """Of this run of the machine's kernel."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return _asked("sysctl", "-n", "kern.bootsessionuuid")  # macOS


@cache
def pid_space() -> str:
    """The numbers of processes mean something within it only; every container has one of its own."""
    try:
        return os.readlink(_PID_SPACE)
    except OSError:
        return ""


def started(pid: int) -> str | None:
    """When a process was started, in the system's own words; "" if it will not say. None: there is no such process."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # somebody else's
    state, start = _from_proc(pid) if _BOOT.exists() else _from_ps(pid)
    return None if state and state in _DEAD else start


def _from_proc(pid: int) -> tuple[str, str]:
    """proc(5): after the name, in parentheses that it may hold itself, the state, and 19 fields on the start."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def _from_ps(pid: int) -> tuple[str, str]:
    state, _, start = _asked("ps", "-o", "state=", "-o", "lstart=", "-p", str(pid)).partition(" ")
    return state[:1], " ".join(start.split())


def _asked(*command: str) -> str:
    try:
        return subprocess.run(
            command, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"}, capture_output=True, text=True
        ).stdout.strip()
    except OSError:
        return ""
