"""postmortem.md: for every run that is not PASS, the post-mortem as far as the evidence can fill it in.

Invariant: what the evidence knows is written, what only people can know is asked for in so many words.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from assertions.model import Status
from reports import words
from reports.history import Event, cut
from reports.markdown import faults, fenced, not_exercised, timeline
from reports.story import SYMBOLS, Story, headline
from reports.words import code
from reports.words import markdown as md

if TYPE_CHECKING:
    from evidence.run import Evidence

BEFORE_MS, AFTER_MS = words.DAY_MS, 6 * words.HOUR_MS
EVENTS_MAX = 60
JOURNAL_MAX = 12
BROKEN_MAX = 20
HANDED_ON_MAX = 5
ASK = "_To be written by people:_"


def render(evidence: Evidence, story: Story, events: list[Event], replay_command: str) -> bytes | None:
    """The whole file, or None for a run that passed."""
    if story.status is Status.PASS:
        return None
    plan = story.plan
    parts = [
        f"# Post-mortem: {SYMBOLS[story.status]} {story.status.value}, {md(plan.scenario)}, seed {plan.seed}",
        headline(story),
        "## Which step failed, and why",
        *_what_failed(evidence, story),
        "## Replay",
        fenced(replay_command),
        "## Timeline around it",
        timeline(story, cut(_around(story, events), EVENTS_MAX)),
        "## Faults",
        faults(story),
        "## Lessons learned",
        "### What Worked",
        _what_worked(story),
        "### What Was Harder Than Expected",
        _what_was_harder(story),
        "### Assumptions We Purged",
        _assumptions(story),
        "### Operational Gaps Identified",
        _gaps(story),
        "### Runbook Coverage Assessment",
        _coverage(story),
    ]
    return ("\n\n".join(parts) + "\n").encode(errors="replace")


def _what_failed(evidence: Evidence, story: Story) -> list[str]:
    first = story.first
    if first is None:
        return ["Nothing broke, but the run does not prove what it was made to prove:", *not_exercised(story)]
    facts = [
        ("When", md(story.when(first.at))),
        ("Promise", f"{code(first.assertion)}: {md(first.claim)}"),
        ("About", code(first.subject)),
        ("Money at risk", md(story.risk_sentence())),
        ("Fault active", md(story.fault_sentence())),
        ("Runbook step active", md(story.step_sentence())),
    ]
    parts = [f"**{md(first.message)}**", "\n".join(f"- {name}: {value}" for name, value in facts)]
    for one in story.attended.handed_on[:HANDED_ON_MAX]:
        parts.append(md(one.sentence()))
        if one.patch:
            parts += ["The document would have to expect what came, if that is as it should be:", fenced(one.patch)]
    lines = _last_events(evidence, story, first.subject, first.at)
    if lines:
        parts += [f"The last events of the journal about {code(first.subject)} until then:", "\n".join(lines)]
    others = [(result, broken) for result, broken in story.broken() if broken.message != first.message]
    if others:
        found_too = words.plural(len(others), "more breach", "more breaches")
        parts.append(f"After it, or at no known instant, {found_too}:")
        shown = others[:BROKEN_MAX]
        parts.append(
            "\n".join(f"- {story.when(item.at)}: {md(item.message)} ({code(found.id)})" for found, item in shown)
        )
        if len(others) > BROKEN_MAX:
            parts.append(f"and {len(others) - BROKEN_MAX:,} more, see report.html.")
    parts.append(f"{ASK} the root cause, in one sentence that names a line of code or of a runbook.")
    return parts


def _last_events(evidence: Evidence, story: Story, subject: str, until_at: int | None) -> list[str]:
    """The last journal events that are about the subject or a part of it. One pass, bounded memory."""
    key = subject.rpartition("/")[2] if subject.startswith(("contests/", "transfers/", "entries/")) else subject
    last: deque[str] = deque(maxlen=JOURNAL_MAX)
    if not key:
        return []
    for event in evidence.journal():
        if until_at is not None and event.at > until_at:
            break
        if key in event.subject:
            cause = f", caused by {code(event.cause)}" if event.cause else ""
            last.append(f"- {story.when(event.at)}: {code(event.kind)} {code(event.subject)} by {md(event.actor)} "
                        f"({code(event.id)}{cause})")  # fmt: skip
    return list(last)


def _around(story: Story, events: list[Event]) -> list[Event]:
    at = story.first.at if story.first else None
    if at is None:
        return events
    return [event for event in events if at - BEFORE_MS <= event.at <= at + AFTER_MS]


def _survived(story: Story) -> list[str]:
    """Faults that bit and were over, with the time to recover, before any promise broke."""
    at = story.first.at if story.first else None
    return [
        f"- {fault.label} {md(fault.plan.title)}: bit {words.plural(len(fault.bites), 'time')}; "
        f"expected recovery {md(fault.recovery())}"
        for fault in story.faults
        if fault.bites and fault.span is not None and fault.plan.kind == "fault"
        and (story.first is None or (at is not None and fault.span.over_at is not None and fault.span.over_at < at))
    ]  # fmt: skip


def _what_worked(story: Story) -> str:
    held = story.of(Status.PASS)
    families = sorted({result.family for result in held} - {result.family for result in story.of(Status.FAIL)})
    lines = [f"{words.plural(len(held), 'promise')} held with exercise"]
    lines[0] += f", among them all that were judged of: {', '.join(families)}." if families else "."
    survived = _survived(story)
    if survived:
        lines += ["", "Faults that bit and did not break a promise before the first one broke:", "", *survived]
    return "\n".join([*lines, "", f"{ASK} what we would do again."])


def _what_was_harder(story: Story) -> str:
    active = story.first.active_faults if story.first else ()
    lines = [f"- {md(fault.title)} ({code(fault.fault)}) was at work when the first promise broke" for fault in active]
    return "\n".join([*lines, "", f"{ASK} what surprised us."]).lstrip("\n")


def _assumptions(story: Story) -> str:
    lines = [f"- that this always holds: {md(result.claim)} ({code(result.id)})" for result in story.of(Status.FAIL)]
    lead = ["Each broken promise was an assumption:", "", *lines, ""] if lines else []
    return "\n".join([*lead, f"{ASK} the implicit behaviour behind it, and where it was removed."])


def _gaps(story: Story) -> str:
    lines = [
        f"- {fault.label} {md(fault.plan.title)} was planned and never bit" for fault in story.faults if not fault.bites
    ]
    lines += [
        f"- {md(item.what)} ({code(item.assertion)})" for item in story.verdict.not_exercised
    ]  # fmt: skip
    lead = ["Not exercised, so not known to work:", "", *lines, ""] if lines else []
    return "\n".join([*lead, f"{ASK} failure modes that nobody had planned for."])


_RECOVERED = {
    "itself": "recovered by the platform itself",
    "rule": "recovered by an L1 rule",
    "runbook": "recovered through a runbook",
    "none": "violations, which nothing recovers from",
}


def _coverage(story: Story) -> str:
    by: dict[str, list[str]] = {}
    for fault in story.faults:
        by.setdefault(fault.plan.recovery.by, []).append(fault.label)
    lines = [f"- {_RECOVERED[kind]}, as planned: {', '.join(labels)}" for kind, labels in sorted(by.items())]
    used = sorted({step.runbook_id for step in story.steps if step.runbook_id})
    lines.append(f"- runbooks that remediation orders followed: {', '.join(map(code, used)) or 'none'}")
    ended: dict[str, list[str]] = {}
    for one in story.attended.executions:
        ended.setdefault(one.status, []).append(one.runbook)
    for status, runbooks in sorted(ended.items()):
        lines.append(f"- runbooks that ops carried out, {status}: {', '.join(map(code, sorted(set(runbooks))))}")
    if not ended and not any(fault.plan.recovery.by == "runbook" for fault in story.faults):
        lines.append("- no fault of this plan needs a runbook of ops, so this run says nothing about them")
    return "\n".join([*lines, "", f"{ASK} how sure we are that every failure mode is covered, and why."])
