"""`absence score`: whether a candidate run holds against a baseline, UNLOCK or HOLD_REOPEN."""

from __future__ import annotations

from pathlib import Path

import click

from absence.deciding import conclude, frozen_where_corrupt, record
from absence.errors import reported
from absence.gate_baseline import BASELINE, RAILS
from absence.locking import Wanted, lock_options
from absence.opening import RUN_DIR


@click.command()
@click.argument("run_dir", type=RUN_DIR, metavar="RUN")
@BASELINE(required=True)
@RAILS
@click.option("--reopen", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="DECISION.json",
              help="An earlier decision that held: look at its blockers alone, and carry over the rest.")  # fmt: skip
@click.option("--only", multiple=True, metavar="BLOCKER", help="With --reopen: only this blocker (repeatable).")
@click.option("--out", type=click.Path(path_type=Path), help="Write decision.json and decision.md here.")
@click.option("--no-record", is_flag=True, help="Keep no copy of the decision in the run root of RUN.")
@lock_options
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def score(
    run_dir: Path, baseline: Path, rails: Path | None, reopen: Path | None, only: tuple[str, ...], out: Path | None,
    no_record: bool, lock: Wanted, as_json: bool,
) -> None:  # fmt: skip
    """Score the candidate RUN against a baseline: UNLOCK (exit 0), or HOLD_REOPEN (10) and every blocker.

    Both runs are verified first (30: not what was written) and judged by today's assertions. They have to be of one
    plan (20, unless the rails say otherwise). Rails say what may not be slower, change, grow, break or be relaxed.

    \b
    absence score runs/default-s1-… --baseline baselines/default-s1-…
    absence score runs/default-s1-… --baseline baselines/default-s1-… --rails mine.yaml --out decision
    absence score runs/default-s1-… --baseline … --reopen decision/decision.json --only runtime.simulate
    """
    with reported(as_json):
        if only and reopen is None:
            raise click.UsageError("--only names blockers of an earlier decision: give it with --reopen DECISION.json.")
        from closure import rails as rails_of
        from closure import scored
        from closure.baseline import decide
        from closure.reopen import reopen as reopened
        from closure.runs import Run

        loaded = rails_of.load(rails or rails_of.DEFAULT)
        with frozen_where_corrupt():
            candidate, then = Run.verified(run_dir), Run.verified(baseline)
        if reopen is not None:
            decision = reopened(reopen, only, candidate, then, loaded)
        else:
            decision = decide(candidate, then, loaded)
        if not no_record:
            record(decision, run_dir.absolute().parent, lock)
        conclude(decision, scored.lines(decision), scored.markdown(decision), out, None, as_json)
