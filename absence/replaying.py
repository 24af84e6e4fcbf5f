"""Replay: run a plan again and compare with its journal event by event, and with its snapshots day by day, stopping at
the first difference, or at an instant."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absence.fingerprint import code_fingerprint
from absence.until import Until
from evidence.journal import JournalWriter
from evidence.layout import JOURNAL, PLAN, SNAPSHOTS
from evidence.run import Evidence
from evidence.writer import RunWriter
from reports.words import instant
from simulator.guard import Guard
from simulator.kernel import Kernel
from simulator.onlookers import Calls, Onlooker
from simulator.opening import Opener, embedded
from simulator.operations import kept_in
from simulator.run import Progress, simulate
from simulator.snapshots import Snapshots
from simulator.standing import standing
from simulator.world import World

Read = Callable[[World, Kernel], dict[str, Any]]


class Diverged(BaseException):
    """The replay differs from the recorded journal. `line` counts from 1; a side that has ended shows as "".

    Not an Exception: it is raised wherever the replay writes its journal, and the platform in it must not take it for
    its own failure.
    """

    def __init__(self, line: int, recorded: str, replayed: str) -> None:
        super().__init__(line, recorded, replayed)
        self.line, self.recorded, self.replayed = line, recorded, replayed


class SnapshotDiffers(Exception):
    """The events agree so far, and the platform does not stand as it did. The message says where first."""


class NotReached(Exception):
    """The replay agreed to its end, and never was where it was to stop."""


class PlanAltered(Exception):
    """plan.json is not the plan that was run. The message says how it shows."""


class _Comparing(io.RawIOBase):
    """A journal stream that checks each line against the recorded one, and takes none after the first that differs."""

    def __init__(self, recorded: Path) -> None:
        self._lines = recorded.open("rb")
        self._line = 0
        self.diverged: Diverged | None = None

    def writable(self) -> bool:
        return True

    def write(self, line: bytes) -> int:  # type: ignore[override]
        if self.diverged is not None:
            raise self.diverged
        self._line += 1
        recorded = self._lines.readline()
        if recorded != line:
            self.diverged = Diverged(self._line, recorded.decode(errors="replace"), line.decode())
            raise self.diverged
        return len(line)

    def finish(self) -> int:
        """Check that the recorded journal ends here; the number of events."""
        rest = self._lines.readline()
        self._lines.close()
        if rest:
            raise Diverged(self._line + 1, rest.decode(errors="replace"), "")
        return self._line


class _Recorded:
    """The snapshots of a run, each compared with that of the replay. A run of an older version has none."""

    def __init__(self, path: Path, starts_at: int) -> None:
        self._lines = path.read_bytes().splitlines(keepends=True) if path.exists() else None
        self._starts_at = starts_at
        self.compared = 0

    def compare(self, replayed: bytes) -> None:
        """Raises SnapshotDiffers."""
        if self._lines is None:
            return
        recorded = self._lines[self.compared] if self.compared < len(self._lines) else b""
        if recorded != replayed:
            raise SnapshotDiffers(_difference(self.compared + 1, recorded, replayed, self._starts_at))
        self.compared += 1

    def finish(self) -> None:
        """Raises SnapshotDiffers when the run has taken more of them."""
        if self._lines is not None and self.compared < len(self._lines):
            raise SnapshotDiffers(_difference(self.compared + 1, self._lines[self.compared], b"", self._starts_at))


class _Reached(Exception):
    """The replay is there. `state`: what was read of it."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.state = state


class _Stop:
    """Ends a replay where it was to go, before the books are closed, once it has been `read`."""

    def __init__(self, until: Until, read: Read) -> None:
        self.next_at, self._event, self._read = until.at, until.event, read
        self.calls: Calls | None = None if until.event is None else self._called

    def _called(self, number: int, _: str) -> bool:
        return number == self._event

    def look(self, world: World, kernel: Kernel) -> bool:
        raise _Reached(self._read(world, kernel))


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay that agreed. `snapshots`: how many of them were compared."""

    events: int
    digest: str
    same_code: bool
    differing_books: tuple[str, ...]
    snapshots: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A replay that agreed as far as it went. `state`: what was read of it there, by default as simulator.standing."""

    events: int
    snapshots: int
    same_code: bool
    state: dict[str, Any]


def replay(run_dir: Path, progress: Progress | None = None, opener: Opener = embedded) -> Replayed:
    """Replay the plan of `run_dir` on the database that `opener` opens. Raises DatabaseRefused, Diverged,
    SnapshotDiffers, PlanAltered, NotARun, and ManifestBroken when nothing tells what the run was."""
    done = _replay(run_dir, None, progress, opener)
    assert isinstance(done, Replayed)
    return done


def replay_until(
    run_dir: Path, until: Until, progress: Progress | None = None, opener: Opener = embedded, read: Read = standing
) -> Stopped:
    """The same, only as far as `until`, where `read` looks; raises the same, and NotReached."""
    done = _replay(run_dir, _Stop(until, read), progress, opener)
    if isinstance(done, Replayed):
        raise NotReached(f"e{until.event} is written as the run ends: replay all of it, without --until")
    return done


