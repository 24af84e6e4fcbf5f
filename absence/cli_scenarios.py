"""`absence scenarios`: those that are shipped, and the check of one's own."""

from __future__ import annotations

import click

from absence.errors import reported
from absence.opening import AS_JSON, SEED
from absence.output import print_json


@click.group()
def scenarios() -> None:
    """The scenarios that are shipped, and the check of one's own.

    \b
    absence scenarios list
    absence scenarios check my_scenario.yaml
    """


@scenarios.command("list")
@AS_JSON
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
@AS_JSON
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
