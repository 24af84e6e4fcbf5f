"""`absence sweep`: one scenario under many seeds, each with faults of its own choice, and what all of them came to."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence import collecting
from absence.command_line import given
from absence.errors import reported
from absence.exit_codes import BY_STATUS, INTERRUPTED
from absence.locking import Wanted, lock_options, writing
from absence.output import print_json, print_lines, wants_markup
from absence.progress import Bar

if TYPE_CHECKING:
    from campaigns.sweep import Pace

_TTL_S = 7 * 86_400
_SAY_EVERY_S = 30
_SEEDS_MAX = 10_000_000
"""The book of a sweep is in memory while it lasts: 1.6 kB for a seed (measured)."""


def _range(_: click.Context, __: click.Parameter, value: str) -> range:
    """FIRST:LAST, the last not included; at most _SEEDS_MAX."""
    first, colon, last = value.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last) <= 2**64):
        raise click.BadParameter(f"{value!r} is no range: give FIRST:LAST, as 0:100 for the hundred from 0 to 99")
    if int(last) - int(first) > _SEEDS_MAX:
        raise click.BadParameter(f"{value!r} are too many seeds: at most {_SEEDS_MAX:,} at a time")
    return range(int(first), int(last))


@click.command()
@click.argument("scenario", default="default")
@click.option("--seeds", callback=_range, default="0:100", show_default=True, metavar="FIRST:LAST",
              help="Which: the last is not included; 10 million at most.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes at work; by default one for each core.")
@click.option("--cluster", metavar="ADDRESS", help="Have them made by the dask workers of this scheduler (tcp://…).")
@click.option("--swarm/--no-swarm", default=True, show_default=True,
              help="Each seed leaves faults out and has others come more often; or as the scenario says.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Where the sweep is kept, and goes on; by default sweeps/SCENARIO-FIRST-LAST-….")  # fmt: skip
@click.option("--budget-s", type=click.IntRange(1), help="Seconds after which to stop; the same command goes on.")
@click.option("--stop-after-failures", "failures", type=click.IntRange(1), metavar="N",
              help="Stop at so many seeds that fail; the same command goes on, to so many more.")  # fmt: skip
@click.option("--again-every", type=click.IntRange(1), default=50, show_default=True, metavar="K",
              help="Run every K-th seed twice, in two processes, and compare.")  # fmt: skip
@click.option("--canary", metavar="DEFECT", help="The planted defect that has to be caught on this scenario.")
@click.option("--corpus", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Past failures to replay first: capsules below it; by default those of this project.")  # fmt: skip
@lock_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sweep(
    scenario: str,
    seeds: range,
    workers: int | None,
    cluster: str | None,
    swarm: bool,
    out: Path | None,
    budget_s: int | None,
    failures: int | None,
    again_every: int,
    canary: str | None,
    corpus: Path | None,
    lock: Wanted,
    as_json: bool,
) -> None:
    """Run SCENARIO (a shipped name or a YAML file) under many seeds, group what fails, and keep the simplest of each
    group. Killed or stopped, the same command goes on where it was. See docs/sweep.md.

    \b
    absence sweep default --seeds 0:10000
    absence sweep platform --seeds 0:200 --workers 2 --budget-s 600
    absence sweep default --seeds 0:10000 --cluster tcp://10.0.0.7:8786
    absence run default --seed 4711 --swarm     one seed of a sweep, by itself
    """
    if cluster is not None and workers is not None:
        raise click.UsageError("--workers is for this machine: on a cluster there are as many as its scheduler has.")
    with reported(as_json):
        with collecting.to_stay():
            from absence.sweeping import Options, carry_out, prepare

            options = Options(swarm, again_every, canary, corpus, workers, cluster, budget_s, failures)
            prepared = prepare(scenario, seeds, options, out)
        with writing(prepared.root, lock, _TTL_S), Bar(shown=not as_json, unit="run") as bar:
            try:
                result = carry_out(prepared, options, Reporter(bar))
            except KeyboardInterrupt:
                click.echo(
                    f"Stopped. What was done is in {prepared.root}; the same command goes on: {given()}", err=True
                )
                sys.exit(INTERRUPTED)
        if as_json:
            print_json(result)
        else:
            from reports.sweep_console import summary

            markup = wants_markup()
            print_lines(summary(result, str(prepared.root), markup=markup), markup)
        sys.exit(BY_STATUS[result["verdict"]])


class Reporter:
    """How fast it goes and how long it will take: on the bar, and where nobody looks a line now and then."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._said_at = time.monotonic()

    def __call__(self, pace: Pace) -> None:
        self._bar.day(pace.done, pace.due)
        self._bar.say(told(pace) if pace.trials else "sweeping")
        if not sys.stderr.isatty() and time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = time.monotonic()
            click.echo(f"{pace.done:,} of {pace.due:,} runs, {told(pace)}", err=True)


def told(pace: Pace) -> str:
    """`2.9 a second (1.47 a core), 55 min left`"""
    left = pace.left_s
    rate = f"{pace.per_s:.2f} a second ({pace.per_s / pace.workers:.2f} a core)"
    return rate if left is None else f"{rate}, {_length(left)} left"


def _length(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{hours:.1f} h"
