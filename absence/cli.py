"""The commands of `absence`: parse, call, print, exit. Heavy rooms are imported in the command that needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from absence import __version__, collecting
from absence.cli_coverage import coverage
from absence.cli_runbooks import runbooks
from absence.cli_score import score
from absence.errors import reported
from absence.exit_codes import BY_STATUS, MEANING, ExitCode
from absence.opening import opener_of
from absence.output import print_json, print_lines, wants_markup

SEED = click.IntRange(0, 2**64 - 1)
RUN_DIR = click.Path(exists=True, file_okay=False, path_type=Path)
DEFAULT_OUT = Path("runs")
STORE = click.option(
    "--store", default="sqlite", show_default=True, metavar="URL",
    help="The platform's database: sqlite, or postgresql://… where the run makes a schema, and takes it away again.",
)  # fmt: skip
_CODES = "\b\nExit codes:\n" + "\n".join(f"{int(code):>5}  {meaning}" for code, meaning in MEANING.items())


def invoke(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code. Raises KeyboardInterrupt, wherever it comes."""
    try:
        code = cli(arguments, prog_name="absence", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return code or 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_CODES)
@click.version_option(__version__, prog_name="absence", message="%(prog)s %(version)s")
def cli() -> None:
    """Can this platform run fourteen days with its founder gone, and how do we know?

    \b
    absence run                          the shipped fourteen days, seed 1
    absence run calm --seed 7            another scenario, another seed
    absence replay runs/default-s1-…     does it happen again, event by event?
    absence verify runs/default-s1-…     is the evidence what was written?
    """


