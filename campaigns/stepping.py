"""What runs on either side of a lockstep: one scenario, its journal line by line on standard output.

Started as `main(SCENARIO, SEED, PLACE, SKEWED)` in a process of its own: see `lockstep`. The run directory is left
under PLACE, its plan from the beginning, for whoever wants to see the books.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO

SKEW_S = 400 * 86_400
"""The clock of the machine is so far ahead in one of the two, as far as Python's `time` tells it: two processes that
run side by side would agree on the day, and mostly on the second."""
BALLAST = 200_000
"""Objects that one of the two holds from the beginning, so that whatever it makes lies elsewhere."""
NAME = "run"


def main(scenario: str, seed: str, place: str, skewed: str) -> None:
    ballast = _skew() if skewed == "skewed" else []
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 13)
    sys.stdout = sys.stderr  # the pipe is the journal's
    with out:
        _run(scenario, int(seed), Path(place), out)
    del ballast


def _skew() -> list[object]:
    real_ns = time.time_ns
    time.time_ns = lambda: real_ns() + SKEW_S * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9
    return [object() for _ in range(BALLAST)]


class _Both:
    """A journal stream that is kept and told."""

    def __init__(self, kept: IO[bytes], told: IO[bytes]) -> None:
        self._kept, self._told = kept, told

    def write(self, line: bytes) -> None:
        self._kept.write(line)
        self._told.write(line)


def _run(scenario: str, seed: int, place: Path, out: IO[bytes]) -> None:
    from campaigns.simulating import simulate_into
    from evidence import manifest
    from evidence.journal import JournalWriter
    from evidence.layout import PLAN
    from evidence.writer import RunWriter
    from scenarios import load, make_plan
    from simulator.operations import ROOT, operations_of

    plan = make_plan(load(scenario), seed)
    (place / PLAN).write_bytes(plan.canonical())
    with RunWriter(place, NAME) as writer:
        journal = JournalWriter(_Both(writer.journal, out))  # type: ignore[arg-type]
        code = {"code": manifest.code_sha256([ROOT / "contest_platform"])}
        simulate_into(writer, plan, operations_of(plan), code, journal=journal)
        writer.publish()
