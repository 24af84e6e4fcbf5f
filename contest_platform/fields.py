"""What a request may carry: its fields with their types, checked in one place, and told by the API description.

Invariant: what `checked` lets through has every required field, none that nobody asked for, and each of its type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Kind = Literal["string", "integer", "boolean", "object", "array"]

_TYPES: dict[Kind, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list, tuple),
}


class Field(NamedTuple):
    """`choices`: the only values allowed, if any are given. An integer is at least `least`."""

    name: str
    help: str
    kind: Kind = "string"
    required: bool = True
    choices: tuple[str, ...] = ()
    least: int = 0


class BadFieldError(Exception):
    """A field of a request is missing, unknown or not what it has to be; `field` says which."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


def checked(fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every field, None where an optional one is left out. Raises BadFieldError for the first at fault."""
    values = {field.name: _value(field, given.get(field.name)) for field in fields}
    unknown = sorted(given.keys() - values.keys())
    if unknown:
        raise BadFieldError(unknown[0], "nobody asked for this")
    return values


def _value(field: Field, value: Any) -> Any:
    if value is None or value == "":
        if field.required:
            raise BadFieldError(field.name, "is missing")
        return None
    if type(value) not in _TYPES[field.kind]:
        raise BadFieldError(field.name, f"expected {field.kind}")
    if field.choices and value not in field.choices:
        raise BadFieldError(field.name, f"expected one of {', '.join(field.choices)}")
    if field.kind == "integer" and value < field.least:
        raise BadFieldError(field.name, f"expected {field.least} at least")
    return value


def of_query(fields: Sequence[Field], query: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a URL, integers read as such. What is no integer is left for `checked` to refuse."""
    integers = {field.name for field in fields if field.kind == "integer"}
    return {
        name: int(text) if name in integers and text.isascii() and text.isdigit() else text
        for name, text in query.items()
    }
