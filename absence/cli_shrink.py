"""`absence shrink`: of a run that broke a promise, the smallest that breaks it too."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.errors import reported
from absence.exit_codes import INTERRUPTED
from absence.opening import RUN_DIR
from absence.output import print_json, print_lines, wants_markup

if TYPE_CHECKING:
    from absence.shrunk import Left, Source
    from campaigns.shrinking import Shrunk

SHRUNK = Path("shrunk")


@click.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--out", type=click.Path(path_type=Path), help="Where to; by default shrunk/ and the name of the run.")
@click.option("--budget-runs", type=click.IntRange(1), default=200, show_default=True, help="Runs at most.")
@click.option(
    "--budget-s", type=click.IntRange(1), default=300, show_default=True,
    help="Seconds after which to give up, counted from the end of the first run.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def shrink(run_dir: Path, out: Path | None, budget_runs: int, budget_s: int, as_json: bool) -> None:
    """Find the fewest faults, contests, days and customers with which RUN_DIR, a run or a capsule, breaks the same
    promise first. What is found is left as a capsule with a test, and as a run.

    \b
    absence shrink runs/default-s1-0123456789
    absence shrink runs/default-s1-0123456789 --budget-runs 50 --out smaller
    """
    with reported(as_json):
        from absence import shrunk as results
        from absence.progress import Bar
        from absence.verifying import expect_run
        from campaigns.capsules import CAPSULE
        from campaigns.shrinking import Budget, shrink
        from campaigns.tries import tries

        if not (run_dir / CAPSULE).exists():
            expect_run(run_dir)
        source = results.source(run_dir)
        out = out or SHRUNK / source.name
        results.check_out(out)
        with Bar(shown=not as_json, unit="run") as bar, tries(source.defect, run_dir) as attempt:

            def told(what: str, shrunk: Shrunk) -> None:
                bar.say(f"fewer {what}, {shrunk.after.faults} faults now")
                bar.day(shrunk.runs, budget_runs)

            shrunk = shrink(
                source.plan, source.fingerprint, attempt, source.suspects, Budget(budget_runs, budget_s), told
            )
        left = results.leave(shrunk, source, out)
        if as_json:
            print_json(_json(shrunk, left))
        else:
            _tell(shrunk, source, left)
    if shrunk.was_stopped:
        sys.exit(INTERRUPTED)


def _json(shrunk: Shrunk, left: Left) -> dict[str, object]:
    return {
        "fingerprint": list(shrunk.target),
        "before": asdict(shrunk.before),
        "after": asdict(shrunk.after),
        "faults": [fault.id for fault in shrunk.plan.faults],
        "runs": shrunk.runs,
        "passed": shrunk.passing,
        "rejected": shrunk.other,
        "did_not_run": shrunk.unfit,
        "ended_by": shrunk.ended_by,
        "capsule": str(left.capsule),
        "test": str(left.test),
        "run_dir": str(left.run),
        "replay": _replay(left),
    }


def _replay(left: Left) -> str:
    return f"absence replay {left.run}"


def _tell(shrunk: Shrunk, source: Source, left: Left) -> None:
    from evidence.run import Evidence
    from reports import tell
    from reports.console import smallest
    from reports.words import plural

    click.echo(f"{shrunk.target} breaks first, before and after:")
    before, after = asdict(shrunk.before), asdict(shrunk.after)
    for what in before:
        click.echo(f"  {what:<9}{before[what]:>8,}{after[what]:>8,}")
    others = sum(shrunk.other.values())
    told = f"{plural(shrunk.runs, 'run')}: {shrunk.passing} broke nothing, {others} broke another promise first"
    click.echo(f"{told}{f', {shrunk.unfit} did not run' if shrunk.unfit else ''}; those were rejected.")
    for fingerprint, times in sorted(shrunk.other.items()):
        click.echo(f"  {times:>3} × {fingerprint}")
    if shrunk.ended_by:
        click.echo(f"This is the smallest so far, and a smaller one may be left: {shrunk.ended_by}.")
    if source.defect is not None:
        click.echo(f"Each of them with the defect {source.defect} planted.")
    evidence = Evidence.open(left.run)
    from assertions.judge import Verdict
    from evidence.layout import VERDICT

    story = tell(evidence, Verdict.from_json((left.run / VERDICT).read_bytes()))
    markup = wants_markup()
    print_lines(smallest(story, markup=markup), markup)
    for name, text in (
        ("replay", _replay(left)),
        ("report", str(left.run / "report.html")),
        ("capsule", str(left.capsule)),
        ("test", str(left.test)),
    ):
        click.echo(f"  {name:<9}{text}")
