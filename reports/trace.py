"""trace.json: the run as Chrome trace events, to be opened in Perfetto (ui.perfetto.dev) or chrome://tracing.

Time 0 is the start of the run, a microsecond of the trace is one of simulated time. Tracks: the run, contests, play,
faults, ops, services, webhooks, payouts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports.history import Life
from reports.story import Story

if TYPE_CHECKING:
    from evidence.run import Evidence

RUN, CONTESTS, PLAY, FAULTS, OPS, SERVICES, WEBHOOKS, PAYOUTS = range(1, 9)
_PROCESSES = {
    RUN: "run",
    CONTESTS: "contests",
    PLAY: "tournaments: play",
    FAULTS: "faults",
    OPS: "ops: runbooks",
    SERVICES: "services: incarnations",
    WEBHOOKS: "webhook deliveries",
    PAYOUTS: "payouts",
}
POINT_MS = 60_000
"""How long an event without a length is drawn: a minute, or it could not be seen among days."""

Event = dict[str, Any]


class _Track:
    """Events of one process, their instants made relative to the start of the run."""

    def __init__(self, pid: int, starts_at: int) -> None:
        self.pid, self.starts_at = pid, starts_at
        self.events: list[Event] = [
            _meta(pid, 0, "process_name", name=_PROCESSES[pid]),
            _meta(pid, 0, "process_sort_index", sort_index=pid),
        ]
        self._threads: dict[str, int] = {}

    def thread(self, name: str) -> int:
        tid = self._threads.get(name)
        if tid is None:
            tid = self._threads[name] = len(self._threads) + 1
            self.events.append(_meta(self.pid, tid, "thread_name", name=name))
            self.events.append(_meta(self.pid, tid, "thread_sort_index", sort_index=tid))
        return tid

    def span(self, thread: str, name: str, from_at: int, until_at: int, **args: Any) -> None:
        """A slice. Slices of one thread must nest; what may overlap goes through `overlapping`."""
        ts = (from_at - self.starts_at) * 1000
        event = {"ph": "X", "pid": self.pid, "tid": self.thread(thread), "ts": ts, "name": name}
        self.events.append(event | {"dur": max(until_at - from_at, 0) * 1000, "args": args})

    def overlapping(self, thread: str, key: str, name: str, from_at: int, until_at: int, **args: Any) -> None:
        """A slice that others may overlap: an asynchronous pair, told apart by `key`."""
        ts = (from_at - self.starts_at) * 1000
        common = {"pid": self.pid, "tid": self.thread(thread), "cat": thread, "id": key, "name": name}
        self.events.append(common | {"ph": "b", "ts": ts, "args": args})
        self.events.append(common | {"ph": "e", "ts": ts + max(until_at - from_at, 1) * 1000})

    def point(self, thread: str, name: str, at: int, **args: Any) -> None:
        ts = (at - self.starts_at) * 1000
        event = {"ph": "i", "s": "t", "pid": self.pid, "tid": self.thread(thread), "ts": ts, "name": name}
        self.events.append(event | {"args": args})


def _meta(pid: int, tid: int, what: str, **args: Any) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": what, "args": args}


def render(evidence: Evidence, story: Story, contests: list[Life]) -> bytes:
    """The whole file, one event a line."""
    starts_at = story.plan.starts_at
    tracks = [
        _run(story, _Track(RUN, starts_at)),
        _contests(contests, _Track(CONTESTS, starts_at)),
        _play(story, _Track(PLAY, starts_at)),
        _faults(story, _Track(FAULTS, starts_at)),
        _attended(story, _Track(OPS, starts_at)),
        _services(evidence, story, _Track(SERVICES, starts_at)),
        _webhooks(evidence, _Track(WEBHOOKS, starts_at)),
        _payouts(evidence, story, _Track(PAYOUTS, starts_at)),
    ]
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode
    lines = ",\n".join(encode(event) for track in tracks for event in track.events)
    head = encode({"scenario": story.plan.scenario, "seed": story.plan.seed, "starts_at": starts_at})
    # A name with half a surrogate pair is still a name: it is replaced, not a reason to have no trace.
    return f'{{"displayTimeUnit":"ms","otherData":{head},"traceEvents":[\n{lines}\n]}}\n'.encode(errors="replace")


def _run(story: Story, track: _Track) -> _Track:
    plan = story.plan
    track.span("phase", "absence window", plan.starts_at, plan.absence_until_at)
    track.span("phase", "recovery phase", plan.absence_until_at, story.end_at)
    for result, broken in story.broken():
        if broken.at is not None:
            track.point("broken promises", result.id, broken.at, message=broken.message, subject=broken.subject,
                        money_cents=broken.money_cents)  # fmt: skip
    for step in story.steps:
        until_at = story.end_at if step.until_at is None else step.until_at
        track.overlapping("remediation orders", step.order_id, step.runbook_id or "order", step.from_at, until_at,
                          host=step.host, rule=step.rule_id, status=step.status)  # fmt: skip
    return track


def _contests(contests: list[Life], track: _Track) -> _Track:
    for life in contests:
        for segment in life.segments:
            thread = f"{life.contest_id} {life.name}"
            track.span(thread, segment.status, segment.from_at, segment.until_at, contest_id=life.contest_id)
    return track


def _play(story: Story, track: _Track) -> _Track:
    for tournament in story.plan.tournaments:
        for from_at, until_at in tournament.play:
            track.span(f"{tournament.id} {tournament.name}", "play", from_at, until_at)
    return track


def _faults(story: Story, track: _Track) -> _Track:
    for fault in story.faults:
        plan = fault.plan
        thread = f"{fault.label} {plan.title}"
        if fault.window is not None:
            track.span(thread, f"{plan.fault} (window)", *fault.window, fault_id=plan.id)
        for bite in fault.bites:
            key = f"{plan.id}/{bite.at}/{bite.victim}"
            track.overlapping(thread, key, bite.effect, bite.at, bite.at + POINT_MS, entity=bite.entity,
                              victim=bite.victim, seam=bite.seam, operation=bite.operation)  # fmt: skip
    return track


def _attended(story: Story, track: _Track) -> _Track:
    for one in story.attended.executions:
        until_at = story.end_at if one.until_at is None else one.until_at
        track.overlapping(one.principal, one.execution_id, f"{one.runbook} {one.status}", one.from_at, until_at,
                          occasion=one.why(), reason=one.reason)  # fmt: skip
        for sent in one.sent:
            track.point(one.runbook, f"{sent.step} {sent.matched}", sent.at, sent=sent.command, times=sent.times)
    for handed in story.attended.handed_on:
        track.point("handed on", handed.incident, handed.at, reason=handed.reason)
    return track


def _services(evidence: Evidence, story: Story, track: _Track) -> _Track:
    running: dict[tuple[str, str], tuple[int, str, int]] = {}

    def close(key: tuple[str, str], until_at: int) -> None:
        at, state, incarnation = running.pop(key)
        track.span(" ".join(key), f"{state} #{incarnation}", at, until_at, incarnation=incarnation)

    columns = ("at", "host", "service", "state", "incarnation")
    for at, host, service, state, incarnation in evidence.rows("hosts.services", *columns):
        if (host, service) in running:
            close((host, service), at)
        running[host, service] = at, state, incarnation
    for key in list(running):
        close(key, story.end_at)
    return track


def _webhooks(evidence: Evidence, track: _Track) -> _Track:
    events = {
        event_id: (kind, at)
        for event_id, kind, at in evidence.rows("processor.events", "event_id", "type", "created_at")
    }
    columns = ("event_id", "attempt", "due_at", "at", "sent", "status", "note", "entity")
    for event_id, attempt, due_at, at, sent, status, note, entity in evidence.rows("processor.deliveries", *columns):
        kind, created_at = events.get(event_id, ("unknown event", due_at))
        outcome = "not sent" if not sent else f"HTTP {status}" if status else "no answer"
        tried_at = due_at if at is None else at
        begun_at = due_at if created_at is None or attempt > 1 else created_at
        track.overlapping(kind, f"{event_id}/{attempt}/{tried_at}", f"{event_id} {outcome}", begun_at, tried_at,
                          attempt=attempt, note=note, entity=entity)  # fmt: skip
    return track


def _payouts(evidence: Evidence, story: Story, track: _Track) -> _Track:
    columns = ("transfer_id", "contest_id", "user_id", "amount_cents", "status", "attempts", "created_at", "done_at")
    for transfer_id, contest_id, user_id, cents, status, attempts, created_at, done_at in evidence.rows(
        "platform.transfers", *columns
    ):
        until_at = story.end_at if done_at is None else done_at
        track.overlapping(contest_id, transfer_id, f"{transfer_id} {status}", created_at, until_at,
                          user_id=user_id, amount_cents=cents, attempts=attempts)  # fmt: skip
    return track
