"""Family runbooks: what ops did is what the documents say, word for word, and every step of it is on record.

Invariant: the documents, the operator's notebook, the pager's book and the platform's record are read; what is sent is
put together again here from the document's own line, without the code that sent it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from assertions.facts import facts
from assertions.hands import ENDS
from assertions.lab import allowed, by_promoted_rule, is_about
from assertions.model import Finding, assertion
from assertions.words import duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

DRILL_WITHIN_MS = 24 * 3_600_000
_PLACEHOLDER = re.compile(r"\{((?:alert\.)?[A-Za-z_][A-Za-z0-9_]*)\}")
_CAPTURE = re.compile(r"\s*capture\s+([A-Za-z_][A-Za-z0-9_]*)\s*:\s*/(.*)/\s*")
_FENCE = re.compile(r"\s*```")


class _Step(NamedTuple):
    n: int
    at: int
    principal: str
    action: str
    incident: str
    runbook: str
    version: str
    execution_id: str
    step: str | None
    line: int | None
    template: str | None
    template_sha256: str | None
    bindings: str | None
    sent: str | None
    exit_status: int | None
    output: str | None
    matched: str | None
    ok: bool | None
    detail: str


def _notebook(evidence: Evidence) -> list[_Step]:
    return [_Step(*row) for row in evidence.rows("operator.notebook", *_Step._fields)]


def _executions(notebook: Sequence[_Step]) -> dict[str, list[_Step]]:
    found: dict[str, list[_Step]] = defaultdict(list)
    for step in notebook:
        found[step.execution_id].append(step)
    return found


@assertion("runbooks.nothing_escalated", "Every page had its runbook, and every runbook worked as written")
def nothing_escalated(evidence: Evidence) -> Finding:
    pages = sum(action == "acknowledge" for (action,) in evidence.rows("pager.events", "action"))
    found = Finding("pages", pages, 0)
    end = facts(evidence).ended_at
    may_stay = [one for unhealed in allowed(evidence).values() for one in unhealed]
    for at, principal, incident, runbook, reason in evidence.rows(
        "operator.escalations", "at", "principal", "incident", "runbook", "reason"
    ):
        if any(at >= one.drifted_at and is_about(evidence, incident, one) for one in may_stay):
            continue  # the scenario says that this host may stay as it is, and that it is handed on
        tried = f"the runbook {runbook}" if runbook else "no runbook"
        found.breaks(
            f"{principal} had {tried} for {incident}, and had to hand it on: {reason}; from {instant(at)} on the "
            f"platform stood alone, {duration(end - at)}",
            f"escalations/{incident}", at,
        )  # fmt: skip
    return found


@assertion("runbooks.sent_as_written", "What was sent is what the runbook says, with values from alert and outputs")
def sent_as_written(evidence: Evidence) -> Finding:
    texts = evidence.documents("runbooks")
    opened = {name: sha256(text.encode()).hexdigest() for name, text in texts.items()}
    documents = {name: text.split("\n") for name, text in texts.items()}
    labels = _labels(evidence)
    found = Finding("steps sent")
    for execution_id, steps in _executions(_notebook(evidence)).items():
        captured: dict[str, str] = {}
        for step in steps:
            if step.action == "started" and step.detail != opened.get(f"{step.runbook}.md"):
                found.breaks(
                    f"{step.principal} opened {step.runbook} at {instant(step.at)}, not the document in force",
                    f"runbook_executions/{execution_id}", step.at,
                )  # fmt: skip
            if step.action != "step" or not step.sent:
                continue
            found.saw += 1
            lines = documents.get(f"{step.runbook}.md", [])
            problem = _problem(step, lines, {**labels.get(step.incident, {}), **captured})
            if problem:
                found.breaks(
                    f"{step.principal} sent {step.sent!r} in {step.runbook} {step.step}: {problem}",
                    f"runbook_executions/{execution_id}", step.at,
                )  # fmt: skip
            captured.update(_captures(step, lines, {**labels.get(step.incident, {}), **captured}))
    found.owed = found.saw
    return found


def _problem(step: _Step, lines: Sequence[str], known: Mapping[str, str]) -> str | None:
    """What is wrong with what was sent, if anything is."""
    if step.line is None or not 0 < step.line <= len(lines):
        return f"the document has no line {step.line}"
    written = lines[step.line - 1].strip()
    if written != step.template:
        return f"line {step.line} says {written!r}"
    if sha256(written.encode()).hexdigest() != step.template_sha256:
        return "the hash of the line is another"
    bindings = json.loads(step.bindings or "{}")
    for name in _PLACEHOLDER.findall(written):
        if name not in bindings:
            return f"nothing was bound to {name}"
        if known.get(name) != bindings[name]:
            return f"{name} was bound to {bindings[name]!r}; alert and outputs give {known.get(name)!r}"
    rendered = _PLACEHOLDER.sub(lambda name: str(bindings[name[1]]), written)
    return None if rendered == step.sent else f"the line renders as {rendered!r}"


def _labels(evidence: Evidence) -> dict[str, dict[str, str]]:
    """The labels that each incident was paged with, and each drill planned, as names of placeholders."""
    labels: dict[str, dict[str, str]] = {
        drill.id: {f"alert.{name}": value for name, value in drill.labels.items()} for drill in evidence.plan.drills
    }
    for action, key, details in evidence.rows("pager.events", "action", "dedup_key", "details"):
        if action == "trigger":
            told = json.loads(details).get("labels", {})
            labels[key] = {f"alert.{name}": str(value) for name, value in told.items()}
    return labels


def _captures(step: _Step, lines: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """What the step's own `expect` block takes out of what came back."""
    if step.line is None or not step.ok:
        return {}
    values: dict[str, str] = {}
    fences = 0
    for text in lines[step.line :]:
        if _FENCE.match(text):
            fences += 1
            if fences == 3 or (fences == 2 and "expect" not in text):
                break
            continue
        capture = _CAPTURE.fullmatch(text) if fences == 2 else None
        if capture is not None:
            pattern = _PLACEHOLDER.sub(lambda name: re.escape(known.get(name[1], "")), capture[2])
            for line in (step.output or "").split("\n"):
                match = re.search(pattern, line.rstrip())
                if match is not None:
                    values[capture[1]] = match[1]
                    break
    return values


