"""`absence defects`: the bugs that can be planted in the platform, for QA to train on and to try the harness with."""

from __future__ import annotations

import click

from absence.errors import reported
from absence.opening import AS_JSON
from absence.output import print_json


@click.group()
def defects() -> None:
    """The bugs that can be planted in the platform: `absence run --defect ID` runs with one of them.

    \b
    absence defects list
    absence defects show payouts.new_key_after_unknown
    absence run --defect payouts.new_key_after_unknown
    """


@defects.command("list")
@AS_JSON
def defects_list(as_json: bool) -> None:
    """Each defect: how such a bug is born, what it breaks, and the scenario and faults in which it shows.

    \b
    absence defects list
    absence defects list --json
    """
    with reported(as_json):
        from defects import catalogue

        known = catalogue()
        if as_json:
            print_json({id: _told(id) for id in known})
            return
        for id, defect in known.items():
            click.echo(f"{id}: {defect.born}")
            click.echo(f"    breaks     {', '.join(defect.breaks)}")
            faults = "its own faults" if defect.faults is None else ", ".join(one.fault for one in defect.faults)
            click.echo(f"    shows in   {defect.scenario}{f' with {faults}' if faults else ''}")


@defects.command("show")
@click.argument("id")
@AS_JSON
def defects_show(id: str, as_json: bool) -> None:
    """The defect ID as a patch of the platform.

    \b
    absence defects show prizes.rounding_keeps_a_cent
    """
    with reported(as_json):
        from defects import defect
        from defects.planting import as_patch

        if as_json:
            print_json({**_told(id), "patch": as_patch(defect(id))})
            return
        click.echo(defect(id).born)
        click.echo(as_patch(defect(id)), nl=False)


def _told(id: str) -> dict[str, object]:
    from defects import defect

    one = defect(id)
    faults = None if one.faults is None else [{"fault": each.fault, "count": each.count} for each in one.faults]
    return {"born": one.born, "breaks": list(one.breaks), "scenario": one.scenario, "faults": faults}
