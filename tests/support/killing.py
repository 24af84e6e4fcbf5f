"""Kills a running `absence run` at a chosen instant, and says what it left behind."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from evidence.verify import verify
from evidence.writer import STAGING_PREFIX
from tests.support.command import runs_in, start

_POLL_S = 0.002
RECOVER = ("--force-lock-break", "--reason", "the run before was killed")
"""What a command needs after one that was killed while it held the lock; without such a lock it changes nothing."""


@dataclass(frozen=True)
class Stopped:
    """How a process ended. `written_s`: how long it had been writing its run when it did."""

    returncode: int
    stdout: str
    stderr: str
    written_s: float


def stop(
    out: Path, after_s: float | None, by: signal.Signals = signal.SIGKILL, scenario: str = "small", *options: str
) -> Stopped:
    """Run `scenario` into `out` and send `by` so long after it began to write (None: let it end)."""
    left = set(out.glob(f"{STAGING_PREFIX}*"))
    process = start("run", scenario, "--out", out, *RECOVER, *options)
    while process.poll() is None and not set(out.glob(f"{STAGING_PREFIX}*")) - left:
        time.sleep(_POLL_S)
    begun = time.monotonic()
    while process.poll() is None and (after_s is None or time.monotonic() - begun < after_s):
        time.sleep(_POLL_S)
    written_s = time.monotonic() - begun
    if process.poll() is None:
        process.send_signal(by)
    stdout, stderr = process.communicate(timeout=300)
    return Stopped(process.returncode, stdout, stderr, written_s)


def half_written(out: Path) -> list[Path]:
    """Run directories in `out` that are not whole. What a dead writer was still staging is no run directory."""
    return [path for path in runs_in(out) if path.is_dir() and not path.name.startswith(".") and verify(path)]
