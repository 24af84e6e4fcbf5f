"""Reads a scenario file. Everything that is wrong with it is reported at once, each error at its line and column.

Invariant: a scenario that is returned has no unknown key, no dangling reference and no fault that the registry lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fault_injectors import registry
from located import Invalid, did_you_mean
from located.reading import Loc, Reading, find
from scenarios.errors import ScenarioInvalid
from scenarios.model import Scenario, ScenarioModel

FOLDER = Path(__file__).parent
RUNBOOKS = FOLDER.parent / "runbooks"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
DRIFT = ("hosts", "drift")
"""Seam and operation of the faults after which a host has to be healed."""


def shipped() -> list[str]:
    """The names of the scenarios that come with the harness, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(path_or_name: str | Path) -> Scenario:
    """A scenario from a file, or one of the shipped ones by its name. Raises ScenarioInvalid with every error found."""
    try:
        path = find(path_or_name, shipped(), FOLDER, "scenario")
        return _Reader(str(path), "scenario").read(path)
    except Invalid as invalid:
        raise ScenarioInvalid(invalid.errors) from invalid


def of_values(values: Mapping[str, Any], path: Path) -> Scenario:
    """The scenario that a file at `path` with these values would be; errors name the value, and no line of that file.

    Raises ScenarioInvalid with every error found."""
    reader = _Reader(str(path), "scenario")
    reader.marks = dict.fromkeys(_places(values, ()), (1, 1))
    return reader.checked_whole(path, yaml.dump(dict(values), Dumper=_DUMPER, sort_keys=False).encode(), values)


def _places(value: Any, loc: Loc) -> Iterator[Loc]:
    yield loc
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*loc, key))


class _Reader(Reading):
    """One reading of one scenario."""

    def read(self, path: Path) -> Scenario:
        raw = path.read_bytes()
        return self.checked_whole(path, raw, self.values(raw))

    def checked_whole(self, path: Path, raw: bytes, data: Any) -> Scenario:
        """The scenario of `data`, whose places are marked. Raises ScenarioInvalid."""
        model: ScenarioModel | None = None
        try:
            model = ScenarioModel.model_validate(data)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self._explain(error, ScenarioModel, ())
        self._check_whole(data)
        if self.errors or model is None:
            raise ScenarioInvalid(list(dict.fromkeys(self.errors)))
        return Scenario.model_construct(
            path=path, sha256=hashlib.sha256(raw).hexdigest(), model=model, marks=self.marks
        )  # fmt: skip

    def _explain(self, error: ErrorDetails, model: type[BaseModel], prefix: Loc) -> None:
        path = (*prefix, *error["loc"])
        params = path[:1] == ("faults",) and len(path) == 3
        self.explain(error, model, prefix, "; a fault's own parameters stand under params: {…}" if params else "")

    # --- what needs the whole file ----------------------------------------------------------------------------------

    def _check_whole(self, data: Any) -> None:
        """References and duplicates. Works on raw values, so that it finds its errors beside all others."""
        tournaments = self._unique_ids(data, "tournaments")
        self._unique_ids(data, "contests")
        for index, contest in _items(data, "contests"):
            wanted = contest.get("tournament")
            if isinstance(wanted, str) and wanted not in tournaments:
                near = did_you_mean(wanted, tournaments)
                self.add(("contests", index, "tournament"), f"there is no tournament {wanted}{near}")
            self._check_prizes(index, contest)
            self._check_people(data, index, contest)
        for index, tournament in _items(data, "tournaments"):
            feed = tournament.get("feed", "generated")
            if isinstance(feed, str) and feed != "generated" and not (Path(self.file).parent / feed).is_file():
                near = did_you_mean(feed, ["generated"])
                self.add(("tournaments", index, "feed"), f"no recording at {feed}; the other choice is generated{near}")
        for index, drill in _items(data, "drills"):
            self._check_drill(("drills", index), drill, data)
        for index, fault in _items(data, "faults"):
            self._check_fault(("faults", index), fault)
        self._check_unhealed(data)

    def _unique_ids(self, data: Any, section: str) -> list[str]:
        seen: list[str] = []
        for index, item in _items(data, section):
            name = item.get("id")
            if isinstance(name, str):
                if name in seen:
                    self.add((section, index, "id"), f"the id {name} is taken by one of the {section} above")
                seen.append(name)
        return seen

    def _check_prizes(self, index: int, contest: Mapping[Any, Any]) -> None:
        prizes = contest.get("prizes")
        if isinstance(prizes, Mapping) and len([key for key, value in prizes.items() if value is not None]) != 1:
            known = "shares_bp, winner_takes_all, top_heavy, double_up"
            self.add(("contests", index, "prizes"), f"prizes: expected exactly one of {known}")

    def _check_people(self, data: Any, index: int, contest: Mapping[Any, Any]) -> None:
        entrants, entries = data.get("entrants"), contest.get("entries")
        pool = entrants.get("pool") if isinstance(entrants, Mapping) else None
        if isinstance(pool, int) and isinstance(entries, int) and entries > pool:
            self.add(
                ("contests", index, "entries"),
                f"entries: {entries} entries need as many customers, and the pool of entrants has {pool}",
            )

    def _check_drill(self, loc: Loc, drill: Mapping[Any, Any], data: Any) -> None:
        if data.get("operations") is not True:
            self.add(loc, "nobody is on call to carry a drill out: operations has to be true")
        wanted, known = drill.get("runbook"), sorted(path.stem for path in RUNBOOKS.glob("*.md"))
        if isinstance(wanted, str) and wanted not in known:
            self.add((*loc, "runbook"), f"there is no runbook {wanted}{did_you_mean(wanted, known)}")

    def _check_unhealed(self, data: Any) -> None:
        named = data.get("unhealed") if isinstance(data, Mapping) else None
        present = [fault.get("fault") for _, fault in _items(data, "faults")]
        known = registry()
        drifts = [
            name for name in present
            if isinstance(name, str) and name in known and (known[name].seam, known[name].operation) == DRIFT
        ]  # fmt: skip
        for index, name in enumerate(named if isinstance(named, list) else []):
            if isinstance(name, str) and name not in drifts:
                near = did_you_mean(name, drifts)
                self.add(("unhealed", index), f"no fault of this scenario drifts a host and is called {name}{near}")

    def _check_fault(self, loc: Loc, fault: Mapping[Any, Any]) -> None:
        wanted, known = fault.get("fault"), registry()
        if not isinstance(wanted, str):
            return
        if wanted not in known:
            self.add((*loc, "fault"), f"there is no fault {wanted}{did_you_mean(wanted, known)}")
            return
        params = fault.get("params", {})
        if isinstance(params, Mapping):
            try:
                known[wanted].Params.model_validate(dict(params), strict=True)
            except ValidationError as invalid:
                for error in invalid.errors(include_url=False):
                    if error["type"] != "missing":  # the planner draws what is left open
                        self._explain(error, known[wanted].Params, (*loc, "params"))


def _items(data: Any, section: str) -> Sequence[tuple[int, Mapping[Any, Any]]]:
    """The well-formed items of a list of the file, with their positions."""
    items = data.get(section) if isinstance(data, Mapping) else None
    return [(n, item) for n, item in enumerate(items) if isinstance(item, Mapping)] if isinstance(items, list) else []
