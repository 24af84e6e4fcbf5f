"""`absence run`: simulate a scenario, judge it, write its run directory, and end in what it came to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from absence import bisecting, collecting
from absence.command_line import DEFAULT_ROOT, without_option
from absence.errors import reported
from absence.exit_codes import BY_STATUS, ExitCode
from absence.locking import TTL_S, Wanted, lock_options, writing
from absence.opening import SEED, STORE, opener_of
from absence.output import print_json, print_summary


@click.command()
@click.argument("scenario", required=False)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Random seed of the plan.")
@click.option("--days", type=click.IntRange(1, 366), help="Length of the absence; the scenario's own by default.")
@click.option(
    "--feed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recorded feed (CSV) in the place of the first tournament.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_ROOT, show_default=True, help="Where run directories go."
)
@click.option("--name", help="Name of the run directory; by default SCENARIO-sSEED-IDENTITY.")
@click.option("--only", multiple=True, metavar="FAULT", help="Of the scenario's faults, only this one (repeatable).")
@STORE
@click.option("--no-faults", is_flag=True, help="Leave every fault of the scenario out.")
@click.option(
    "--swarm", is_flag=True, help="Leave faults out and have others come more often, as `absence sweep` does."
)
@click.option("--field", type=click.IntRange(1, 1000), default=1, help="Multiply customers and entries by this.")
@click.option(
    "--budget-s", type=click.IntRange(1), default=900, show_default=True, help="Seconds after which to give up."
)
@click.option("--bisect", is_flag=True, help="End in what `git bisect run` expects: 0 good, 1 bad, 125 cannot tell.")
@click.option("--expect", metavar="ASSERTION", help="With --bisect: bad is only what breaks this promise.")
@click.option(
    "--halt-on-anomaly", is_flag=True,
    help="End the run early: ledger out of balance, audit chain broken, contest in ERROR without a runbook (exit 60).",
)  # fmt: skip
@click.option("--defect", metavar="ID", help="Plant this bug in the platform first: see `absence defects list`.")
@click.option(
    "--plan", "plan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run this plan.json, of a run or a capsule, in the place of a scenario: with the runbooks and rules that are "
    "kept beside it, if any are.",
)  # fmt: skip
@lock_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def run(
    scenario: str | None,
    seed: int,
    days: int | None,
    feed: Path | None,
    out: Path,
    name: str | None,
    only: tuple[str, ...],
    store: str,
    no_faults: bool,
    swarm: bool,
    field: int,
    budget_s: int,
    bisect: bool,
    expect: str | None,
    halt_on_anomaly: bool,
    defect: str | None,
    plan_file: Path | None,
    lock: Wanted,
    as_json: bool,
) -> None:
    """Simulate SCENARIO (a shipped name or a YAML file; `default` if none is given), judge it, and write its run
    directory.

    \b
    absence run
    absence run scenarios/default.yaml --seed 7 --days 30
    absence run --only webhooks.lost --json
    absence run --halt-on-anomaly
    absence run --feed masters2026_feed_deltas.csv --seed 7
    absence run --store postgresql://me@localhost/test
    absence run --defect prizes.rounding_keeps_a_cent
    absence run --plan runs/default-s1-0123456789/plan.json
    git bisect run absence run small --bisect --expect ledger.reconciles
    """
    if expect and not bisect:
        raise click.UsageError("--expect says what --bisect asks about: give both.")
    if plan_file is not None and _plans():
        raise click.UsageError(f"{_plans()} says what to plan, and --plan is a plan already: give one of them.")
    if no_faults and only:
        raise click.UsageError("--no-faults leaves every fault out, and --only keeps some: give one of them.")
    if defect:
        with reported(as_json):
            from absence.planted import run_planted

            wants_scene = scenario is None and plan_file is None
            code = run_planted(defect, without_option("--defect"), wants_scene)
            sys.exit(bisecting.Tell(code) if bisect and code in list(bisecting.Tell) else code)
    with reported(as_json):
        opener = opener_of(store)
        with collecting.to_stay():
            from absence.pipeline import Stages, execute
            from absence.progress import Bar, Budget
            from scenarios import load, make_plan

            stages, operations = Stages(), None
            with stages.measure("plan"):
                if plan_file is not None:
                    from campaigns.lenient import read_plan

                    plan = read_plan(plan_file.read_bytes())
                    if plan.operations:
                        from campaigns.capsules import documents_in

                        operations = documents_in(plan_file.parent)
                else:
                    loaded = load(scenario or "default")
                    if only or no_faults:
                        loaded = loaded.with_faults(only)
                    if swarm:
                        from campaigns.swarm import swarmed

                        loaded = swarmed(loaded, seed)
                    plan = make_plan(loaded, seed, days=days, feed=feed, field=field, dropped=[] if swarm else None)
        with writing(out, lock, max(TTL_S, 2 * budget_s)), Bar(shown=not as_json) as bar:
            outcome = execute(
                plan, out, name, Budget(budget_s, bar), stages, bar.say, opener, halt_on_anomaly, operations
            )
        _conclude(outcome, as_json, lambda verdict: bisecting.of(verdict, expect) if bisect else None)


def _plans() -> str:
    """What was given of that a plan is made of; "" if nothing was."""
    context = click.get_current_context()
    for name in ("scenario", "seed", "days", "feed", "only", "no_faults", "swarm", "field"):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            return "SCENARIO" if name == "scenario" else f"--{name.replace('_', '-')}"
    return ""


def _conclude(outcome: Any, as_json: bool, ask: Callable[[Any], bisecting.Answer | None]) -> None:
    """Print what a run came to and exit with its code, or with the answer to a question that was asked of it."""
    from absence.pipeline import replay_command

    story, path = outcome.story, outcome.published.path
    verdict = story.verdict
    answer, halt = ask(verdict), story.halt
    code: int = BY_STATUS[verdict.status.value] if halt is None else ExitCode.ANOMALY_HALT
    if answer is not None:
        code = answer.tell
    if as_json:
        first = verdict.first_broken
        print_json(
            {
                "verdict": verdict.status.value,
                "exit_code": int(code),
                **({"bisect": answer.why} if answer else {}),
                **({"defect": story.defect} if story.defect else {}),
                "run_dir": str(path),
                "report": str(path / "report.html"),
                "digest": story.digest,
                "existed": outcome.published.existed,
                **({} if halt is None else {"halted": {"at": halt.at, "saw": dict(halt.saw)}}),
                "same_as": list(outcome.published.others),
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
        print_summary(story, replay_command(path), path / "report.html")
        if outcome.published.existed:
            click.echo("This run existed already, the same in every fact: nothing was written.")
        if answer:
            click.echo(answer.sentence())
        for name in outcome.published.others:
            click.echo(f"The same run stands in {path.with_name(name)} too.")
    sys.exit(code)
