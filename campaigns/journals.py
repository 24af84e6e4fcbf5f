"""Two journals held against each other: the first event in which they differ, and what led there.

Invariant: every byte before that event has been compared. To bisect over the chained hashes would read less, but a
chain that somebody broke has equal hashes after unequal events; only who verifies all of it first may bisect, and that
costs ten times what comparing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

BLOCK_BYTES, CAUSES_MAX = 1 << 20, 1_000
_PREV = b',"prev":"'
_PREV_BYTES = len(_PREV) + 65  # 64 hexadecimal digits and a quote
_HASH_BYTES = len(b',"hash":"') + 64 + len(b'"}\n')
_STARTED = "run.started"
_NEWLINE = ord("\n")


class Place(NamedTuple):
    """Where a line of a journal begins: `number` counts from 1, `offset` in bytes."""

    number: int
    offset: int


class Split(NamedTuple):
    """Two lines of the same number that differ. A journal that has ended has None."""

    number: int
    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        return {"id": f"e{self.number}", "fields": self.fields, "a": self.ours, "b": self.theirs}

    @property
    def is_one_event(self) -> bool:
        """Whether both are of one kind: then it is worth a look which of their fields differ."""
        return self.ours is not None and self.theirs is not None and self.ours.get("kind") == self.theirs.get("kind")

    @property
    def at(self) -> int | None:
        """The earlier of their instants (ms)."""
        instants = [side["at"] for side in (self.ours, self.theirs) if side is not None and "at" in side]
        return min(instants, default=None)

    @property
    def fields(self) -> list[str]:
        """The names of what differs, those of the chain only where nothing else does; members of `data` by their own
        names. None where one side has ended."""
        if self.ours is None or self.theirs is None:
            return []
        ours, theirs = flat(self.ours), flat(self.theirs)
        names = [name for name in sorted({*ours, *theirs}) if ours.get(name, ...) != theirs.get(name, ...)]
        return [name for name in names if name not in ("prev", "hash")] or names


def flat(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    inner = {f"data.{name}": value for name, value in data.items()} if isinstance(data, dict) else {"data": data}
    return {name: value for name, value in event.items() if name != "data"} | inner


def first_split(ours: Path, theirs: Path) -> Split | None:
    """The first line in which two journals differ in any byte; None: in none."""
    place = first_difference(ours, theirs)
    return None if place is None else _split(place.number, ours, theirs, (place.offset, place.offset))


def first_difference(ours: Path, theirs: Path) -> Place | None:
    """Where the first line begins in which two files differ: the same place in both. None: they are the same."""
    number, begins, read = 1, 0, 0
    with ours.open("rb", buffering=0) as one, theirs.open("rb", buffering=0) as other:
        while True:
            a, b = one.read(BLOCK_BYTES), other.read(BLOCK_BYTES)
            if a != b:
                equal = _common(a, b)
                number += a.count(b"\n", 0, equal)
                last = a.rfind(b"\n", 0, equal)
                return Place(number, begins if last < 0 else read + last + 1)
            if not a:
                return None
            number += a.count(b"\n")
            last = a.rfind(b"\n")
            read += len(a)
            if last >= 0:
                begins = read - len(a) + last + 1


def _common(a: bytes, b: bytes) -> int:
    """How many bytes are the same from the beginning on."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def first_said_otherwise(ours: Path, theirs: Path) -> Split | None:
    """The first line in which two journals say something else, whatever hash their chains have come to by then, and
    whatever plan they state at their beginning. None: in none."""
    with ours.open("rb") as one, theirs.open("rb") as other:
        number, a_at, b_at = 0, 0, 0
        while True:
            number += 1
            a, b = one.readline(), other.readline()
            if not a and not b:
                return None
            if a != b and not _same_said(a, b) and not (number == 1 and _same_start(a, b)):
                return _split(number, ours, theirs, (a_at, b_at))
            a_at, b_at = a_at + len(a), b_at + len(b)


def _same_said(a: bytes, b: bytes) -> bool:
    """Whether two lines differ in nothing but `prev` and `hash`. What stands behind `prev` is the subject, in whose
    text every quote is escaped."""
    if len(a) != len(b):
        return False
    prev = a.rfind(_PREV)
    rest = prev + _PREV_BYTES
    return prev > 0 and a[:prev] == b[:prev] and a[rest:-_HASH_BYTES] == b[rest:-_HASH_BYTES]


def _same_start(a: bytes, b: bytes) -> bool:
    """Whether both are how a run begins: it states the hash of its plan, the seed and the documents in force."""
    started = [parsed(side) for side in (a, b)]
    return all(event is not None and event.get("kind") == _STARTED for event in started)


def _split(number: int, ours: Path, theirs: Path, offsets: tuple[int, int]) -> Split:
    sides = []
    for path, offset in zip((ours, theirs), offsets, strict=True):
        with path.open("rb") as lines:
            lines.seek(offset)
            sides.append(parsed(lines.readline()))
    return Split(number, *sides)


def parsed(line: bytes) -> dict[str, Any] | None:
    if not line:
        return None
    try:
        event = orjson.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {"unreadable": line.decode(errors="replace").strip()[:120]}


def causes(path: Path, events: Sequence[dict[str, Any] | None], before: int) -> list[list[dict[str, Any]]]:
    """Of each event, of None nothing, what led to it: the nearest first, back to what nothing led to, at most
    CAUSES_MAX. `before`: their number; causes come before it, and are the same in both journals, of which `path` is
    one."""
    begins = _line_offsets(path, before)
    with path.open("rb") as lines:
        return [[] if event is None else _causes(lines, begins, event, before) for event in events]


def _causes(lines: BinaryIO, begins: Any, event: dict[str, Any], before: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < CAUSES_MAX and (number := _number(event.get("cause"))) is not None and number < before:
        lines.seek(int(begins[number - 1]))
        cause = parsed(lines.readline())
        if cause is None:
            break
        found.append(cause)
        event, before = cause, number
    return found


def _line_offsets(path: Path, count: int) -> Any:
    """Where each of the first `count` lines begins, as an array."""
    import numpy as np

    begins, lines, at = [np.zeros(1, np.int64)], 1, 0
    with path.open("rb", buffering=0) as journal:
        while lines < count and (block := journal.read(BLOCK_BYTES)):
            begins.append(np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE) + (at + 1))
            lines += len(begins[-1])
            at += len(block)
    return np.concatenate(begins)[:count]


def _number(event_id: Any) -> int | None:
    digits = event_id[1:] if isinstance(event_id, str) else ""
    return int(digits) if digits.isdecimal() else None
