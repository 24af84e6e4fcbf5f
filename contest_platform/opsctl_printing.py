"""How opsctl prints what an endpoint answered: lines of `key=value` pairs for a runbook to compare.

Invariant: the same answer prints the same text; what is not there is `-`, never left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from contest_platform.instants import rfc3339


@dataclass(frozen=True, slots=True)
class Records:
    """Lists of the answer, one record a line: name of the list -> columns, `key:column` where the key is another.
    A list that belongs to the first prints its records after it; no record of the first -> `none`."""

    lists: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The answer itself, a mapping: one line for each of its keys, in their order. `inside`: of what stands there."""

    inside: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an acting endpoint did: `done:` when it is done, `accepted:` when a service will do it, and the answer."""

    word: str


Printer = Records | Pairs | Outcome


def printed(printer: Printer, body: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(printer, Outcome):
        yield f"{printer.word}: " + " ".join(_pair(_key(name), name, value) for name, value in body.items())
    elif isinstance(printer, Pairs):
        pairs = body[printer.inside] if printer.inside else body
        yield from (f"{name}={_text(name, value)}" for name, value in pairs.items())
        if not pairs:
            yield "none"
    else:
        yield from _records(printer, body)


def _records(printer: Records, body: Mapping[str, Any]) -> Iterator[str]:
    for place, (name, columns) in enumerate(printer.lists.items()):
        records = body.get(name, ())
        keys = [(key, column or key) for key, _, column in (word.partition(":") for word in columns.split())]
        for record in records:
            yield " ".join(_pair(key, column, record.get(column)) for key, column in keys)
        if place == 0 and not records:
            yield "none"
    if body.get("more"):
        yield "more=yes"


def _key(name: str) -> str:
    return "cents" if name == "amount_cents" else name


def _pair(key: str, column: str, value: Any) -> str:
    return f"{key}={_text(column, value)}"


def _text(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "ok":
        return "yes" if value else "no"
    if isinstance(value, int):
        return rfc3339(value) if column == "at" or column.endswith("_at") else str(value)
    if isinstance(value, str):
        return quoted(value)
    return quoted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def quoted(text: str) -> str:
    """`text` as a value: as it is, or in double quotes when it is empty or something in it would end it or its line."""
    if text and text != "-" and text.isprintable() and not any(character in ' "\\' for character in text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "\\n" if character == "\n" else f"\\u{{{ord(character):x}}}"
