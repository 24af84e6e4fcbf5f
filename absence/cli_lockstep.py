"""`absence lockstep`: does a run depend on anything but its plan? Two processes, compared event by event as they go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.opening import SEED
from absence.output import print_json, print_lines, wants_markup

if TYPE_CHECKING:
    from campaigns.lockstep import Stepped


@click.command()
@click.argument("scenario", default="default")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Random seed of the plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def lockstep(scenario: str, seed: int, as_json: bool) -> None:
    """Run SCENARIO (a shipped name or a YAML file; `default` if none is given) in two processes at once that differ in
    hash seed, time zone, locale, clock and memory, and compare each event as it comes. At the first that differs both
    are stopped. Books that no event speaks of are compared at the end. Exit 0: they are in step; 30: they are not.

    \b
    absence lockstep
    absence lockstep small --seed 7
    """
    with reported(as_json):
        from absence import incidents
        from absence.progress import Bar
        from campaigns.lockstep import lockstep as step

        with Bar(shown=not as_json, unit="event") as bar:
            stepped = step(scenario, seed, progress=lambda events: bar.say(f"{events:,} events agree"))
        if as_json:
            print_json(_json(stepped))
        else:
            from absence.telling_difference import out_of_step

            markup = wants_markup()
            print_lines(out_of_step(stepped, markup), markup)
        if not stepped.in_step:
            told = f"event e{stepped.split.number}" if stepped.split else f"the book {stepped.books[0].book}"
            incidents.remember([f"two processes that ran one plan part at {told}"])
            sys.exit(ExitCode.STATE_CORRUPT)


def _json(stepped: Stepped) -> dict[str, Any]:
    split = stepped.split
    led_there = dict(zip("ab", stepped.led_there, strict=True))
    event = None if split is None else {**split.to_json(), "led_there": led_there}
    return {
        "in_step": stepped.in_step,
        "events": stepped.events,
        "locale": stepped.locale,
        "event": event,
        "plan": [change._asdict() for change in stepped.changes],
        "books": [change._asdict() for change in stepped.books],
    }
