"""Commands on copies of a run root, each in a child that kills itself (SIGKILL) at a chosen call of Python's.

As a script, `killed_commands.py COMMAND TEMPLATE BASE POINTS SEED` makes a copy of TEMPLATE for each point under BASE
and prints, a line each, the point and the signal that ended the child (0: it was done before). A third of the points
lie anywhere, the others before calls of the system that change something: those are what a kill can fall between.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from absence.cli import cli
from tests.support.command import ROOT

COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prune": (("runs", "prune"), ("--keep-last", "1", "--yes")),
    "gate": (("gate",), ("--policy", str(ROOT / "tests/support/tiny_policy.yaml"))),
}
"""Each with what stands before and after the root in its command line."""


def arguments(name: str, root: Path) -> tuple[str, ...]:
    before, after = COMMANDS[name]
    return (*before, str(root), *after)


def killed(name: str, template: Path, base: Path, points: int, seed: int) -> dict[Path, int]:
    """The roots that the kills left, each with the signal that ended its command."""
    script = Path(__file__)
    command = [sys.executable, str(script), name, str(template), str(base), str(points), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=600, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {base / f"point-{point}": int(by) for point, by in lines}


CHANGES = {
    os.open, os.close, os.write, os.fsync, os.rename, os.unlink, os.rmdir, os.mkdir, fcntl.flock,
}  # fmt: skip


def dying(act: Callable[[], Any], at_call: int = 0, at_change: int = 0) -> tuple[int, int]:
    """Do it, but die at a call, or before a call that changes something. Returns how many there were."""
    calls, changes = 0, 0

    def count(_: FrameType, event: str, argument: Any) -> None:
        nonlocal calls, changes
        if event == "call":
            calls += 1
        elif event == "c_call":
            calls += 1
            if argument.__module__ in ("posix", "fcntl") and argument in CHANGES:
                changes += 1
                if changes == at_change:
                    os.kill(os.getpid(), signal.SIGKILL)
        if calls == at_call:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls, changes


def in_child(act: Callable[[], Any], **point: int) -> int:
    """Have a child do it and die there; the signal that ended it, or 0."""
    child = os.fork()
    if not child:
        try:
            dying(act, **point)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _succeed(command: list[str]) -> None:
    try:
        cli.main(command, standalone_mode=False)
    except SystemExit as ended:
        if ended.code != 0:
            raise


def main(name: str, template: Path, base: Path, points: int, seed: int) -> None:
    silent, told = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(silent, 1)
    os.dup2(silent, 2)

    def on(root: Path) -> Callable[[], Any]:
        shutil.copytree(template, root)
        return lambda: _succeed(list(arguments(name, root)))

    dying(on(base / "warm-up"))
    calls, changes = dying(on(base / "whole"))
    random = Random(seed)
    third = points // 3
    chosen = [{"at_call": random.randrange(1, calls)} for _ in range(third)]
    chosen += [{"at_change": 1 + random.randrange(changes)} for _ in range(points - third)]
    for number, point in enumerate(chosen):
        by = in_child(on(base / f"point-{number}"), **point)
        os.write(told, f"{number} {by}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
