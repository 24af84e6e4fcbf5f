"""The commands of `absence`: parse, call, print, exit. Heavy rooms are imported in the command that needs them."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from absence import __version__
from absence.exit_codes import BY_STATUS, ExitCode

RUN_DIR = click.Path(exists=True, file_okay=False, path_type=Path)
DEFAULT_OUT = Path("runs")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="absence", message="%(prog)s %(version)s")
def cli() -> None:
    """Can this platform run fourteen days with its founder gone, and how do we know?

    \b
    absence run                          the shipped fourteen days, seed 1
    absence run calm --seed 7            another scenario, another seed
    absence replay runs/default-s1-…     does it happen again, event by event?
    absence verify runs/default-s1-…     is the evidence what was written?

    \b
    Exit codes: 0 PASS, 10 FAIL, 12 INCONCLUSIVE, 20 bad input, 30 evidence does not verify, 50 our own bug.
    """


# --- run -----------------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("scenario", default="default")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Random seed of the plan.")
@click.option("--days", type=click.IntRange(1, 366), help="Length of the absence; the scenario's own by default.")
@click.option(
    "--feed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recorded feed (CSV) in the place of the first tournament.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Where run directories go."
)
@click.option("--name", help="Name of the run directory; by default SCENARIO-sSEED-DIGEST.")
@click.option("--only", multiple=True, metavar="FAULT", help="Of the scenario's faults, only this one (repeatable).")
@click.option("--no-faults", is_flag=True, help="Leave every fault of the scenario out.")
@click.option("--field", type=click.IntRange(1, 1000), default=1, help="Multiply customers and entries by this.")
@click.option("--budget-s", type=click.IntRange(1), default=900, show_default=True, help="Give up after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    scenario: str,
    seed: int,
    days: int | None,
    feed: Path | None,
    out: Path,
    name: str | None,
    only: tuple[str, ...],
    no_faults: bool,
    field: int,
    budget_s: int,
    as_json: bool,
) -> None:
    """Simulate SCENARIO (a shipped name or a YAML file), judge it, and write its run directory.

    \b
    absence run
    absence run scenarios/default.yaml --seed 7 --days 30
    absence run --only webhooks.lost --json
    absence run --feed masters2026_feed_deltas.csv --seed 7
    """
    with _errors(as_json):
        from absence.pipeline import Stages, execute
        from absence.progress import Bar, Budget
        from evidence.writer import check_writable
        from scenarios import load, make_plan

        check_writable(out)
        stages = Stages()
        with stages.measure("plan"):
            loaded = load(scenario)
            if only or no_faults:
                loaded = loaded.with_faults(only)
            plan = make_plan(loaded, seed, days=days, feed=feed, field=field)
        with Bar(shown=not as_json) as bar:
            outcome = execute(plan, out, name, Budget(budget_s, bar), stages, bar.say)
        _conclude(outcome, as_json)


def _conclude(outcome: Any, as_json: bool) -> None:
    """Print what a run came to and exit with its code."""
    from absence.pipeline import replay_command

    verdict, path = outcome.verdict, outcome.published.path
    code = BY_STATUS[verdict.status.value]
    if as_json:
        first = verdict.first_broken
        _print_json(
            {
                "verdict": verdict.status.value,
                "exit_code": int(code),
                "run_dir": str(path),
                "report": str(path / "report.html"),
                "digest": outcome.digest,
                "existed": outcome.published.existed,
                "first_broken": None
                if first is None
                else {
                    "assertion": first.assertion,
                    "message": first.message,
                    "at": first.at,
                    "money_cents": first.money_cents,
                },
                "not_exercised": [{"assertion": n.assertion, "what": n.what} for n in verdict.not_exercised],
                "assertions": {result.id: result.status.value for result in verdict.results},
                "work": {name: getattr(outcome.work, name) for name in outcome.work.__slots__},
                "seconds": {stage: round(s, 4) for stage, s in outcome.stages.seconds.items()},
            }
        )
    else:
        from evidence.run import Evidence

        _print_summary(Evidence.open(path), verdict, replay_command(path), path / "report.html")
        if outcome.published.existed:
            click.echo("This run existed already, the same in every fact: nothing was written.")
    sys.exit(code)


def _print_summary(evidence: Any, verdict: Any, replay: str, report: Path) -> None:
    from reports.console import summary

    for line in summary(evidence, verdict, replay_command=replay, report_path=str(report)):
        click.echo(line)


# --- what is done with a run --------------------------------------------------------------------------------------------


@cli.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def replay(run_dir: Path, as_json: bool) -> None:
    """Run the plan of RUN_DIR again and compare, event by event. Exit 0: the same digest; 30: it differs, and where.

    \b
    absence replay runs/default-s1-0123456789
    """
    with _errors(as_json):
        from absence import replaying
        from absence.progress import Bar

        try:
            with Bar(shown=not as_json) as bar:
                same = replaying.replay(run_dir, bar.day)
        except replaying.Diverged as diverged:
            told = replaying.describe(diverged)
            if as_json:
                _print_json({"reproduced": False, "event": f"e{diverged.line}", "difference": told})
            else:
                click.echo(f"DIVERGED at {told}")
            sys.exit(ExitCode.STATE_CORRUPT)
        if as_json:
            _print_json(
                {
                    "reproduced": not same.differing_books,
                    "digest": same.digest,
                    "events": same.events,
                    "same_code": same.same_code,
                    "differing_books": list(same.differing_books),
                }
            )
        else:
            click.echo(f"REPRODUCED {same.events:,} events, digest {same.digest}")
            if not same.same_code:
                click.echo("The code has changed since the run; what it did has not.")
            for book in same.differing_books:
                click.echo(f"but the book {book} holds other rows than it did")
        if same.differing_books:
            sys.exit(ExitCode.STATE_CORRUPT)


@cli.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the report files here.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def report(run_dir: Path, out: Path | None, as_json: bool) -> None:
    """Judge the evidence of RUN_DIR anew, with today's assertions, and print the summary; with --out, render every report.

    \b
    absence report runs/default-s1-0123456789 --out /tmp/report
    """
    with _errors(as_json):
        from absence.pipeline import replay_command, write_reports
        from assertions.judge import judge
        from evidence.run import Evidence

        evidence = Evidence.open(run_dir)
        verdict = judge(evidence)
        target = run_dir
        if out is not None:
            target = out
            out.mkdir(parents=True, exist_ok=True)
            write_reports(evidence, verdict, lambda name, content: _write(out / name, content), run_dir)
            _write(out / "verdict.json", verdict.to_json().encode())
        if as_json:
            click.echo(verdict.to_json(), nl=False)
        else:
            _print_summary(evidence, verdict, replay_command(run_dir), target / "report.html")
        sys.exit(BY_STATUS[verdict.status.value])


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@cli.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--anchor", metavar="HASH", help="The journal's head hash as kept elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def verify(run_dir: Path, anchor: str | None, as_json: bool) -> None:
    """Check that RUN_DIR is what was written: every file, the journal's chain, every book. Exit 30 names what is not.

    \b
    absence verify runs/default-s1-0123456789
    """
    with _errors(as_json):
        from evidence.verify import verify as check

        problems = check(run_dir, anchor=anchor)
        if as_json:
            _print_json(
                {
                    "verified": not problems,
                    "problems": [{"file": p.file, "where": p.where, "message": p.message} for p in problems],
                }
            )
        elif problems:
            click.echo(f"{run_dir} does not verify:")
            for problem in problems:
                click.echo(f"  {problem}")
        else:
            click.echo(f"{run_dir} verifies: every file, the journal's chain and every book are as written.")
        if problems:
            sys.exit(ExitCode.STATE_CORRUPT)


# --- what there is -----------------------------------------------------------------------------------------------------


@cli.group()
def scenarios() -> None:
    """The scenarios that are shipped, and the check of one's own."""


