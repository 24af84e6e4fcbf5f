"""Capsules: a failure as data, `plan.json` and `capsule.json`, that is replayed on whatever code there is by then.

Documents that are kept beside them (`runbooks/`, `alerts/`) are in force; else those that are shipped by then.
Invariant: a capsule's failure is come back when its first broken promise has the recorded fingerprint, and no other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assertions.judge import Verdict
from campaigns.lenient import read_leniently, read_plan
from campaigns.scratch import run_in_scratch
from campaigns.trial import Fingerprint, Trial, kind_of, summed_up
from campaigns.waiting import waited_for
from defects import UnknownDefect, defect
from defects.planting import StaleEdit, planted, planted_here
from evidence import atomic
from evidence.halts import halt_of
from evidence.layout import JOURNAL, MANIFEST, PLAN, VERDICT
from evidence.plan import Plan
from evidence.run import Evidence
from simulator.operations import Operations, kept_in
from simulator.run import PreflightFailed, Progress

CAPSULE = "capsule.json"
_BITES = "recovery.every_fault_bit"
_START = "import sys; sys.path[:0] = sys.argv[1:2]; from campaigns.capsules import main; main(*sys.argv[2:])"


class CapsuleInvalid(Exception):
    """What stands there is no capsule. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Capsule:
    """`fingerprint`: of the first broken promise, None of a run that broke none. `defect`: what has to be planted for
    it to fail, None: it fails, or failed, as the code is. `plan_json` is plan.json as it stands."""

    fingerprint: Fingerprint | None
    scenario: str
    seed: int
    plan_json: bytes
    defect: str | None = None
    note: str = ""

    @classmethod
    def of(cls, plan: Plan, fingerprint: Fingerprint | None, defect: str | None = None, note: str = "") -> Capsule:
        return cls(fingerprint, plan.scenario, plan.seed, plan.canonical(), defect, note)

    @property
    def plan(self) -> Plan:
        """Raises PlanUnreadable."""
        return read_plan(self.plan_json)


@dataclass(frozen=True, slots=True)
class Silent:
    """A fault of the plan that its victim's own book does not show. `why`: it never acted (what it was bound to does
    not happen any more), or it acted and did not bite."""

    id: str
    fault: str
    seam: str
    operation: str
    entity: str | None
    occurrence: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a capsule came to on today's code. `statuses`: of every assertion by its id. `left_out`: what today's code
    does not know of the plan, or of the defect."""

    reproduced: bool
    trial: Trial
    silent: tuple[Silent, ...]
    statuses: Mapping[str, str]
    left_out: tuple[str, ...] = field(default=())


def read(path: Path) -> Capsule:
    """The capsule in the directory `path`. Raises CapsuleInvalid; the plan is read once it is asked for."""
    try:
        stated = json.loads((path / CAPSULE).read_bytes())
        named, planted_id = stated["fingerprint"], stated.get("defect")
        return Capsule(
            None if named is None else Fingerprint(*map(str, named)),
            str(stated["scenario"]), int(stated["seed"]), (path / PLAN).read_bytes(),
            None if planted_id is None else str(planted_id), str(stated.get("note", "")),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise CapsuleInvalid(f"{path} is no capsule: it holds no {Path(error.filename).name}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CapsuleInvalid(f"{path / CAPSULE}: {error}") from None
    except KeyError as error:
        raise CapsuleInvalid(f"{path / CAPSULE} does not say {error.args[0]!r}") from None


def of_run(run_dir: Path) -> Capsule:
    """A run as a capsule, of whatever version it is. Raises CapsuleInvalid."""
    expect_whole(run_dir)
    try:
        first = _stated(run_dir, VERDICT)["first_broken"]
        planted_id = _stated(run_dir, MANIFEST).get("fingerprints", {}).get("defect")
        plan_json = (run_dir / PLAN).read_bytes()
        plan = json.loads(plan_json)
        broken = None if first is None else Fingerprint(first["assertion"], kind_of(first["subject"]))
        return Capsule(broken, str(plan["scenario"]), int(plan["seed"]), plan_json, planted_id, f"run {run_dir.name}")
    except OSError as error:
        raise CapsuleInvalid(f"{run_dir} cannot be replayed: it holds no {Path(error.filename).name}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CapsuleInvalid(f"{run_dir} cannot be replayed: {type(error).__name__}: {error}") from None


def expect_whole(run_dir: Path) -> None:
    """Raises CapsuleInvalid for a run that the anomaly guard has ended: of it fewer promises are judged than of the run
    to its end, and another may be the first that breaks."""
    try:
        halted = halt_of(run_dir / JOURNAL)
    except OSError:
        return  # what is missing is told by who needs it
    if halted is not None:
        raise CapsuleInvalid(
            f"{run_dir} was ended early by --halt-on-anomaly, and judged by the promises that stand then. Run its plan "
            f"to the end, and take that: absence run --plan {run_dir / PLAN}"
        )


def recorded_statuses(run_dir: Path) -> dict[str, str]:
    """Of every assertion by its id, as a run was judged; none where it was not. Raises CapsuleInvalid."""
    if not (run_dir / VERDICT).exists():
        return {}
    try:
        return {result["id"]: result["status"] for result in _stated(run_dir, VERDICT)["results"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CapsuleInvalid(f"{run_dir / VERDICT} is no verdict: {type(error).__name__}: {error}") from None


def _stated(run_dir: Path, name: str) -> Any:
    return json.loads((run_dir / name).read_bytes())


def documents_in(path: Path) -> Operations | None:
    """The runbooks and rules that are kept in the directory `path`; None: there are none. Raises RunbooksInvalid and
    RulesInvalid where today's code cannot read them."""
    operations = kept_in(Evidence(path))
    return operations if operations.documents else None


