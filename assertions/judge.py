"""The judge: runs every assertion over the evidence of a run and merges what they found into one verdict.

Invariant: the same evidence gives the same verdict, byte for byte. `Verdict.to_json` is a published contract.
"""

from __future__ import annotations

import gc
import importlib
import json
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import assertions
from assertions.facts import facts
from assertions.halted import GUARD, as_far_as_it_went, because_of
from assertions.model import REGISTRY, Broken, Result, Status, judge_one, merge
from assertions.windows import Span
from assertions.words import dollars
from evidence.schemas import VERSION as EVIDENCE_VERSION

if TYPE_CHECKING:
    from evidence.run import Evidence

VERSION = 1
FAMILIES = (
    "audit",
    "ledger",
    "absence",
    "lifecycle",
    "payouts",
    "ingestion",
    "settlement",
    "runbooks",
    "alerts",
    "dashboards",
    "healing",
    "recovery",
)
"""The order in which families are judged and shown; an unknown family comes last."""
BROKEN_MAX = 100
"""So many broken promises of one assertion are kept, the earliest; one more sums up the others."""


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that was at work at the instant of the first broken promise. Instants in ms."""

    fault_id: str
    fault: str
    title: str
    kind: str
    from_at: int
    until_at: int


@dataclass(frozen=True, slots=True)
class FirstBroken:
    """The first broken promise of the run. Where no book says when it broke, every fault that acted is named."""

    assertion: str
    claim: str
    message: str
    subject: str
    at: int | None
    money_cents: int
    active_faults: tuple[ActiveFault, ...]


@dataclass(frozen=True, slots=True)
class NotExercised:
    assertion: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run proves. `results` are in the order of FAMILIES, then by id."""

    scenario: str
    seed: int
    plan_sha256: str
    status: Status
    results: tuple[Result, ...]
    first_broken: FirstBroken | None
    not_exercised: tuple[NotExercised, ...]
    version: int = VERSION

    def to_json(self) -> str:
        """The verdict as `verdict.json` holds it: sorted keys, money in cents, instants in ms."""
        whole = asdict(self)
        whole["status"] = self.status.value
        for result in whole["results"]:
            result["status"] = result["status"].value
        return json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Verdict:
        """Read what `to_json` wrote. Raises ValueError for another version or for something that is no verdict."""
        try:
            whole = json.loads(text)
            if whole["version"] != VERSION:
                raise ValueError(f"verdict.json has version {whole['version']!r}, this reader knows {VERSION}")
            return _verdict(whole)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a verdict: {type(error).__name__}: {error}") from error


def judge(evidence: Evidence) -> Verdict:
    """Run every assertion there is. An assertion that crashes is INCONCLUSIVE; it never stops the others.

    What they work out together is worked out once; in a run of an older version each does it for itself, so that it is
    known which of them asked for what that version did not have."""
    discover()
    ordered = sorted(REGISTRY.values(), key=lambda known: (family_order(known.family), known.id))
    is_older = evidence.version < EVIDENCE_VERSION
    with _no_collections():
        results = tuple(_shortened(judge_one(known, evidence.afresh() if is_older else evidence)) for known in ordered)
    plan, halt = evidence.plan, evidence.halt
    statuses, not_exercised = [], []
    if halt is not None:
        results = tuple(as_far_as_it_went(result, halt) for result in results)
        statuses.append(Status.INCONCLUSIVE)
        not_exercised.append(NotExercised(GUARD, f"{because_of(halt)}: {halt.sentence()}"))
    return Verdict(
        plan.scenario,
        plan.seed,
        evidence.plan_sha256,
        merge([*statuses, *(result.status for result in results)]),
        results,
        _first_broken(results, facts(evidence).spans),
        (
            *not_exercised,
            *(
                NotExercised(result.id, what)
                for result in results
                if result.status is Status.INCONCLUSIVE
                for what in (*result.missing, *_short_of(result))
            ),
        ),
    )


@contextmanager
def _no_collections() -> Iterator[None]:
    """Judging keeps many small objects and makes hardly a cycle: looking for cycles was a quarter of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def discover() -> None:
    """Import every module of this package, so that each registers its assertions: adding one is adding a function."""
    for module in sorted(info.name for info in pkgutil.iter_modules(assertions.__path__) if not info.ispkg):
        importlib.import_module(f"assertions.{module}")


def family_order(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def _short_of(result: Result) -> list[str]:
    if result.saw < result.owed:
        return [f"saw {result.saw} {result.unit} where there had to be {result.owed}"]
    return []


def _when(broken: Broken) -> tuple[bool, int, int, str, str]:
    return (broken.at is None, broken.at or 0, -broken.money_cents, broken.subject, broken.message)


def _shortened(result: Result) -> Result:
    """The result with its broken promises in the order of time, and the many of one kind cut to BROKEN_MAX."""
    ordered = sorted(result.broken, key=_when)
    kept, rest = ordered[:BROKEN_MAX], ordered[BROKEN_MAX:]
    if rest:
        money_cents = sum(broken.money_cents for broken in rest)
        told = f"and {len(rest)} more, {dollars(money_cents)} at risk in them"
        kept.append(Broken(told, result.id, None, money_cents))
    return replace(result, broken=tuple(kept))


BY_HAND = "absence.database_sessions"
_EVER = -(1 << 63)


def _altered_by_hand_at(results: tuple[Result, ...]) -> int:
    """The instant (ms) of the first session at the database that was nobody's of the platform, where the audit shows
    that the platform's books have been altered; before all others where it does not."""
    sessions = [broken.at for result in results if result.id == BY_HAND for broken in result.broken]
    is_altered = any(result.broken for result in results if result.family == "audit")
    return min([at for at in sessions if at is not None], default=_EVER) if is_altered else _EVER


def _first_broken(results: tuple[Result, ...], spans: list[Span]) -> FirstBroken | None:
    """The earliest broken promise; of several at one instant, the one that risks most money, then that of the
    first family and id.

    Once a human has had his hands in the database and the audit shows that rows were altered, what these rows say of
    instants before his session is hearsay: nothing from before it comes first."""
    first: tuple[Result, Broken] | None = None
    by_hand_at = _altered_by_hand_at(results)
    for result in results:
        believed = [broken for broken in result.broken if broken.at is None or broken.at >= by_hand_at]
        for broken in believed[:1]:  # the earliest: _shortened put them in order
            if first is None or _when(broken)[:3] < _when(first[1])[:3]:
                first = result, broken
    if first is None:
        return None
    result, broken = first
    active = [span for span in spans if broken.at is None or span.is_active(broken.at)]
    return FirstBroken(
        result.id, result.claim, broken.message, broken.subject, broken.at, broken.money_cents,
        tuple(ActiveFault(*span[:6]) for span in active),
    )  # fmt: skip


def _verdict(whole: dict[str, Any]) -> Verdict:
    first = whole["first_broken"]
    return Verdict(
        whole["scenario"],
        whole["seed"],
        whole["plan_sha256"],
        Status(whole["status"]),
        tuple(
            Result(
                **{
                    **result,
                    "status": Status(result["status"]),
                    "broken": tuple(Broken(**broken) for broken in result["broken"]),
                    "missing": tuple(result["missing"]),
                }
            )
            for result in whole["results"]
        ),
        first and FirstBroken(
            **{**first, "active_faults": tuple(ActiveFault(**fault) for fault in first["active_faults"])}
        ),
        tuple(NotExercised(**item) for item in whole["not_exercised"]),
        whole["version"],
    )  # fmt: skip
