"""A run in scratch: simulated, judged and sealed like a published one, and gone once it has been looked at.

Invariant: while it is open it is a run directory as any other, manifest and verdict included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assertions.judge import Verdict, judge
from campaigns.simulating import simulate_into
from evidence import manifest
from evidence.layout import VERDICT
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import RunWriter
from simulator.operations import ROOT, Operations, operations_of
from simulator.run import Progress, Work

UNNAMED = "scratch"


@dataclass(frozen=True, slots=True)
class Scratch:
    """A run that nobody keeps. `digest` is that of plan and journal."""

    evidence: Evidence
    verdict: Verdict
    digest: str
    work: Work


@contextmanager
def run_in_scratch(
    plan: Plan,
    operations: Operations | None = None,
    progress: Progress | None = None,
    code_sha256: str | None = None,
) -> Iterator[Scratch]:
    """`plan` run and judged, for as long as this is open. `operations`: by default those that are shipped, if the plan
    has any. `code_sha256`: the fingerprint of the code that runs, by default that of the platform alone. Raises
    PreflightFailed."""
    operations = operations_of(plan) if operations is None else operations
    with TemporaryDirectory(prefix="absence-scratch-") as root, RunWriter(Path(root), UNNAMED) as writer:
        fingerprints = {"code": code_sha256 or manifest.code_sha256([ROOT / "contest_platform"])}
        work, seal = simulate_into(writer, plan, operations, fingerprints, progress)
        verdict = judge(Evidence.open(writer.path))
        writer.write(VERDICT, verdict.to_json().encode())
        manifest.write(writer.path, UNNAMED, seal, fingerprints)
        yield Scratch(Evidence.open(writer.path), verdict, seal.digest, work)
