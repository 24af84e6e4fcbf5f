"""What `absence gate` needs to hold a run against a baseline: options, and a function that adds to a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.opening import RUN_DIR

if TYPE_CHECKING:
    from closure.decision import Decision
    from closure.runs import Run

RAILS = click.option(
    "--rails", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="What a candidate is held to, in the place of the shipped rails.",
)  # fmt: skip


def BASELINE(required: bool = False) -> Callable[[Any], Any]:
    return click.option(
        "--baseline", type=RUN_DIR, metavar="RUN", required=required,
        help="A run directory of the same plan that the candidate is held against.",
    )  # fmt: skip


def with_baseline(decision: Decision, runs: Sequence[Run], baseline: Path, rails: Path | None) -> Decision:
    """`decision` with the figures and blockers of the candidate against `baseline`; it holds if any rail does not. The
    candidate is the first of `runs` that is of the same plan, and the first of all where none is.

    Raises RailsInvalid, NotARun, NotVerified, NotComparable."""
    from closure import rails as rails_of
    from closure.baseline import decide
    from closure.decision import Outcome
    from closure.runs import Run

    then = Run.verified(baseline)
    plan = then.evidence.plan_sha256
    candidate = next((run for run in runs if run.evidence.plan_sha256 == plan), runs[0])
    scored = decide(candidate, then, rails_of.load(rails or rails_of.DEFAULT))
    blockers = [*decision.blockers, *scored.blockers]
    outcome = decision.outcome if not scored.blockers else Outcome.HOLD
    return replace(decision, outcome=outcome, blockers=blockers, baseline=scored.baseline, figures=scored.figures)
