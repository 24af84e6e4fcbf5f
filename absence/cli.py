"""The commands of `absence`: parse, call, print, exit. Heavy rooms are imported in the command that needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from absence import __version__
from absence.command_line import Remembering
from absence.errors import reported
from absence.exit_codes import MEANING
from absence.opening import SEED
from absence.output import print_json

_CODES = "\b\nExit codes:\n" + "\n".join(f"{int(code):>5}  {meaning}" for code, meaning in MEANING.items())
_COMMANDS = (
    "run", "replay", "sweep", "shrink", "diff", "lockstep", "report", "verify", "gate", "score", "smoke", "runs",
    "coverage", "runbooks", "defects", "mutants",
)  # fmt: skip
"""Each has a module of its own, which is imported once the command is called, or told of in --help."""


class Commands(Remembering):
    """Those of _COMMANDS, and those that are registered."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            command: click.Command = getattr(import_module(f"absence.cli_{cmd_name}"), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)


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


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_CODES
)
@click.version_option(__version__, prog_name="absence", message="%(prog)s %(version)s")
def cli() -> None:
    """Can this platform run fourteen days with its founder gone, and how do we know?

    \b
    absence run                          the shipped fourteen days, seed 1
    absence run calm --seed 7            another scenario, another seed
    absence replay runs/default-s1-…     does it happen again, event by event?
    absence verify runs/default-s1-…     is the evidence what was written?
    absence sweep default --seeds 0:500  many seeds, each with faults of its own choice
    """


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
