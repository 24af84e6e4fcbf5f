"""A policy of closure: which criteria an iteration has to meet, and for each the evidence that proves it, as data.

Invariant: a policy that is returned names no book, column, assertion, set of runs or criterion that there is not.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evidence.schemas import BOOKS
from located import Invalid, did_you_mean
from located.reading import Loc, Reading, find

FOLDER = Path(__file__).parent / "policies"
DEFAULT = "iteration06"

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Scalar = str | int | bool | None
Texts = Annotated[list[str], Field(min_length=1)]


class PolicyInvalid(Invalid):
    """A policy cannot be used; `errors` says everything that is wrong with it, in the order of the file."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False)


class RunSet(Model):
    """Those of the given runs that a criterion looks at. `scenarios`: patterns of names (`handed_on_*`), each of which
    has to have a run; `fingerprint`: only runs whose manifest bears a fingerprint of that name (a staging run's)."""

    scenarios: Texts
    fingerprint: str | None = None


class Rows(Model):
    """Rows of a book, counted in each run of the set, or with `summed` in all of them together. `where`: column → a
    value, a list of values, null, `{holds: text}`, or `{not: …}` with one of these. Each row counted has to meet `each`
    too. `distinct`: count the values of that column instead."""

    book: str
    where: dict[str, Any] = {}
    each: dict[str, Any] = {}
    at_least: Count = 1
    at_most: Count | None = None
    distinct: str | None = None
    summed: bool = False


class Covered(Model):
    """What of the documents the set has exercised, all its runs together: everything of a kind, `only` these names, or
    all `but` these."""

    of: Literal[
        "failure modes", "runbooks", "runbooks completed", "steps", "rollbacks", "branches", "alert rules", "faults"
    ]
    only: list[str] = []
    but: list[str] = []


class Documents(Model):
    """What the runbooks and alert rules in force during each run have to be."""

    checked: bool = False
    """They can be carried out by somebody who knows nothing else: `absence runbooks check` finds nothing."""
    as_committed: bool = False
    """Their texts are those of the tree that is to be closed."""
    runbooks: dict[str, Literal["failure", "task", "scheduled", "escalation", "promotion"]] = {}
    """Ids that have to be there, each with its kind: the sections that it must have follow from that."""
    alerts: list[str] = []
    roles: list[str] = []
    """Nobody else carries any of them out."""
    hold_not: list[str] = []
    """Regular expressions that no line may match, whatever its case."""


class File(Model):
    """A file of the tree that is to be closed, or with `of_run` one of each run directory of the set."""

    path: str
    of_run: bool = False
    holds: list[str] = []
    holds_not: list[str] = []
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class Shape(Model):
    """What each run of the set was planned to be."""

    days_at_least: Count = 0
    contests_from: Count = 0
    contests_to: Count | None = None
    absent: list[Literal["founder", "engineer"]] = []
    """Roles of which there has to be somebody, to be revoked."""
    on_call: bool = False
    faults: list[str] = []
    as_committed: bool = False
    """The scenario is the file of that name in the tree that is to be closed."""


class Deferred(Model):
    """Put off: nothing of ours can prove it, or not yet. It counts until `until` (a date, the last day included)."""

    until: datetime.date
    by: str
    reason: str


class Criterion(Model):
    """One thing that has to be so. Every kind of proof that it names has to hold, in the runs of the sets `in`."""

    id: Id
    claim: str
    source: Texts
    """The lines of the source document that it stands for."""
    in_: Annotated[list[str], Field(alias="in", min_length=1)] = ["simulation"]
    assertion: list[str] = []
    """PASS in every run of the sets, and something was seen."""
    somewhere: list[str] = []
    """PASS in one run of the sets, and neither broken nor open in any."""
    verdict: Literal["PASS"] | None = None
    """Of every run of the sets, re-derived."""
    rows: list[Rows] = []
    coverage: list[Covered] = []
    documents: Documents | None = None
    files: list[File] = []
    plan: Shape | None = None
    deferred: Deferred | None = None
    shares: list[str] = []
    """Criteria that rest on the same fact: what spoils this one's evidence spoils theirs."""

    @property
    def proves(self) -> bool:
        """Whether it names any evidence."""
        return any((self.assertion, self.somewhere, self.verdict, self.rows, self.coverage, self.documents, self.files,
                    self.plan))  # fmt: skip

    @property
    def looks_at_runs(self) -> bool:
        """Whether any of it is in runs, and not all in files of the tree."""
        of_tree = self.files and not any(file.of_run for file in self.files)
        others = (self.assertion, self.somewhere, self.verdict, self.rows, self.coverage, self.documents, self.plan)
        return any(others) or not of_tree


