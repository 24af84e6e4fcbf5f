"""Reads a scenario file. Everything that is wrong with it is reported at once, each error at its line and column.

Invariant: a scenario that is returned has no unknown key, no dangling reference and no fault that the registry lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fault_injectors import registry
from scenarios.errors import Located, ScenarioInvalid, did_you_mean
from scenarios.model import Marks, Scenario, ScenarioModel

FOLDER = Path(__file__).parent
RUNBOOKS = FOLDER.parent / "runbooks"
Loc = tuple[str | int, ...]
DRIFT = ("hosts", "drift")
"""Seam and operation of the faults after which a host has to be healed."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "date_type": "a date like 2026-06-02",
}
_UNITS = {"h": "hours", "min": "minutes", "s": "seconds", "bp": "basis points", "cents": "cents", "usd": "dollars"}


def shipped() -> list[str]:
    """The names of the scenarios that come with the harness, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(path_or_name: str | Path) -> Scenario:
    """A scenario from a file, or one of the shipped ones by its name. Raises ScenarioInvalid with every error found."""
    path = _find(path_or_name)
    try:
        raw = path.read_bytes()
        node = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ScenarioInvalid([Located(str(path), 1, 1, f"expected UTF-8 text: {error}")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ScenarioInvalid([Located(str(path), line, column, f"this is not YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise ScenarioInvalid([Located(str(path), 1, 1, f"this is not YAML: {error}")]) from error
    return _Reader(str(path)).read(path, node, hashlib.sha256(raw).hexdigest())


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    name = str(path_or_name)
    if name in shipped():
        return FOLDER / f"{name}.yaml"
    near = did_you_mean(path.stem, shipped())
    raise ScenarioInvalid([Located(name, 1, 1, f"no such file, and no scenario of that name is shipped{near}")])


class _Reader:
    """One reading of one file: collects marks and errors."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.marks: Marks = {}
        self.key_marks: Marks = {}
        self.errors: list[Located] = []

    def read(self, path: Path, node: yaml.Node | None, sha256: str) -> Scenario:
        data: Any = {}
        self.marks[()] = (1, 1)
        if node is not None:
            data = self._convert(node, (), ())
        model: ScenarioModel | None = None
        try:
            model = ScenarioModel.model_validate(data)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self._explain(error, ScenarioModel, ())
        self._check_whole(data)
        if self.errors or model is None:
            raise ScenarioInvalid(list(dict.fromkeys(self.errors)))
        return Scenario.model_construct(path=path, sha256=sha256, model=model, marks=self.marks)

    # --- from nodes to values, remembering where they stood -------------------------------------------------------

    def _convert(self, node: yaml.Node, loc: Loc, above: tuple[int, ...]) -> Any:
        self.marks[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if id(node) in above:
            self._add(loc, "this alias contains itself")
            return None
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            values: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self._scalar(key_node, loc)
                at = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                if key in values:
                    self.errors.append(Located(self.file, *at, f"{key}: this key stands here a second time"))
                    continue
                self.key_marks[(*loc, key)] = at
                values[key] = self._convert(value_node, (*loc, key), above)
            return values
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(item, (*loc, index), above) for index, item in enumerate(node.value)]
        return self._scalar(node, loc)

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.errors.append(
                Located(self.file, node.start_mark.line + 1, node.start_mark.column + 1, "a key has to be plain text")
            )
            return str(node.start_mark.index)
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            reason = getattr(error, "problem", None) or error
            at = (node.start_mark.line + 1, node.start_mark.column + 1)
            self.errors.append(Located(self.file, *at, f"{node.value!r} cannot be read: {reason}"))
            return node.value

    # --- errors -----------------------------------------------------------------------------------------------------

    def _add(self, loc: Loc, message: str, key: bool = False) -> None:
        """An error at the value (or key) of `loc`, or at the nearest enclosing one that stands in the file."""
        if key and loc in self.key_marks:
            self.errors.append(Located(self.file, *self.key_marks[loc], message))
            return
        while loc not in self.marks:
            loc = loc[:-1]
        self.errors.append(Located(self.file, *self.marks[loc], message))

    def _explain(self, error: ErrorDetails, model: type[BaseModel], prefix: Loc) -> None:
        """One of pydantic's errors in the words of a scenario."""
        kind = error["type"]
        loc = tuple(part for part in error["loc"] if part != "[key]")
        path = (*prefix, *loc)
        last = loc[-1] if loc else "the file"
        name = f"item {last + 1}" if isinstance(last, int) else last
        if kind == "extra_forbidden":
            near = did_you_mean(name, _keys_at(model, loc[:-1]))
            if not near and path[0] == "faults" and len(path) == 3:
                near = "; a fault's own parameters stand under params: {…}"
            self._add(path, f"unknown key {name}{near}", key=True)
        elif kind == "missing":
            self._add(path, f"the key {name} is missing")
        elif kind == "literal_error":
            known = error["ctx"]["expected"]
            near = did_you_mean(str(error["input"]), [word.strip("'") for word in known.split(" or ")])
            self._add(path, f"{name}: expected {known}, got {_shown(error['input'])}{near}")
        elif kind == "scenario":
            self._add(path, f"{name}: {error['msg']}")
        elif kind in _EXPECTED:
            unit = _unit(name) if kind.startswith("int_") else ""
            self._add(path, f"{name}: expected {_EXPECTED[kind]}{unit}, got {_shown(error['input'])}")
        else:
            reason = error["msg"][0].lower() + error["msg"][1:]
            self._add(path, f"{name}: {reason}, got {_shown(error['input'])}")

    # --- what needs the whole file ----------------------------------------------------------------------------------

    def _check_whole(self, data: Any) -> None:
        """References and duplicates. Works on raw values, so that it finds its errors beside all others."""
        tournaments = self._unique_ids(data, "tournaments")
        self._unique_ids(data, "contests")
        for index, contest in _items(data, "contests"):
            wanted = contest.get("tournament")
            if isinstance(wanted, str) and wanted not in tournaments:
                near = did_you_mean(wanted, tournaments)
                self._add(("contests", index, "tournament"), f"there is no tournament {wanted}{near}")
            self._check_prizes(index, contest)
            self._check_people(data, index, contest)
        for index, tournament in _items(data, "tournaments"):
            feed = tournament.get("feed", "generated")
            if isinstance(feed, str) and feed != "generated" and not (Path(self.file).parent / feed).is_file():
                near = did_you_mean(feed, ["generated"])
                self._add(
                    ("tournaments", index, "feed"), f"no recording at {feed}; the other choice is generated{near}"
                )
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
                    self._add((section, index, "id"), f"the id {name} is taken by one of the {section} above")
                seen.append(name)
        return seen

    def _check_prizes(self, index: int, contest: Mapping[Any, Any]) -> None:
        prizes = contest.get("prizes")
        if isinstance(prizes, Mapping) and len([key for key, value in prizes.items() if value is not None]) != 1:
            known = "shares_bp, winner_takes_all, top_heavy, double_up"
            self._add(("contests", index, "prizes"), f"prizes: expected exactly one of {known}")

    def _check_people(self, data: Any, index: int, contest: Mapping[Any, Any]) -> None:
        entrants, entries = data.get("entrants"), contest.get("entries")
        pool = entrants.get("pool") if isinstance(entrants, Mapping) else None
        if isinstance(pool, int) and isinstance(entries, int) and entries > pool:
            self._add(
                ("contests", index, "entries"),
                f"entries: {entries} entries need as many customers, and the pool of entrants has {pool}",
            )

    def _check_drill(self, loc: Loc, drill: Mapping[Any, Any], data: Any) -> None:
        if data.get("operations") is not True:
            self._add(loc, "nobody is on call to carry a drill out: operations has to be true")
        wanted, known = drill.get("runbook"), sorted(path.stem for path in RUNBOOKS.glob("*.md"))
        if isinstance(wanted, str) and wanted not in known:
            self._add((*loc, "runbook"), f"there is no runbook {wanted}{did_you_mean(wanted, known)}")

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
                self._add(("unhealed", index), f"no fault of this scenario drifts a host and is called {name}{near}")

    def _check_fault(self, loc: Loc, fault: Mapping[Any, Any]) -> None:
        wanted, known = fault.get("fault"), registry()
        if not isinstance(wanted, str):
            return
        if wanted not in known:
            self._add((*loc, "fault"), f"there is no fault {wanted}{did_you_mean(wanted, known)}")
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


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that a model knows at a place."""
    here: Any = model
    for part in loc:
        if isinstance(part, str):
            fields = {field.alias or name: field.annotation for name, field in here.model_fields.items()}
            here = _model_in(fields[part])
    return [field.alias or name for name, field in here.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel]:
    """The model inside `X`, `list[X]` or `X | None`."""
    if get_origin(annotation) in (list, Union, UnionType):
        return next(_model_in(arg) for arg in get_args(annotation) if arg is not type(None))
    found: type[BaseModel] = annotation
    return found


def _unit(name: str) -> str:
    """The unit that stands last in a key's name."""
    unit = _UNITS.get(name.rpartition("_")[2])
    return f" of {unit}" if unit else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
