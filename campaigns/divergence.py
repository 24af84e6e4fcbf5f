"""Where two runs part: in their plans, at which event, in what they keep of their promises, in whose books first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from assertions.judge import Verdict, judge
from assertions.model import Result, Status
from campaigns.book_changes import BookChange, book_changes
from campaigns.journals import Split, causes, first_said_otherwise, first_split
from campaigns.plan_changes import Change, plan_changes
from evidence.layout import JOURNAL, PLAN, VERDICT
from evidence.run import Evidence


class Turn(NamedTuple):
    """A promise of which the two runs say something else. `was` and `now` are statuses, or NOT_JUDGED. `message`: the
    first of what is broken, of whichever run broke it."""

    assertion: str
    was: str
    now: str
    message: str

    @property
    def is_newly_broken(self) -> bool:
        return self.now == Status.FAIL.value

    @property
    def is_mended(self) -> bool:
        return self.was == Status.FAIL.value


NOT_JUDGED = "NOT_JUDGED"


@dataclass(frozen=True, slots=True)
class Divergence:
    """How `theirs` differs from `ours`, both run directories. `split`: the first event that differs in what it says;
    `led_there`: its causes on either side, the nearest first, which are common to both."""

    split: Split | None
    led_there: tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]
    plan: tuple[Change, ...]
    turns: tuple[Turn, ...]
    books: tuple[BookChange, ...]
    same_code: bool

    @property
    def is_none(self) -> bool:
        return self.split is None and not (self.plan or self.turns or self.books)


def diverge(ours: Path, theirs: Path) -> Divergence:
    """Hold two run directories against each other. Raises NotARun, ManifestBroken, BookDamaged."""
    one, other = Evidence.open(ours), Evidence.open(theirs)
    same_plan = (ours / PLAN).read_bytes() == (theirs / PLAN).read_bytes()
    # The first event states the hash of the plan, and every hash after it follows from that.
    split = (first_split if same_plan else first_said_otherwise)(ours / JOURNAL, theirs / JOURNAL)
    led_there: list[tuple[dict[str, Any], ...]] = [(), ()]
    if split is not None:
        events = (split.ours, split.theirs)
        if same_plan:  # up to there both journals are the same to the byte
            found = causes(ours / JOURNAL, events, split.number)
        else:
            sides = zip((ours, theirs), events, strict=True)
            found = [causes(path / JOURNAL, [event], split.number)[0] for path, event in sides]
        led_there = list(map(tuple, found))
    return Divergence(
        split,
        (led_there[0], led_there[1]),
        () if same_plan else tuple(plan_changes(one.plan, other.plan)),
        turns(verdict_of(one), verdict_of(other)),
        tuple(book_changes(one, other, None if split is None else split.at)),
        one.manifest.fingerprints["code"] == other.manifest.fingerprints["code"],
    )


def verdict_of(evidence: Evidence) -> Verdict:
    """As it was judged; judged now, where no verdict is kept or none that can be read."""
    try:
        return Verdict.from_json((evidence.path / VERDICT).read_bytes())
    except (FileNotFoundError, ValueError):
        return judge(evidence)


def turns(ours: Verdict, theirs: Verdict) -> tuple[Turn, ...]:
    """Newly broken, then mended, then the others; each by id."""
    was, now = ({result.id: result for result in verdict.results} for verdict in (ours, theirs))
    found = [
        Turn(id, _status(was.get(id)), _status(now.get(id)), _first_message(now.get(id)) or _first_message(was.get(id)))
        for id in sorted({*was, *now})
        if _status(was.get(id)) != _status(now.get(id))
    ]
    return tuple(sorted(found, key=lambda turn: (not turn.is_newly_broken, not turn.is_mended, turn.assertion)))


def _status(result: Result | None) -> str:
    return NOT_JUDGED if result is None else result.status.value


def _first_message(result: Result | None) -> str:
    return result.broken[0].message if result is not None and result.broken else ""
