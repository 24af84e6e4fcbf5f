"""The pipe from plan to verdict: simulate, seal, judge, report, publish, in that order and each from what is on disk.

Judging and reporting read the sealed evidence only, as they would tomorrow on another machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import absence
from absence import coverage
from absence.exit_codes import BY_STATUS
from absence.operations import shipped
from absence.run_log import Stages as Stages
from assertions.judge import judge
from evidence import manifest
from evidence.journal import JournalWriter
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import Published, RunWriter
from reports import tell, write_all
from reports.story import Story
from simulator.opening import Opener, embedded
from simulator.operations import NONE
from simulator.run import Progress, Work, simulate

LOG = "log.jsonl"
PACKAGES = (
    "absence",
    "assertions",
    "contest_platform",
    "evidence",
    "fault_injectors",
    "located",
    "operations",
    "reports",
    "scenarios",
    "seams",
    "simulator",
)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run came to, and how to tell it."""

    story: Story
    published: Published
    work: Work
    stages: Stages


@cache
def code_fingerprint() -> str:
    """Of the code that this process runs: what is edited under it later is not that."""
    root = Path(absence.__file__).parent.parent
    return manifest.code_sha256([root / package for package in PACKAGES])


def simulate_into(
    writer: RunWriter, plan: Plan, stages: Stages, progress: Progress | None, opener: Opener = embedded
) -> tuple[Work, str]:
    """Simulate `plan` and seal its evidence in `writer`; returns the work done and the digest."""
    writer.write_plan(plan)
    operations = shipped() if plan.operations else NONE
    for path, content in operations.documents.items():
        writer.write(path, content)
    with stages.measure("simulate"):
        work = simulate(plan, JournalWriter(writer.journal), writer.books, progress, operations, opener, stages.lanes)
    with stages.measure("seal"):
        digest = writer.seal({"code": code_fingerprint()}).digest
    return work, digest


def execute(
    plan: Plan,
    out: Path,
    name: str | None = None,
    progress: Progress | None = None,
    stages: Stages | None = None,
    announce: Callable[[str], None] = lambda _: None,
    opener: Opener = embedded,
) -> RunOutcome:
    """Run `plan` on the database that `opener` opens, and publish its run directory under `out`.

    Raises OutputRefused before anything is run, DatabaseRefused, PreflightFailed, IdentityConflict. Stopped at any
    instant, it leaves no half-written run.
    """
    stages = stages or Stages()
    with RunWriter(out, name) as writer:
        work, _ = simulate_into(writer, plan, stages, progress, opener)
        evidence = Evidence.open(writer.path)
        announce("judging")
        with stages.measure("judge") as judged:
            verdict = judge(evidence)
            judged.rc = BY_STATUS[verdict.status.value]
        writer.write("verdict.json", verdict.to_json().encode())
        announce("reporting")
        with stages.measure("report"):
            story = tell(evidence, verdict)
            write_all(
                evidence, story, writer.write, replay_command=replay_command(writer.target),
                coverage=coverage.of_run(evidence),
            )  # fmt: skip
        writer.write(LOG, stages.log(writer.target.name))
        with stages.measure("publish"):
            published = writer.publish()
    return RunOutcome(story, published, work, stages)


def replay_command(run_dir: Path) -> str:
    return f"absence replay {run_dir}"
