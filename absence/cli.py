"""The command `absence`: those below it each have a module `cli_*`, which parses, calls, prints and exits.

A module is imported once its command is called, or told of in --help; heavy rooms are imported in the command that
needs them.
"""

from __future__ import annotations

from importlib import import_module

import click

from absence import __version__
from absence.command_line import Remembering
from absence.exit_codes import MEANING

_CODES = "\b\nExit codes:\n" + "\n".join(f"{int(code):>5}  {meaning}" for code, meaning in MEANING.items())
_COMMANDS = (
    "run", "replay", "sweep", "shrink", "diff", "lockstep", "report", "verify", "gate", "score", "smoke", "runs",
    "coverage", "scenarios", "faults", "runbooks", "defects", "mutants",
)  # fmt: skip


class Commands(Remembering):
    """Each is the function of its name in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"absence.cli_{cmd_name}"), cmd_name)
        return command


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
