"""An assertion: a small function of the evidence that says what it saw, what it had to see, and what broke.

Green without exercise does not exist: seen less than owed is INCONCLUSIVE, owed nothing and seen nothing
NOT_APPLICABLE. What asked for a book or a column that the version of the run did not have is one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from evidence.run import Evidence


class Status(Enum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken promise, in plain words. `at` is the simulated instant (ms) at which it broke, where one is known."""

    message: str
    subject: str
    at: int | None = None
    money_cents: int = 0


@dataclass(slots=True)
class Finding:
    """What an assertion found. `saw` and `owed` count the same unit: `unit` names it ("transfers", "postings")."""

    unit: str
    saw: int = 0
    owed: int = 0
    broken: list[Broken] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What should have been exercised and was not, each in words: one alone makes the result INCONCLUSIVE."""

    def breaks(self, message: str, subject: str, at: int | None = None, money_cents: int = 0) -> None:
        self.broken.append(Broken(message, subject, at, money_cents))


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict of one assertion."""

    id: str
    family: str
    claim: str
    kind: str
    status: Status
    unit: str
    saw: int
    owed: int
    broken: tuple[Broken, ...]
    missing: tuple[str, ...]


Kind = Literal["always", "always_or_unreached", "sometimes", "reachable", "unreachable"]
Check = Callable[["Evidence"], Finding]


@dataclass(frozen=True, slots=True)
class Assertion:
    id: str
    family: str
    claim: str
    kind: Kind
    check: Check


REGISTRY: dict[str, Assertion] = {}


def assertion(id: str, claim: str, kind: Kind = "always") -> Callable[[Check], Check]:
    """Register a check under `family.name`. `claim` is the promise in one sentence, as the report prints it."""

    def register(check: Check) -> Check:
        if id in REGISTRY:
            raise ValueError(f"assertion {id} is defined twice")
        REGISTRY[id] = Assertion(id, id.split(".")[0], claim, kind, check)
        return check

    return register


def judge_one(assertion: Assertion, evidence: Evidence) -> Result:
    """Run one assertion. One that crashes proves nothing: INCONCLUSIVE, with the error as what is missing. Of a run of
    an older version, `evidence` is one that nobody has read yet: what it lacked is then what this assertion lacked."""
    try:
        found = assertion.check(evidence)
    except Exception as error:
        found = Finding("nothing", missing=[f"the assertion itself failed: {type(error).__name__}: {error}"])
    status = status_of(found)
    if evidence.lacked:
        status = _without(found, status, sorted(evidence.lacked))
    return Result(
        assertion.id,
        assertion.family,
        assertion.claim,
        assertion.kind,
        status,
        found.unit,
        found.saw,
        found.owed,
        tuple(found.broken),
        tuple(found.missing),
    )


def status_of(found: Finding) -> Status:
    if found.broken:
        return Status.FAIL
    if found.missing or found.saw < found.owed:
        return Status.INCONCLUSIVE
    if found.saw == 0:
        return Status.NOT_APPLICABLE
    return Status.PASS


def _without(found: Finding, status: Status, lacked: list[str]) -> Status:
    """What can be said without `lacked`: neither that a promise was kept nor that it was broken. `found` says why."""
    looks = [f"without it {len(found.broken)} would be broken: {first.message}" for first in found.broken[:1]]
    found.missing[:0] = [f"the version of that run did not have {', '.join(lacked)}", *looks]
    found.broken.clear()
    return Status.NOT_APPLICABLE if status is Status.NOT_APPLICABLE else Status.INCONCLUSIVE


def merge(statuses: list[Status]) -> Status:
    """FAIL > INCONCLUSIVE > PASS; what is not applicable is listed and not merged. Nothing exercised: INCONCLUSIVE."""
    for status in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS):
        if status in statuses:
            return status
    return Status.INCONCLUSIVE
