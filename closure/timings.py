"""What a run took: log.jsonl as figures, and the gate of each lane against a baseline.

Invariant: a lane that was not timed is never taken for a quick one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closure.decision import Figure
from closure.rails import Runtime, Target
from evidence.layout import LOG

SIMULATE = "simulate"


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds by lane, and the return code of each phase. The wall's clock is shared out among the parts of the
    simulation; in processor time they have the same shares of it."""

    wall_s: Mapping[str, float]
    cpu_s: Mapping[str, float]
    rc: Mapping[str, int]


def read(run_dir: Path) -> Timings:
    """Of lines that are not of this kind (older logs have others) nothing is taken."""
    path = run_dir / LOG
    lines = list(_lines(path.read_text())) if path.is_file() else []
    ends = {line["phase"]: line for line in lines if line.get("stage") == "end"}
    lanes = {f"{line['phase']}/{line['lane']}": line["seconds"] for line in lines if line.get("stage") == "lane"}
    wall_s = {phase: line["seconds"] for phase, line in ends.items()}
    cpu_s = {phase: line["cpu_s"] for phase, line in ends.items()}
    whole_s = wall_s.get(SIMULATE, 0.0)
    share = cpu_s[SIMULATE] / whole_s if whole_s else 0.0
    return Timings(
        {**wall_s, **lanes},
        {**cpu_s, **{lane: seconds * share for lane, seconds in lanes.items()}},
        {phase: line["rc"] for phase, line in ends.items()},
    )


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for raw in text.splitlines():
        line = json.loads(raw)
        if "phase" in line:
            yield line


def gate(candidate: Timings, baseline: Timings, rails: Runtime) -> Iterator[Figure]:
    """A figure for each lane of either run, in the order of their names."""
    now, then = (one.cpu_s if rails.clock == "cpu" else one.wall_s for one in (candidate, baseline))
    targets = {target.lane: target for target in rails.targets}
    for lane in sorted({*now, *then, *targets} - set(rails.ignore)):
        yield _figure(lane, now.get(lane), then.get(lane), rails, targets.get(lane), bool(now))


def _figure(
    lane: str, now: float | None, then: float | None, rails: Runtime, target: Target | None, is_timed: bool
) -> Figure:
    id = f"runtime.{lane}"
    was, is_now = (None if seconds is None else round(seconds, 3) for seconds in (then, now))
    if now is None and (target is not None or "/" not in lane or not is_timed):
        return Figure(id, was, is_now, "has to be timed", False)
    now = now or 0.0  # a part of the simulation that had nothing to do
    if target is not None:
        gates = []
        if target.at_most_s is not None:
            gates.append((target.at_most_s, f"at most {target.at_most_s:g} s"))
        if target.reduced_by_percent is not None and then is not None:
            limit_s = then * (1 - target.reduced_by_percent / 100)
            gates.append((limit_s, f"at most {limit_s:.3f} s, {target.reduced_by_percent:g} % less than the baseline"))
        if not gates:
            return Figure(id, was, is_now, "the baseline has to be timed", False)
        return Figure(
            id, was, is_now, " or ".join(words for _, words in gates), any(now <= limit_s for limit_s, _ in gates)
        )
    if then is None and "/" not in lane:
        return Figure(id, was, is_now, "not timed in the baseline", True)
    then = then or 0.0
    limit_s = max(then * (1 + rails.slower_by_percent / 100), then + rails.slower_by_s)
    rail = f"at most {limit_s:.3f} s: {rails.slower_by_percent:g} % and {rails.slower_by_s:g} s slower"
    return Figure(id, was, is_now, rail, now <= limit_s)
