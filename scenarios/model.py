"""What a scenario file says, as typed values; units stand last in the names.

Invariant: a value that passed here is complete and within its range; what needs the whole file to judge is in `load`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from located.reading import Marks
from scenarios.errors import Located, ScenarioInvalid, did_you_mean

BASIS_POINTS = 10_000

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Cents = Annotated[int, Field(ge=0, le=10**12)]
BasisPoints = Annotated[int, Field(ge=0, le=BASIS_POINTS)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("scenario", "{message}", {"message": message})


class Calendar(Model):
    """`starts`: midnight UTC of day 1. `days` of absence, then `recovery_h` hours for the last payouts."""

    starts: datetime.date = datetime.date(2026, 6, 2)
    days: int = Field(default=14, ge=1, le=366)
    recovery_h: int = Field(default=96, ge=0, le=96)


class People(Model):
    founders: int = Field(default=1, ge=1, le=20)
    engineers: int = Field(default=2, ge=0, le=50)
    ops: int = Field(default=1, ge=1, le=20)


class Entrants(Model):
    """`pool`: how many customers there are. `abandon_bp` of entries are never paid, `late_bp` of the others late,
    and `too_late_bp` are paid in the minute after the lock: that money has to go back."""

    pool: Count
    abandon_bp: BasisPoints = 0
    late_bp: BasisPoints = 0
    too_late_bp: BasisPoints = 0


class TournamentModel(Model):
    """`starts_day` counts from 1. `feed`: the word `generated`, or a recording's path, relative to the scenario."""

    id: Id
    name: str
    starts_day: int = Field(ge=2, le=366)
    golfers: int = Field(90, ge=12, le=156)
    feed: str = "generated"


class TopHeavy(Model):
    places: Count


