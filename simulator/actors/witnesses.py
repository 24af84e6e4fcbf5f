"""Outside witnesses: the anchor, which keeps heads of the audit chain, and the pager, which keeps what it was told.

Invariant: both only ever append; the platform can reach neither book in any other way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from contest_platform.ports import PagerIncident
from simulator.actors.context import World

SEVERITIES = ("critical", "error", "warning", "info")
DEDUP_KEY_MAX = 255
SUMMARY_MAX = 1_024

IncidentState = Literal["triggered", "acknowledged"]

NEXT_STATE: dict[tuple[str, IncidentState | None], IncidentState | None] = {
    ("trigger", None): "triggered",
    ("trigger", "triggered"): "triggered",
    ("trigger", "acknowledged"): "acknowledged",
    ("acknowledge", None): None,
    ("acknowledge", "triggered"): "acknowledged",
    ("acknowledge", "acknowledged"): "acknowledged",
    ("resolve", None): None,
    ("resolve", "triggered"): None,
    ("resolve", "acknowledged"): None,
}
"""PagerDuty Events v2: (action, state of the open incident with this dedup key) -> its state; None is no open incident.
A trigger for an open incident adds to it and does not page again; the others are accepted and ignored without one."""


class AnchorActor:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book, self._refusals = world.books["anchor.heads"], world.books["anchor.refusals"]

    def receive(self, head_seq: int, head_hash: str) -> None:
        self._world.record("anchor", "head.received", str(head_seq), hash=head_hash)
        self._book.note(self._world.runtime.now(), head_seq, head_hash)

    def refuse(self, head_seq: int, status: int) -> None:
        """Answer with an HTTP error and keep nothing."""
        self._world.record("anchor", "head.refused", str(head_seq), status=status)
        self._refusals.note(self._world.runtime.now(), head_seq, status)


class InvalidEventError(Exception):
    """The event is not one of Events v2: the pager answers 400 and keeps nothing."""


@dataclass(frozen=True, slots=True)
class Page:
    """An incident as whoever is on call is told of it. `at`: when it was opened."""

    at: int
    dedup_key: str
    summary: str
    severity: str
    details: Mapping[str, Any]


class PagerActor:
    """`open` holds the state of each open incident by its dedup key, in the order in which they were opened. `on_call`
    is told of every new one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._book, self._refusals = world.books["pager.events"], world.books["pager.refusals"]
        self.open: dict[str, IncidentState] = {}
        self._since_at: dict[str, int] = {}
        self.on_call: Callable[[Page], None] | None = None

    def receive(self, action: str, dedup_key: str, summary: str, severity: str, details: Mapping[str, Any]) -> None:
        """Take one event. An empty dedup key makes an incident of its own. Raises InvalidEventError."""
        if (action, None) not in NEXT_STATE:
            raise InvalidEventError(f"event_action {action!r} is not trigger, acknowledge or resolve")
        if not dedup_key and action != "trigger":
            raise InvalidEventError(f"{action} needs a dedup_key")
        if len(dedup_key) > DEDUP_KEY_MAX:
            raise InvalidEventError(f"the dedup_key has {len(dedup_key)} characters, at most {DEDUP_KEY_MAX} are taken")
        if action == "trigger" and not 0 < len(summary) <= SUMMARY_MAX:
            raise InvalidEventError(f"the summary has {len(summary)} characters, 1 to {SUMMARY_MAX} are taken")
        if action == "trigger" and severity not in SEVERITIES:
            raise InvalidEventError(f"severity {severity!r} is not one of {', '.join(SEVERITIES)}")
        key = dedup_key or f"pager:{self._book.count + 1}"
        before = self.open.get(key)
        state = NEXT_STATE[action, before]
        now = self._world.runtime.now()
        if state is None:
            self.open.pop(key, None)
            self._since_at.pop(key, None)
        else:
            self.open[key] = state
            self._since_at.setdefault(key, now)
        self._world.record("pager", f"page.{action}", key, severity=severity, summary=summary)
        text = json.dumps(dict(details), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._book.note(now, action, key, summary, severity, text)
        if before is None and state is not None and self.on_call is not None:
            self.on_call(Page(now, key, summary, severity, details))

    def incidents(self) -> list[PagerIncident]:
        """Those that are open, in the order of their keys."""
        return [PagerIncident(key, state, self._since_at[key]) for key, state in sorted(self.open.items())]

    def refuse(self, action: str, dedup_key: str, status: int) -> None:
        """Answer with an HTTP error and keep nothing."""
        self._world.record("pager", "page.refused", dedup_key, action=action, status=status)
        self._refusals.note(self._world.runtime.now(), action, dedup_key, status)
