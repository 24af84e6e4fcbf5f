"""What of operations a run has exercised: read from its books, held against the documents that it kept.

Invariant: a step counts as taken when the platform has a record of its sending with the line that the document has;
a branch, when that record names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from assertions.windows import spans
from reports.coverage import Branch, Coverage, Document, FaultCover, Mode, Rule, Step

if TYPE_CHECKING:
    from evidence.run import Evidence
    from operations.alerts import Group
    from operations.runbooks import Runbook
    from operations.runbooks import Step as Written

FIRING, COMPLETED = "firing", "completed"
_Sent = Mapping[tuple[str, str, str], Mapping[str | None, int]]
"""(runbook, step, template) → what its records matched → how often."""


class Sent(NamedTuple):
    """What the record of a step is counted under."""

    runbook: str
    step: str
    template: str
    matched: str | None


@dataclass(slots=True)
class Seen:
    """What some runs have exercised. `documents`: the texts in force, by path; where runs differ, those of the last."""

    runs: int = 0
    with_operations: int = 0
    documents: dict[str, str] = field(default_factory=dict)
    executions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(runbook, SHA-256 of its text, status)"""
    sent: Counter[Sent] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    bit: Counter[str] = field(default_factory=Counter)
    met: set[tuple[str, str]] = field(default_factory=set)
    """(fault, runbook): the fault was at work when the runbook was opened."""

    def add(self, other: Seen) -> None:
        """What another run has exercised, too."""
        self.runs += other.runs
        self.with_operations += other.with_operations
        self.documents |= other.documents
        for name in ("executions", "sent", "fired", "planned", "bit"):
            getattr(self, name).update(getattr(other, name))
        self.met |= other.met


def seen(evidence: Evidence) -> Seen:
    """What one run has exercised. Raises NotARun, BookDamaged; UnicodeDecodeError for a document that is no text."""
    kept = {
        f"{folder}/{name}": text
        for folder in ("alerts", "runbooks")
        for name, text in evidence.documents(folder).items()
    }
    found = Seen(1, int(evidence.plan.operations), kept)
    sha256_of = {path: sha256(text.encode()).hexdigest() for path, text in kept.items()}
    bites = list(evidence.rows("injector.bites", "fault_id", "at"))
    bitten = {fault_id for fault_id, _ in bites}
    found.planned.update({fault.fault for fault in evidence.plan.faults})
    found.bit.update({fault.fault for fault in evidence.plan.faults if fault.id in bitten})
    at_work = [span for span in spans(evidence.plan.faults, bites) if span.fault_id in bitten]
    opened: dict[str, str] = {}
    for execution, runbook, status, at in evidence.rows(
        "platform.runbook_executions", "id", "runbook_name", "status", "start_time"
    ):
        opened[execution] = runbook
        found.executions[runbook, sha256_of.get(f"runbooks/{runbook}.md", ""), status] += 1
        found.met.update((span.fault, runbook) for span in at_work if span.is_active(at))
    columns = ("execution_id", "section", "number", "template", "matched")
    for execution, section, number, template, matched in evidence.rows("platform.runbook_execution_steps", *columns):
        found.sent[Sent(opened.get(execution, ""), f"{section}/{number}", template, matched)] += 1
    for alert, state in evidence.rows("monitoring.alerts", "alert", "state"):
        found.fired[alert] += state == FIRING
    return found


def of_runs(
    found: Seen, runbooks: Iterable[Runbook], alert_rules: Iterable[str], faults: Iterable[FaultCover]
) -> Coverage:
    """What there is, and how much of it was exercised: of the runbooks and alert rules in force, and of the `faults`
    that are known, whose counts are filled in."""
    library = sorted(runbooks, key=lambda runbook: runbook.id.text)
    sent: dict[tuple[str, str, str], dict[str | None, int]] = {}
    for record, times in found.sent.items():
        sent.setdefault((record.runbook, record.step, record.template), {})[record.matched] = times
    documents = tuple(_document(runbook, found, sent) for runbook in library)
    links = {alert: document.id for document in documents for alert in document.alerts}
    rules = tuple(Rule(name, links.get(name, ""), found.fired[name]) for name in dict.fromkeys(alert_rules))
    known = tuple(fault._replace(planned=found.planned[fault.id], bit=found.bit[fault.id]) for fault in faults)
    return Coverage(
        found.runs, found.with_operations, documents, rules, known, _modes(documents, rules, known, found.met)
    )


def alert_names(groups: Iterable[Group]) -> list[str]:
    """The names of the alert rules, in the order of the files; one that stands there several times, once."""
    from operations.alerts import AlertRule

    return list(dict.fromkeys(rule.name for group in groups for rule in group.rules if isinstance(rule, AlertRule)))


def _document(runbook: Runbook, found: Seen, sent: _Sent) -> Document:
    name, own = runbook.id.text, sha256(runbook.source.encode()).hexdigest()
    of_it = {key: times for key, times in found.executions.items() if key[0] == name}
    opened = sum(of_it.values())
    completed = sum(times for (_, _, status), times in of_it.items() if status == COMPLETED)
    other_text = sum(times for (_, text, _), times in of_it.items() if text != own)
    steps = tuple(_step(runbook, step, sent) for step in runbook.steps())
    modes, alerts = (tuple(word.text for word in words) for words in (runbook.failure_modes, runbook.alerts))
    return Document(name, runbook.file, runbook.title, modes, alerts, opened, completed, other_text, steps)


def _step(runbook: Runbook, step: Written, sent: _Sent) -> Step:
    of_step = sent.get((runbook.id.text, step.id, step.command.template), {})
    lines = runbook.source.split("\n")
    branches = tuple(
        Branch(
            lines[branch.place.line - 1].strip().removeprefix("- "),
            branch.place.line,
            of_step.get("otherwise" if branch.condition is None else f"branch {number}", 0),
        )
        for number, branch in enumerate(step.branches, start=1)
    )
    return Step(step.id, step.command.place.line, step.command.template, sum(of_step.values()), branches)


def _modes(
    documents: Sequence[Document], rules: Sequence[Rule], faults: Sequence[FaultCover], met: Iterable[tuple[str, str]]
) -> tuple[Mode, ...]:
    healed_by: dict[str, set[str]] = {}
    for fault, runbook in (*met, *((fault.id, fault.recovery) for fault in faults)):
        healed_by.setdefault(runbook, set()).add(fault)
    fired = {rule.name for rule in rules if rule.fired}
    of_mode: dict[str, list[Document]] = {}
    for document in documents:
        for mode in document.modes:
            of_mode.setdefault(mode, []).append(document)
    found = []
    for mode, of in sorted(of_mode.items()):
        alerts = tuple(sorted({alert for document in of for alert in document.alerts}))
        found.append(
            Mode(
                mode,
                tuple(document.id for document in of),
                alerts,
                tuple(alert for alert in alerts if alert in fired),
                tuple(sorted({fault for document in of for fault in healed_by.get(document.id, ())})),
                sum(document.opened for document in of),
                sum(document.completed for document in of),
            )
        )
    return tuple(found)
