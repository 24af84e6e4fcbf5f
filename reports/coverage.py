"""What operations can do, and how much of it was done: runbooks with their steps and branches, alert rules, faults.

Invariant: what there is to exercise comes from the documents and the registry of faults, never from what was exercised;
so nothing that was left out can look as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Share(NamedTuple):
    """So many of so many."""

    done: int
    of: int

    @property
    def tenths(self) -> int:
        """Tenths of a per cent, rounded down: nothing looks reached before it is. Of nothing, all is done."""
        return self.done * 1_000 // self.of if self.of else 1_000

    @property
    def percent(self) -> str:
        return f"{self.tenths // 10}.{self.tenths % 10} %" if self.of else "–"

    def __str__(self) -> str:
        return f"{self.done:,} of {self.of:,} ({self.percent})" if self.of else "none there are"


class Branch(NamedTuple):
    """An arrow of a step, as it is written; `line` in its document; `times` it was taken."""

    text: str
    line: int
    times: int


class Step(NamedTuple):
    """`times` its command was sent."""

    id: str
    line: int
    command: str
    times: int
    branches: tuple[Branch, ...]


class Document(NamedTuple):
    """A runbook. `opened`: executions that were begun; `completed`: those of them that went as written to their end;
    `other_text`: those that followed another text of it, whose steps are not counted here."""

    id: str
    file: str
    title: str
    modes: tuple[str, ...]
    alerts: tuple[str, ...]
    opened: int
    completed: int
    other_text: int
    steps: tuple[Step, ...]

    @property
    def taken(self) -> Share:
        return Share(sum(step.times > 0 for step in self.steps), len(self.steps))

    @property
    def branches(self) -> Share:
        return _taken(branch for step in self.steps for branch in step.branches)


class Rule(NamedTuple):
    """An alert rule; `runbook` is the id of the one that it links to; `fired`: how often."""

    name: str
    runbook: str
    fired: int


class FaultCover(NamedTuple):
    """A fault or violation of the registry; `planned` and `bit`: in how many runs."""

    id: str
    title: str
    kind: str
    recovery: str
    planned: int
    bit: int


class Mode(NamedTuple):
    """A failure mode; `faults`: those that are healed by its runbooks, or were at work when one of them was opened."""

    name: str
    runbooks: tuple[str, ...]
    alerts: tuple[str, ...]
    fired: tuple[str, ...]
    faults: tuple[str, ...]
    opened: int
    completed: int


class Coverage(NamedTuple):
    runs: int
    with_operations: int
    documents: tuple[Document, ...]
    rules: tuple[Rule, ...]
    faults: tuple[FaultCover, ...]
    modes: tuple[Mode, ...]

    @property
    def shares(self) -> dict[str, Share]:
        """What is counted -> how much of it was exercised."""
        steps = [step for document in self.documents for step in document.steps]
        return {
            "failure modes": Share(sum(mode.completed > 0 for mode in self.modes), len(self.modes)),
            "runbooks": Share(sum(document.opened > 0 for document in self.documents), len(self.documents)),
            "steps": Share(sum(step.times > 0 for step in steps), len(steps)),
            "branches": _taken(branch for step in steps for branch in step.branches),
            "alert rules": Share(sum(rule.fired > 0 for rule in self.rules), len(self.rules)),
            "faults": self._bit("fault"),
            "violations": self._bit("violation"),
        }

    def _bit(self, kind: str) -> Share:
        runs = [fault.bit for fault in self.faults if fault.kind == kind]
        return Share(sum(count > 0 for count in runs), len(runs))

    def unexercised(self, whole: bool = True) -> dict[str, list[str]]:
        """The same kinds -> by name, what never was. Unless `whole`, steps and branches of a runbook that was never
        opened are not listed one by one: its name says it."""
        opened = [document for document in self.documents if document.opened or whole]
        return {
            "failure modes": [mode.name for mode in self.modes if not mode.completed],
            "runbooks": [document.id for document in self.documents if not document.opened],
            "steps": [
                f"{document.file}:{step.line}: {step.id} {step.command}"
                for document in opened
                for step in document.steps
                if not step.times
            ],
            "branches": [
                f"{document.file}:{branch.line}: {step.id} {branch.text}"
                for document in opened
                for step in document.steps
                for branch in step.branches
                if not branch.times
            ],
            "alert rules": [rule.name for rule in self.rules if not rule.fired],
            "faults": [fault.id for fault in self.faults if fault.kind == "fault" and not fault.bit],
            "violations": [fault.id for fault in self.faults if fault.kind == "violation" and not fault.bit],
        }


def _taken(branches: Iterable[Branch]) -> Share:
    times = [branch.times for branch in branches]
    return Share(sum(count > 0 for count in times), len(times))
