"""`absence gate`: whether an iteration may close, decided from the evidence of runs by a policy that is data."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.errors import reported
from absence.exit_codes import ExitCode

if TYPE_CHECKING:
    from closure.house import House

ROOT = Path(__file__).parent.parent
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("runs", nargs=-1, required=True, type=_FOLDER, metavar="RUN...")
@click.option("--policy", default="iteration06", show_default=True, metavar="FILE",
              help="The policy: a YAML file, or a shipped one by its name.")  # fmt: skip
@click.option(
    "--today", type=_DATE, metavar="DATE", help="The date (UTC) that deferrals are held against; today by default."
)
@click.option("--tree", type=_FOLDER, default=ROOT, help="The root of what is to be closed; this tree by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Write decision.json and decision.md here.")
@click.option("--no-record", is_flag=True, help="Keep no copy of the decision in the run root.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def gate(
    runs: tuple[Path, ...],
    policy: str,
    today: datetime.datetime | None,
    tree: Path,
    out: Path | None,
    no_record: bool,
    as_json: bool,
) -> None:
    """Decide whether an iteration may close: CLOSE (exit 0), or HOLD (10) and everything that stands in the way.

    RUN... are run directories, and directories that hold several. Each is verified first (30: it is not what was
    written) and judged anew. Every criterion of the policy is held against them; what nothing exercised is a blocker.
    What the policy defers is shown, and blocks once its date has passed. A copy of the decision is kept in the run
    root of the first run, as decisions/HASH.json, so that `absence runs prune` keeps what it was made of.

    \b
    absence gate closing
    absence gate runs/iteration06-s1-… runs/coverage --out decision
    absence gate closing --policy mine.yaml --today 2026-12-31 --json
    """
    with reported(as_json):
        from closure import keeping
        from closure.decide import decide
        from closure.policy import load
        from closure.runs import opened
        from closure.telling import lines, markdown

        loaded = load(policy)
        found = opened(runs)
        date = today.date() if today else datetime.datetime.now(datetime.UTC).date()
        decision = decide(loaded, found, _house(tree), date)
        # A candidate is held against a baseline (--baseline RUN) here: it extends the decision's figures and blockers.
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            keeping.write(out / "decision.json", decision.to_json())
            keeping.write(out / "decision.md", markdown(decision))
        if not no_record:
            keeping.keep(decision, found[0].path.parent)
        if as_json:
            click.echo(decision.to_json(), nl=False)
        else:
            for line in lines(decision):
                click.echo(line)
        sys.exit(ExitCode.SUCCESS if decision.closes else ExitCode.BUSINESS_REJECT)


def _house(tree: Path) -> House:
    from absence.coverage import known_faults
    from absence.opsctl_commands import known_commands
    from closure.house import House

    return House(tree, known_commands(), known_faults())
