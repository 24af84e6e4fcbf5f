"""What GitLab reads beside junit.xml: a code quality report, metrics, and variables for the jobs that follow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from assertions.model import Status
from evidence.layout import VERDICT
from reports.annotations import Note, Place
from reports.story import WORDS

if TYPE_CHECKING:
    from reports.story import Story

_SEVERITY = {"error": "critical", "warning": "major", "notice": "info"}
_NOWHERE = Place(VERDICT, 1)


def codequality(notes: Iterable[Note]) -> bytes:
    """The subset of Code Climate's format that GitLab reads. A fingerprint stays the same while id and subject do."""
    findings = []
    for note in notes:
        place = note.place or _NOWHERE
        findings.append(
            {
                "description": f"{note.id}: {note.message}",
                "check_name": note.id,
                "fingerprint": sha256(f"{note.level}\0{note.id}\0{note.subject}".encode(errors="replace")).hexdigest(),
                "severity": _SEVERITY[note.level],
                "location": {"path": place.file, "lines": {"begin": place.line}},
            }
        )
    return (json.dumps(findings, indent=1) + "\n").encode()


def metrics(story: Story, run: str) -> bytes:
    """OpenMetrics: how many promises came to what, broken promises, faults planned and bitten, events."""
    label = f'run="{_label(run)}"'
    bitten = sum(1 for fault in story.faults if fault.bites)
    samples = [
        ("absence_promises", f'{label},status="{words}"', len(story.of(status))) for status, words in WORDS.items()
    ]
    samples += [
        ("absence_broken_promises", label, sum(len(result.broken) for result in story.of(Status.FAIL))),
        ("absence_faults_planned", label, len(story.faults)),
        ("absence_faults_bitten", label, bitten),
        ("absence_events", label, story.events),
    ]
    lines: list[str] = []
    for name, labels, value in samples:
        if not any(line == f"# TYPE {name} gauge" for line in lines):
            lines.append(f"# TYPE {name} gauge")
        lines.append(f"{name}{{{labels}}} {value}")
    return "\n".join([*lines, "# EOF", ""]).encode()


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def dotenv(story: Story) -> bytes:
    """Variables for the jobs that follow. GitLab takes no spaces or quotes in a value."""
    return (
        f"ABSENCE_VERDICT={story.status.value}\nABSENCE_SEED={story.plan.seed}\nABSENCE_DIGEST={story.digest}\n"
    ).encode()
