"""What some runs have exercised of what this house has: its registry of faults, and the documents the runs kept."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from closure.coverage import Seen, alert_names, seen
from closure.coverage import of_runs as counted
from reports.coverage import Coverage, FaultCover

if TYPE_CHECKING:
    from evidence.run import Evidence
    from simulator.operations import Operations

__all__ = ["Seen", "as_json", "known_faults", "of_run", "of_runs", "seen"]


def of_runs(found: Seen) -> Coverage:
    """What there is, and how much of it was exercised. Raises RunbooksInvalid and RulesInvalid for documents that
    cannot be read."""
    operations = _in_force(tuple(sorted(found.documents.items())))
    return counted(found, operations.runbooks.values(), alert_names(operations.groups), known_faults())


def of_run(evidence: Evidence) -> Coverage | None:
    """What one run has exercised; None if nobody was on call."""
    return of_runs(seen(evidence)) if evidence.plan.operations else None


def known_faults() -> tuple[FaultCover, ...]:
    """The faults and violations of the registry, none of them exercised."""
    from fault_injectors import registry

    return tuple(
        FaultCover(name, fault.title, fault.kind, fault.recovery.runbook or fault.recovery.by, 0, 0)
        for name, fault in registry().items()
    )


@cache
def _in_force(documents: tuple[tuple[str, str], ...]) -> Operations:
    from simulator.operations import in_force, shipped

    kept, ours = {path: text.encode() for path, text in documents}, shipped()
    return ours if kept == ours.documents else in_force(kept)


def as_json(coverage: Coverage) -> dict[str, Any]:
    """The whole of it, for programs."""
    return {
        "runs": coverage.runs,
        "runs_with_operations": coverage.with_operations,
        "shares": {
            what: {"done": share.done, "of": share.of, "percent": share.tenths / 10}
            for what, share in coverage.shares.items()
        },
        "never": coverage.unexercised(),
        "failure_modes": [mode._asdict() for mode in coverage.modes],
        "runbooks": [
            {
                **{name: value for name, value in document._asdict().items() if name != "steps"},
                "steps": [
                    {**step._asdict(), "branches": [branch._asdict() for branch in step.branches]}
                    for step in document.steps
                ],
            }
            for document in coverage.documents
        ],
        "alert_rules": [rule._asdict() for rule in coverage.rules],
        "faults": [fault._asdict() for fault in coverage.faults],
    }
