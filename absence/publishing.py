"""What a run or a decision of the gate leaves for CI: GitHub's step summary and annotations, GitLab's reports.

Invariant: what the runner does on reading our lines is what we meant: words that came from data are no command to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evidence.layout import RUNBOOKS
from simulator.operations import ROOT

if TYPE_CHECKING:
    from reports.annotations import Note
    from reports.places import Places, Source
    from reports.story import Story

SYSTEMS = ("github", "gitlab")
SUMMARY = "GITHUB_STEP_SUMMARY"
Write = Callable[[str, bytes], None]


@contextmanager
def muted(ci: str | None) -> Iterator[None]:
    """Between these, GitHub takes no line of ours for one of its commands (`::stop-commands::`)."""
    import secrets

    token = secrets.token_hex(16)
    if ci == "github":
        click.echo(f"::stop-commands::{token}")
    try:
        yield
    finally:
        if ci == "github":
            click.echo(f"::{token}::")


def story_to(ci: str, story: Story, run_dir: Path, replay_command: str, write: Write, err: bool = False) -> None:
    """Publish a run. `write(name, content)` is for GitLab's files; `err` keeps standard output for JSON."""
    from reports import gitlab, junit, step_summary
    from reports.annotations import for_story

    notes = for_story(story, _places(story, run_dir).find)
    if ci == "github":
        _to_github(notes, lambda limit: step_summary.for_story(story, replay_command, limit=limit), err)
        return
    write("codequality.json", gitlab.codequality(notes))
    write("metrics.txt", gitlab.metrics(story, junit.label(story, run_dir.resolve().name)))
    write("verdict.env", gitlab.dotenv(story))


def decision_to(ci: str, decision: Mapping[str, Any], write: Write, err: bool = False) -> None:
    """Publish a decision of the gate (closure.decision.Decision, as JSON). `write` and `err` as above."""
    from reports import gitlab, step_summary
    from reports.annotations import for_decision

    notes = for_decision(decision)
    if ci == "github":
        _to_github(notes, lambda limit: step_summary.for_decision(decision, limit=limit), err)
        return
    write("codequality.json", gitlab.codequality(notes))


def _to_github(notes: Sequence[Note], summary: Callable[[int], str], err: bool) -> None:
    """Append the summary where this step's is, as far as there is room, and print the annotations."""
    from reports.annotations import commands
    from reports.step_summary import LIMIT

    for command in commands(notes):
        click.echo(command, err=err)
    path = os.environ.get(SUMMARY)
    if not path:
        click.echo(f"{SUMMARY} is not set, as it is in a step on GitHub: no summary was written.", err=True)
        return
    with open(path, "a+b") as file:
        content = summary(LIMIT - file.tell()).encode()
        file.write(content)
    if not content:
        click.echo("The summary of this step is full: give what follows a step of its own.", err=True)


def _places(story: Story, run_dir: Path) -> Places:
    """Where the files of the run lie in the repository, those that are still what they were."""
    from hashlib import sha256

    from reports.places import Places

    found = _source(ROOT / "scenarios" / f"{story.plan.scenario}.yaml", story.plan.scenario_sha256)
    runbooks: dict[str, Source] = {}
    for kept in sorted((run_dir / RUNBOOKS).glob("*.md")):
        source = _source(ROOT / RUNBOOKS / kept.name, sha256(kept.read_bytes()).hexdigest())
        if source is not None:
            runbooks[kept.stem] = source
    return Places(story, found, runbooks)


def _source(path: Path, digest: str) -> Source | None:
    """`path` from the root of the repository that CI has checked out; None if it lies elsewhere or differs."""
    from hashlib import sha256

    from reports.places import Source

    checked_out = Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or ".").resolve()
    if not path.is_file() or not path.resolve().is_relative_to(checked_out):
        return None
    content = path.read_bytes()
    if sha256(content).hexdigest() != digest:
        return None
    return Source(path.resolve().relative_to(checked_out).as_posix(), content.decode())
