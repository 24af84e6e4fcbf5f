"""`absence mutants`: every defect of the catalogue planted and run, and which assertions caught it."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.output import print_json

if TYPE_CHECKING:
    from campaigns.mutants import Detection, Score

NAMED_MAX = 3
"""So many of the assertions that a defect broke besides are named."""


@click.command()
@click.option("--only", multiple=True, metavar="PATTERN", help="Only defects whose id is like this (repeatable).")
@click.option("--workers", type=click.IntRange(1, 64), help="How many at a time; by default one a processor.")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many are tried until it is killed."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def mutants(only: tuple[str, ...], workers: int | None, seeds: int, as_json: bool) -> None:
    """Plant each defect of the catalogue in turn, run the scenario in which it shows from seed 1 on, and see whether
    every assertion that it must break does. Exit 0: all are killed, and without them every scenario passes; 10: not.

    \b
    absence mutants
    absence mutants --only 'payouts.*' --only 'ledger.*'
    absence mutants --json
    """
    with reported(as_json):
        from absence.progress import Bar
        from assertions.judge import discover
        from assertions.model import REGISTRY
        from campaigns.mutants import detect_all, score
        from defects import catalogue

        chosen = [one for id, one in catalogue().items() if not only or any(fnmatchcase(id, like) for like in only)]
        if not chosen:
            raise click.UsageError(
                f"no defect is like {' or '.join(only)}: `absence defects list` shows what there is."
            )
        discover()
        asked = {assertion for one in chosen for assertion in one.breaks} if only else set(REGISTRY)
        with Bar(shown=not as_json, unit="trial") as bar:
            bar.say("planting")
            came = score(detect_all(chosen, workers or len(os.sched_getaffinity(0)), seeds, bar.day), asked)
        if as_json:
            print_json(_told(came))
        else:
            for line in _lines(came):
                click.echo(line)
        if not came.is_full:
            sys.exit(ExitCode.BUSINESS_REJECT)


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
