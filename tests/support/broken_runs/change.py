"""How a run is broken: a change to its books, registered under the assertion that has to catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assertions.model import Status
from tests.support.fake_evidence import FakeEvidence

Break = Callable[[FakeEvidence], None]

BREAKS: list[tuple[str, Status, Break]] = []
"""(assertion, the status it must come to, the change)."""
ONLY_INCONCLUSIVE = {"recovery.every_fault_bit"}
"""What was not exercised breaks no promise, it leaves one unproven."""


def breaks(assertion: str, status: Status = Status.FAIL) -> Callable[[Break], Break]:
    def register(change: Break) -> Break:
        BREAKS.append((assertion, status, change))
        return change

    return register


def row(evidence: FakeEvidence, book: str, **match: Any) -> dict[str, Any]:
    """The first row of a book that matches."""
    return next(r for r in evidence.books[book] if all(r.get(name) == value for name, value in match.items()))


def remove(evidence: FakeEvidence, book: str, **match: Any) -> None:
    evidence.books[book].remove(row(evidence, book, **match))


def add(evidence: FakeEvidence, book: str, **columns: Any) -> None:
    evidence.books[book].append({"n": len(evidence.books[book]) + 1, **columns})
