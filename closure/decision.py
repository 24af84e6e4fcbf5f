"""What the gate decides, and how it is told: CLOSE or HOLD, with everything that stands in the way.

Invariant: a decision states what it was made of (runs, policy, baseline, each by its hash), so it can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

VERSION = 1


class Outcome(Enum):
    """CLOSE and HOLD are said of a policy, UNLOCK and HOLD_REOPEN of a candidate that was scored against a baseline."""

    CLOSE = "CLOSE"
    HOLD = "HOLD"
    UNLOCK = "UNLOCK"
    HOLD_REOPEN = "HOLD_REOPEN"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stands in the way. `id` is the criterion's or the rail's, `phase` the policy's or "baseline".

    `missing` says what is not so, with figures; `where` is a place to look at: a run directory and in it a file, a book
    and its rows, an assertion."""

    id: str
    phase: str
    missing: str
    where: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A criterion that holds: `saw` counts what proves it, in `unit`; `where` leads to the rows."""

    id: str
    phase: str
    claim: str
    saw: int
    unit: str
    where: str


@dataclass(frozen=True, slots=True)
class Deferral:
    """A criterion that only a staging run can prove, put off by the policy: by name, for a reason, until a date."""

    id: str
    phase: str
    claim: str
    reason: str
    by: str
    until: str


@dataclass(frozen=True, slots=True)
class RunUsed:
    """A run that the decision was made of; `path` as it was given."""

    path: str
    name: str
    identity: str
    scenario: str
    seed: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a comparison with a baseline: what it was, what it is, and what it had to be, in words."""

    id: str
    baseline: float | int | str | None
    candidate: float | int | str | None
    rail: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Decision:
    outcome: Outcome
    policy: str
    policy_sha256: str
    runs: Sequence[RunUsed]
    blockers: Sequence[Blocker]
    proofs: Sequence[Proof] = ()
    deferrals: Sequence[Deferral] = ()
    baseline: RunUsed | None = None
    figures: Sequence[Figure] = ()
    carried: Sequence[str] = ()
    """Of a bounded rerun: ids of blockers that stand as the decision before it had them, and were not looked at."""
    reopens: str = ""
    """Of a bounded rerun: SHA-256 of the decision before it."""
    version: int = VERSION

    @property
    def closes(self) -> bool:
        return self.outcome in (Outcome.CLOSE, Outcome.UNLOCK)

    def to_json(self) -> str:
        """Sorted keys; a published contract, as verdict.json is."""
        whole: dict[str, Any] = asdict(self)
        whole["outcome"] = self.outcome.value
        return json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Decision:
        """Read what `to_json` wrote. Raises ValueError for another version or for something that is no decision."""
        kinds = {"runs": RunUsed, "blockers": Blocker, "proofs": Proof, "deferrals": Deferral, "figures": Figure}
        try:
            whole = json.loads(text)
            if whole["version"] != VERSION:
                raise ValueError(f"it has version {whole['version']!r}, this reader knows {VERSION}")
            read = {name: [kind(**one) for one in whole[name]] for name, kind in kinds.items()}
            baseline = whole["baseline"] and RunUsed(**whole["baseline"])
            return cls(**{**whole, **read, "outcome": Outcome(whole["outcome"]), "baseline": baseline})
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no decision: {type(error).__name__}: {error}") from error
