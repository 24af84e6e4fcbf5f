"""One reading of one YAML file into values and into a pydantic model; what is wrong is kept with line and column.

Invariant: a value that is returned stood in the file once, and its place is in `marks`.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from located import Invalid, Located, did_you_mean

M = TypeVar("M", bound=BaseModel)
Loc = tuple[str | int, ...]
Marks = dict[Loc, tuple[int, int]]

_QUICK = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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


class Reading:
    """Collects marks and errors. `own` is the type of the errors that the model's own validators raise."""

    def __init__(self, file: str, own: str) -> None:
        self.file = file
        self.marks: Marks = {}
        self.key_marks: Marks = {}
        self.errors: list[Located] = []
        self._own = own

    # --- from nodes to values, remembering where they stood -------------------------------------------------------

    def values(self, raw: bytes) -> Any:
        """What the file says. Raises Invalid when it is no YAML at all."""
        node = self._compose(raw)
        self.marks[()] = (1, 1)
        return {} if node is None else self._convert(node, (), ())

    def _compose(self, raw: bytes) -> yaml.Node | None:
        try:
            text = raw.decode("utf-8")
            try:
                return yaml.compose(text, Loader=_QUICK)
            except yaml.YAMLError:
                return yaml.compose(text, Loader=yaml.SafeLoader)  # whose words for what is wrong are the better ones
        except UnicodeDecodeError as error:
            raise Invalid([Located(self.file, 1, 1, f"expected UTF-8 text: {error}")]) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise Invalid([Located(self.file, line, column, f"this is not YAML: {error.problem}")]) from error
        except yaml.YAMLError as error:
            raise Invalid([Located(self.file, 1, 1, f"this is not YAML: {error}")]) from error

    def _convert(self, node: yaml.Node, loc: Loc, above: tuple[int, ...]) -> Any:
        self.marks[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if id(node) in above:
            self.add(loc, "this alias contains itself")
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

    def add(self, loc: Loc, message: str, key: bool = False) -> None:
        """An error at the value (or key) of `loc`, or at the nearest enclosing one that stands in the file."""
        if key and loc in self.key_marks:
            self.errors.append(Located(self.file, *self.key_marks[loc], message))
            return
        while loc not in self.marks:
            loc = loc[:-1]
        self.errors.append(Located(self.file, *self.marks[loc], message))

    def checked(self, data: Any, model: type[M]) -> M | None:
        """`data` as a model; None where that finds errors, which are then explained."""
        try:
            return model.model_validate(data)
        except ValidationError as wrong:
            for error in wrong.errors(include_url=False):
                self.explain(error, model)
        return None

    def explain(self, error: ErrorDetails, model: type[BaseModel], prefix: Loc = (), hint: str = "") -> None:
        """One of pydantic's errors in the words of whoever wrote the file. `hint` follows an unknown key that is like
        no other."""
        kind = error["type"]
        loc = tuple(part for part in error["loc"] if part != "[key]")
        path = (*prefix, *loc)
        last = loc[-1] if loc else "the file"
        name = f"item {last + 1}" if isinstance(last, int) else last
        if kind == "extra_forbidden":
            near = did_you_mean(name, _keys_at(model, loc[:-1])) or hint
            self.add(path, f"unknown key {name}{near}", key=True)
        elif kind == "missing":
            self.add(path, f"the key {name} is missing")
        elif kind == "literal_error":
            known = error["ctx"]["expected"]
            near = did_you_mean(str(error["input"]), [word.strip("'") for word in re.split(" or |, ", known)])
            self.add(path, f"{name}: expected {known}, got {_shown(error['input'])}{near}")
        elif kind == self._own:
            self.add(path, f"{name}: {error['msg']}")
        elif kind in _EXPECTED:
            unit = _unit(name) if kind.startswith("int_") else ""
            self.add(path, f"{name}: expected {_EXPECTED[kind]}{unit}, got {_shown(error['input'])}")
        else:
            reason = error["msg"][0].lower() + error["msg"][1:]
            self.add(path, f"{name}: {reason}, got {_shown(error['input'])}")


def find(path_or_name: str | Path, shipped: list[str], folder: Path, what: str) -> Path:
    """The file of that path, or the one of `folder` that ships under that name. Raises Invalid."""
    path = Path(path_or_name)
    if path.is_file():
        return path
    name = str(path_or_name)
    if name in shipped:
        return folder / f"{name}.yaml"
    near = did_you_mean(path.stem, shipped)
    raise Invalid([Located(name, 1, 1, f"no such file, and no {what} of that name is shipped{near}")])


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that a model knows at a place."""
    here: Any = model
    for part in loc:
        if isinstance(part, str):
            fields = {field.alias or name: field.annotation for name, field in here.model_fields.items()}
            if part in fields:  # else: a key of a mapping of models
                here = _model_in(fields[part])
    return [field.alias or name for name, field in here.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel]:
    """The model inside `X`, `list[X]`, `dict[str, X]`, `X | None` or one of them annotated."""
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) in (list, dict, Union, UnionType):
        return next(_model_in(arg) for arg in get_args(annotation) if arg not in (type(None), str))
    found: type[BaseModel] = annotation
    return found


def _unit(name: str) -> str:
    """The unit that stands last in a key's name."""
    unit = _UNITS.get(name.rpartition("_")[2])
    return f" of {unit}" if unit else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
