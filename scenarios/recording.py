"""A recorded live feed as a tournament: what was official, told apart from what was merely served.

Invariant: after the last publication every golfer, hole and round has the value that the recording has last.

A recording is a table of deltas, one row for each hole whose score was new or changed in a snapshot, and beside it,
when present, a table of all snapshots, those without holes included. Three lies of a feed at 200 OK are recognised:

- a first snapshot without holes whose field is not the one that follows (ids dropped by the next): another event;
- any other snapshot without holes: empty;
- a snapshot of which at least nine tenths of the new holes are changed by the next: scrambled.

All other changes are the provider's own: corrections, be they reverted later or not.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evidence.plan import Glitch, Golfer, Publication, Tournament
from scenarios.errors import Located, ScenarioInvalid
from scenarios.feed import DAY, HOUR, MINUTE
from scenarios.official import Cell

DELTAS = ("snapshot_utc", "commit", "player_id", "player", "round", "hole", "strokes", "par", "change")
SNAPSHOTS = ("snapshot_utc", "commit", "players", "holes", "new", "changed", "removed", "player_ids_dropped")
ROUNDS, HOLES = 4, 18
_NIGHT = 6 * HOUR
_COMPLETE_AFTER = 20 * MINUTE
_CUT_AFTER = 10 * MINUTE
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(slots=True)
class _Snapshot:
    """What one pull brought: cells with (strokes, whether they were new); `at` is the recorded instant."""

    at: int
    holes: int | None = None
    dropped: bool = False
    cells: dict[Cell, tuple[int, bool]] = field(default_factory=dict)


@dataclass(slots=True)
class _Recording:
    """The tables as read."""

    snapshots: list[_Snapshot]
    golfers: dict[str, str]
    par: dict[int, int]


def load(path: Path, *, id: str, name: str, day_at: int) -> Tournament:
    """The recording at `path` (deltas), shifted by whole days so that its first day falls on `day_at` (midnight UTC).

    Golfers with four whole rounds are active to the end, those with exactly two are cut after round 2, all others are
    withdrawn after their last hole. Who has no score at all is not in the deltas, and so not in the field. Raises
    ScenarioInvalid with every broken row.
    """
    recorded = _read(path)
    first = recorded.snapshots[0].at
    shift = day_at - first // DAY * DAY
    publications, glitches = _tell_apart(recorded, shift)
    last_at = publications[-1].at
    complete_at = last_at + _COMPLETE_AFTER
    publications = _with_statuses(publications, _statuses(recorded), complete_at)
    return Tournament(
        id=id,
        event_id=f"event-{id}",
        name=name,
        par=[recorded.par[hole] for hole in range(1, HOLES + 1)],
        rounds=ROUNDS,
        starts_at=first + shift,
        ends_at=complete_at,
        golfers=[Golfer(id=golfer, name=recorded.golfers[golfer]) for golfer in sorted(recorded.golfers)],
        publications=publications,
        glitches=glitches,
        play=_play(publications, glitches),
    )


# --- telling official from served -----------------------------------------------------------------------------------


def _tell_apart(recorded: _Recording, shift: int) -> tuple[list[Publication], list[Glitch]]:
    publications: list[Publication] = []
    glitches: list[Glitch] = []
    for this, following in zip(recorded.snapshots, [*recorded.snapshots[1:], None], strict=True):
        at = this.at + shift
        until_at = None if following is None else following.at + shift
        if this.holes == 0 and following is not None and until_at is not None:
            kind: Literal["wrong_event", "empty"] = "wrong_event" if following.dropped else "empty"
            glitches.append(Glitch(kind=kind, from_at=at, until_at=until_at))
            continue
        strokes = {cell: value for cell, (value, _) in this.cells.items()}
        if following is not None and until_at is not None and _scrambled(this, following):
            false = sorted((*cell, value) for cell, value in strokes.items())
            glitches.append(Glitch(kind="scrambled", from_at=at, until_at=until_at, cells=false))
            # What the next snapshot says of these holes was true all along; nothing is left there to correct.
            strokes |= {cell: following.cells[cell][0] for cell in strokes if cell in following.cells}
            for cell in strokes:
                following.cells.pop(cell, None)
        if strokes:
            publications.append(Publication(at=at, cells=sorted((*cell, value) for cell, value in strokes.items())))
    return publications, glitches


def _scrambled(this: _Snapshot, following: _Snapshot) -> bool:
    new = [cell for cell, (_, is_new) in this.cells.items() if is_new]
    replaced = sum(cell in following.cells for cell in new)
    # A handful of holes may well be corrected at once; a scramble is of a field.
    return len(new) >= HOLES and replaced * 10 >= len(new) * 9


def _statuses(recorded: _Recording) -> dict[str, str]:
    """Golfers who are not active at the end, judged by what they played, since a recording has no statuses."""
    played: dict[str, dict[int, int]] = {golfer: {} for golfer in recorded.golfers}
    for golfer, round, _ in dict.fromkeys(cell for snapshot in recorded.snapshots for cell in snapshot.cells):
        played[golfer][round] = played[golfer].get(round, 0) + 1
    statuses: dict[str, str] = {}
    for golfer, holes in sorted(played.items()):
        whole = [round for round in sorted(holes) if holes[round] == HOLES]
        if whole == [1, 2] and len(holes) == 2:
            statuses[golfer] = "cut"
        elif whole != [1, 2, 3, 4]:
            statuses[golfer] = "withdrawn"
    return statuses


def _with_statuses(publications: list[Publication], statuses: dict[str, str], complete_at: int) -> list[Publication]:
    """Add who withdrew (after his last hole), the cut (after round 2), and the end."""
    last: dict[str, int] = {}
    round_2_at = 0
    for publication in publications:
        for golfer, round, _, _ in publication.cells:
            last[golfer] = publication.at
            if round <= 2:
                round_2_at = publication.at
    timed: dict[int, list[tuple[str, str]]] = {}
    for golfer, status in sorted(statuses.items()):
        at = round_2_at + _CUT_AFTER if status == "cut" else last[golfer]
        timed.setdefault(at, []).append((golfer, status))
    cells = {publication.at: publication.cells for publication in publications}
    return [
        Publication(at=at, cells=cells.get(at, []), statuses=timed.get(at, []), complete=at == complete_at)
        for at in sorted({*cells, *timed, complete_at})
    ]


def _play(publications: list[Publication], glitches: list[Glitch]) -> list[tuple[int, int]]:
    """Days of play: from the first to the last sign of it, nights of six hours or more between, with time for one poll
    after the last. A sign is a hole that was never published before, or a glitch; a correction is none."""
    seen: set[Cell] = set()
    signs = [glitch.from_at for glitch in glitches]
    for publication in publications:
        cells = {(golfer, round, hole) for golfer, round, hole, _ in publication.cells}
        if cells - seen:
            signs.append(publication.at)
        seen |= cells
    signs.sort()
    windows: list[tuple[int, int]] = []
    for at in signs:
        if windows and at - windows[-1][1] < _NIGHT:
            windows[-1] = (windows[-1][0], at)
        else:
            windows.append((at, at))
    return [(from_at, until_at + 10 * MINUTE) for from_at, until_at in windows]


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """A row of a table with the place of each of its cells."""

    table: _Table
    line: int
    text: str
    values: dict[str, str]
    columns: dict[str, int]

    def fail(self, name: str, message: str) -> None:
        self.table.fail(self.line, self.columns[name], f"{name}: {message}", self.text)

    def number(self, name: str, low: int, high: int) -> int | None:
        text = self.values[name]
        if not text.removeprefix("-").isdecimal() or len(text) > 18:
            self.fail(name, f"expected a whole number, got {text!r}")
            return None
        value = int(text)
        if not low <= value <= high:
            self.fail(name, f"expected {low} to {high}, got {value}")
            return None
        return value

    def instant(self, name: str) -> int | None:
        """Milliseconds since the epoch, of an ISO 8601 instant in UTC."""
        text = self.values[name]
        try:
            instant = datetime.datetime.fromisoformat(text)
        except ValueError:
            instant = None
        if instant is None or instant.utcoffset() != datetime.timedelta(0):
            self.fail(name, f"expected an instant in UTC like 2026-04-09T18:45:08+00:00, got {text!r}")
            return None
        seconds = (instant.hour * 60 + instant.minute) * 60 + instant.second
        return (instant.date() - _EPOCH).days * DAY + seconds * 1_000


@dataclass(slots=True)
class _Table:
    """A CSV file being read; errors are collected."""

    path: Path
    columns: tuple[str, ...]
    errors: list[Located]

    def fail(self, line: int, column: int, message: str, text: str) -> None:
        self.errors.append(Located(str(self.path), line, column, f"{message}; the row is: {text}"))

    def rows(self) -> Iterator[_Row]:
        """The well-formed rows. Columns may stand in any order; a missing one is an error of the header."""
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.errors.append(Located(str(self.path), 1, 1, f"cannot be read: {error}"))
            return
        header = next(csv.reader(lines[:1]), [])
        missing = [name for name in self.columns if name not in header]
        if missing:
            self.fail(1, 1, f"the columns {', '.join(missing)} are missing", lines[0] if lines else "")
            return
        for line, text in enumerate(lines[1:], start=2):
            values = next(csv.reader([text]), [])
            if len(values) != len(header):
                self.fail(line, 1, f"expected {len(header)} columns, got {len(values)}", text)
                continue
            starts = _column_starts(text, len(values))
            yield _Row(self, line, text, dict(zip(header, values, strict=True)), dict(zip(header, starts, strict=True)))


def _column_starts(text: str, count: int) -> list[int]:
    """At which column, from 1, each value of a CSV line starts."""
    starts, quoted = [1], False
    for position, char in enumerate(text, start=1):
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            starts.append(position + 1)
    return starts[:count]


def _read(path: Path) -> _Recording:
    errors: list[Located] = []
    recorded = _Recording([], {}, {})
    snapshots: dict[int, _Snapshot] = {}
    _read_deltas(_Table(path, DELTAS, errors), recorded, snapshots)
    beside = path.with_name(path.name.replace("_deltas", "_snapshots"))
    if beside != path and beside.is_file():
        _read_snapshots(_Table(beside, SNAPSHOTS, errors), snapshots)
    if not errors and sorted(recorded.par) != list(range(1, HOLES + 1)):
        missing = [hole for hole in range(1, HOLES + 1) if hole not in recorded.par]
        errors.append(Located(str(path), 1, 1, f"nobody played holes {missing}: this is no recording of an event"))
    if errors:
        raise ScenarioInvalid(errors)
    recorded.snapshots = [snapshots[at] for at in sorted(snapshots)]
    return recorded


def _read_deltas(table: _Table, recorded: _Recording, snapshots: dict[int, _Snapshot]) -> None:
    for row in table.rows():
        at = row.instant("snapshot_utc")
        player = row.number("player_id", 1, 2**53)
        round, hole = row.number("round", 1, ROUNDS), row.number("hole", 1, HOLES)
        strokes, par = row.number("strokes", 1, 30), row.number("par", 3, 6)
        change = row.values["change"]
        if change not in ("new", "changed"):
            row.fail("change", f"expected new or changed, got {change!r}")
            continue
        if at is None or player is None or round is None or hole is None or strokes is None or par is None:
            continue
        if recorded.par.setdefault(hole, par) != par:
            row.fail("par", f"hole {hole} had par {recorded.par[hole]} in a row above, got {par}")
        cells = snapshots.setdefault(at, _Snapshot(at)).cells
        if (str(player), round, hole) in cells:
            row.fail("hole", f"round {round}, hole {hole} of player {player} stands in this snapshot twice")
        cells[(str(player), round, hole)] = (strokes, change == "new")
        recorded.golfers[str(player)] = row.values["player"]


def _read_snapshots(table: _Table, snapshots: dict[int, _Snapshot]) -> None:
    for row in table.rows():
        at, holes = row.instant("snapshot_utc"), row.number("holes", 0, 10**6)
        if at is None or holes is None:
            continue
        snapshot = snapshots.setdefault(at, _Snapshot(at))
        snapshot.holes, snapshot.dropped = holes, bool(row.values["player_ids_dropped"])
