"""The small languages inside a step: lines of an `expect` block, and branches.

Invariant: a line either is read, or is a problem at its column; none is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from operations.runbooks.document import ROLLBACK, Branch, Capture, Condition, Line, Target
from operations.runbooks.problems import Place, did_you_mean
from operations.runbooks.render import PLACEHOLDER

Say = Callable[[Place, str], None]

_ALERT = "alert"
_STARTS = re.compile(r"(glob|regex|line):(?: (.*))?$")
_CAPTURE = re.compile(r"capture(?P<blank> +)(?P<name>[^:]*):(?P<before> *)/(?P<pattern>.*)/$")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_EXIT = re.compile(r"exit +(\d{1,3})$")
_WITHIN = re.compile(r"within +(\d{1,6})s(?: +every +(\d{1,4})s)?$")
_WORDS = re.compile(r"(exit|within|capture|glob|regex|line)\b")
_ARROW = re.compile(r" *(?:→|->) *")
_TARGET = re.compile(r"(?:(?P<section>[A-Z][A-Za-z]*)\b ?)?(?:step (?P<number>\d{1,3}))?$")
_WAYS_OUT: tuple[Literal["done", "partial", "escalate"], ...] = ("done", "partial", "escalate")


class Block:
    """An `expect` block while it is being read."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.lines: list[Line] = []
        self.captures: list[Capture] = []
        self.status: int | None = None
        self.within_s: int | None = None
        self.every_s: int | None = None

    def read(self, text: str, place: Place) -> None:
        """One line of the block, without its indent."""
        if not text.strip():
            return
        if text == "...":
            self.lines.append(Line("any", "...", place))
        elif found := _EXIT.match(text):
            self._once("exit", self.status, place)
            self.status = int(found[1])
        elif found := _WITHIN.match(text):
            self._once("within", self.within_s, place)
            self.within_s = int(found[1])
            self.every_s = int(found[2]) if found[2] else None
            if self.every_s == 0 or self.within_s == 0:
                self._say(place, "0s is no time: give a second at least")
        elif text.startswith("capture "):
            self._capture(text, place)
        elif line := read_line(text, place, self._say):
            self.lines.append(line)

    def _once(self, what: str, before: int | None, place: Place) -> None:
        if before is not None:
            self._say(place, f"{what} stands in this block a second time: keep one")

    def _capture(self, text: str, place: Place) -> None:
        found = _CAPTURE.match(text)
        if not found:
            self._say(place, "expected capture NAME: /REGEX/")
            return
        name, pattern = found["name"], found["pattern"]
        at = Place(place.file, place.line, place.column + found.start("pattern"))
        if not _NAME.fullmatch(name) or name == _ALERT:
            self._say(
                Place(place.file, place.line, place.column + found.start("name")),
                f"{name!r} cannot be captured: a name is of small letters, digits and underscores, and not alert",
            )
            return
        groups = _groups(pattern, at, self._say)
        if groups is None:
            return
        if groups != 1:
            self._say(at, f"a capture has one group, (…), that is what it captures; this one has {groups}")
            return
        self.captures.append(Capture(name, pattern, at))


def read_line(text: str, place: Place, say: Say) -> Line | None:
    """A line of output as a document gives it: `glob: …`, `regex: …`, `line: …`, or the line itself."""
    found = _STARTS.match(text)
    if not found:
        word = _WORDS.match(text)
        if word:
            usage = "exit N, within Ns, within Ns every Ns, capture NAME: /REGEX/, glob: …, regex: …"
            say(place, f"{text!r} is none of {usage}; a line of output that begins so is written `line: {text}`")
            return None
        return Line("line", text, place)
    kind, rest = found[1], found[2] or ""
    at = Place(place.file, place.line, place.column + len(kind) + 2)
    if kind == "regex":
        return Line("regex", rest, at) if _groups(rest, at, say) is not None else None
    return Line("glob" if kind == "glob" else "line", rest, at)


def _groups(pattern: str, at: Place, say: Say) -> int | None:
    """How many groups a regular expression has; None, and a problem, for what is none."""
    try:
        return re.compile(PLACEHOLDER.sub(lambda found: "x" * len(found[0]), pattern)).groups
    except re.error as error:
        place = Place(at.file, at.line, at.column + (error.pos or 0))
        say(place, f"this is no regular expression: {error.msg}")
        return None


def read_branch(text: str, place: Place, section: str, known: tuple[str, ...], say: Say) -> Branch | None:
    """A bullet of a step: `if CONDITION → TARGET` or `otherwise → TARGET`. `known`: sections of this kind."""
    split = _ARROW.split(text)
    if len(split) < 2:
        say(
            place,
            "a bullet in a step is a branch, `if CONDITION → TARGET` or `otherwise → TARGET`; write text without one",
        )
        return None
    target_at = len(text) - len(split[-1])
    at = Place(place.file, place.line, place.column + target_at)
    # A regular expression may hold an arrow too: the last one is the branch's.
    *_, arrow = _ARROW.finditer(text)
    head = text[: arrow.start()]
    condition: Condition | None = None
    if head != "otherwise":
        word, _, rest = head.partition(" ")
        if word != "if" or not rest:
            near = did_you_mean(word, ("if", "otherwise"))
            say(place, f"a branch begins with `if CONDITION` or is `otherwise`, not {head!r}{near}")
            return None
        condition = _condition(rest, Place(place.file, place.line, place.column + 3), say)
        if condition is None:
            return None
    target = read_target(split[-1].strip(), at, section, known, say)
    return None if target is None else Branch(condition, target, place)


def _condition(text: str, place: Place, say: Say) -> Condition | None:
    head, joined, rest = text.partition(" and ")
    found = _EXIT.match(head)
    if found and not joined:
        return Condition(int(found[1]), None)
    if found:
        line = read_line(rest, Place(place.file, place.line, place.column + len(head) + 5), say)
        return None if line is None else Condition(int(found[1]), line)
    if not _STARTS.match(text):
        say(place, "a condition is `exit N`, `glob: …`, `regex: …`, `line: …`, or `exit N and glob: …`")
        return None
    line = read_line(text, place, say)
    return None if line is None else Condition(0, line)


def read_target(text: str, place: Place, section: str, known: tuple[str, ...], say: Say) -> Target | None:
    """Where a branch leads: `step N` of the same section, `SECTION`, `SECTION step N`, or a way out."""
    for word in _WAYS_OUT:
        if text == word:
            return Target(word)
    found = _TARGET.match(text)
    if not text or not found or (found["section"] and known and found["section"] not in known):
        near = did_you_mean(text.partition(" ")[0], (*known, *_WAYS_OUT, "step"))
        say(place, f"unknown branch target {text!r}: expected step N, SECTION step N, {', '.join(_WAYS_OUT)}{near}")
        return None
    if found["section"] == ROLLBACK != section:
        say(place, "Rollback is entered by a step that fails: write escalate, which rolls back first")
        return None
    return Target("step", found["section"] or section, int(found["number"] or 1))