def write(path: Path, capsule: Capsule, operations: Operations | None = None) -> None:
    """Write the capsule into the directory `path`, which is made if need be, and the documents of `operations` beside
    it."""
    path.mkdir(parents=True, exist_ok=True)
    stated = {
        "fingerprint": capsule.fingerprint, "scenario": capsule.scenario, "seed": capsule.seed,
        "defect": capsule.defect, "note": capsule.note,
    }  # fmt: skip
    for name, content in (operations.documents if operations else {}).items():
        atomic.write(path / name, content, lasting=False)
    atomic.write(path / PLAN, capsule.plan_json)
    atomic.write(path / CAPSULE, (json.dumps(stated, indent=1, ensure_ascii=False) + "\n").encode())


def replay(
    capsule: Capsule,
    tolerant: bool = False,
    operations: Operations | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Run and judge the plan of `capsule` with today's code, its defect planted. `tolerant`: what is unknown today is
    left out and named. `operations`: by default those shipped today, if the plan has any.

    Raises PlanUnreadable, UnknownDefect, StaleEdit, PreflightFailed, ReplayFailed."""
    if capsule.defect is None or planted_here() == capsule.defect:
        return _replayed(capsule, tolerant, operations, progress)
    try:
        with planted(defect(capsule.defect)) as tree:
            return _in_tree(tree, capsule, tolerant, operations)
    except (UnknownDefect, StaleEdit) as error:
        if not tolerant:
            raise
        told = f"defect {capsule.defect}: {str(error).splitlines()[0]} It was run without"
    found = _replayed(replace(capsule, defect=None), tolerant, operations, progress)
    return replace(found, left_out=(told, *found.left_out))


def _replayed(capsule: Capsule, tolerant: bool, operations: Operations | None, progress: Progress | None) -> Replayed:
    plan, left_out = _plan_of(capsule, tolerant)
    with run_in_scratch(plan, operations, progress) as run:
        verdict = run.verdict
        trial = summed_up(verdict, run.digest, run.work.events)
    statuses = {result.id: result.status.value for result in verdict.results}
    return Replayed(trial.first == capsule.fingerprint, trial, silent(plan, verdict), statuses, left_out)


def _plan_of(capsule: Capsule, tolerant: bool) -> tuple[Plan, tuple[str, ...]]:
    return read_leniently(capsule.plan_json) if tolerant else (capsule.plan, ())


def silent(plan: Plan, verdict: Verdict) -> tuple[Silent, ...]:
    """The faults of `plan` that did not bite, by the assertion that looks into the books of their victims."""
    missing = next((result.missing for result in verdict.results if result.id == _BITES), ())
    why = {told.partition(" (")[0]: told for told in missing}
    return tuple(
        Silent(
            fault.id, fault.fault, fault.seam, fault.operation, fault.entity, fault.occurrence,
            why[fault.id].removeprefix(f"{fault.id} ({fault.title}) "),
        )
        for fault in plan.faults if fault.id in why
    )  # fmt: skip


# --- in a planted tree ---------------------------------------------------------------------------------------------


class ReplayFailed(Exception):
    """The planted tree did not run the plan to its end. The message says how it ended, and may have several lines."""


def _in_tree(tree: Path, capsule: Capsule, tolerant: bool, operations: Operations | None) -> Replayed:
    _plan_of(capsule, tolerant)  # what cannot be read is told here, where it has a name
    with TemporaryDirectory(prefix="absence-capsule-") as place:
        write(Path(place), capsule, operations)
        command = [sys.executable, "-c", _START, str(tree), place, "tolerant" if tolerant else "strict"]
        process = waited_for(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tree)
    if process.returncode:
        told = process.stderr.strip() or f"it ended with {process.returncode} and said nothing"
        raise ReplayFailed(f"{capsule.defect}: {told.splitlines()[-1]}\n{process.stderr}")
    answer = json.loads(process.stdout)
    if "preflight" in answer:
        raise PreflightFailed(answer["preflight"])
    return _from_json(answer["replayed"])


def main(place: str, mode: str) -> None:
    """What runs in the tree: the capsule at `place`; what it came to, or why it did not start, as JSON on standard
    output."""
    path = Path(place)
    answer: dict[str, Any]
    try:
        answer = {"replayed": asdict(replay(read(path), mode == "tolerant", documents_in(path)))}
    except PreflightFailed as failed:
        answer = {"preflight": failed.failures}
    print(json.dumps(answer))


def _from_json(told: dict[str, Any]) -> Replayed:
    return Replayed(
        told["reproduced"],
        Trial.from_json(told["trial"]),
        tuple(Silent(**each) for each in told["silent"]),
        told["statuses"],
        tuple(told["left_out"]),
    )
