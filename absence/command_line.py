"""The command line as it was given: for the lock, for incidents, and for the command that is told to go on with.

Invariant: no password of a URL is in it.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click

DEFAULT_ROOT = Path("runs")
"""Where runs go, and are looked for, unless it is said otherwise."""

HANDED_ON = "ABSENCE_COMMAND_LINE"
"""In the environment: the command line of the process that this one was started by, to do what that was told."""
_GIVEN = "absence.command_line"
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


class Remembering(click.Group):
    """A group that keeps what it was called with."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_GIVEN] = tuple(args)
        return super().parse_args(ctx, args)


def given() -> str:
    """As one could type it again; "absence" outside a command."""
    own = shlex.join(["absence", *(_PASSWORD.sub(r"\1:…@", argument) for argument in arguments())])
    return os.environ.get(HANDED_ON, own)


def arguments() -> tuple[str, ...]:
    """The arguments as they were given."""
    context = click.get_current_context(silent=True)
    return tuple(context.meta.get(_GIVEN, ())) if context else ()


def without_option(option: str) -> list[str]:
    """The arguments as they were given, but for `option` and its value."""
    kept: list[str] = []
    rest = iter(arguments())
    for argument in rest:
        if argument == option:
            next(rest, None)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept


def parameters() -> dict[str, Any]:
    """What the command that runs was called with, by the names of its parameters; none outside a command."""
    context = click.get_current_context(silent=True)
    return dict(context.params) if context else {}
