"""How a command ends that came to a decision: it is printed, written, told to CI, and makes the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.exit_codes import ExitCode
from absence.publishing import decision_to

if TYPE_CHECKING:
    from closure.decision import Decision


def conclude(
    decision: Decision, lines: Iterable[str], markdown: str, out: Path | None, ci: str | None, as_json: bool
) -> None:
    """`lines` are for the terminal, `markdown` is for `out`, where decision.json goes too. Exits: 0 if it closes, else
    10."""
    from evidence import atomic

    if out is not None:
        atomic.write(out / "decision.json", decision.to_json().encode())
        atomic.write(out / "decision.md", markdown.encode())
    if as_json:
        click.echo(decision.to_json(), nl=False)
    else:
        for line in lines:
            click.echo(line)
    if ci is not None:
        target = out or Path()
        decision_to(ci, json.loads(decision.to_json()), lambda name, text: atomic.write(target / name, text), as_json)
    sys.exit(ExitCode.SUCCESS if decision.closes else ExitCode.BUSINESS_REJECT)