@scenarios.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def scenarios_list(as_json: bool) -> None:
    """The shipped scenarios, a line each."""
    with _errors(as_json):
        from scenarios import load, shipped

        titles = {name: load(name).model.title for name in shipped()}
        if as_json:
            _print_json(titles)
            return
        width = max(map(len, titles))
        for name, title in titles.items():
            click.echo(f"{name:<{width}}  {title}")


@scenarios.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Plan with this seed too.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def scenarios_check(files: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Check scenario FILES (or shipped names) and plan each once. All errors at once, with their place; exit 20.

    \b
    absence scenarios check my_scenario.yaml
    """
    with _errors(as_json):
        from scenarios import ScenarioInvalid, load, make_plan

        errors = []
        plans: dict[str, dict[str, int]] = {}
        for file in files:
            try:
                plan = make_plan(load(file), seed)
            except ScenarioInvalid as invalid:
                errors += invalid.errors
            else:
                plans[file] = {
                    "contests": len(plan.contests),
                    "entries": len(plan.entries),
                    "faults": len(plan.faults),
                }
        if errors:
            raise ScenarioInvalid(errors)
        if as_json:
            _print_json(plans)
            return
        for file, counts in plans.items():
            click.echo(f"{file}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


@cli.group()
def faults() -> None:
    """The faults and violations that can be injected."""


@faults.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def faults_list(as_json: bool) -> None:
    """Each fault: its seam, parameters with units, what it imitates, and how the platform gets over it."""
    with _errors(as_json):
        import fault_injectors

        listed = {}
        for fault_id, fault in fault_injectors.registry().items():
            parameters = {
                name: str(getattr(info.annotation, "__name__", info.annotation))
                for name, info in fault.Params.model_fields.items()
            }
            listed[fault_id] = {
                "kind": fault.kind,
                "title": fault.title,
                "seam": f"{fault.seam}/{fault.operation}",
                "parameters": parameters,
                "imitates": fault.imitates,
                "exercises": fault.exercises,
                "recovery": f"{fault.recovery.by}: {fault.recovery.how}",
            }
        if as_json:
            _print_json(listed)
            return
        for fault_id, told in listed.items():
            click.echo(f"{fault_id} ({told['kind']}): {told['title']}")
            for name in ("seam", "parameters", "imitates", "exercises", "recovery"):
                value = told[name]
                if isinstance(value, dict):
                    value = ", ".join(f"{key} ({kind})" for key, kind in value.items()) or "none"
                click.echo(f"    {name:<10} {value}")


# --- errors ------------------------------------------------------------------------------------------------------------


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """Turn what went wrong into words and an exit code. Anything unforeseen is our bug and says so."""
    try:
        yield
    except (SystemExit, click.ClickException, click.exceptions.Exit):
        raise
    except KeyboardInterrupt:
        click.echo("Stopped. Nothing half-written was left behind.", err=True)
        sys.exit(130)
    except Exception as error:
        for name, handle in _HANDLERS.items():
            if any(f"{base.__module__}.{base.__name__}" == name for base in type(error).__mro__):
                code, lines = handle(error)
                break
        else:
            code, lines = ExitCode.INTERNAL_ERROR, [f"This is a bug of ours: {type(error).__name__}: {error}"]
            traceback.print_exc()
        if as_json:
            _print_json({"error": lines, "exit_code": int(code)})
        for line in lines:
            click.echo(line, err=True)
        sys.exit(code)


_Handled = tuple[ExitCode, list[str]]
_HANDLERS: dict[str, Callable[[Any], _Handled]] = {
    "scenarios.errors.ScenarioInvalid": lambda e: (ExitCode.DATA_INVALID, [str(located) for located in e.errors]),
    "simulator.run.PreflightFailed": lambda e: (
        ExitCode.DATA_INVALID,
        ["The run did not start, the checklist before it failed:", *(f"  {failure}" for failure in e.failures)],
    ),
    "evidence.writer.OutputRefused": lambda e: (ExitCode.USAGE, [str(e)]),
    "evidence.writer.IdentityConflict": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "evidence.run.NotARun": lambda e: (ExitCode.DATA_INVALID, [str(e)]),
    "evidence.manifest.ManifestBroken": lambda e: (ExitCode.STATE_CORRUPT, [f"manifest.json {e}"]),
    "evidence.journal.JournalBroken": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "evidence.books.BookDamaged": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "absence.progress.OverBudget": lambda e: (ExitCode.INCONCLUSIVE, [str(e)]),
}
"""By qualified name, so that naming an error does not import the room that raises it."""


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=1, ensure_ascii=False))
