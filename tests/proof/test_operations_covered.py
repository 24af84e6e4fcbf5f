"""What operations can do is done: steps and branches of every runbook, in one run of each shipped scenario."""

from __future__ import annotations

from pathlib import Path

from absence.coverage import Seen, of_runs
from absence.covering import make_all, processors, tasks
from reports.coverage import Coverage
from scenarios import shipped

STEPS, BRANCHES = 950, 900
"""Tenths of a per cent."""


def covered(folder: Path) -> Coverage:
    """Every shipped scenario with ops on call, under one seed."""
    found = Seen()
    names = shipped()
    for made in make_all(tasks(names, 1, True, folder), processors(), lambda *_: None):
        found.add(made.seen)
    assert found.runs == len(names)
    assert found.with_operations == found.runs
    return of_runs(found)


def test_nearly_every_step_and_branch_of_the_runbooks_is_taken(tmp_path: Path) -> None:
    coverage = covered(tmp_path)
    never = coverage.unexercised()
    listed = "\n".join([f"steps {coverage.shares['steps']}, branches {coverage.shares['branches']}",
                        *never["steps"], *never["branches"]])  # fmt: skip
    assert coverage.shares["steps"].tenths >= STEPS, listed
    assert coverage.shares["branches"].tenths >= BRANCHES, listed
    assert never["faults"] == []
