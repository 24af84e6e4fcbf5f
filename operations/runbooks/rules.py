"""Which alert leads to which runbook, and where its rule file says so.

A page bears the name of its alert. One of severity none pages nobody while it fires: it is there to be missed, and the
page that is sent then bears the name in its annotation `when_missed`.

Invariant: of a rule, nothing is read here but its name, whether it pages and its `runbook_url`; the rest is the alerts'
own affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from operations.runbooks.problems import Place, Problem

SILENT = "none"
"""The severity that pages nobody."""


@dataclass(frozen=True, slots=True)
class Link:
    """One page. `alert`: the name that it bears, empty where nobody is ever paged; `rule`: the rule it comes from.
    `runbook`: its `runbook_url`, empty if it has none; `place`: that value, or the rule."""

    rule: str
    alert: str
    runbook: str
    place: Place


def links(path: Path, shown_as: str | None = None) -> tuple[list[Link], list[Problem]]:
    """The alerts of one Prometheus rule file, in its order. `shown_as`: its name in places, by default the path."""
    file = shown_as or str(path)
    try:
        node = yaml.compose(path.read_bytes().decode("utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        return [], [Problem(Place(file, 1), "there is no such rule file, and no such folder of them")]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
        return [], [Problem(place, f"this is no rule file: {getattr(error, 'problem', None) or error}")]
    found = []
    for group in _items(_value(node, "groups")):
        for rule in _items(_value(group, "rules")):
            name, url = _value(rule, "alert"), _value(_value(rule, "annotations"), "runbook_url")
            if isinstance(name, yaml.ScalarNode):
                where = url if isinstance(url, yaml.ScalarNode) else name
                place = Place(file, where.start_mark.line + 1, where.start_mark.column + 1)
                found.append(Link(name.value, _paged_as(rule, name.value), _text(url), place))
    return found, []


def _paged_as(rule: yaml.Node, name: str) -> str:
    silent = _text(_value(_value(rule, "labels"), "severity")) == SILENT
    return _text(_value(_value(rule, "annotations"), "when_missed")) if silent else name


def _text(node: yaml.Node | None) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _items(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
