"""Replay: run a plan again and compare with its journal event by event, stopping at the first difference."""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from absence.fingerprint import code_fingerprint
from absence.operations import ALERTS, RUNBOOKS, in_force
from evidence.journal import JournalWriter
from evidence.manifest import JOURNAL, PLAN, file_sha256
from evidence.run import Evidence
from evidence.writer import RunWriter
from simulator.opening import Opener, embedded
from simulator.run import Progress, simulate


class Diverged(BaseException):
    """The replay differs from the recorded journal. `line` counts from 1; a side that has ended shows as "".

    Not an Exception: it is raised wherever the replay writes its journal, and the platform in it must not take it for
    its own failure.
    """

    def __init__(self, line: int, recorded: str, replayed: str) -> None:
        super().__init__(line, recorded, replayed)
        self.line, self.recorded, self.replayed = line, recorded, replayed


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


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay that agreed. `same_books` says whether every book agreed too, by its canonical rows."""

    events: int
    digest: str
    same_code: bool
    differing_books: tuple[str, ...]


def replay(run_dir: Path, progress: Progress | None = None, opener: Opener = embedded) -> Replayed:
    """Replay the plan of `run_dir` on the database that `opener` opens. Raises DatabaseRefused, Diverged, PlanAltered,
    NotARun, and ManifestBroken when nothing tells what the run was."""
    evidence = Evidence.open(run_dir)
    recorded = evidence.manifest
    found = file_sha256(run_dir / PLAN)
    if found != recorded.plan_sha256:
        raise PlanAltered(
            f"{PLAN} is not the plan that was run: it hashes to {found[:12]}…, the manifest says "
            f"{recorded.plan_sha256[:12]}…. Take it from a copy of the run."
        )
    plan = evidence.plan
    kept = [(place, evidence.documents(place)) for place in (RUNBOOKS, ALERTS)]
    operations = in_force({f"{place}/{name}": text.encode() for place, texts in kept for name, text in texts.items()})
    comparing = _Comparing(run_dir / JOURNAL)
    with (
        tempfile.TemporaryDirectory(prefix="absence-replay-") as scratch,
        RunWriter(Path(scratch), "replay") as writer,
    ):
        journal = JournalWriter(_Tee(comparing, writer))  # type: ignore[arg-type]
        simulate(plan, journal, writer.books, progress, operations, opener)
        events = comparing.finish()
        writer.write_plan(plan)
        code = code_fingerprint()
        seal = writer.seal({"code": code})
    differing = [name for name, book in seal.books.items() if recorded.books[name].sha256 != book.sha256]
    return Replayed(events, seal.digest, recorded.fingerprints["code"] == code, tuple(sorted(differing)))


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
