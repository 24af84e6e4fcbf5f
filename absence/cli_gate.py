"""`absence gate`: whether an iteration may close, decided from the evidence of runs by a policy that is data."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence import publishing
from absence.deciding import conclude, frozen_where_corrupt, record
from absence.errors import reported
from absence.gate_baseline import BASELINE, RAILS, with_baseline
from absence.locking import Wanted, lock_options

if TYPE_CHECKING:
    from closure.house import House

ROOT = Path(__file__).parent.parent
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("runs", nargs=-1, required=True, type=_FOLDER, metavar="RUN...")
@click.option("--policy", default="iteration06", show_default=True, metavar="FILE",
              help="The policy: a YAML file, or a shipped one by its name.")  # fmt: skip
@BASELINE()
@RAILS
@click.option(
    "--today", type=_DATE, metavar="DATE", help="The date (UTC) that deferrals are held against; today by default."
)
@click.option("--tree", type=_FOLDER, default=ROOT, help="The root of what is to be closed; this tree by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Write decision.json and decision.md here.")
@click.option(
    "--ci", type=click.Choice(publishing.SYSTEMS), help="Also tell GitHub (summary, annotations) or GitLab (in --out)."
)
@click.option("--no-record", is_flag=True, help="Keep no copy of the decision in the run root.")
@lock_options
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def gate(
    runs: tuple[Path, ...],
    policy: str,
    baseline: Path | None,
    rails: Path | None,
    today: datetime.datetime | None,
    tree: Path,
    out: Path | None,
    ci: str | None,
    no_record: bool,
    lock: Wanted,
    as_json: bool,
) -> None:
    """Decide whether an iteration may close: CLOSE (exit 0), or HOLD (10) and everything that stands in the way.

    RUN... are run directories, and directories that hold several. Each is verified first (30: it is not what was
    written) and judged anew. Every criterion of the policy is held against them; what nothing exercised is a blocker.
    What the policy defers is shown, and blocks once its date has passed. With --baseline, the run of the same plan is
    also held against that, by --rails: `absence score` is that alone. A copy of the decision is kept in the run root of
    the first run, as decisions/HASH.json, so that `absence runs prune` keeps what it was made of.

    \b
    absence gate closing
    absence gate runs/iteration06-s1-… runs/coverage --out decision
    absence gate closing --baseline baselines/iteration06-s1-…
    absence gate closing --policy mine.yaml --today 2026-12-31 --json
    """
    with reported(as_json):
        if rails is not None and baseline is None:
            raise click.UsageError("--rails says what a candidate is held to: give it with --baseline RUN.")
        from closure.decide import decide
        from closure.policy import load
        from closure.runs import opened
        from closure.telling import lines, markdown

        loaded = load(policy)
        with frozen_where_corrupt():
            found = opened(runs)
        date = today.date() if today else datetime.datetime.now(datetime.UTC).date()
        decision = decide(loaded, found, _house(tree), date)
        if baseline is not None:
            with frozen_where_corrupt():
                decision = with_baseline(decision, found, baseline, rails)
        if not no_record:
            record(decision, found[0].path.absolute().parent, lock)
        conclude(decision, lines(decision), markdown(decision), out, ci, as_json)


def _house(tree: Path) -> House:
    from absence.coverage import known_faults
    from absence.opsctl_commands import known_commands
    from closure.house import House

    return House(tree, known_commands(), known_faults())
