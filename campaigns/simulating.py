"""A plan simulated into a run directory that somebody writes: what every run of many has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evidence.journal import JournalWriter
from evidence.manifest import Seal
from evidence.plan import Plan
from evidence.writer import RunWriter
from simulator.onlookers import Onlooker
from simulator.operations import Operations
from simulator.run import Progress, Work, simulate


def simulate_into(
    writer: RunWriter,
    plan: Plan,
    operations: Operations,
    fingerprints: Mapping[str, str],
    progress: Progress | None = None,
    onlookers: Sequence[Onlooker] = (),
    journal: JournalWriter | None = None,
) -> tuple[Work, Seal]:
    """Write the plan and the documents in force, simulate, and seal. `journal`: by default the run's own file. Raises
    PreflightFailed."""
    writer.write_plan(plan)
    for path, content in operations.documents.items():
        writer.write(path, content)
    journal = JournalWriter(writer.journal) if journal is None else journal
    work = simulate(plan, journal, writer.books, progress, operations, onlookers=onlookers)
    return work, writer.seal(fingerprints)
