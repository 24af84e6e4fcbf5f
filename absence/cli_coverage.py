"""`absence coverage`: which failure modes, runbooks, alerts and faults some runs have exercised, and which never."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.output import print_json

if TYPE_CHECKING:
    from absence.covering import Made
    from reports.coverage import Coverage

ALL = "all"
NAMED_MAX = 3
"""So many faults does a line of the terminal name; --json has them all."""
_RUN = click.Path(exists=True, file_okay=False, path_type=Path)
_PERCENT = click.FloatRange(0, 100)


@click.command()
@click.argument("run_dirs", nargs=-1, type=_RUN, metavar="[RUN_DIR]...")
@click.option("--scenarios", multiple=True, metavar="NAME|PATTERN|all",
              help="Simulate this scenario, those of a pattern, or all with ops on call (repeatable).")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True,
              help="Simulate each under so many seeds, from 1 on.")  # fmt: skip
@click.option("--on-call", is_flag=True, help="Put ops on call where the scenario does not: `all` is all there are.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the simulated runs here.")
@click.option("--processes", type=click.IntRange(1, 256), help="Simulate so many at once; one for each processor.")
@click.option("--steps", type=_PERCENT, metavar="PERCENT", help="Exit 12 if fewer steps were taken.")
@click.option("--branches", type=_PERCENT, metavar="PERCENT", help="Exit 12 if fewer branches were taken.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def coverage(
    run_dirs: tuple[Path, ...],
    scenarios: tuple[str, ...],
    seeds: int,
    on_call: bool,
    out: Path | None,
    processes: int | None,
    steps: float | None,
    branches: float | None,
    as_json: bool,
) -> None:
    """Failure modes, runbooks, alerts and faults: which of them were exercised over some runs, and which never.

    The runs are those of RUN_DIR…, those that --scenarios has simulated, or both. What there is to exercise is what
    their own documents say. A branch is an arrow of a step.

    \b
    absence coverage runs/iteration06-s1-0123456789
    absence coverage runs/* --json
    absence coverage --scenarios all --seeds 5 --steps 95 --branches 90
    absence coverage --scenarios platform --scenarios webhooks --on-call
    absence coverage --scenarios iteration06 --scenarios 'operations_*' --out closing
    """
    if not run_dirs and not scenarios:
        raise click.UsageError("Give run directories, or scenarios to simulate (--scenarios all).")
    with reported(as_json):
        from absence.coverage import Seen, of_runs
        from absence.coverage import as_json as told

        found, made = Seen(), list[Any]()
        for run_dir in run_dirs:
            found.add(_read(run_dir))
        if scenarios:
            made = _simulated(scenarios, seeds, on_call, out, processes, as_json)
            for one in made:
                found.add(one.seen)
        covered = of_runs(found)
        if as_json:
            print_json({"made": [_head(one) for one in made], **told(covered)})
        else:
            _print(covered, made)
        if not _enough(covered, {"steps": steps, "branches": branches}):
            sys.exit(ExitCode.INCONCLUSIVE)


def _read(run_dir: Path) -> Any:
    from absence.coverage import seen
    from evidence.run import Evidence, NotARun

    evidence = Evidence.open(run_dir)
    try:
        return seen(evidence)
    except UnicodeDecodeError as error:
        raise NotARun(f"{run_dir} keeps a document that is no text: {error}") from error


def _simulated(
    scenarios: tuple[str, ...], seeds: int, on_call: bool, out: Path | None, processes: int | None, as_json: bool
) -> list[Made]:
    from absence import covering
    from absence.progress import Bar
    from scenarios import load, shipped

    names = list(dict.fromkeys(name for wanted in scenarios for name in _meant(wanted, shipped())))
    for name in names:
        load(name)  # says what is wrong with any of them before the first is simulated
    if not on_call:
        able = covering.with_operations(names)
        if ALL not in scenarios and len(able) < len(names):
            lacking = ", ".join(name for name in names if name not in able)
            raise click.UsageError(f"{lacking}: nobody is on call there. Put ops on call with --on-call.")
        names = able
    if not names:
        raise click.UsageError("No shipped scenario has ops on call. Put ops on call with --on-call.")
    with Bar(shown=not as_json, unit="run") as bar, covering.somewhere(out) as folder:
        todo = covering.tasks(names, seeds, on_call, folder)
        return covering.make_all(todo, processes or covering.processors(), bar.day)


def _meant(wanted: str, known: list[str]) -> list[str]:
    """The shipped scenarios of a pattern; what none is like is taken for one of one's own."""
    return known if wanted == ALL else fnmatch.filter(known, wanted) or [wanted]


def _head(made: Made) -> dict[str, Any]:
    return {
        "scenario": made.scenario,
        "seed": made.seed,
        "verdict": made.verdict,
        "first_broken": made.first_broken or None,
    }


def _enough(covered: Coverage, wanted: dict[str, float | None]) -> bool:
    return all(
        covered.shares[what].tenths >= round(percent * 10) for what, percent in wanted.items() if percent is not None
    )


# --- for people ----------------------------------------------------------------------------------------------------


def _print(covered: Coverage, made: list[Made]) -> None:
    for one in made:
        click.echo(f"{one.verdict:<12}  {one.scenario} --seed {one.seed}  {one.first_broken}"[:160].rstrip())
    click.echo(f"{covered.runs:,} runs, {covered.with_operations:,} of them with ops on call")
    click.echo()
    for what, share in covered.shares.items():
        click.echo(f"{what:<14}  {share}")
    _table("Failure modes", ("failure mode", "runbook", "opened", "alerts that fired", "faults at work"), [
        (mode.name, ", ".join(mode.runbooks), f"{mode.completed}/{mode.opened}",
         f"{len(mode.fired)}/{len(mode.alerts)} {', '.join(mode.fired)}".rstrip(), _some(mode.faults))
        for mode in covered.modes
    ])  # fmt: skip
    _table("Runbooks", ("runbook", "opened", "steps", "branches"), [
        (document.id, f"{document.completed}/{document.opened}", str(document.taken), str(document.branches))
        for document in covered.documents
    ])  # fmt: skip
    _table("Alert rules", ("rule", "fired", "runbook"), [
        (rule.name, f"{rule.fired:,}", rule.runbook or "none") for rule in covered.rules
    ])  # fmt: skip
    _table("Faults and violations", ("fault", "bit", "planned", "recovery"), [
        (fault.id, f"{fault.bit:,}", f"{fault.planned:,}", fault.recovery) for fault in covered.faults
    ])  # fmt: skip
    for what, names in covered.unexercised().items():
        if names:
            click.echo(f"\nNever exercised: {len(names):,} {what}")
            for name in names:
                click.echo(f"  {name}")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return (", ".join(names[:NAMED_MAX]) or "none") + more


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    click.echo(f"\n{title}")
    for row in (head, *rows):
        click.echo(f"  {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))}".rstrip())
