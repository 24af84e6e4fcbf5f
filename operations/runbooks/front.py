"""The front matter of a runbook: YAML between two lines of `---`, each key and value at its place.

Invariant: every key is known and of its type, or a problem says so; the rest of the document is read all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import yaml

from operations.runbooks.document import ROLES, SCHEDULED, SECTIONS, Named
from operations.runbooks.problems import Place, did_you_mean
from operations.runbooks.schedule import Schedule, ScheduleInvalid, read_schedule

Say = Callable[[Place, str], None]

_SLUG = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SCALARS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "id": (_SLUG, "small letters, digits and underscores"),
    "version": (_VERSION, "a version like 1.0.0"),
    "date": (_DATE, "a date like 2026-06-02"),
    "kind": (re.compile("|".join(SECTIONS)), " or ".join(SECTIONS)),
    "role": (re.compile("|".join(ROLES)), " or ".join(ROLES) + ", for nobody else is there"),
}
_LISTS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "alerts": (_LABEL, "names of alerts"),
    "failure_modes": (_SLUG, "names of failure modes"),
}


_SCHEDULE = "schedule"
"""The one key that only some documents have."""


@dataclass(slots=True)
class Front:
    """What the front matter says. `ends`: number of its last line, 0 if there is none."""

    values: dict[str, Named] = field(default_factory=dict)
    lists: dict[str, tuple[Named, ...]] = field(default_factory=dict)
    schedule: Schedule | None = None
    ends: int = 0

    def text(self, key: str) -> str:
        return self.values[key].text if key in self.values else ""


def read_front(lines: list[str], file: str, say: Say) -> Front:
    """Read the front matter at the top of `lines`."""
    front = Front()
    if not lines or lines[0].rstrip() != "---":
        say(Place(file, 1), "the front matter is missing: begin the file with a line `---`, id, version, date, kind, …")
        return front
    closing = next((n for n, line in enumerate(lines[1:], start=2) if line.rstrip() == "---"), None)
    if closing is None:
        say(Place(file, 1), "the front matter is not closed: end it with a line `---`")
        return front
    front.ends = closing
    try:
        node = yaml.compose("\n".join(lines[1 : closing - 1]), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 2, mark.column + 1) if mark else Place(file, 1)
        say(place, f"this is not YAML: {error.problem}")
        return front
    except yaml.YAMLError as error:
        say(Place(file, 1), f"this is not YAML: {error}")
        return front
    if not isinstance(node, yaml.MappingNode):
        say(Place(file, 2), "the front matter has to be keys with values: id, version, date, kind, …")
        return front
    _read_keys(node, file, front, say)
    return front


def _read_keys(node: yaml.MappingNode, file: str, front: Front, say: Say) -> None:
    owed = (*_SCALARS, *_LISTS)
    known = (*owed, _SCHEDULE)
    seen: dict[str, Place] = {}
    for key_node, value_node in node.value:
        key, at = str(key_node.value), _place(key_node, file)
        if key not in known:
            say(at, f"unknown key {key}{did_you_mean(key, known)}")
        elif key in seen:
            say(at, f"{key}: this key stands here a second time")
        elif key == _SCHEDULE:
            front.schedule = _schedule(value_node, file, say)
        elif key in _SCALARS:
            named = _word(key, value_node, file, _SCALARS[key], say)
            if named is not None:
                front.values[key] = named
        elif not isinstance(value_node, yaml.SequenceNode):
            say(_place(value_node, file), f"{key}: expected a list of {_LISTS[key][1]}, [] if there are none")
        else:
            words = [_word(key, item, file, _LISTS[key], say) for item in value_node.value]
            front.lists[key] = tuple(word for word in words if word is not None)
        seen.setdefault(key, at)
    for key in owed:
        if key not in seen:
            say(Place(file, 1), f"the key {key} is missing from the front matter")
    _opened(front, seen.get(_SCHEDULE), say)
    named = front.values.get("id")
    stem = PurePath(file).stem
    if named is not None and named.text != stem:
        say(
            named.place,
            f"the id {named} is not the file's name: alerts link to runbooks/ID.md, so call one like the other",
        )


def _schedule(node: yaml.Node, file: str, say: Say) -> Schedule | None:
    place = _place(node, file)
    try:
        return read_schedule(node.value if isinstance(node, yaml.ScalarNode) else "something nested")
    except ScheduleInvalid as invalid:
        quote = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
        say(Place(file, place.line, place.column + invalid.offset + quote), f"{_SCHEDULE}: {invalid}")
        return None


def _opened(front: Front, schedule_at: Place | None, say: Say) -> None:
    """The clock opens scheduled runbooks, alerts or somebody's intent the others, and nothing both."""
    kind = front.values.get("kind")
    if kind is None:
        return
    if kind.text != SCHEDULED:
        if schedule_at is not None:
            say(
                schedule_at,
                f"the clock opens no {kind} runbook: write `kind: {SCHEDULED}`, or leave this out",
            )
        return
    if schedule_at is None:
        say(kind.place, f"a {SCHEDULED} runbook has to say when it is due: add `{_SCHEDULE}: daily at 14:00`")
    for alert in front.lists.get("alerts", ()):
        say(alert.place, f"the clock opens a {SCHEDULED} runbook, and no alert does: write `alerts: []`")


def _word(key: str, node: yaml.Node, file: str, rule: tuple[re.Pattern[str], str], say: Say) -> Named | None:
    pattern, expected = rule
    text = node.value if isinstance(node, yaml.ScalarNode) else None
    if text is None or not pattern.fullmatch(text):
        got = repr(text) if text is not None else "something nested"
        near = did_you_mean(text or "", SECTIONS) if key == "kind" else ""
        say(_place(node, file), f"{key}: expected {expected}, got {got}{near}")
        return None
    return Named(text, _place(node, file))


def _place(node: yaml.Node, file: str) -> Place:
    """Lines of YAML count from the one after the opening `---`."""
    return Place(file, node.start_mark.line + 2, node.start_mark.column + 1)