# --- run -----------------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("scenario", default="default")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Random seed of the plan.")
@click.option("--days", type=click.IntRange(1, 366), help="Length of the absence; the scenario's own by default.")
@click.option(
    "--feed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recorded feed (CSV) in the place of the first tournament.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Where run directories go."
)
@click.option("--name", help="Name of the run directory; by default SCENARIO-sSEED-IDENTITY.")
@click.option("--only", multiple=True, metavar="FAULT", help="Of the scenario's faults, only this one (repeatable).")
@STORE
@click.option("--no-faults", is_flag=True, help="Leave every fault of the scenario out.")
@click.option("--field", type=click.IntRange(1, 1000), default=1, help="Multiply customers and entries by this.")
@click.option(
    "--budget-s", type=click.IntRange(1), default=900, show_default=True, help="Seconds after which to give up."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    scenario: str,
    seed: int,
    days: int | None,
    feed: Path | None,
    out: Path,
    name: str | None,
    only: tuple[str, ...],
    store: str,
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
    absence run --store postgresql://me@localhost/test
    """
    with reported(as_json):
        opener = opener_of(store)
        with collecting.to_stay():
            from absence.pipeline import execute
            from absence.progress import Bar, Budget
            from absence.run_log import Stages
            from scenarios import load, make_plan

            stages = Stages()
            with stages.measure("plan"):
                loaded = load(scenario)
                if only or no_faults:
                    loaded = loaded.with_faults(only)
                plan = make_plan(loaded, seed, days=days, feed=feed, field=field)
        with Bar(shown=not as_json) as bar:
            outcome = execute(plan, out, name, Budget(budget_s, bar), stages, bar.say, opener)
        _conclude(outcome, as_json)


def _conclude(outcome: Any, as_json: bool) -> None:
    """Print what a run came to and exit with its code."""
    from absence.pipeline import replay_command

    story, path = outcome.story, outcome.published.path
    verdict = story.verdict
    code = BY_STATUS[verdict.status.value]
    if as_json:
        first = verdict.first_broken
        print_json(
            {
                "verdict": verdict.status.value,
                "exit_code": int(code),
                "run_dir": str(path),
                "report": str(path / "report.html"),
                "digest": story.digest,
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
                **({"lab": story.lab.json()} if story.lab.told else {}),
                "assertions": {result.id: result.status.value for result in verdict.results},
                "work": {name: getattr(outcome.work, name) for name in outcome.work.__slots__},
                "seconds": {stage: round(s, 4) for stage, s in outcome.stages.seconds.items()},
            }
        )
    else:
        _print_summary(story, replay_command(path), path / "report.html")
        if outcome.published.existed:
            click.echo("This run existed already, the same in every fact: nothing was written.")
    sys.exit(code)


def _print_summary(story: Any, replay: str, report: Path) -> None:
    from reports.console import lab, summary

    markup = wants_markup()
    print_lines(summary(story, replay_command=replay, report_path=str(report), markup=markup), markup)
    print_lines(lab(story, markup=markup), markup)


# --- what is done with a run ---------------------------------------------------------------------------------------


@cli.command()
@click.argument("run_dir", type=RUN_DIR)
@STORE
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def replay(run_dir: Path, store: str, as_json: bool) -> None:
    """Run the plan of RUN_DIR again and compare, event by event. Exit 0: the same digest; 30: it differs, and where.

    \b
    absence replay runs/default-s1-0123456789
    absence replay runs/default-s1-0123456789 --store postgresql://me@localhost/test
    """
    with reported(as_json):
        opener = opener_of(store)
        from absence import replaying
        from absence.progress import Bar

        _open(run_dir)
        try:
            with Bar(shown=not as_json) as bar:
                same = replaying.replay(run_dir, bar.day, opener)
        except replaying.Diverged as diverged:
            told = replaying.describe(diverged)
            if as_json:
                print_json({"reproduced": False, "event": f"e{diverged.line}", "difference": told})
            else:
                click.echo(f"DIVERGED at {told}")
            sys.exit(ExitCode.STATE_CORRUPT)
        if as_json:
            print_json(
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
@click.option("--out", type=click.Path(path_type=Path), help="Write the report files here.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def report(run_dir: Path, out: Path | None, as_json: bool) -> None:
    """Judge the evidence of RUN_DIR anew, with today's assertions, and print the summary; --out renders every report.

    The evidence is verified first: what is not as it was written is not judged (exit 30).

    \b
    absence report runs/default-s1-0123456789
    absence report runs/default-s1-0123456789 --out judged-again
    """
    with reported(as_json):
        from absence.coverage import of_run
        from absence.pipeline import replay_command
        from assertions.judge import judge
        from evidence.run import Evidence
        from reports import tell, write_all

        _open(run_dir)
        if not _verified(run_dir, None, as_json, evidence_only=True):
            sys.exit(ExitCode.STATE_CORRUPT)
        evidence = Evidence.open(run_dir)
        verdict = judge(evidence)
        story = tell(evidence, verdict)
        replay = replay_command(run_dir)
        target = run_dir
        if out is not None:
            target = out
            out.mkdir(parents=True, exist_ok=True)
            write_all(
                evidence, story, lambda name, content: _write(out / name, content), replay_command=replay,
                coverage=of_run(evidence),
            )  # fmt: skip
            _write(out / "verdict.json", verdict.to_json().encode())
        if as_json:
            click.echo(verdict.to_json(), nl=False)
        else:
            _print_summary(story, replay, target / "report.html")
        sys.exit(BY_STATUS[verdict.status.value])


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@cli.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--anchor", metavar="HASH", help="Digest, identity or manifest hash, as noted elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def verify(run_dir: Path, anchor: str | None, as_json: bool) -> None:
    """Check that RUN_DIR is what was written: every file, the journal's chain, every book. Exit 30 names what is not.

    \b
    absence verify runs/default-s1-0123456789
    """
    with reported(as_json):
        _open(run_dir)
        if not _verified(run_dir, anchor, as_json):
            sys.exit(ExitCode.STATE_CORRUPT)


def _open(run_dir: Path) -> None:
    """Raise NotARun when nothing in `run_dir` is of a run, and say which runs lie below it, if any do."""
    from evidence.manifest import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
    from evidence.run import NotARun

    if any((run_dir / name).exists() for name in (MANIFEST, PLAN, JOURNAL, BOOK_DIRECTORY)):
        return
    runs = sorted(path.parent for path in run_dir.glob(f"[!.]*/{MANIFEST}"))
    raise NotARun(f"{run_dir} is not a run directory" + (f"; did you mean {runs[-1]}?" if runs else ""))


def _verified(run_dir: Path, anchor: str | None, as_json: bool, evidence_only: bool = False) -> bool:
    """Whether the run is as it was written; what is not is printed. `evidence_only`: never mind reports and verdict,
    and print nothing if all is well."""
    from evidence.manifest import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
    from evidence.verify import verify as check

    problems = check(run_dir, anchor=anchor)
    if evidence_only:
        problems = [p for p in problems if p.file.partition("/")[0] in (PLAN, JOURNAL, BOOK_DIRECTORY, MANIFEST)]
        if not problems:
            return True
    if as_json:
        told = [{"file": p.file, "where": p.where, "message": p.message} for p in problems]
        print_json({"verified": not problems, "problems": told})
    elif problems:
        click.echo(f"{run_dir} does not verify:")
        for problem in problems:
            click.echo(f"  {problem}")
        click.echo("It is not what was written: take it from a copy, or run it again.")
    else:
        click.echo(f"{run_dir} verifies: every file, the journal's chain and every book are as written.")
    return not problems


# --- what there is -------------------------------------------------------------------------------------------------


@cli.group()
def scenarios() -> None:
    """The scenarios that are shipped, and the check of one's own.

    \b
    absence scenarios list
    absence scenarios check my_scenario.yaml
    """


@scenarios.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def scenarios_list(as_json: bool) -> None:
    """The shipped scenarios, a line each.

    \b
    absence scenarios list
    """
    with reported(as_json):
        from scenarios import load, shipped

        titles = {name: load(name).model.title for name in shipped()}
        if as_json:
            print_json(titles)
            return
        width = max(map(len, titles))
        for name, title in titles.items():
            click.echo(f"{name:<{width}}  {title}")


@scenarios.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Plan with this seed too.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def scenarios_check(files: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Check scenario FILES (or shipped names) and plan each once. All errors at once, with their place; exit 20.

    \b
    absence scenarios check my_scenario.yaml
    absence scenarios check default calm --seed 7
    """
    with reported(as_json):
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
            print_json(plans)
            return
        for file, counts in plans.items():
            click.echo(f"{file}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


@cli.group()
def faults() -> None:
    """The faults and violations that can be injected.

    \b
    absence faults list
    """


def _values(stated: dict[str, Any]) -> str:
    """What a parameter may be, from its JSON schema: `integer 2..60`, or its choices."""
    if "const" in stated or "enum" in stated:
        return " or ".join(str(choice) for choice in stated.get("enum", [stated.get("const")]))
    low, high = stated.get("minimum", ""), stated.get("maximum", "")
    return str(stated.get("type", "any")) + (f" {low}..{high}" if (low, high) != ("", "") else "")


@faults.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def faults_list(as_json: bool) -> None:
    """Each fault: its seam, parameters with units, what it imitates, and how the platform gets over it.

    \b
    absence faults list
    absence faults list --json
    """
    with reported(as_json):
        import fault_injectors

        listed = {}
        for fault_id, fault in fault_injectors.registry().items():
            parameters = {
                name: _values(stated) for name, stated in fault.Params.model_json_schema().get("properties", {}).items()
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
            print_json(listed)
            return
        for fault_id, told in listed.items():
            click.echo(f"{fault_id} ({told['kind']}): {told['title']}")
            for name in ("seam", "parameters", "imitates", "exercises", "recovery"):
                value = told[name]
                if isinstance(value, dict):
                    value = ", ".join(f"{key} ({kind})" for key, kind in value.items()) or "none"
                click.echo(f"    {name:<10} {value}")


cli.add_command(coverage)
cli.add_command(runbooks)
cli.add_command(score)
