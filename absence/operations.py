"""The runbooks and alert rules of this house, or those that a run has kept, read for a run to use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import absence
from evidence.layout import ALERTS, RUNBOOKS

if TYPE_CHECKING:
    from simulator.operations import Operations

ROOT = Path(absence.__file__).parent.parent


@cache
def shipped() -> Operations:
    """Those of this house. Whether they fit together is for `absence runbooks check`: an alert without a runbook is
    escalated, and fails the run. Raises RunbooksInvalid and RulesInvalid."""
    files = [*sorted((ROOT / RUNBOOKS).glob("*.md")), *sorted((ROOT / ALERTS).glob("*.yml"))]
    return in_force({path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files})


def in_force(documents: Mapping[str, bytes]) -> Operations:
    """Those with these texts, by path. Raises RunbooksInvalid and RulesInvalid."""
    from operations import alerts, runbooks
    from simulator.operations import Operations

    library, groups, problems = {}, list[alerts.Group](), list[runbooks.Problem]()
    for path, content in documents.items():
        if path.startswith(f"{ALERTS}/"):
            groups += alerts.read_text(content.decode(), path)
        else:
            library[path], found = runbooks.parse(content.decode(), path)
            problems += found
    if problems:
        raise runbooks.RunbooksInvalid(problems)
    return Operations(library, groups, documents)