@assertion("runbooks.on_record", "Every execution is on record from start to end, step by step, and no other is")
def on_record(evidence: Evidence) -> Finding:
    rows = {row[0]: _Row(*row[1:]) for row in evidence.rows("platform.runbook_executions", "id", *_Row._fields)}
    recorded: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    columns = ("execution_id", "bindings", *_RECORDED)
    for execution_id, bindings, *step in evidence.rows("platform.runbook_execution_steps", *columns):
        recorded[execution_id].append((json.loads(bindings), *step))
    noted = _executions(_notebook(evidence))
    handed_on = {execution_id for (execution_id,) in evidence.rows("operator.escalations", "execution_id")}
    found = Finding("executions", 0, len(noted))
    for execution_id, steps in noted.items():
        subject, first = f"runbook_executions/{execution_id}", steps[0]
        row = rows.pop(execution_id, None)
        if row is None:
            found.breaks(f"{first.principal} carried out {first.runbook}, and no record tells of it", subject, first.at)
            continue
        found.saw += 1
        ends = [step.action for step in steps if step.action in ENDS]
        expected = (first.runbook, first.version, first.principal, ends[-1] if ends else "in_progress")
        if row[:4] != expected:
            found.breaks(f"the record says {row[:4]}, the notebook {expected}", subject, first.at)
        missing = _left_out(row, steps) if ends else []
        if missing:
            found.breaks(f"the record of {first.runbook} lacks {' and '.join(missing)}", subject, first.at)
        told = [_as_recorded(step) for step in steps if step.action == "step" and step.exit_status is not None]
        if told != recorded.pop(execution_id, []):
            found.breaks(f"the steps of {first.runbook} on record are not those in the notebook", subject, first.at)
        if not ends:
            found.breaks(f"{first.runbook} was begun and never ended", subject, first.at)
        elif ends[-1] != "completed" and execution_id not in handed_on:
            found.breaks(
                f"{first.runbook} ended as {ends[-1]}, and was not handed on: {steps[-1].detail}", subject, steps[-1].at
            )
    for execution_id, row in rows.items():
        found.breaks(
            f"the record tells of {row.runbook_name} carried out by {row.executed_by}, and no notebook does",
            f"runbook_executions/{execution_id}", row.start_time,
        )  # fmt: skip
    return found


