"""What operations brings into a run: runbooks and alert rules, those of this house or those that a run has kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.layout import ALERTS, RUNBOOKS

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.run import Evidence
    from operations.alerts import Group
    from operations.runbooks import Runbook

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Operations:
    """`runbooks` by the link that leads to each (`runbooks/<id>.md`); `documents`: their texts and those of the rule
    files, by path."""

    runbooks: Mapping[str, Runbook] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Over paths and contents: other documents make another run."""
        digest = sha256()
        for path, content in sorted(self.documents.items()):
            digest.update(f"{path}\0{sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()


NONE = Operations()


def operations_of(plan: Plan) -> Operations:
    """What is shipped, for a plan that has operations. Raises RunbooksInvalid and RulesInvalid."""
    return shipped() if plan.operations else NONE


@cache
def shipped() -> Operations:
    """Those of this house. Whether they fit together is for `absence runbooks check`: an alert without a runbook is
    escalated, and fails the run. Raises RunbooksInvalid and RulesInvalid."""
    files = [*sorted((ROOT / RUNBOOKS).glob("*.md")), *sorted((ROOT / ALERTS).glob("*.yml"))]
    return in_force({path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files})


def kept_in(run: Evidence) -> Operations:
    """Those that a run has kept. Raises RunbooksInvalid and RulesInvalid."""
    kept = [(place, run.documents(place)) for place in (RUNBOOKS, ALERTS)]
    return in_force({f"{place}/{name}": text.encode() for place, texts in kept for name, text in texts.items()})


def in_force(documents: Mapping[str, bytes]) -> Operations:
    """Those with these texts, by path. Raises RunbooksInvalid and RulesInvalid."""
    from operations import alerts, runbooks

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
