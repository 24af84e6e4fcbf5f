"""How `absence` speaks: JSON for programs, coloured lines for a terminal, plain ones for everything else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click


def wants_markup() -> bool:
    """Whether somebody looks at standard output who can see, and wants, colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_lines(lines: Iterable[str], markup: bool) -> None:
    """Print lines, which are rich markup if `markup`. Long ones are never broken: paths and commands can be copied."""
    if not markup:
        for line in lines:
            click.echo(line)
        return
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    for line in lines:
        console.print(line, soft_wrap=True)


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=1, ensure_ascii=False))


def print_summary(story: Any, replay: str, report: Path) -> None:
    """Print what a run came to, as it is read in ten seconds."""
    from reports.console import lab, summary

    markup = wants_markup()
    print_lines(summary(story, replay_command=replay, report_path=str(report), markup=markup), markup)
    print_lines(lab(story, markup=markup), markup)
