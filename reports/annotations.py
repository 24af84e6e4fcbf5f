"""What CI shows beside the code: a note for each promise that broke or was not proven, at the line that it leads to.

Invariant: there are no more notes than GitHub shows of one step, the last of a level counts those left out, and nothing
in them can end a note or begin a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from assertions.model import Broken, Status
from reports import words
from reports.story import why_not_exercised

if TYPE_CHECKING:
    from assertions.model import Result
    from reports.story import Story

Level = Literal["error", "warning", "notice"]

PER_LEVEL_MAX = 10
"""GitHub shows 10 of each level for a step and 50 for a job; what comes after is dropped without a word."""
TITLE_MAX, MESSAGE_MAX = 200, 1000
"""Characters. GitHub cuts a title at 255 and refuses a message of more than 4096 bytes."""


class Place(NamedTuple):
    """`file` from the root of the repository, with '/'; `line` counts from 1."""

    file: str
    line: int


class Note(NamedTuple):
    """`id`: the assertion or criterion. `subject` tells notes of one id apart from run to run."""

    level: Level
    id: str
    message: str
    subject: str = ""
    place: Place | None = None


Find = Callable[["Result", Broken | None], Place | None]
"""Where a broken promise leads to, or (without one) a result that is INCONCLUSIVE."""


def nowhere(result: Result, broken: Broken | None) -> Place | None:
    """Where nobody knows the files."""
    return None


def for_story(story: Story, find: Find = nowhere) -> list[Note]:
    """A note for each assertion that failed (the first broken promise of the run comes first) or was not exercised."""
    failed = story.of(Status.FAIL)
    if story.first is not None:
        first = story.first.assertion
        failed = sorted(failed, key=lambda result: result.id != first)
    notes = [_broken(story, result, find) for result in failed]
    return notes + [
        Note("warning", result.id, why_not_exercised(result), place=find(result, None))
        for result in story.of(Status.INCONCLUSIVE)
    ]


def _broken(story: Story, result: Result, find: Find) -> Note:
    broken = result.broken[0]
    more = f" And {words.plural(len(result.broken) - 1, 'more breach', 'more breaches')}." if result.broken[1:] else ""
    at_risk = f" {words.dollars(broken.money_cents)} at risk." if broken.money_cents else ""
    message = f"{_cut(broken.message, MESSAGE_MAX // 2)} ({story.when(broken.at)}.{at_risk}){more}"
    return Note("error", result.id, message, broken.subject, find(result, broken))


def for_decision(decision: Mapping[str, Any]) -> list[Note]:
    """A note for each blocker of a gate's decision (closure.decision.Decision, as JSON), and a notice for each
    criterion that is put off. A blocker is shown where its `where` begins with `file:line`."""
    blockers = [
        Note("error", one["id"], f"{one['missing']} (phase {one['phase']}; see {one['where']})", one["phase"],
             _located(one["where"]))
        for one in decision["blockers"]
    ]  # fmt: skip
    deferrals = [
        Note("notice", one["id"], f"{one['claim']}: put off until {one['until']} by {one['by']}, {one['reason']}",
             one["phase"])
        for one in decision.get("deferrals", ())
    ]  # fmt: skip
    return blockers + deferrals


def _located(where: str) -> Place | None:
    found = re.match(r"(?P<file>[^\s:]+):(?P<line>[1-9]\d*)(?!\d)", where)
    return Place(found["file"], int(found["line"])) if found else None


def within_limits(notes: Iterable[Note], each_max: int = PER_LEVEL_MAX) -> list[Note]:
    """The notes that are shown, at most `each_max` of a level, the last of which stands for all that are left out."""
    by_level: dict[Level, list[Note]] = {}
    for note in notes:
        by_level.setdefault(note.level, []).append(note)
    shown: list[Note] = []
    for level, of in by_level.items():
        if len(of) <= each_max:
            shown += of
            continue
        shown += of[: each_max - 1]
        rest = of[each_max - 1 :]
        named = ", ".join(note.id for note in rest)
        shown.append(Note(level, f"and {len(rest):,} more", f"Not shown here, see the summary: {named}"))
    return shown


def commands(notes: Sequence[Note]) -> list[str]:
    """GitHub's workflow commands, a line each: to be printed by a step."""
    return [_command(note) for note in within_limits(notes)]


def _command(note: Note) -> str:
    properties = {"title": _cut(note.id, TITLE_MAX)}
    if note.place is not None:
        properties = {"file": note.place.file, "line": str(note.place.line), **properties}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{note.level} {told}::{_data(_cut(note.message, MESSAGE_MAX))}"


def _cut(text: str, longest: int) -> str:
    """On one line, with nothing that a terminal would obey."""
    line = " ".join(words.printable(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
