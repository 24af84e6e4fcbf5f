"""How a command comes to a decision about runs, and ends: it is kept, printed, written, told to CI, and makes the exit
code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.exit_codes import ExitCode
from absence.locking import Wanted, writing
from absence.publishing import decision_to

if TYPE_CHECKING:
    from closure.decision import Decision


@contextmanager
def frozen_where_corrupt() -> Iterator[None]:
    """A run that is not what was written freezes the root that it stands in, as `absence verify` does."""
    from absence import incidents
    from closure.runs import NotVerified

    try:
        yield
    except NotVerified as found:
        for path in dict.fromkeys(path for path, _ in found.problems):
            incidents.corrupt(path, [str(problem) for at, problem in found.problems if at == path])
        raise


def record(decision: Decision, root: Path, lock: Wanted) -> None:
    """Keep a decision in the run root, so that what it was made of is not pruned. Raises as `writing` does."""
    from evidence import store

    with writing(root, lock):
        store.record(root, decision.to_json())


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
