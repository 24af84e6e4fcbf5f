"""When whoever was on call had no hand free: from ops' own notebook, and from what ops got no answer to.

Invariant: an execution fills hands from the page that it is for until it waits for the clock or has ended. While it
waits they are free, however long that is: a look that found "not yet" fills them for no longer than it took.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from assertions.once import once
from assertions.words import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evidence.run import Evidence

ENDS = ("completed", "failed", "partial")
"""What the notebook calls the end of an execution."""
Spans = list[tuple[int, int]]
"""From when until when (ms), both included."""


class Hands(NamedTuple):
    full: Spans
    open: dict[str, Spans]
    """Runbook -> while it was carried out: nobody carries one out twice at once."""
    begun: list[tuple[int, str]]
    """(when, incident) of each execution."""


def hands(evidence: Evidence) -> Hands:
    return once(evidence, _hands)


def _hands(evidence: Evidence) -> Hands:
    taken: dict[str, list[int]] = {}
    for at, action, key in evidence.rows("pager.events", "at", "action", "dedup_key"):
        if action == "acknowledge":
            taken.setdefault(key, []).append(at)
    found = Hands([], {}, [])
    last: dict[str, tuple[int, bool]] = {}  # execution -> when its last note was, and whether it has waited since
    opened: dict[str, int] = {}
    columns = ("at", "action", "incident", "runbook", "execution_id", "matched")
    for at, action, incident, runbook, execution_id, matched in evidence.rows("operator.notebook", *columns):
        if action == "started":
            found.begun.append((at, incident))
            before = taken.get(incident, [])
            place = bisect_right(before, at)
            opened[execution_id] = before[place - 1] if place else at
            last[execution_id] = (opened[execution_id], False)
        since_at, waited = last.get(execution_id, (at, False))
        found.full.append((at if waited else since_at, at))
        last[execution_id] = (at, matched == "not yet")
        if action in ENDS:
            found.open.setdefault(runbook, []).append((opened.pop(execution_id, at), at))
        else:
            opened.setdefault(execution_id, at)
    # What is not answered is said again after a minute, and an answer is waited for as long.
    for (at,) in evidence.rows("operator.unanswered", "at"):
        found.full.append((at - MINUTE_MS, at + MINUTE_MS))
    return found


def free_for(from_at: int, free_ms: int, full: Iterable[tuple[int, int]]) -> int:
    """When hands have been free for `free_ms` since `from_at`, taken together."""
    at, left_ms = from_at, free_ms
    for begins_at, ends_at in sorted(full):
        if ends_at <= at:
            continue
        if begins_at > at + left_ms:
            break
        left_ms -= max(begins_at - at, 0)
        at = ends_at
    return at + left_ms
