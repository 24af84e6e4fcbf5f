"""Rails: what a candidate run is held to against its baseline, as data.

Invariant: rails that are returned name no book, column or phase that there is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from evidence.schemas import BOOKS, Column
from located import Invalid, Located, did_you_mean
from located.reading import Loc, Reading

DEFAULT = Path(__file__).parent / "rails.yaml"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=60)]
Share = Annotated[float, Field(ge=0)]
TESTS = ("not", "above")


class RailsInvalid(Invalid):
    """Rails cannot be used; `errors` says everything that is wrong with them, in the order of the file."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Target(Model):
    """The gate of one lane: at most so many seconds, or so much less than the baseline took. Either will do."""

    lane: str
    at_most_s: Share | None = None
    reduced_by_percent: Annotated[float, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Target:
        if self.at_most_s is None and self.reduced_by_percent is None:
            raise PydanticCustomError("rails", "a target says at_most_s, reduced_by_percent or both")
        return self


class Runtime(Model):
    """`clock`: seconds of processor time, or of the wall's clock."""

    clock: Literal["cpu", "wall"] = "cpu"
    slower_by_percent: Share
    slower_by_s: Share
    ignore: list[str] = []
    targets: list[Target] = []


class Admission(Model):
    """`from_day` and `until_day` (days since the run began, 0 is its first instant) cut the window of the receipts."""

    ratio_falls_by_at_most: Share
    rate_falls_by_percent_at_most: Share
    from_day: Share | None = None
    until_day: Share | None = None


class Counted(Model):
    """What is counted: the rows of a `book` (or the `sum` of a column), the events of the `journal`, what the `plan`
    holds, what each assertion of the `verdict` saw and owed, or the phases of the `log` that did not end in 0; `by` the
    values of a column, where rows are as `where` says: a value, a list of them, `{not: value}` or `{above: number}`."""

    book: str | None = None
    by: str | None = None
    sum: str | None = None
    where: dict[str, Any] = {}
    journal: Literal[True] | None = None
    only: list[str] = []
    except_: Annotated[list[str], Field(alias="except")] = []
    plan: Literal["faults"] | None = None
    verdict: Literal[True] | None = None
    log: Literal[True] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Counted:
        if sum(one is not None for one in (self.book, self.journal, self.plan, self.verdict, self.log)) != 1:
            raise PydanticCustomError("rails", "expected exactly one of book, journal, plan, verdict, log")
        return self


class RailsModel(Model):
    name: Name
    comparable: list[Literal["scenario", "seed", "days", "plan"]] = ["scenario", "seed", "days", "plan"]
    runtime: Runtime | None = None
    admission: Admission | None = None
    unchanged: dict[str, Counted] = {}
    must_not_grow: dict[str, Counted] = {}
    agreed: list[str] = []


@dataclass(frozen=True, slots=True)
class Rails:
    """Rails that have been read. `sha256` is of their file."""

    path: Path
    sha256: str
    model: RailsModel


def load(path: Path = DEFAULT) -> Rails:
    """Raises RailsInvalid with every error found."""
    reading = Reading(str(path), "rails")
    try:
        raw = path.read_bytes()
        data = reading.values(raw)
    except OSError as refused:
        raise RailsInvalid([Located(str(path), 1, 1, f"cannot be read: {refused.strerror}")]) from refused
    except Invalid as invalid:
        raise RailsInvalid(invalid.errors) from invalid
    model = reading.checked(data, RailsModel)
    for loc, message in _unknown(data):
        reading.add(loc, message)
    if reading.errors or model is None:
        raise RailsInvalid(list(dict.fromkeys(reading.errors)))
    return Rails(path, sha256(raw).hexdigest(), model)


def _unknown(data: Any) -> Iterator[tuple[Loc, str]]:
    """Books, columns and tests that there are not. Works on raw values, so that it finds its errors beside others."""
    for section in ("unchanged", "must_not_grow"):
        counted = data.get(section) if isinstance(data, Mapping) else None
        for name, one in counted.items() if isinstance(counted, Mapping) else ():
            book = one.get("book") if isinstance(one, Mapping) else None
            if not isinstance(book, str):
                continue
            loc: Loc = (section, name)
            if book not in BOOKS:
                yield (*loc, "book"), f"there is no book {book}{did_you_mean(book, BOOKS)}"
                continue
            columns = BOOKS[book].columns
            where = one.get("where")
            conditions = where if isinstance(where, Mapping) else {}
            named: list[tuple[Loc, Any]] = [(("by",), one.get("by")), (("sum",), one.get("sum"))]
            named += [(("where", column), column) for column in conditions]
            for place, column in named:
                if isinstance(column, str) and column not in columns:
                    yield (*loc, *place), f"{book} has no column {column}{did_you_mean(column, columns)}"
            summed = one.get("sum")
            if isinstance(summed, str) and columns.get(summed, Column.INT) not in (Column.INT, Column.CENTS):
                yield (*loc, "sum"), f"{book} has no sum of {summed}: it holds no numbers"
            for column, condition in conditions.items():
                if isinstance(condition, Mapping) and not _is_test(condition):
                    words = "expected a value, a list of values, {not: …} or {above: a whole number}"
                    yield (*loc, "where", column), words


def _is_test(condition: Mapping[Any, Any]) -> bool:
    [(name, value), *others] = condition.items() or [("", None)]
    if others or name not in TESTS:
        return False
    return isinstance(value, int) if name == "above" else not isinstance(value, Mapping)
