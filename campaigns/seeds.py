"""What one seed of a sweep comes to, worked out wherever there is a processor: in a process here, on a cluster there.

Invariant: a line says nothing of where it was made, but for how long it took: on the wall (`ms`), and of a
processor's time (`cpu_ms`).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from assertions.judge import discover
from assertions.model import REGISTRY
from campaigns.swarm import Planned, plan_of
from campaigns.trial import Fingerprint, try_plan
from evidence import manifest
from evidence.plan import Plan
from scenarios.model import Scenario
from simulator.operations import ROOT, Operations, operations_of
from simulator.run import PreflightFailed

Line = dict[str, Any]
"""What there is to say of a seed, as JSON: a row of the sweep's journal without its key."""
CRASHED = "the trial itself"
PREFLIGHT = "preflight"
LINE_MISSING_MAX = 20


class Inputs(NamedTuple):
    """What a sweep depends on beside scenario and code, as hashes: the plan of its first seed, which holds what its
    recorded feeds say, and the runbooks and alert rules of a scenario that has operations."""

    first_plan: str
    operations: str


@dataclass(frozen=True, slots=True)
class Work:
    """What every worker of a sweep is given: `code` is the fingerprint of the packages (directories of the project)
    that it has to run, `inputs` what it has to find on its disk for the seed `first`."""

    scenario: Scenario
    swarm: bool
    code: str
    packages: tuple[str, ...]
    first: int
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Task:
    """`seed`: a trial of it; `again`: once more, to be compared, in another process than `elsewhere`; `past`: the
    plan of a capsule of the corpus, with the runbooks and rules that are kept with it."""

    kind: Literal["seed", "again", "past"]
    key: str
    plan_json: bytes = b""
    operations: Operations | None = None
    elsewhere: str = ""


class CodeDiffers(Exception):
    """A worker runs other code than the sweep, or has other inputs: what it would find out is about something else."""

    def __init__(self, what: str, theirs: str, ours: str) -> None:
        super().__init__(what, theirs, ours)
        self.what, self.theirs, self.ours = what, theirs, ours

    def __str__(self) -> str:
        return f"a worker {self.what} {self.theirs[:12]}…, the sweep {self.ours[:12]}…"


def inputs_of(scenario: Scenario, first: int, swarm: bool) -> Inputs:
    """Those that this process finds. Raises ScenarioInvalid, RunbooksInvalid, RulesInvalid."""
    plan = plan_of(scenario, first, swarm).plan
    return Inputs(plan.sha256(), operations_of(plan).sha256)


_FOUND: set[Inputs] = set()
"""Those that this process was found to have: on a cluster it is asked before each seed."""


def check(work: Work) -> None:
    """Raises CodeDiffers, and what `inputs_of` does."""
    code = _code(work.packages)
    if code != work.code:
        raise CodeDiffers("runs the code", code, work.code)
    if work.inputs in _FOUND:
        return
    theirs, ours = inputs_of(work.scenario, work.first, work.swarm), work.inputs
    if theirs.operations != ours.operations:
        raise CodeDiffers("has the runbooks and alert rules", theirs.operations, ours.operations)
    if theirs != ours:
        raise CodeDiffers("makes of the first seed the plan", theirs.first_plan, ours.first_plan)
    _FOUND.add(ours)


@cache
def _code(packages: tuple[str, ...]) -> str:
    return manifest.code_sha256([ROOT / package for package in packages])


def perform(work: Work, task: Task) -> Line:
    """The line of a task. Never raises: a trial that crashes says so."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    try:
        planned = _planned(work, task)
        operations = operations_of(planned.plan) if task.operations is None else task.operations
        line = _tried(planned, operations, work.code)
    except PreflightFailed as error:
        line = _failed_before(error)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}:{last.lineno})"
        line = {**NOTHING, "status": "INCONCLUSIVE", "missing": [[CRASHED, told]]}
    ms, cpu_ms = time.perf_counter() - begun, time.process_time() - cpu_begun
    found: Line = json.loads(json.dumps({**line, "ms": round(ms * 1000), "cpu_ms": round(cpu_ms * 1000)}))
    return found


def _planned(work: Work, task: Task) -> Planned:
    if task.kind == "past":
        return Planned(Plan.model_validate_json(task.plan_json), ())
    return plan_of(work.scenario, int(task.key), work.swarm)


def _tried(planned: Planned, operations: Operations, code: str) -> Line:
    plan = planned.plan
    trial = try_plan(plan, operations, code)
    return {
        "status": trial.status,
        "digest": trial.digest,
        "first": trial.first,
        "fingerprints": trial.fingerprints,
        "missing": trial.missing[:LINE_MISSING_MAX],
        "exercised": as_bits(trial.exercised),
        "bitten": trial.bitten,
        "faults": len(plan.faults),
        "events": trial.events,
        "dropped": planned.dropped,
    }


NOTHING: Line = {
    "digest": "", "first": None, "fingerprints": [], "missing": [], "exercised": "0", "bitten": [], "faults": 0,
    "events": 0, "dropped": [],
}  # fmt: skip


def _failed_before(error: PreflightFailed) -> Line:
    """The checklist before the run is the platform's to pass."""
    found = [Fingerprint(PREFLIGHT, item.partition(":")[0]) for item in error.failures]
    return {**NOTHING, "status": "FAIL", "first": found[0], "fingerprints": found}


# --- which assertions saw something, in a few digits ------------------------------------------------------------------


@cache
def assertion_ids() -> tuple[str, ...]:
    """All there are, sorted."""
    discover()
    return tuple(sorted(REGISTRY))


def as_bits(exercised: Sequence[str]) -> str:
    """Hexadecimal; bit k stands for the k-th of `assertion_ids`."""
    place = {id: 1 << k for k, id in enumerate(assertion_ids())}
    return f"{sum(place[id] for id in exercised):x}"


def from_bits(bits: str) -> tuple[str, ...]:
    number = int(bits, 16)
    return tuple(id for k, id in enumerate(assertion_ids()) if number >> k & 1)


def same_facts(one: Line, other: Line) -> bool:
    """Whether two trials of one seed came to the same, to the byte."""
    return all(one[name] == other[name] for name in ("digest", "status", "first", "fingerprints"))
