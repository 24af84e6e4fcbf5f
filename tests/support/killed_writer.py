"""Writes small runs, each in a child that kills itself (SIGKILL) at a chosen call of the writer's code.

As a script, `killed_writer.py ROOT POINTS` takes a directory for each point under ROOT and prints, a line each, the
point and the signal that ended the child.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pyarrow.parquet  # noqa: F401  (imported here, so that no kill point falls into an import)

from evidence.writer import RunWriter
from tests.support.runs import publish_small


def _publish_and_die(
    root: Path, at_call: int | None = None, in_publish: int | None = None, after_rename: int | None = None
) -> tuple[int, int]:
    """Publish, but die at a call counted from the start, at one counted from the call of `publish`, or at an event
    counted from the return of the rename (0).

    Returns how many calls were made in all and since `publish` was called, if it comes to that.
    """
    calls, since_publish, since_rename = 0, -1, -1

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls, since_publish, since_rename
        is_call = event in ("call", "c_call")
        calls += is_call
        if since_publish >= 0 or frame.f_code is RunWriter.publish.__code__:
            since_publish += is_call
        if since_rename >= 0 or (event == "c_return" and argument is os.rename):
            since_rename += 1
        if calls == at_call or since_publish == in_publish or since_rename == after_rename:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    publish_small(root)
    sys.setprofile(None)
    return calls, since_publish


def main(base: Path, points: int) -> None:
    publish_small(base / "warm-up")
    calls, in_publish = _publish_and_die(base / "whole")
    random = Random(2024)
    # A third of the points anywhere, a third in manifest and flush, a third from the rename on. Packing and the flush
    # wait for threads, so that calls are not counted exactly to the end.
    spans = {"at_call": range(1, calls - 500), "in_publish": range(1, in_publish - 500)}
    chosen = [{name: call} for name, span in spans.items() for call in sorted(random.sample(span, points // 3))]
    chosen += [{"after_rename": events} for events in range(points - len(chosen))]
    for number, point in enumerate(chosen):
        child = os.fork()
        if not child:
            _publish_and_die(base / f"point-{number}", **point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(number, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
