"""The pipe from plan to verdict: simulate, seal, judge, report, publish, in that order and each from what is on disk.

Judging and reporting read the sealed evidence only, as they would tomorrow on another machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absence import coverage
from absence.exit_codes import BY_STATUS
from absence.fingerprint import fingerprints
from absence.run_log import Stages as Stages
from assertions.judge import judge
from defects.planting import planted_here
from evidence.journal import JournalWriter
from evidence.layout import LOG, SNAPSHOTS, VERDICT
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import Published, RunWriter
from reports import tell, write_all
from reports.story import Story
from simulator.onlookers import Onlooker
from simulator.opening import Opener, embedded
from simulator.operations import Operations, operations_of
from simulator.run import Progress, Work, simulate
from simulator.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run came to, and how to tell it."""

    story: Story
    published: Published
    work: Work
    stages: Stages


def simulate_into(
    writer: RunWriter,
    plan: Plan,
    stages: Stages,
    progress: Progress | None,
    opener: Opener = embedded,
    halt_on_anomaly: bool = False,
    operations: Operations | None = None,
) -> tuple[Work, str]:
    """Simulate `plan` and seal its evidence in `writer`; returns the work done and the digest. `operations`: by default
    those that are shipped, if the plan has any."""
    writer.write_plan(plan)
    operations = operations_of(plan) if operations is None else operations
    for path, content in operations.documents.items():
        writer.write(path, content)
    with stages.measure("simulate"), writer.open(SNAPSHOTS) as lines:
        onlookers: list[Onlooker] = [Snapshots(plan.starts_at, lines.write)]
        if halt_on_anomaly:
            from simulator.guard import Guard

            onlookers.append(Guard(plan.starts_at, operations))
        journal = JournalWriter(writer.journal)
        work = simulate(plan, journal, writer.books, progress, operations, opener, onlookers, stages.lanes)
    with stages.measure("seal"):
        digest = writer.seal(fingerprints()).digest
    return work, digest


def execute(
    plan: Plan,
    out: Path,
    name: str | None = None,
    progress: Progress | None = None,
    stages: Stages | None = None,
    announce: Callable[[str], None] = lambda _: None,
    opener: Opener = embedded,
    halt_on_anomaly: bool = False,
    operations: Operations | None = None,
) -> RunOutcome:
    """Run `plan` on the database that `opener` opens, and publish its run directory under `out`. `halt_on_anomaly`: a
    guard looks on, and may end it before its time; what there is of it by then is judged and published as ever.
    `operations`: by default those that are shipped, if the plan has any.

    Raises OutputRefused before anything is run, DatabaseRefused, PreflightFailed, IdentityConflict. Stopped at any
    instant, it leaves no half-written run.
    """
    stages = stages or Stages()
    with RunWriter(out, name) as writer:
        work, _ = simulate_into(writer, plan, stages, progress, opener, halt_on_anomaly, operations)
        evidence = Evidence.open(writer.path)
        announce("judging")
        with stages.measure("judge") as judged:
            verdict = judge(evidence)
            judged.rc = BY_STATUS[verdict.status.value]
        writer.write(VERDICT, verdict.to_json().encode())
        announce("reporting")
        with stages.measure("report"):
            story = tell(evidence, verdict, planted_here())
            write_all(
                evidence, story, writer.write, replay_command=replay_command(writer.target),
                run_name=writer.target.name, coverage=coverage.of_run(evidence),
            )  # fmt: skip
        writer.write(LOG, stages.log(writer.target.name))
        with stages.measure("publish"):
            published = writer.publish()
    return RunOutcome(story, published, work, stages)


def replay_command(run_dir: Path) -> str:
    return f"absence replay {run_dir}"
