"""The kinds of proof: each looks at the runs of a criterion and says what it saw, or what is missing and where.

Invariant: a proof that saw nothing does not hold; a policy asks for at least one of something everywhere but where it
says `at_most`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from assertions.model import Status
from closure.filters import count, told
from closure.house import House
from closure.policy import Covered, Criterion, Documents, File, Rows, Shape
from closure.runs import Run
from evidence.books import book_path
from evidence.layout import BOOK_DIRECTORY

if TYPE_CHECKING:
    from reports.coverage import Coverage

DAY_MS = 86_400_000
NAMED_MAX = 5
"""So many names does a line give; a run directory has them all."""


class Lack(NamedTuple):
    """What is missing, and where to look."""

    missing: str
    where: str


@dataclass(slots=True)
class Shown:
    """What a proof came to: it holds if nothing is lacking. `saw` counts in `unit`."""

    saw: int = 0
    unit: str = ""
    where: str = ""
    lacks: list[Lack] = field(default_factory=list)

    def lack(self, missing: str, where: str) -> None:
        self.lacks.append(Lack(missing, where))


def shown(criterion: Criterion, runs: Sequence[Run], house: House) -> list[Shown]:
    """Every proof that the criterion names, in the order of the kinds."""
    return list(_shown(criterion, runs, house))


def _shown(criterion: Criterion, runs: Sequence[Run], house: House) -> Iterator[Shown]:
    for name in criterion.assertion:
        yield _assertion(name, runs)
    for name in criterion.somewhere:
        yield _somewhere(name, runs)
    if criterion.verdict:
        yield _passed(runs)
    for rows in criterion.rows:
        yield _rows(rows, runs)
    for covered in criterion.coverage:
        yield _coverage(covered, house.coverage(runs), runs)
    if criterion.documents:
        yield _documents(criterion.documents, runs, house)
    for file in criterion.files:
        yield _file(file, runs, house)
    if criterion.plan:
        yield _plan(criterion.plan, runs, house)


# --- verdicts ------------------------------------------------------------------------------------------------------


def _assertion(name: str, runs: Sequence[Run]) -> Shown:
    found = Shown(where=f"{name} in {_places(runs)}")
    for run in runs:
        result = run.results[name]
        found.saw += result.saw
        found.unit = result.unit
        if result.status is not Status.PASS or not result.saw:
            found.lack(f"{name} is {result.status.value}{_why(run, name)}", f"{run.path}: {name}")
    return found


def _somewhere(name: str, runs: Sequence[Run]) -> Shown:
    found = Shown(where=f"{name} in {_places(runs)}")
    for run in runs:
        result = run.results[name]
        found.saw += result.saw
        found.unit = result.unit if result.saw else found.unit
        if result.status not in (Status.PASS, Status.NOT_APPLICABLE):
            found.lack(f"{name} is {result.status.value}{_why(run, name)}", f"{run.path}: {name}")
    if not found.saw and not found.lacks:
        found.lack(f"{name} is NOT_APPLICABLE in every run: nothing exercised it", _places(runs))
    return found


def _why(run: Run, name: str) -> str:
    result = run.results[name]
    said = [broken.message for broken in result.broken] or list(result.missing)
    if said:
        return f": {said[0]}" + (f" (and {len(said) - 1} more)" if len(said) > 1 else "")
    return f": saw {result.saw} of {result.owed} {result.unit}"


def _passed(runs: Sequence[Run]) -> Shown:
    found = Shown(len(runs), "runs", _places(runs))
    for run in runs:
        wrong = [result.id for result in run.verdict.results if result.status in (Status.FAIL, Status.INCONCLUSIVE)]
        if run.verdict.status is not Status.PASS:
            why = f"{_named(wrong)}{_why(run, wrong[0])}" if wrong else "nothing was exercised"
            found.lack(f"{run.scenario} is {run.verdict.status.value}: {why}", str(run.path))
    return found


# --- rows ----------------------------------------------------------------------------------------------------------


def _rows(wanted: Rows, runs: Sequence[Run]) -> Shown:
    what = f"{wanted.distinct} of " * bool(wanted.distinct) + wanted.book
    if wanted.where:
        what += f" with {told(wanted.where)}"
    found = Shown(0, "values" if wanted.distinct else "rows", f"{what} in {_places(runs)}")
    values: set[object] = set()
    counted = 0
    for run in runs:
        place = str(book_path(run.path / BOOK_DIRECTORY, wanted.book))
        one = count(run.evidence, wanted)
        counted += one.matching
        values |= one.values
        if one.failing:
            message = f"{one.failing} of {one.matching} rows of {what} do not meet {told(wanted.each)}; the first is"
            found.lack(f"{message} {one.first}", place)
        if not wanted.summed:
            _enough(found, wanted, len(one.values) if wanted.distinct else one.matching, what, place)
    found.saw = len(values) if wanted.distinct else counted
    if wanted.summed:
        _enough(found, wanted, found.saw, what, _places(runs))
    return found


def _enough(found: Shown, wanted: Rows, counted: int, what: str, place: str) -> None:
    if counted < wanted.at_least:
        found.lack(f"{counted} {found.unit} of {what} where there have to be {wanted.at_least}", place)
    if wanted.at_most is not None and counted > wanted.at_most:
        found.lack(f"{counted} {found.unit} of {what} where there may be {wanted.at_most}", place)


# --- coverage ------------------------------------------------------------------------------------------------------

_Items = Callable[["Coverage"], list[tuple[str, int]]]


def _steps(rollback: bool) -> _Items:
    return lambda covered: [
        (f"{document.id} {step.id}", step.times)
        for document in covered.documents for step in document.steps if step.id.startswith("Rollback/") is rollback
    ]  # fmt: skip


_ITEMS: dict[str, _Items] = {
    "failure modes": lambda covered: [(mode.name, mode.completed) for mode in covered.modes],
    "runbooks": lambda covered: [(document.id, document.opened) for document in covered.documents],
    "runbooks completed": lambda covered: [(document.id, document.completed) for document in covered.documents],
    "steps": _steps(rollback=False),
    "rollbacks": _steps(rollback=True),
    "branches": lambda covered: [
        (f"{document.id} {step.id}: {branch.text}", branch.times)
        for document in covered.documents for step in document.steps for branch in step.branches
    ],
    "alert rules": lambda covered: [(rule.name, rule.fired) for rule in covered.rules],
    "faults": lambda covered: [(fault.id, fault.bit) for fault in covered.faults],
}  # fmt: skip
"""What there is of a kind, by name, and how often it was exercised."""


def _coverage(wanted: Covered, covered: Coverage, runs: Sequence[Run]) -> Shown:
    items = dict(_ITEMS[wanted.of](covered))
    names = wanted.only or [name for name in items if name not in wanted.but]
    never = [name for name in names if not items.get(name)]
    found = Shown(len(names) - len(never), wanted.of, _places(runs))
    if never:
        found.lack(f"{len(never)} of {len(names)} {wanted.of} never exercised: {_named(never)}", _places(runs))
    if not names:
        found.lack(f"the documents in force have no {wanted.of}", _places(runs))
    return found


# --- documents and files -------------------------------------------------------------------------------------------


def _documents(wanted: Documents, runs: Sequence[Run], house: House) -> Shown:
    found = Shown(len(runs[0].documents) if runs else 0, "documents", _places(runs))
    lacks: dict[str, list[str]] = {}
    for run in runs:
        if not run.documents:
            lacks.setdefault("no runbook and no alert rule was in force", []).append(str(run.path))
        asked = wanted.model_dump_json()
        for missing in house.kept(run, asked, lambda run=run: list(_about(wanted, run, house))):  # type: ignore[misc]
            lacks.setdefault(missing, []).append(str(run.path))
    for missing, paths in lacks.items():
        found.lack(missing, paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} other runs")
    return found


def _about(wanted: Documents, run: Run, house: House) -> Iterator[str]:
    documents = house.documents(run)
    yield from (f"{problem}" for problem in documents.problems if wanted.checked)
    if wanted.as_committed:
        committed = house.committed()
        for path in sorted({*committed, *run.documents}):
            if committed.get(path) != run.documents.get(path):
                yield f"{path} is not what the tree to be closed has"
    known = {runbook.id.text: runbook for runbook in documents.runbooks}
    for name, kind in wanted.runbooks.items():
        if name not in known:
            yield f"there is no runbook {name}"
        elif known[name].kind.text != kind:
            yield f"the runbook {name} is of the kind {known[name].kind.text}, not {kind}"
    yield from (f"there is no alert rule {name}" for name in wanted.alerts if name not in documents.alert_rules)
    for runbook in documents.runbooks:
        if wanted.roles and runbook.role not in wanted.roles:
            yield f"{runbook.file} is carried out by {runbook.role or 'nobody'}, not by {_named(wanted.roles)}"
    for pattern in wanted.hold_not:
        hit = re.compile(pattern, re.IGNORECASE)
        for path, text in run.documents.items():
            for number, line in enumerate(text.split("\n"), 1):
                if hit.search(line):
                    yield f"{path}:{number}: holds what it must not: {line.strip()}"


def _file(wanted: File, runs: Sequence[Run], house: House) -> Shown:
    places = [run.path for run in runs] if wanted.of_run else [house.tree]
    found = Shown(0, "files", _places(runs) + f": {wanted.path}" if wanted.of_run else wanted.path)
    for place in places:
        path = place / wanted.path
        try:
            raw = path.read_bytes()
            text = raw.decode()
        except (OSError, UnicodeDecodeError) as error:
            found.lack(f"{wanted.path} cannot be read: {getattr(error, 'strerror', error)}", str(path))
            continue
        found.saw += 1
        for part in wanted.holds:
            if part not in text:
                found.lack(f"{wanted.path} does not hold {part!r}", str(path))
        for part in wanted.holds_not:
            if part in text:
                found.lack(f"{wanted.path} holds {part!r}", str(path))
        actual = sha256(raw).hexdigest()
        if wanted.sha256 and actual != wanted.sha256:
            found.lack(f"{wanted.path} hashes to {actual}, the policy pins {wanted.sha256}", str(path))
    return found


# --- the plan ------------------------------------------------------------------------------------------------------


def _plan(wanted: Shape, runs: Sequence[Run], house: House) -> Shown:
    found = Shown(len(runs), "plans", _places(runs))
    for run in runs:
        for missing in _misshapen(wanted, run, house):
            found.lack(missing, f"{run.path}/plan.json")
    return found


def _misshapen(wanted: Shape, run: Run, house: House) -> Iterator[str]:
    plan = run.plan
    days = (plan.absence_until_at - plan.starts_at) // DAY_MS
    if days < wanted.days_at_least:
        yield f"the absence lasts {days} days, not {wanted.days_at_least}"
    contests = len(plan.contests)
    if contests < wanted.contests_from or (wanted.contests_to is not None and contests > wanted.contests_to):
        yield f"there are {contests} contests, not {wanted.contests_from} to {wanted.contests_to}"
    roles = {principal.role for principal in plan.principals}
    yield from (f"there is no {role} to be absent" for role in wanted.absent if role not in roles)
    if wanted.on_call and not plan.operations:
        yield "nobody is on call"
    planned = {fault.fault for fault in plan.faults}
    yield from (f"the fault {fault} is not planned" for fault in wanted.faults if fault not in planned)
    if wanted.as_committed and plan.scenario_sha256 != house.scenario_sha256(plan.scenario):
        yield f"scenarios/{plan.scenario}.yaml is not what the run was planned from"


# --- words ---------------------------------------------------------------------------------------------------------


def _places(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return str(runs[0].path)
    return f"{len(runs)} runs"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
