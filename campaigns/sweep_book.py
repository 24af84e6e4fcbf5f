"""The directory of a sweep: which sweep it is (`sheet.json`), and a line for whatever came in (`seeds.jsonl`).

Invariant: a seed is in the journal once or not at all, whatever ended the sweep. Lines go out whole and are flushed in
batches; one that is torn is taken off when the sweep goes on, and its seed done again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from campaigns.seeds import Line
from evidence import atomic
from evidence.canonical import canonical
from evidence.freezing import THAWS
from evidence.layout import INCIDENTS
from evidence.lock import BREAKS

SHEET, JOURNAL = "sheet.json", "seeds.jsonl"
VERSION = 1
_FLUSH_LINES, _FLUSH_S = 64, 1.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """What sweep it is: another value anywhere is another sweep. Seeds are `first` to `last`, `last` not included;
    every `again_every`-th runs twice. `corpus` is the hash of the past failures that are replayed first,
    `first_plan` and `operations` are those of campaigns.seeds.Inputs."""

    scenario: str
    scenario_sha256: str
    first: int
    last: int
    swarm: bool
    again_every: int
    canary: str
    corpus: str
    code: str
    first_plan: str
    operations: str
    version: int = VERSION

    def sha256(self) -> str:
        return sha256(canonical(asdict(self))).hexdigest()


class OtherSweep(Exception):
    """The directory holds another sweep, or what is none. The message says what is there and what to do."""


class BookBroken(Exception):
    """The directory does not hold what was written. The message says where and what to do."""


class SweepBook:
    """Open for one writer, as a context manager. What has come in: `lines` by seed, `again` by seed, `past` by the name
    of the capsule, `deaths` by (kind, key), `canary`."""

    def __init__(self, root: Path, sheet: Sheet) -> None:
        """Of a new sweep in `root`, an existing directory, or of the one that stands there. Raises OtherSweep,
        BookBroken, OSError."""
        self.root, self.sheet = root, sheet
        self.lines: dict[int, Line] = {}
        self.again: dict[int, Line] = {}
        self.past: dict[str, Line] = {}
        self.deaths: Counter[tuple[str, str]] = Counter()
        self.canary: Mapping[str, Any] | None = None
        _settle(root, sheet)
        path = root / JOURNAL
        is_new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        if is_new:
            atomic.flush(root)
        else:
            self._read(path)
        self._pending, self._flushed_at = 0, time.monotonic()

    def __enter__(self) -> SweepBook:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def add(self, kind: str, key: str, line: Mapping[str, Any]) -> None:
        """Take down what came in: of `kind` seed, again or past the line of the task `key`; died; canary. Raises
        OSError."""
        record = {"kind": kind, "key": key, "line": line}
        atomic.write_all(self._file, orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._take(record)
        self._pending += 1
        if self._pending == _FLUSH_LINES or time.monotonic() - self._flushed_at > _FLUSH_S:
            os.fsync(self._file)
            self._pending, self._flushed_at = 0, time.monotonic()

    def _read(self, path: Path) -> None:
        whole = path.read_bytes()
        kept = whole.rfind(b"\n") + 1
        lines = whole[:kept].splitlines()
        for number, raw in enumerate(lines, 1):
            try:
                self._take(orjson.loads(raw))
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # a machine that lost its power may leave anything in its last block
                    kept -= len(raw) + 1
                    break
                raise BookBroken(
                    f"{path} line {number} is not what was written ({error}). Take the directory from a copy, or begin "
                    "anew in another one (--out DIRECTORY)."
                ) from None
        if kept < len(whole):
            os.ftruncate(self._file, kept)
            os.fsync(self._file)

    def _take(self, record: Mapping[str, Any]) -> None:
        kind, key, line = record["kind"], record["key"], record["line"]
        if kind == "died":
            self.deaths[line["kind"], key] += 1
        elif kind == "canary":
            self.canary = line
        else:
            kinds: dict[str, dict[Any, Line]] = {"seed": self.lines, "again": self.again, "past": self.past}
            into = kinds[kind]
            place: Any = key if kind == "past" else int(key)
            if place in into:
                raise ValueError(f"{kind} {key} is there twice")
            into[place] = line


def _settle(root: Path, sheet: Sheet) -> None:
    """Put the sheet down, or find that it stands there. Raises OtherSweep, BookBroken, OSError."""
    path = root / SHEET
    if not path.exists():
        if (root / JOURNAL).exists():
            raise BookBroken(f"{root} holds {JOURNAL} and no {SHEET}: give another directory (--out DIRECTORY).")
        foreign = sorted(each.name for each in root.iterdir() if not _is_of_any_root(each.name))
        if foreign:
            raise OtherSweep(
                f"{root} holds {foreign[0]} and is no sweep: give this one a directory of its own (--out DIRECTORY)."
            )
        atomic.write_json(path, asdict(sheet))
        return
    try:
        held = orjson.loads(path.read_bytes())
        differences = [
            f"{name.name} {held.get(name.name)} there, {getattr(sheet, name.name)} here"
            for name in fields(sheet) if held.get(name.name) != getattr(sheet, name.name)
        ]  # fmt: skip
    except (ValueError, AttributeError) as error:
        raise BookBroken(
            f"{path} is not what was written: {error}. Give another directory (--out DIRECTORY)."
        ) from None
    if differences:
        raise OtherSweep(
            f"{root} holds another sweep: {'; '.join(differences)}. Give this one a directory of its own "
            "(--out DIRECTORY), or give the command that the other was begun with."
        )


def _is_of_any_root(name: str) -> bool:
    """Whether it is of the lock, of a freeze or of an incident, which come before the first sheet."""
    return name.startswith(".") or name in (INCIDENTS, BREAKS, THAWS)
