"""What happened, in order: the lives of the contests and the key events of a run, from every party's book.

Invariant: each event names the book it was read from, so that a reader can look it up.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from reports import words

if TYPE_CHECKING:
    from evidence.run import Evidence
    from reports.story import Story


class Segment(NamedTuple):
    """A contest was in `status` in [from_at, until_at)."""

    status: str
    from_at: int
    until_at: int


class Life(NamedTuple):
    """A contest's states in order, by the audit log; `status` is what the contest's own row says at the end."""

    contest_id: str
    name: str
    tournament_id: str
    status: str
    error_code: str | None
    segments: list[Segment]


class Event(NamedTuple):
    """One line of the timeline. `kind` is also its importance, see IMPORTANCE."""

    at: int
    kind: str
    text: str
    book: str


IMPORTANCE = (
    "broken", "phase", "handed on", "violation", "fault", "too late", "ops", "service", "pager", "correction",
    "healing", "contest",
)  # fmt: skip
"""When a timeline has to be cut, the last of these go first."""


def lives(evidence: Evidence, end_at: int) -> list[Life]:
    """The contests in the order of the plan, their segments up to `end_at`. One pass over the audit log."""
    changes: dict[str, list[tuple[int, str]]] = {}
    for at, subject, after in evidence.rows("platform.audit_log", "at", "subject", "after"):
        if after is None or not subject.startswith("contests/"):
            continue
        status = json.loads(after).get("status")
        if status is not None:
            changes.setdefault(subject[9:], []).append((at, status))
    found = []
    columns = ("contest_id", "name", "tournament_id", "status", "error_code")
    for contest_id, name, tournament_id, status, error_code in evidence.rows("platform.contests", *columns):
        steps = changes.get(contest_id, [])
        ends = [at for at, _ in steps[1:]] + [max(end_at, steps[-1][0])] if steps else []
        segments = [Segment(status, at, until) for (at, status), until in zip(steps, ends, strict=True)]
        found.append(Life(contest_id, name, tournament_id, status, error_code, segments))
    order = {contest.id: n for n, contest in enumerate(evidence.plan.contests)}
    return sorted(found, key=lambda life: order.get(life.contest_id, len(order)))


def timeline(evidence: Evidence, story: Story, contests: list[Life]) -> list[Event]:
    """All key events in time. Runs of the same thing at one instant are one event."""
    plan = story.plan
    events = [
        Event(plan.starts_at, "phase", "The absence window begins.", "plan"),
        Event(plan.absence_until_at, "phase", "The absence window ends; the recovery phase begins.", "plan"),
        Event(story.end_at, "phase", "The last event of the run.", "journal"),
    ]
    events += [
        Event(broken.at, "broken", f"Promise broken: {broken.message} ({result.id})", "verdict")
        for result, broken in story.broken()
        if broken.at is not None
    ]
    events += _faults(story)
    events += _attended(story)
    events += _services(evidence)
    events += _pages(evidence)
    events += _corrections(evidence)
    events += _healing(evidence)
    events += _contests(contests)
    rank = {kind: place for place, kind in enumerate(IMPORTANCE)}
    events.sort(key=lambda event: (event.at, rank[event.kind]))
    return events


def cut(events: list[Event], limit: int) -> list[Event]:
    """At most `limit` events, still in time: the least important kinds go first, of one kind the latest."""
    if len(events) <= limit:
        return events
    rank = {kind: place for place, kind in enumerate(IMPORTANCE)}
    by_worth = sorted(range(len(events)), key=lambda n: (rank[events[n].kind], n))
    return [events[n] for n in sorted(by_worth[:limit])]


def _faults(story: Story) -> list[Event]:
    events = []
    for fault in story.faults:
        if not fault.bites:
            continue
        first, kind = fault.bites[0], fault.plan.kind
        entity = f" on {first.entity}" if first.entity else ""
        times = f", {len(fault.bites):,} times in all" if len(fault.bites) > 1 else ""
        text = f"{fault.label} {fault.plan.title}: {first.effect} at {first.seam} {first.operation}{entity}{times}."
        events.append(Event(first.at, kind, text, "injector.bites"))
    return events


def _attended(story: Story) -> list[Event]:
    told = story.attended
    events = [Event(one.at, "handed on", one.sentence(), "operator.escalations") for one in told.handed_on]
    for one in told.eventful:
        book = "operator.notebook"
        events.append(Event(one.from_at, "ops", f"{one.principal} opens {one.runbook} ({one.why()}).", book))
        if one.until_at is not None:
            why = f": {one.reason}" if one.reason else ""
            took = words.duration(one.until_at - one.from_at)
            events.append(Event(one.until_at, "ops", f"{one.runbook} ends {one.status} after {took}{why}.", book))
    return events


def _services(evidence: Evidence) -> list[Event]:
    rows = evidence.rows("hosts.services", "at", "host", "service", "state", "by", "incarnation")
    return [
        Event(at, "service", f"{service} on {host} is {state} (by {by}, incarnation {incarnation}).", "hosts.services")
        for at, host, service, state, by, incarnation in rows
        if not (state == "running" and incarnation == 1)
    ]


def _pages(evidence: Evidence) -> list[Event]:
    rows = evidence.rows("pager.events", "at", "action", "severity", "summary")
    return [
        Event(at, "pager", f"Pager {action}: {summary}{f' ({severity})' if severity else ''}", "pager.events")
        for at, action, severity, summary in rows
    ]


def _corrections(evidence: Evidence) -> list[Event]:
    """Each correction in time; one that came after a cut-off says which contests it does not count for any more, and
    whether the platform has it on record as late."""
    columns = ("published_at", "event_id", "correction")
    counted = Counter(
        (at, event) for at, event, correction in evidence.rows("provider.publications", *columns) if correction
    )
    events: dict[str, str] = dict(evidence.rows("platform.tournaments", "tournament_id", "provider_event_id"))
    recorded: Counter[int] | None = None
    cutoffs: dict[str, list[tuple[int, str]]] = {}
    for contest, tournament, cutoff_at in evidence.rows(
        "platform.contests", "contest_id", "tournament_id", "cutoff_at"
    ):
        if cutoff_at is not None:
            cutoffs.setdefault(events[tournament], []).append((cutoff_at, contest))
    found = []
    for (at, event), count in counted.items():
        what = f"The provider corrects {words.plural(count, 'hole score')} of {event}"
        late = [contest for cutoff_at, contest in sorted(cutoffs.get(event, ())) if cutoff_at < at]
        if not late:
            found.append(Event(at, "correction", f"{what}.", "provider.publications"))
            continue
        if recorded is None:
            recorded = _recorded_as_late(evidence)
        known = f"on record as late: {recorded[at]} of {count}" if recorded[at] else "not on record as late"
        of = ", ".join(late)
        found.append(
            Event(at, "too late", f"{what}, after the cut-off of {of}: it does not count there ({known}).",
                  "provider.publications")
        )  # fmt: skip
    return found


def _recorded_as_late(evidence: Evidence) -> Counter[int]:
    """How many receipts there are of corrections published at an instant that say that they came too late."""
    rows = evidence.rows("platform.ingestion_receipts", "published_at", "verdict", "reason")
    return Counter(
        at for at, verdict, reason in rows if verdict == "CORRECTION" and (reason or "").startswith("AFTER_CUTOFF:")
    )


def _healing(evidence: Evidence) -> list[Event]:
    columns = ("issued_at", "finished_at", "order_id", "host", "runbook_id", "status", "detail")
    events = []
    for issued_at, finished_at, order_id, host, runbook_id, status, detail in evidence.rows(
        "platform.remediation_orders", *columns
    ):
        book = "platform.remediation_orders"
        events.append(Event(issued_at, "healing", f"Order {order_id}: {runbook_id} on {host}.", book))
        if finished_at is not None:
            why = f" ({detail})" if detail else ""
            events.append(Event(finished_at, "healing", f"Order {order_id} on {host} ends {status}{why}.", book))
    return events


def _contests(contests: list[Life]) -> list[Event]:
    together: dict[tuple[int, str], list[str]] = {}
    for life in contests:
        for segment in life.segments[1:]:
            together.setdefault((segment.from_at, segment.status), []).append(life.name)
    events = []
    for (at, status), names in together.items():
        who = names[0] if len(names) == 1 else f"{len(names):,} contests" if len(names) > 3 else ", ".join(names)
        events.append(Event(at, "contest", f"{who}: {status}.", "platform.audit_log"))
    return events