class PolicyModel(Model):
    name: Id
    title: str
    same_code: bool = True
    sets: dict[str, RunSet]
    phases: dict[str, Annotated[list[Criterion], Field(min_length=1)]]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that has been read. `sha256` is of its file."""

    path: Path
    sha256: str
    model: PolicyModel

    def criteria(self) -> Iterator[tuple[str, Criterion]]:
        """Phase and criterion, in the order of the file."""
        for phase, criteria in self.model.phases.items():
            for criterion in criteria:
                yield phase, criterion


def shipped() -> list[str]:
    """The names of the policies that come with the harness, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(path_or_name: str | Path = DEFAULT) -> Policy:
    """A policy from a file, or a shipped one by its name. Raises PolicyInvalid with every error found."""
    try:
        path = find(path_or_name, shipped(), FOLDER, "policy")
        raw = path.read_bytes()
        reading = Reading(str(path), "policy")
        data = reading.values(raw)
    except Invalid as invalid:
        raise PolicyInvalid(invalid.errors) from invalid
    model = reading.checked(data, PolicyModel)
    _Names(reading, data).check()
    if reading.errors or model is None:
        raise PolicyInvalid(list(dict.fromkeys(reading.errors)))
    return Policy(path, sha256(raw).hexdigest(), model)


class _Names:
    """What a policy refers to. Works on raw values, so that it finds its errors beside those of the model."""

    def __init__(self, reading: Reading, data: Any) -> None:
        from assertions.judge import discover
        from assertions.model import REGISTRY

        discover()
        self._reading = reading
        self._assertions = set(REGISTRY)
        whole = data if isinstance(data, Mapping) else {}
        self._sets = set(whole.get("sets") or ()) if isinstance(whole.get("sets"), Mapping) else set()
        phases = whole.get("phases")
        self._criteria = [
            (("phases", phase, n), criterion)
            for phase, criteria in (phases.items() if isinstance(phases, Mapping) else ())
            for n, criterion in enumerate(criteria if isinstance(criteria, list) else ())
            if isinstance(criterion, Mapping)
        ]
        self._ids = {one["id"] for _, one in self._criteria if isinstance(one.get("id"), str)}

    def check(self) -> None:
        taken: set[str] = set()
        for loc, criterion in self._criteria:
            own = criterion.get("id")
            if isinstance(own, str):
                if own in taken:
                    self._reading.add((*loc, "id"), f"the id {own} is taken by one of the criteria above")
                taken.add(own)
            self._all((*loc, "in"), criterion.get("in"), self._sets, "set of runs")
            self._all((*loc, "shares"), criterion.get("shares"), self._ids, "criterion")
            for kind in ("assertion", "somewhere"):
                self._all((*loc, kind), criterion.get(kind), self._assertions, "assertion")
            for n, rows in enumerate(_list(criterion.get("rows"))):
                self._rows((*loc, "rows", n), rows)
            documents = criterion.get("documents")
            if isinstance(documents, Mapping):
                self._patterns((*loc, "documents", "hold_not"), documents.get("hold_not"))
            for kind in ("documents", "plan"):
                if criterion.get(kind) == {}:
                    self._reading.add((*loc, kind), f"{kind}: asks for nothing, and would hold whatever happens")
            if not {*criterion} & {"deferred", *_PROOFS}:
                self._reading.add(loc, f"{own} names no evidence: give it {', '.join(_PROOFS)} or deferred")

    def _all(self, loc: Loc, names: Any, known: Iterable[str], what: str) -> None:
        known = set(known)
        for n, name in enumerate(_list(names)):
            if isinstance(name, str) and name not in known:
                self._reading.add((*loc, n), f"there is no {what} {name}{did_you_mean(name, known)}")

    def _rows(self, loc: Loc, rows: Any) -> None:
        book = rows.get("book") if isinstance(rows, Mapping) else None
        if not isinstance(book, str):
            return
        if book not in BOOKS:
            self._reading.add((*loc, "book"), f"there is no book {book}{did_you_mean(book, BOOKS)}")
            return
        columns = BOOKS[book].columns
        for kind in ("where", "each"):
            conditions = rows.get(kind)
            for name, condition in conditions.items() if isinstance(conditions, Mapping) else ():
                at = (*loc, kind, name)
                if name not in columns:
                    message = f"{book} has no column {name}{did_you_mean(str(name), columns)}"
                    self._reading.add(at, message, key=True)
                elif not _is_condition(condition):
                    expected = "a value, a list of values, null, {holds: text} or {not: one of these}"
                    self._reading.add(at, f"{name}: expected {expected}")
        if rows.get("at_least") == 0 and rows.get("at_most") is None:
            self._reading.add((*loc, "at_least"), "at_least: 0 rows are there whatever happens: say at_most too")
        distinct = rows.get("distinct")
        if isinstance(distinct, str) and distinct not in columns:
            message = f"{book} has no column {distinct}{did_you_mean(distinct, columns)}"
            self._reading.add((*loc, "distinct"), message)

    def _patterns(self, loc: Loc, patterns: Any) -> None:
        for n, pattern in enumerate(_list(patterns)):
            if isinstance(pattern, str):
                try:
                    re.compile(pattern)
                except re.error as error:
                    self._reading.add((*loc, n), f"{pattern!r} is no regular expression: {error}")


_PROOFS = ("assertion", "somewhere", "verdict", "rows", "coverage", "documents", "files", "plan")


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _is_condition(condition: Any) -> bool:
    if isinstance(condition, Mapping) and set(condition) == {"holds"}:
        return isinstance(condition["holds"], str)
    if isinstance(condition, Mapping):
        return set(condition) == {"not"} and _is_condition(condition["not"])
    values = condition if isinstance(condition, list) else [condition]
    return all(value is None or isinstance(value, str | int) for value in values)
