"""Two processes run one plan side by side and are compared event by event as they go; both end at the first difference.

Invariant: whatever a run must not depend on is different in the two: the seed of hashes, time zone, locale, the clock
of the machine, the addresses of objects.
"""

from __future__ import annotations

import locale
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple

from campaigns.book_changes import BookChange, book_changes
from campaigns.journals import Split, causes, parsed
from campaigns.plan_changes import Change, plan_changes
from campaigns.stepping import NAME
from defects.planting import ROOT
from evidence.layout import PLAN
from evidence.plan import Plan
from evidence.run import Evidence
from scenarios import load, make_plan

ENVIRONMENTS: tuple[Mapping[str, str], Mapping[str, str]] = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "4000000000", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONUTF8": "0"},
)
LOCALES = ("tr_TR.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "it_IT.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8")
"""The second process has the first of these that is installed: all write 1,5 where C writes 1.5."""
_START = "import sys; sys.path[:0] = sys.argv[1:2]; from campaigns.stepping import main; main(*sys.argv[2:])"
_EVERY = 1_000


class SideFailed(Exception):
    """One of the two did not come to an end. The message says how it ended."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """`events`: how many agree. `split`: where the two part, None: nowhere; `led_there`: its causes on either side, the
    nearest first, all of which both have. `plan`: what differs in the plans that they made. `books`: those whose rows
    differ, although no event does. `locale`: the second process's; None: C, as the first's, since none of LOCALES is
    installed."""

    plan: Plan
    events: int
    split: Split | None
    led_there: tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]
    changes: tuple[Change, ...]
    books: tuple[BookChange, ...]
    locale: str | None

    @property
    def in_step(self) -> bool:
        return self.split is None and not self.books


class _Side(NamedTuple):
    process: subprocess.Popen[bytes]
    lines: IO[bytes]
    errors: Path
    place: Path


def lockstep(scenario: str, seed: int, tree: Path = ROOT, progress: Callable[[int], None] = lambda _: None) -> Stepped:
    """Run `scenario` (a shipped name or a file) with `seed` twice, with the code in `tree`. `progress` is told now and
    then how many events agree. Raises ScenarioInvalid, SideFailed."""
    make_plan(load(scenario), seed)  # what cannot be planned is told before two processes fail at it
    foreign = installed_locale()
    with TemporaryDirectory(prefix="absence-lockstep-") as scratch:
        agreed = Path(scratch) / "agreed.jsonl"
        with _sides(scenario, seed, tree, Path(scratch), foreign) as sides, agreed.open("wb") as kept:
            events, ours, theirs = _compare(sides, kept, progress)
        if ours or theirs:
            return _parted(sides, agreed, events, ours, theirs, foreign)
        one, other = (Evidence.open(side.place / NAME) for side in sides)
        return Stepped(one.plan, events, None, ((), ()), (), tuple(book_changes(one, other, None)), foreign)


def installed_locale() -> str | None:
    """The first of LOCALES that this machine has; None: it has none."""
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in LOCALES:
            with suppress(locale.Error):
                return locale.setlocale(locale.LC_NUMERIC, name)
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    return None


def _compare(sides: tuple[_Side, _Side], kept: IO[bytes], progress: Callable[[int], None]) -> tuple[int, bytes, bytes]:
    """How many lines agree, and the first two that do not; both empty where there is no such pair."""
    events = 0
    one, other = (side.lines.readline for side in sides)
    while True:
        ours, theirs = one(), other()
        for side, line in zip(sides, (ours, theirs), strict=True):
            if not line.endswith(b"\n"):
                _expect_end(side)
        if ours != theirs or not ours:
            return events, ours, theirs
        kept.write(ours)
        events += 1
        if events % _EVERY == 0:
            progress(events)


def _expect_end(side: _Side) -> None:
    """The lines are over, perhaps in the middle of one: so the process must be, and well."""
    if side.process.wait():
        errors = side.errors.read_text(errors="replace").strip()
        raise SideFailed(f"{errors.splitlines()[-1] if errors else 'it said nothing'}\n{errors}")


def _parted(
    sides: tuple[_Side, _Side], agreed: Path, events: int, ours: bytes, theirs: bytes, foreign: str | None
) -> Stepped:
    split = Split(events + 1, parsed(ours), parsed(theirs))
    one, other = (Plan.model_validate_json((side.place / PLAN).read_bytes()) for side in sides)
    led_there = causes(agreed, [split.ours, split.theirs], split.number)
    return Stepped(
        one, events, split, (tuple(led_there[0]), tuple(led_there[1])), tuple(plan_changes(one, other)), (), foreign
    )


@contextmanager
def _sides(scenario: str, seed: int, tree: Path, scratch: Path, foreign: str | None) -> Iterator[tuple[_Side, _Side]]:
    one, other = ENVIRONMENTS
    started: list[_Side] = []
    try:
        for number, environment in enumerate((one, other if foreign is None else {**other, "LC_ALL": foreign})):
            started.append(_start(scenario, seed, tree, scratch / str(number), environment, number == 1))
        yield started[0], started[1]
    finally:
        for side in started:
            side.process.kill()
        for side in started:
            side.process.wait()
            side.lines.close()


def _start(scenario: str, seed: int, tree: Path, place: Path, environment: Mapping[str, str], skewed: bool) -> _Side:
    place.mkdir()
    errors = place / "errors.txt"
    arguments = [str(tree), scenario, str(seed), str(place), "skewed" if skewed else "plain"]
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **environment},
        )  # fmt: skip
    assert process.stdout is not None
    return _Side(process, process.stdout, errors, place)
