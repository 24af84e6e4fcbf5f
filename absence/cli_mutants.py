"""`absence mutants`: every defect of the catalogue planted and run, and which assertions caught it; or the assertions'
own code changed, and which verdicts noticed it."""

from __future__ import annotations

import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.output import print_json

if TYPE_CHECKING:
    from absence.progress import Bar
    from campaigns.judge_mutants import Outcome
    from campaigns.mutants import Detection, Score
    from defects.model import Defect

NAMED_MAX = 3
"""So many of the assertions that a defect broke besides are named."""


@click.command()
@click.option("--only", multiple=True, metavar="PATTERN", help="Only defects whose id is like this (repeatable).")
@click.option("--workers", type=click.IntRange(1, 64), help="How many at a time; by default one a processor.")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many are tried until it is killed."
)
@click.option("--generic", type=click.IntRange(min=1), metavar="N", help="Instead, N changes of the assertions' code.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def mutants(only: tuple[str, ...], workers: int | None, seeds: int, generic: int | None, as_json: bool) -> None:
    """Plant each defect of the catalogue in turn, run the scenario in which it shows from seed 1 on, and see whether
    every assertion that it must break does. Exit 0: all are killed, and without them every scenario passes; 10: not.

    With --generic, one run of each defect is kept, and judged again by assertions in whose own code one expression was
    changed (with the operators of mutmut; an extra): the figure tells how much of that code any verdict depends on.

    \b
    absence mutants
    absence mutants --only 'payouts.*' --only 'ledger.*'
    absence mutants --generic 100
    absence mutants --json
    """
    given = click.get_current_context().get_parameter_source("seeds")
    if generic is not None and given is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--generic judges kept runs again, of no further seed: leave --seeds out.")
    with reported(as_json):
        from absence.covering import processors
        from absence.progress import Bar
        from defects import catalogue

        chosen = [one for id, one in catalogue().items() if not only or any(fnmatchcase(id, like) for like in only)]
        if not chosen:
            raise click.UsageError(
                f"no defect is like {' or '.join(only)}: `absence defects list` shows what there is."
            )
        workers = workers or processors()
        if generic is not None:
            with Bar(shown=not as_json, unit="trial") as bar:
                outcomes = _generic(generic, chosen, workers, bar)
            _tell_generic(outcomes, as_json)
            return
        with Bar(shown=not as_json, unit="trial") as bar:
            came = _score(chosen, bool(only), workers, seeds, bar)
        if as_json:
            print_json(_told(came))
        else:
            for line in _lines(came):
                click.echo(line)
        if not came.is_full:
            sys.exit(ExitCode.BUSINESS_REJECT)


def _score(chosen: list[Defect], is_part: bool, workers: int, seeds: int, bar: Bar) -> Score:
    from assertions.judge import discover
    from assertions.model import REGISTRY
    from campaigns.mutants import detect_all, score

    discover()
    asked = {assertion for one in chosen for assertion in one.breaks} if is_part else set(REGISTRY)
    bar.say("planting")
    return score(detect_all(chosen, workers, seeds, bar.day), asked)


def _told(came: Score) -> dict[str, Any]:
    return {
        "planted": len(came.detections),
        "killed": came.killed,
        "never_killed": list(came.never),
        "kills": came.kills,
        "defects": {
            one.defect.id: {
                "killed": one.is_killed,
                "seed": one.seed,
                "tried": one.tried,
                "breaks": list(one.defect.breaks),
                "missed": list(one.missed),
                "others": list(one.others),
                "fails_without_it": list(one.unsound),
            }
            for one in came.detections
        },
    }


def _lines(came: Score) -> list[str]:
    width = max(len(one.defect.id) for one in came.detections)
    lines = [_line(one, width) for one in came.detections]
    killed = f"killed {came.killed} of {len(came.detections)} planted"
    shown = sum(map(bool, came.kills.values()))
    lines += ["", f"{killed}; {shown} of {len(came.kills)} assertions killed at least one"]
    lines += [f"  never: {assertion}" for assertion in came.never]
    return lines


def _line(one: Detection, width: int) -> str:
    head = f"{'✓' if one.is_killed else '✕'} {one.defect.id:<{width}}  "
    if one.unsound:
        seeds = ", ".join(map(str, one.unsound))
        return f"{head}{one.defect.scenario} does not pass without it at seed {seeds}: that proves nothing"
    if one.seed is None:
        return f"{head}alive after {one.tried} seeds: {', '.join(one.missed)} never broke with the rest"
    more = len(one.others) - NAMED_MAX
    besides = ", ".join(one.others[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return f"{head}seed {one.seed}  {', '.join(one.defect.breaks)}" + (f"; also {besides}" if besides else "")


# --- generic mutants --------------------------------------------------------------------------------------------------


def _generic(count: int, chosen: list[Defect], workers: int, bar: Bar) -> list[Outcome]:
    try:
        from campaigns.judge_mutants import changed, make_gallery, outcomes
    except ImportError as missing:
        raise click.UsageError(str(missing)) from None

    mutants = changed(count)
    with TemporaryDirectory(prefix="absence-gallery-") as root:
        bar.say("runs")
        gallery = make_gallery(Path(root), chosen, workers, bar.day)
        bar.say("mutants")
        return outcomes(mutants, gallery, workers, bar.day)


def _tell_generic(outcomes: list[Outcome], as_json: bool) -> None:
    by = Counter(one.by for one in outcomes)
    if as_json:
        mutants = [
            {"file": one.mutant.file, "line": one.mutant.line, "was": one.mutant.was, "now": one.mutant.now,
             "by": one.by, "run": one.run} for one in outcomes
        ]  # fmt: skip
        print_json({"mutants": mutants, "made": len(outcomes), "killed": len(outcomes) - by[None]})
        return
    for one in outcomes:
        click.echo(f"alive  {one.mutant}" if one.by is None else f"✓ {one.by:<8}  {one.mutant}")
    ways = f"{by['statuses']} change what is broken, {by['figures']} another figure, {by['crash']} end judging"
    click.echo(f"\nkilled {len(outcomes) - by[None]} of {len(outcomes)} generic mutants of assertions/: {ways}")
