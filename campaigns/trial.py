"""One run of many: simulated, judged, and summed up; its evidence is gone afterwards unless it is asked for.

Invariant: what a trial says is a function of its plan and the code, so that trials may be made anywhere and twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from assertions.judge import Verdict, judge
from assertions.model import Status
from campaigns.simulating import simulate_into
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import RunWriter
from simulator.operations import Operations

_OBJECT = re.compile(r"([a-z]+)_[0-9a-f]{12,}")


class Fingerprint(NamedTuple):
    """What failure it is: the assertion, and the kind of thing of which it was broken (`transfers`, `escrow`)."""

    assertion: str
    kind: str

    def __str__(self) -> str:
        return f"{self.assertion}:{self.kind}"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run came to. `fingerprints` are sorted, that of the first broken promise apart in `first`."""

    scenario: str
    seed: int
    plan_sha256: str
    digest: str
    status: str
    first: Fingerprint | None
    fingerprints: tuple[Fingerprint, ...]
    missing: tuple[tuple[str, str], ...]
    """(assertion, what was not exercised)."""
    exercised: tuple[str, ...]
    """The assertions that were owed or saw anything."""
    events: int
    unreached: tuple[str, ...] = ()
    """The assertions that claim that something is reached, which was not: they are left unproven, and never fail."""
    bitten: tuple[str, ...] = ()
    """The kinds of fault that acted, sorted."""

    @property
    def broken(self) -> tuple[str, ...]:
        """The assertions that say that something is wrong: those that failed, and those that nothing reached."""
        return tuple(sorted({*self.unreached, *(fingerprint.assertion for fingerprint in self.fingerprints)}))

    def breaks(self, assertions: Iterable[str]) -> bool:
        """Whether every one of `assertions` is broken."""
        return set(self.broken).issuperset(assertions)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Trial:
        """A trial whose fields came as JSON from another process."""
        first = told["first"]
        return cls(
            **{
                **told,
                "first": None if first is None else Fingerprint(*first),
                "fingerprints": tuple(Fingerprint(*each) for each in told["fingerprints"]),
                "missing": tuple((assertion, what) for assertion, what in told["missing"]),
                "exercised": tuple(told["exercised"]),
                "unreached": tuple(told["unreached"]),
                "bitten": tuple(told["bitten"]),
            }
        )


class TrialFailed(Exception):
    """There is no trial: the message says what came instead."""


def fingerprints(verdict: Verdict) -> tuple[Fingerprint, ...]:
    """Those of every broken promise, each once, sorted."""
    found = {Fingerprint(result.id, kind_of(broken.subject)) for result in verdict.results for broken in result.broken}
    return tuple(sorted(found))


def kind_of(subject: str) -> str:
    """The kind of what a broken promise is about: subjects are `kind/id`. Of an object of the processor that stands
    there by its id alone it is the prefix of that (`tr`), of an account what it is an account of."""
    kind, has_id, _ = subject.partition("/")
    if has_id:
        return kind
    found = _OBJECT.fullmatch(kind)
    return ":".join(kind.split(":")[:2]) if found is None else found[1]


def try_plan(plan: Plan, operations: Operations, code_sha256: str, scratch: Path | None = None) -> Trial:
    """Simulate and judge `plan` under `scratch` (by default the system's directory for temporary files)."""
    with TemporaryDirectory(prefix="absence-trial-", dir=scratch) as root, RunWriter(Path(root), "run") as writer:
        work, seal = simulate_into(writer, plan, operations, {"code": code_sha256})
        evidence = Evidence.open(writer.path)
        verdict = judge(evidence)
        bitten = sorted({fault for (fault,) in evidence.rows("injector.bites", "fault")})
    return replace(summed_up(verdict, seal.digest, work.events), bitten=tuple(bitten))


def summed_up(verdict: Verdict, digest: str, events: int) -> Trial:
    first = verdict.first_broken
    return Trial(
        verdict.scenario,
        verdict.seed,
        verdict.plan_sha256,
        digest,
        verdict.status.value,
        None if first is None else Fingerprint(first.assertion, kind_of(first.subject)),
        fingerprints(verdict),
        tuple((item.assertion, item.what) for item in verdict.not_exercised),
        tuple(result.id for result in verdict.results if result.owed or result.saw),
        events,
        tuple(
            result.id
            for result in verdict.results
            if result.kind in ("reachable", "sometimes") and result.status is Status.INCONCLUSIVE
        ),
    )