class _Row(NamedTuple):
    """An execution as the platform's record has it."""

    runbook_name: str
    runbook_version: str
    executed_by: str
    status: str
    start_time: int
    end_time: int | None
    result_json: str | None
    error_reason: str | None
    system_state_before: str | None
    system_state_after: str | None


def _left_out(row: _Row, steps: Sequence[_Step]) -> list[str]:
    """What the record of an execution that has ended does not say, or says otherwise than the notebook."""
    last, sent = steps[-1], sum(step.action == "step" for step in steps)
    told = {
        "its result": json.loads(row.result_json or "{}").get("steps") == sent,
        "why it ended so": (row.error_reason or "") == last.detail,
        "the state before it": row.system_state_before is not None,
        "the state after it": row.system_state_after is not None,
        "when it was": row.end_time is not None and row.start_time <= steps[0].at and last.at <= row.end_time,
    }
    return [what for what, is_told in told.items() if not is_told]


_RECORDED = (
    "section",
    "number",
    "line",
    "template",
    "template_sha256",
    "sent",
    "exit_status",
    "output",
    "matched",
    "ok",
)


def _as_recorded(step: _Step) -> tuple[Any, ...]:
    section, _, number = (step.step or "/0").rpartition("/")
    return (
        json.loads(step.bindings or "{}"), section, int(number), step.line, step.template, step.template_sha256,
        step.sent, step.exit_status, step.output, step.matched, step.ok,
    )  # fmt: skip


@assertion("runbooks.drills_performed", "Every runbook that ops was told to carry out was carried out, within a day")
def drills_performed(evidence: Evidence) -> Finding:
    names = ("id", "runbook_name", "executed_by", "status", "start_time", "end_time")
    rows = {row[0]: row[1:] for row in evidence.rows("platform.runbook_executions", *names)}
    begun = {step.incident: step for step in _notebook(evidence) if step.action == "started"}
    drills = evidence.plan.drills
    found = Finding("drills", 0, len(drills))
    for drill in drills:
        step = begun.get(drill.id)
        name, by, status, start, end = rows.get(step.execution_id if step else "", ("", "", "", 0, None))
        if step is None:
            found.breaks(f"{drill.runbook} was ordered and nobody began it", f"drills/{drill.id}", drill.at)
        elif (name, by, status) != (drill.runbook, step.principal, "completed"):
            found.breaks(
                f"{drill.runbook} was ordered, and the record has {name or 'nothing'} {status} by {by or 'nobody'}",
                f"drills/{drill.id}", step.at,
            )  # fmt: skip
        elif not drill.at <= start <= end <= drill.at + DRILL_WITHIN_MS:
            found.breaks(
                f"{drill.runbook} was ordered for {instant(drill.at)} and carried out from {instant(start)} to "
                f"{instant(end)}",
                f"drills/{drill.id}", start,
            )  # fmt: skip
        else:
            found.saw += 1
    return found


@assertion("runbooks.faults_recovered", "Every fault that needs a person was recovered through its runbook, in time")
def faults_recovered(evidence: Evidence) -> Finding:
    completed: dict[str, list[int]] = defaultdict(list)
    for name, status, ended_at in evidence.rows("platform.runbook_executions", "runbook_name", "status", "end_time"):
        if status == "completed":
            completed[name].append(ended_at)
    bites: dict[str, int] = {}
    for fault_id, at in evidence.rows("injector.bites", "fault_id", "at"):
        bites.setdefault(fault_id, at)
    by_rule = by_promoted_rule(evidence)
    owed = [
        fault
        for fault in evidence.plan.faults
        if fault.recovery.by == "runbook" and fault.id in bites and fault.id not in by_rule
    ]
    found = Finding("faults", 0, len(owed))
    for fault in owed:
        since, within_ms = bites[fault.id], fault.recovery.within_s * 1_000
        runbook = fault.recovery.runbook
        in_time = [at for at in completed[runbook] if since <= at <= since + within_ms]
        if in_time:
            found.saw += 1
        else:
            found.breaks(
                f"{fault.id} ({fault.title}) bit, and {runbook} was not carried out within {duration(within_ms)}",
                f"faults/{fault.id}", since + within_ms,
            )  # fmt: skip
    return found
