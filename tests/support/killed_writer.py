"""Writes small runs, each in a child that kills itself (SIGKILL) at a chosen call of the writer's code. Run as a script:
`killed_writer.py ROOT POINTS` takes a directory for each point under ROOT, and prints how many calls a whole run takes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pyarrow.parquet  # noqa: F401  (imported here, so that no kill point falls into an import)

from tests.support.runs import publish_small


def _publish_and_die(root: Path, at_call: int) -> int:
    """Calls made, if the run ends before `at_call`."""
    calls = 0

    def count(_: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls == at_call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    publish_small(root)
    sys.setprofile(None)
    return calls


def main(base: Path, points: int) -> None:
    publish_small(base / "warm-up")
    whole = _publish_and_die(base / "whole", at_call=-1)
    random = Random(2024)
    # Half of the points anywhere, half in the last calls, where manifest, flush and rename lie.
    chosen = sorted(random.sample(range(1, whole), points // 2) + random.sample(range(whole - 1500, whole), points // 2))
    for number, at_call in enumerate(chosen):
        child = os.fork()
        if not child:
            _publish_and_die(base / f"point-{number}", at_call)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(number, at_call, whole, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