def expect_plan(evidence: Evidence) -> None:
    """Raise PlanAltered where the plan that is kept is not the one that was run. Raises ManifestBroken."""
    found, recorded = evidence.plan_sha256, evidence.manifest.plan_sha256
    if found != recorded:
        raise PlanAltered(
            f"{PLAN} is not the plan that was run: it hashes to {found[:12]}…, the manifest says {recorded[:12]}…. "
            "Take it from a copy of the run."
        )


def _replay(run_dir: Path, stop: _Stop | None, progress: Progress | None, opener: Opener) -> Replayed | Stopped:
    evidence = Evidence.open(run_dir)
    recorded = evidence.manifest
    expect_plan(evidence)
    plan = evidence.plan
    operations = kept_in(evidence)
    comparing, kept_snapshots = _Comparing(run_dir / JOURNAL), _Recorded(run_dir / SNAPSHOTS, plan.starts_at)
    onlookers: list[Onlooker] = [Snapshots(plan.starts_at, kept_snapshots.compare)]
    if stop is not None:
        onlookers.append(stop)
    if evidence.halt is not None:
        onlookers.append(Guard(plan.starts_at, operations))
    code = code_fingerprint()
    same_code = recorded.fingerprints["code"] == code
    with (
        tempfile.TemporaryDirectory(prefix="absence-replay-") as scratch,
        RunWriter(Path(scratch), "replay") as writer,
    ):
        journal = JournalWriter(_Tee(comparing, writer))  # type: ignore[arg-type]
        try:
            simulate(plan, journal, writer.books, progress, operations, opener, onlookers)
        except _Reached as reached:
            return Stopped(journal.count, kept_snapshots.compared, same_code, reached.state)
        events = comparing.finish()
        kept_snapshots.finish()
        writer.write_plan(plan)
        seal = writer.seal({"code": code})
    differing = sorted(name for name, book in seal.books.items() if recorded.books[name].sha256 != book.sha256)
    return Replayed(events, seal.digest, same_code, tuple(differing), kept_snapshots.compared)


def _difference(number: int, recorded: bytes, replayed: bytes, starts_at: int) -> str:
    """The first value in which two snapshots differ, in words."""
    told = [_flat(json.loads(side)) if side else None for side in (recorded, replayed)]
    at = next((side["at"] for side in told if side is not None), starts_at)
    where = f"snapshot {number} (line {number} of {SNAPSHOTS}, {instant(at, starts_at)})"
    was, became = told
    if was is None:
        return f"{where}: the recorded run had ended before it"
    if became is None:
        return f"{where}: the replay has ended before it"
    names = sorted(name for name in {*was, *became} if was.get(name) != became.get(name))
    if not names:
        return f"{where} says the same in other bytes"
    more = f" ({len(names) - 1} more values differ)" if len(names) > 1 else ""
    return f"{where}: {names[0]} was {was.get(names[0])!r}, and is {became.get(names[0])!r} in the replay{more}"


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """`{"rows": {"entries": 3}}` as `{"rows.entries": 3}`."""
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{path}.{name}" if path else name)
    return found


class _Tee:
    """Writes the replay's journal too, so that its digest is computed from the same bytes."""

    def __init__(self, comparing: _Comparing, writer: RunWriter) -> None:
        self._compare, self._write = comparing.write, writer.journal.write

    def write(self, line: bytes) -> int:
        self._compare(line)
        return self._write(line)


def describe(diverged: Diverged) -> str:
    """The first difference in words: which event, and its fields that differ."""
    sides = []
    for side in (diverged.recorded, diverged.replayed):
        try:
            sides.append(json.loads(side) if side else None)
        except ValueError:
            sides.append({"id": f"e{diverged.line}", "unreadable": side.strip()[:120]})
    recorded, replayed = sides
    where = f"event e{diverged.line} (line {diverged.line} of journal.jsonl)"
    if recorded is None:
        return f"{where}: the recorded run had ended, the replay goes on with {_brief(replayed)}"
    if replayed is None:
        return f"{where}: the replay has ended, the recorded run goes on with {_brief(recorded)}"
    fields = sorted(
        name
        for name in {*recorded, *replayed}
        if name not in ("hash", "prev") and recorded.get(name) != replayed.get(name)
    )
    fields = fields or [name for name in ("prev", "hash") if recorded.get(name) != replayed.get(name)]
    lines = [f"{where} differs in {', '.join(fields)}:" if fields else f"{where} says the same in other bytes"]
    lines += [f"  {name}: recorded {recorded.get(name)!r}, replayed {replayed.get(name)!r}" for name in fields]
    return "\n".join(lines)


def _brief(event: dict[str, object] | None) -> str:
    assert event is not None
    return f"{event.get('kind')} {event.get('subject')} of {event.get('actor')}"
