"""log.jsonl: when a run was made and what took how long, as JSON lines that are no part of its identity.

Every line has `run`, `phase`, `stage` and `at` (real time, UTC). A phase ends in a line `end` with its seconds of wall
clock, its seconds of processor time and the code it came to; that of publishing only begins here, for what it publishes
is sealed. docs/baseline.md lists the fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import absence
from absence.errors import code_of
from simulator.lanes import Lanes

PHASES = ("plan", "simulate", "seal", "judge", "report", "publish")


@dataclass(slots=True)
class Stage:
    """One phase as it was: `at` its end (s since the epoch), and the code that the command would end in for it."""

    name: str
    seconds: float = 0.0
    cpu_s: float = 0.0
    at: float = 0.0
    rc: int = 0


@dataclass(slots=True)
class Stages:
    """The phases of a run as they are measured, and the lanes of its simulation."""

    started: float = field(default_factory=time.time)
    ended: list[Stage] = field(default_factory=list)
    lanes: Lanes = field(default_factory=Lanes)

    @contextmanager
    def measure(self, phase: str) -> Iterator[Stage]:
        """Measure a phase. Whoever does its work may set `rc`; an error sets it to the code that it will end in."""
        stage = Stage(phase)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield stage
        except BaseException as error:
            stage.rc = code_of(error)
            raise
        finally:
            stage.seconds, stage.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            stage.at = time.time()
            self.ended.append(stage)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by phase."""
        return {stage.name: stage.seconds for stage in self.ended}

    def log(self, run: str) -> bytes:
        """The lines so far, those of the run named `run`."""
        lines = [_line(run, "run", "begin", self.started, version=absence.__version__)]
        for stage in self.ended:
            if stage.name == "simulate":
                lines += self._simulation(run, stage.at)
            measured = {"seconds": round(stage.seconds, 6), "cpu_s": round(stage.cpu_s, 6), "rc": stage.rc}
            lines.append(_line(run, stage.name, "end", stage.at, **measured))
        lines.append(_line(run, "publish", "begin", time.time()))
        return "".join(lines).encode()

    def _simulation(self, run: str, ended: float) -> Iterator[str]:
        for mark in self.lanes.marks:
            yield _line(
                run, "simulate", "day", mark.at,
                day=mark.day, simulated_at=_utc(mark.simulated_at / 1000), seconds=round(mark.seconds, 6),
                events=mark.events,
            )  # fmt: skip
        for lane in self.lanes:
            measured: dict[str, Any] = {"seconds": round(lane.seconds, 6), "resumptions": lane.resumptions}
            yield _line(run, "simulate", "lane", ended, lane=lane.name, **measured)


def _line(run: str, phase: str, stage: str, at: float, **facts: Any) -> str:
    return json.dumps({"run": run, "phase": phase, "stage": stage, "at": _utc(at), **facts}) + "\n"


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
