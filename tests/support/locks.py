"""Locks as they are found: of an owner that is somebody else, or was."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evidence import atomic
from evidence.lock import LOCK, Owner, candidate


def owner(**changed: Any) -> Owner:
    """This process as an owner, but for what is changed."""
    return replace(candidate("absence run nightly", "the nightly run", 600), **changed)


def lock(root: Path, **changed: Any) -> Owner:
    """Leave the lock of such an owner in `root`."""
    ours = owner(**changed)
    atomic.write_json(root / LOCK, asdict(ours))
    return ours


def ago(seconds: int) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def dead_pid() -> int:
    """The number of a process that has ended, and been waited for."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def zombie() -> int:
    """The number of a child that has ended, and for which nobody has waited; do so with os.waitpid."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid
