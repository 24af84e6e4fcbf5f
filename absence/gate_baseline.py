"""What `absence gate` needs to hold a run against a baseline: options, and a function that adds to a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from closure.decision import Decision

RUN_DIR = click.Path(exists=True, file_okay=False, path_type=Path)
RAILS = click.option(
    "--rails", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="What a candidate is held to, in the place of the shipped rails.",
)  # fmt: skip


def BASELINE(required: bool = False) -> Callable[[Any], Any]:
    return click.option(
        "--baseline", type=RUN_DIR, metavar="RUN", required=required,
        help="A run directory of the same plan that the candidate is held against.",
    )  # fmt: skip


def with_baseline(decision: Decision, candidate: Path, baseline: Path, rails: Path | None) -> Decision:
    """`decision` with the figures and blockers of `candidate` against `baseline`; it holds if any rail does not.

    Raises RailsInvalid, NotARun, Altered, NotComparable."""
    from closure import rails as rails_of
    from closure.baseline import decide
    from closure.decision import Outcome

    scored = decide(candidate, baseline, rails_of.load(rails or rails_of.DEFAULT))
    blockers = [*decision.blockers, *scored.blockers]
    outcome = decision.outcome if not scored.blockers else Outcome.HOLD
    return replace(decision, outcome=outcome, blockers=blockers, baseline=scored.baseline, figures=scored.figures)
