"""`absence runbooks`: what there is for operations to follow, whether it makes sense, and what one of them does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.errors import reported
from absence.opening import AS_JSON
from absence.output import print_json

if TYPE_CHECKING:
    from operations.runbooks import Library, Runbook, Step

_ROOT = Path(__file__).parent.parent
RUNBOOKS, ALERTS = _ROOT / "runbooks", _ROOT / "alerts"
_PATH = click.Path(path_type=Path)


@click.group()
def runbooks() -> None:
    """The runbooks that operations follow to the letter, and the check of one's own.

    \b
    absence runbooks list
    absence runbooks check my_runbook.md
    """


@runbooks.command("list")
@AS_JSON
def runbooks_list(as_json: bool) -> None:
    """The shipped runbooks, a line each: id, version, kind, title, and what opens it: alerts, or the clock (UTC).

    \b
    absence runbooks list
    """
    with reported(as_json):
        library = _library((RUNBOOKS,), None)
        if as_json:
            print_json([_head(runbook) for runbook in library.values()])
            return
        width = max(map(len, library), default=0)
        for name, runbook in library.items():
            opened = str(runbook.schedule or ", ".join(map(str, runbook.alerts)) or "no alert")
            click.echo(f"{name:<{width}}  {runbook.version}  {runbook.kind.text:<10}  {runbook.title} ({opened})")


@runbooks.command("check")
@click.argument("files", nargs=-1, type=_PATH)
@click.option("--alerts", multiple=True, type=_PATH, help="Rule file, or folder of them, to check beside (repeatable).")
@AS_JSON
def runbooks_check(files: tuple[Path, ...], alerts: tuple[Path, ...], as_json: bool) -> None:
    """Check runbook FILES or folders, without any all that are shipped beside the shipped alerts. All errors at once,
    with their place; exit 20.

    \b
    absence runbooks check
    absence runbooks check my_runbook.md
    absence runbooks check mine/ --alerts my_rules.yml
    """
    with reported(as_json):
        library = _library(files, alerts or None) if files else _library((RUNBOOKS,), alerts or (ALERTS,))
        if as_json:
            print_json([_head(runbook) for runbook in library.values()])
            return
        from reports.words import plural

        for runbook in library.values():
            head = _head(runbook)
            steps, branches = plural(head["steps"], "step"), plural(head["branches"], "branch", "branches")
            click.echo(f"{runbook.file}: {steps}, {branches}")


@runbooks.command("show")
@click.argument("runbook")
@AS_JSON
def runbooks_show(runbook: str, as_json: bool) -> None:
    """What RUNBOOK (a shipped id or a file) sends, what it expects, and where each answer leads.

    \b
    absence runbooks show ingestion_lag
    absence runbooks show my_runbook.md --json
    """
    with reported(as_json):
        found = _found(runbook)
        if as_json:
            print_json(
                {**_head(found), "sections": {one.name: [_step(s) for s in one.steps] for one in found.sections}}
            )
            return
        click.echo(f"{found.id} {found.version} ({found.date}): {found.title}")
        if found.schedule:
            click.echo(f"{found.schedule} UTC")
        for section in found.sections:
            if section.steps:
                click.echo(f"\n{section.name}")
            for step in section.steps:
                _print_step(step)


def _library(paths: tuple[Path, ...], alerts: tuple[Path, ...] | None) -> Library:
    from absence.opsctl_commands import known_commands
    from operations.runbooks import load

    return load(
        [_near(path) for path in paths], known_commands(), None if alerts is None else [_near(path) for path in alerts]
    )


def _near(path: Path) -> Path:
    """What is shipped, as one would name it from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _found(name: str) -> Runbook:
    from operations.runbooks.problems import Place, Problem, RunbooksInvalid, did_you_mean

    if Path(name).is_file():
        return next(iter(_library((Path(name),), None).values()))
    library = _library((RUNBOOKS,), None)
    if name not in library:
        near = did_you_mean(Path(name).stem, library)
        raise RunbooksInvalid([Problem(Place(name, 1), f"no such file, and no runbook of that id is shipped{near}")])
    return library[name]


def _head(runbook: Runbook) -> dict[str, Any]:
    return {
        "id": runbook.id.text,
        "version": runbook.version,
        "date": runbook.date,
        "kind": runbook.kind.text,
        "title": runbook.title,
        "file": runbook.file,
        "sha256": runbook.sha256,
        "alerts": [alert.text for alert in runbook.alerts],
        "failure_modes": [mode.text for mode in runbook.failure_modes],
        "schedule": str(runbook.schedule) if runbook.schedule else None,
        "steps": sum(1 for _ in runbook.steps()),
        "branches": sum(len(step.branches) for step in runbook.steps()),
    }


def _step(step: Step) -> dict[str, Any]:
    expected = step.expectation
    return {
        "step": step.id,
        "line": step.command.place.line,
        "text": step.text,
        "command": step.command.template,
        "exit": expected.status,
        "within_s": expected.within_s,
        "every_s": expected.every_s,
        "lines": [{"kind": line.kind, "text": line.text} for line in expected.lines],
        "captures": {capture.name: capture.pattern for capture in expected.captures},
        "branches": [
            {
                "exit": branch.condition.status if branch.condition else None,
                "line": {"kind": branch.condition.line.kind, "text": branch.condition.line.text}
                if branch.condition and branch.condition.line
                else None,
                "to": str(branch.target),
            }
            for branch in step.branches
        ],
        "only_after": str(step.after) if step.after else None,
    }


def _print_step(step: Step) -> None:
    expected = step.expectation
    click.echo(f"  {step.number}. {step.command.template}")
    if step.after:
        click.echo(f"       only after {step.after}")
    for line in expected.lines:
        click.echo(f"       expects  {line.text}")
    again = f", again every {expected.every_s} s" if expected.every_s else ""
    click.echo(f"       exit {expected.status} within {expected.within_s} s{again}")
    for capture in expected.captures:
        click.echo(f"       captures {{{capture.name}}} by /{capture.pattern}/")
    for branch in step.branches:
        condition = branch.condition
        when = "otherwise" if condition is None else f"if exit {condition.status}"
        like = f" and {condition.line.text}" if condition and condition.line else ""
        click.echo(f"       {when}{like} → {branch.target}")