class Prizes(Model):
    """The prize table, one of: shares by place in basis points; or a shape with a name."""

    shares_bp: list[Annotated[int, Field(ge=1, le=BASIS_POINTS)]] | None = None
    winner_takes_all: Literal[True] | None = None
    top_heavy: TopHeavy | None = None
    double_up: Literal[True] | None = None

    @field_validator("shares_bp")
    @classmethod
    def _sum(cls, shares: list[int] | None) -> list[int] | None:
        if shares is not None and sum(shares) != BASIS_POINTS:
            raise _wrong(f"expected shares that sum to {BASIS_POINTS} basis points, got {sum(shares)}")
        return shares

    def by_place(self, entries: int, field: int) -> list[int]:
        """Shares in basis points by place for a contest planned for `entries`; shapes grow with `field`."""
        if self.shares_bp is not None:
            return self.shares_bp
        if self.winner_takes_all:
            return [BASIS_POINTS]
        if self.top_heavy is not None:
            return _normalised([10**9 // place for place in range(1, self.top_heavy.places * field + 1)])
        return _normalised([1] * (entries // 2))


def _normalised(weights: list[int]) -> list[int]:
    """Weights, none rising, as basis points: each at least one, the sum exact, what is left over to the best places."""
    if not weights:
        raise ValueError("no place is paid: double_up pays half of the entries planned, and needs two at least")
    spare = BASIS_POINTS - len(weights)
    if spare < 0:
        raise ValueError(f"{len(weights)} paid places: a prize table in basis points has at most {BASIS_POINTS}")
    whole = sum(weights)
    shares = [1 + spare * weight // whole for weight in weights]
    left_over = BASIS_POINTS - sum(shares)
    return [share + (place < left_over) for place, share in enumerate(shares)]


class ScoringModel(Model):
    kind: Literal["strokes", "points"]
    roster_size: int = Field(ge=1, le=12)
    counting: int = Field(ge=1, le=12)
    missed_round_penalty: int = Field(0, ge=0, le=20)
    points_tenths: dict[Annotated[int, Field(ge=-5, le=10)], Annotated[int, Field(ge=-1000, le=1000)]] = {}
    finish_tenths: list[Annotated[int, Field(ge=0, le=10_000)]] = []

    @field_validator("counting")
    @classmethod
    def _of_roster(cls, counting: int, info: ValidationInfo) -> int:
        roster = info.data.get("roster_size")
        if roster is not None and counting > roster:
            raise _wrong(f"expected at most the roster_size of {roster}, got {counting}")
        return counting

    @field_validator("points_tenths", mode="after")
    @classmethod
    def _table(cls, table: dict[int, int], info: ValidationInfo) -> dict[int, int]:
        if info.data.get("kind") == "strokes" and table:
            raise _wrong("only scoring of kind points has a table of points")
        if info.data.get("kind") == "points" and not table:
            raise _wrong("scoring of kind points needs a table of points, by result to par")
        return table

    @field_validator("finish_tenths")
    @classmethod
    def _finish(cls, table: list[int], info: ValidationInfo) -> list[int]:
        if info.data.get("kind") == "strokes" and table:
            raise _wrong("only scoring of kind points has finish points")
        return table


class ContestModel(Model):
    """`entries`: planned ones, the abandoned ones included. `ties`: so many of them hold the best roster."""

    id: Id
    tournament: str
    name: str
    fee_cents: Cents
    entries: Count
    min_entries: Count = 2
    max_entries: Count
    guaranteed_cents: Cents | None = None
    rake_bp: BasisPoints = 0
    prizes: Prizes
    scoring: ScoringModel
    ties: int = Field(0, ge=0, le=100)
    hold_h: int = Field(24, ge=1, le=168)

    @field_validator("max_entries")
    @classmethod
    def _holds(cls, most: int, info: ValidationInfo) -> int:
        least, entries = info.data.get("min_entries"), info.data.get("entries")
        if least is not None and most < least:
            raise _wrong(f"expected at least the min_entries of {least}, got {most}")
        if entries is not None and most < entries:
            raise _wrong(f"expected room for the {entries} entries planned, got {most}")
        return most

    @field_validator("ties")
    @classmethod
    def _possible(cls, ties: int, info: ValidationInfo) -> int:
        scoring, entries = info.data.get("scoring"), info.data.get("entries")
        if ties and scoring is not None and scoring.kind != "strokes":
            raise _wrong("only a contest scored by strokes has a roster that is known to be the best")
        if entries is not None and ties > entries:
            raise _wrong(f"expected at most the {entries} entries planned, got {ties}")
        return ties


class Bind(Model):
    """An explicit binding instead of the planner's choice: to an entity and occurrence, or to a window of time."""

    entity: str | None = None
    occurrence: int | None = Field(None, ge=1)
    from_: str | None = Field(None, alias="from")
    until: str | None = None

    @field_validator("from_")
    @classmethod
    def _instant(cls, text: str | None) -> str | None:
        if text is not None:
            minutes_of(text)
        return text

    @field_validator("until")
    @classmethod
    def _later(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None and "from_" in info.data:
            from_ = info.data["from_"]
            if from_ is None or minutes_of(text) <= minutes_of(from_):
                raise _wrong(f"expected an instant after `from`, got {text!r}")
        return text


_INSTANT = re.compile(r"^day (\d{1,3}) ([01]\d|2[0-3]):([0-5]\d)$")


def minutes_of(text: str) -> int:
    """Minutes since the scenario's start of an instant like `day 8 02:30` (day 1 is the first; UTC)."""
    match = _INSTANT.match(text)
    if match is None or int(match[1]) < 1:
        raise _wrong(f"expected an instant like `day 8 02:30`, got {text!r}")
    return ((int(match[1]) - 1) * 24 + int(match[2])) * 60 + int(match[3])


class FaultModel(Model):
    """`count` faults of one kind. A disabled one keeps its number, so that those after it stay what they were."""

    fault: str
    count: int = Field(1, ge=1, le=1000)
    params: dict[str, Any] = {}
    bind: Bind | None = None
    disabled: bool = False

    @field_validator("bind")
    @classmethod
    def _of_one(cls, bind: Bind | None, info: ValidationInfo) -> Bind | None:
        if bind is not None and info.data.get("count", 1) > 1:
            raise _wrong("a binding is for one fault: give each its own item")
        if bind is not None and bind.entity is None and bind.from_ is None:
            raise _wrong("expected an entity, an instant `from`, or both")
        return bind


class DrillModel(Model):
    """A task or a runbook that ops carries out at an instant, as if told to. `labels` stand for those of an alert."""

    runbook: str
    at: str
    labels: dict[str, str] = {}

    @field_validator("at")
    @classmethod
    def _instant(cls, text: str) -> str:
        minutes_of(text)
        return text


Setting = Literal[
    "anchor_timeout_ms",
    "auth_timeout_ms",
    "database_connections",
    "database_timeout_ms",
    "host_timeout_ms",
    "pager_timeout_ms",
    "processor_timeout_ms",
    "provider_timeout_ms",
]


class ScenarioModel(Model):
    name: Id
    title: str
    calendar: Calendar = Calendar()
    owner_capital_usd: int = Field(ge=0, le=10**10)
    people: People = People()
    operations: bool = False
    """Whether alerts are evaluated, and ops is paged and carries out runbooks."""
    settings: dict[Setting, int] = {}
    """What the platform was deployed with where that is not what its committed profile says."""
    drills: list[DrillModel] = []
    entrants: Entrants
    tournaments: list[TournamentModel] = Field(min_length=1)
    contests: list[ContestModel] = Field(min_length=1)
    faults: list[FaultModel] = []
    unhealed: list[str] = []
    """Faults that drift hosts (their ids) and may stay unhealed: the run is a PASS all the same, if each is on record
    with a reason, an alert and an escalation. One that is healed after all is none the worse."""


class Scenario(Model):
    """A scenario that has been loaded: the model, and where in which file each of its values stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    path: Path
    sha256: str
    model: ScenarioModel
    marks: Marks

    def facing(self, faults: Sequence[str]) -> Scenario:
        """The scenario with these faults (ids) in the place of its own; what they leave open the planner draws.

        Raises ScenarioInvalid for an id that the registry lacks.
        """
        from fault_injectors import registry

        place = self.marks.get(("faults",), (1, 1))
        unknown = [
            Located(str(self.path), *place, f"there is no fault {id}{did_you_mean(id, registry())}")
            for id in faults
            if id not in registry()
        ]
        if unknown:
            raise ScenarioInvalid(unknown)
        marks = dict(self.marks)
        marks.update({("faults", index): place for index in range(len(faults))})
        models = [FaultModel.model_validate({"fault": id}) for id in faults]
        model = self.model.model_copy(update={"faults": models, "unhealed": []})
        return self.model_copy(update={"model": model, "marks": marks})

    def with_faults(self, only: Collection[str]) -> Scenario:
        """The scenario with no faults but `only` (ids); each keeps the number it had, and so its draws.

        Raises ScenarioInvalid for an id that the scenario does not have.
        """
        present = [fault.fault for fault in self.model.faults]
        line, column = self.marks.get(("faults",), (1, 1))
        unknown = [
            Located(str(self.path), line, column, f"the scenario has no fault {name!r}{did_you_mean(name, present)}")
            for name in only
            if name not in present
        ]
        if unknown:
            raise ScenarioInvalid(unknown)
        kept = [
            fault if fault.fault in only else fault.model_copy(update={"disabled": True}) for fault in self.model.faults
        ]
        return self.model_copy(update={"model": self.model.model_copy(update={"faults": kept})})
