"""The plan: everything decided before the run, as data. `plan.json` is the capsule that replays without its generator.

Instants are integer milliseconds since the epoch, money is integer cents. The models are strict and frozen: what was
planned does not change while it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from evidence.canonical import canonical

PLAN_VERSION = 1
_LEFT_OUT = ("drills", "settings", "unhealed")
"""What stands in a plan only if there is any: a plan that has none keeps its hash."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Publication(Model):
    """What the provider officially publishes at `at`: cells [golfer_id, round, hole, strokes], statuses
    [golfer_id, status]. A cell that was published before with another value is a correction."""

    at: int
    cells: list[tuple[str, int, int, int]] = []
    statuses: list[tuple[str, str]] = []
    complete: bool = False


class Glitch(Model):
    """What the provider serves wrongly from `from_at` until `until_at`, whatever it has published.

    `wrong_event`: the answer is about another event; `empty`: 200 without any hole; `scrambled`: the holes of `cells`
    carry false strokes while round totals stay true. Glitches of a recording are the provider's nature; those that a
    fault brings are in the fault's parameters instead.
    """

    kind: Literal["wrong_event", "empty", "scrambled"]
    from_at: int
    until_at: int
    cells: list[tuple[str, int, int, int]] = []


class Golfer(Model):
    id: str
    name: str


class Tournament(Model):
    id: str
    event_id: str
    name: str
    par: list[int]
    rounds: int
    starts_at: int
    ends_at: int
    golfers: list[Golfer]
    publications: list[Publication]
    glitches: list[Glitch] = []
    play: list[tuple[int, int]]
    """Windows [from, until) in which play is on: ingestion lag counts only there."""


class Scoring(Model):
    kind: Literal["strokes", "points"]
    roster_size: int
    counting: int
    missed_round_penalty: int = 0
    points_tenths: dict[int, int] = {}
    finish_tenths: list[int] = []


class Contest(Model):
    id: str
    tournament_id: str
    name: str
    fee_cents: int
    rake_bp: int
    guaranteed_cents: int | None = None
    prize_shares_bp: list[int]
    min_entries: int
    max_entries: int
    scoring: Scoring
    opens_at: int
    lock_at: int
    start_at: int
    end_at: int
    """COMPLETE at the latest, completion signal or not."""
    hold_s: int


class Entrant(Model):
    id: str
    name: str
    email: str
    account_id: str


class EntryPlan(Model):
    """One customer's intent to play. `pays`: the money is captured `pay_after_s` after the entry, before the lock;
    `too_late`: so long after it that the contest has locked; or `abandons`."""

    user_id: str
    contest_id: str
    enters_at: int
    pay_after_s: int
    pays: Literal["pays", "too_late", "abandons"]
    roster: list[str]


class Principal(Model):
    """A human with access. Founders and engineers are revoked at the start of the run."""

    id: str
    role: Literal["founder", "engineer", "ops"]


class Bite(Model):
    """Where a fault must show: rows of `book` that match `where`. The value `$victim` stands for the victim's key as
    the injector's book recorded it, `$entity` for the entity bound, both compared as text; None matches null."""

    book: str
    where: dict[str, Any]
    at_least: int = 1


class Recovery(Model):
    """How the platform should get over it: by `itself`, by an L1 `rule`, by a `runbook`; or `none`: a violation."""

    by: Literal["itself", "rule", "runbook", "none"]
    how: str
    within_s: int
    runbook: str = ""


class FaultPlan(Model):
    """A fault (or violation) bound: a point fault to (entity, occurrence) at its seam, an outage or action to time."""

    id: str
    fault: str
    kind: Literal["fault", "violation"]
    title: str
    seam: str
    operation: str
    entity: str | None = None
    occurrence: int | None = None
    from_at: int | None = None
    until_at: int | None = None
    params: dict[str, Any] = {}
    bite: Bite
    recovery: Recovery


class Drill(Model):
    """A runbook that ops is told to carry out at `at`, with no alert: a change that was planned, or an exercise.
    `labels` stand for those of an alert."""

    id: str
    runbook: str
    at: int
    labels: dict[str, str] = {}


class Plan(Model):
    version: int = PLAN_VERSION
    scenario: str
    scenario_sha256: str
    seed: int
    root_key: str
    """Hex, 32 characters: the key of every draw during the run."""
    starts_at: int
    absence_until_at: int
    recovery_until_at: int
    owner_capital_cents: int
    """What the platform has at the processor before the first fee: it covers guarantees and fees."""
    principals: list[Principal]
    operations: bool = False
    """Whether alerts are evaluated, and ops is paged and carries out runbooks."""
    settings: dict[str, int] = {}
    """What the platform was deployed with where that is not what its committed profile says."""
    drills: list[Drill] = []
    unhealed: list[str] = []
    """Faults of hosts (ids of the registry) that may stay unhealed, if that is on record as it must be."""
    tournaments: list[Tournament]
    contests: list[Contest]
    entrants: list[Entrant]
    entries: list[EntryPlan]
    faults: list[FaultPlan]

    def canonical(self) -> bytes:
        """The one byte form of the plan: what is hashed, stored and replayed."""
        return self._canonical

    @cached_property
    def _canonical(self) -> bytes:
        values = self.model_dump(mode="json")
        for name in _LEFT_OUT:
            if not values[name]:
                del values[name]
        return canonical(values)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A plan that is another in what `update` says; its bytes are its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_canonical", None)
        return copied

    def sha256(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()
