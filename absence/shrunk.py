"""What a shrinking leaves: a capsule with its test, and the run of the capsule's plan, in one directory.

Invariant: what is left breaks first what the run broke that was shrunk, and nothing is written before that is known.
The capsule is written first: whatever becomes of the run of it, what was found is kept.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from absence.exit_codes import MEANING, ExitCode
from absence.planted import START
from absence.replaying import expect_plan
from assertions.judge import Verdict
from campaigns import capsules
from campaigns.capsules import CAPSULE, Capsule, documents_in
from campaigns.regression import test_of
from campaigns.shrinking import Shrunk, Suspects
from campaigns.trial import Fingerprint, kind_of
from campaigns.waiting import waited_for
from defects import defect
from defects.planting import ROOT, planted
from evidence import atomic, freezing
from evidence.layout import MANIFEST, PLAN, VERDICT
from evidence.manifest import Manifest
from evidence.plan import Plan
from evidence.run import Evidence, NotARun
from evidence.writer import OutputRefused, check_writable
from simulator.operations import Operations

CAPSULE_IN, RUN_IN = "capsule", "run"


class NothingBroken(Exception):
    """The run kept its promises: there is nothing to shrink."""


class LostOnTheWay(Exception):
    """The smallest plan was not run to be kept, or ended otherwise than in its trial. The capsule is there. `code`: to
    end with; `lines`: what to say."""

    def __init__(self, code: int, lines: list[str]) -> None:
        super().__init__(code, lines)
        self.code, self.lines = code, lines


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be shrunk. `name`: of the run or capsule; `operations`: what is kept with it, None: nothing is."""

    name: str
    plan: Plan
    fingerprint: Fingerprint
    defect: str | None
    suspects: Suspects
    operations: Operations | None


@dataclass(frozen=True, slots=True)
class Left:
    capsule: Path
    test: Path
    run: Path


def source(path: Path) -> Source:
    """The run or capsule at `path`. Raises NothingBroken, NotARun, CapsuleInvalid, PlanUnreadable, PlanAltered,
    ManifestBroken, RunbooksInvalid and RulesInvalid."""
    if (path / CAPSULE).exists():
        found = capsules.read(path)
        if found.fingerprint is None:
            raise NothingBroken(f"{path} is of a run that broke no promise: there is nothing to shrink.")
        return Source(path.resolve().name, found.plan, found.fingerprint, found.defect, Suspects(), documents_in(path))
    evidence = Evidence.open(path)
    expect_plan(evidence)
    capsules.expect_whole(path)
    first = _stated(path).first_broken
    if first is None:
        raise NothingBroken(f"{path} broke no promise: there is nothing to shrink.")
    suspects = Suspects({fault.fault_id for fault in first.active_faults}, f"{first.subject} {first.message}")
    return Source(
        path.resolve().name, evidence.plan, Fingerprint(first.assertion, kind_of(first.subject)),
        evidence.manifest.defect, suspects, documents_in(path),
    )  # fmt: skip


def _stated(run_dir: Path) -> Verdict:
    """As the run was judged. Raises NotARun."""
    try:
        return Verdict.from_json((run_dir / VERDICT).read_bytes())
    except (OSError, ValueError) as error:
        raise NotARun(
            f"{run_dir / VERDICT} cannot be read: {error}. Take it from a copy of the run, or have it written anew: "
            f"absence report {run_dir} --out DIRECTORY"
        ) from None


def check_out(out: Path) -> None:
    """Whether a result can be left there, before it is looked for. Raises RootFrozen, and OutputRefused where nothing
    can be written or another shrinking has left something."""
    freezing.check(out)
    if (out / CAPSULE_IN).exists() or (out / RUN_IN).exists():
        raise OutputRefused(
            f"{out} holds what another shrinking left: give another place (--out DIRECTORY), or remove it."
        )
    check_writable(out)


def leave(shrunk: Shrunk, of: Source, out: Path) -> Left:
    """Write the capsule of the smallest plan under `out`, and run that plan beside it, to be kept.

    Raises LostOnTheWay."""
    told = f"Shrunk from {of.name}: {shrunk.before.faults} faults to {shrunk.after.faults}, in {shrunk.runs} runs."
    capsule = Capsule.of(shrunk.plan, shrunk.target, of.defect, told)
    left = Left(out / CAPSULE_IN, out / CAPSULE_IN / f"test_{_word(shrunk)}.py", out / RUN_IN)
    capsules.write(left.capsule, capsule, of.operations)
    atomic.write(left.test, test_of(capsule).encode())
    with _tree(of.defect) as tree:
        arguments = ["run", "--plan", str(left.capsule / PLAN), "--out", str(out), "--name", RUN_IN, "--json"]
        command = [sys.executable, "-c", START, str(tree), *arguments]
        process = waited_for(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not left.run.exists():
        raise LostOnTheWay(
            process.returncode if process.returncode in MEANING else ExitCode.INTERNAL_ERROR,
            [
                "The smallest plan was found, and could not be run to be kept:",
                *process.stderr.strip().splitlines(),
                f"What was found is left as a capsule: absence replay {left.capsule}",
            ],
        )
    if Manifest.read(left.run / MANIFEST).digest != shrunk.trial.digest:
        raise LostOnTheWay(
            ExitCode.STATE_CORRUPT,
            [
                "The smallest plan was run to be kept, and did not happen as in its trial: a run depends on more than "
                "its plan.",
                f"Left are the capsule, {left.capsule}, and that run. Where it parts from another: "
                f"absence replay {left.run}",
            ],
        )
    return left


@contextmanager
def _tree(defect_id: str | None) -> Iterator[Path]:
    if defect_id is None:
        yield ROOT
        return
    with planted(defect(defect_id)) as tree:
        yield tree


def _word(shrunk: Shrunk) -> str:
    text = f"{shrunk.target.assertion}_{shrunk.plan.scenario}_s{shrunk.plan.seed}"
    return "".join(letter if letter.isalnum() else "_" for letter in text)
