"""When each planned fault was at work: from the plan's windows and the injector's book.

Invariant: a fault's span reaches from its first act to its last; from there on the platform has the fault's recovery
bound to get over it. Nothing recovers from a violation, so its span stays open.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from evidence.plan import FaultPlan


class Span(NamedTuple):
    """`over_at`: when the platform must have got over it (ms); None for a violation, which nothing undoes."""

    fault_id: str
    fault: str
    title: str
    kind: str
    from_at: int
    until_at: int
    over_at: int | None

    def is_active(self, at: int) -> bool:
        return self.from_at <= at and (self.over_at is None or at <= self.over_at)


def spans(faults: Iterable[FaultPlan], bites: Iterable[tuple[str, int | None]]) -> list[Span]:
    """The spans, earliest first, of the faults whose instants are planned or in `bites` (fault_id, at). A bite without
    an instant, which no honest book has, tells nothing of when."""
    acted: dict[str, tuple[int, int]] = {}
    for fault_id, at in bites:
        if at is None:
            continue
        first, last = acted.get(fault_id, (at, at))
        acted[fault_id] = (min(first, at), max(last, at))
    found = []
    for fault in faults:
        instants = [*acted.get(fault.id, ()), *(at for at in (fault.from_at, fault.until_at) if at is not None)]
        if instants:
            until_at = max(instants)
            over_at = None if fault.kind == "violation" else until_at + fault.recovery.within_s * 1_000
            found.append(Span(fault.id, fault.fault, fault.title, fault.kind, min(instants), until_at, over_at))
    return sorted(found, key=lambda span: (span.from_at, span.fault_id))


def deadline(spans: Iterable[Span], due_at: int, bound_ms: int) -> tuple[int, list[str]]:
    """Until when something due at `due_at` may take, and the ids of the faults that put the deadline off.

    A fault that overlaps the time allowed extends it to the end of the fault's own recovery bound; a violation excuses
    nothing. `spans` are sorted, so that a fault that begins within an extension extends it further.
    """
    until_at, excuses = due_at + bound_ms, []
    for fault_id, _, _, _, from_at, _, over_at in spans:
        if from_at > until_at:
            break
        if over_at is not None and until_at < over_at and over_at >= due_at:
            until_at = over_at
            excuses.append(fault_id)
    return until_at, excuses
