"""A run that is kept: made and judged once, and found again by whoever asks for the same plan later.

Invariant: what stands under a root is whole, and is what `absence replay` and `absence report` take.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assertions.judge import Verdict, judge
from campaigns.code import code_fingerprint
from campaigns.simulating import simulate_into
from evidence.layout import MANIFEST, SNAPSHOTS, VERDICT
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import RunWriter, check_writable
from simulator.operations import operations_of
from simulator.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Run:
    """A run and its verdict. `path` is its directory."""

    path: Path
    verdict: Verdict
    evidence: Evidence

    @property
    def status(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return self.verdict.status.value

    def rows(self, book: str, **where: Any) -> list[dict[str, Any]]:
        """The rows of a book in key order, of those columns that are named the ones with these values. Money is in
        cents, instants are in milliseconds (UTC). Raises UnknownName for a book or a column that there is not."""
        names = self.evidence.columns(book)
        self.evidence.rows(book, *where)  # raises for what there is not, though there be no row
        rows = (dict(zip(names, row, strict=True)) for row in self.evidence.rows(book))
        return [row for row in rows if all(row[name] == value for name, value in where.items())]

    def replay(self) -> str:
        """The command that replays it."""
        return f"absence replay {self.path}"

    def told(self) -> list[str]:
        """In a few lines: what it came to, the first broken promise or what was not exercised, and how to replay it."""
        verdict, first = self.verdict, self.verdict.first_broken
        lines = [f"{verdict.scenario} seed {verdict.seed}: {self.status}"]
        if first is not None:
            lines.append(f"first broken promise: {first.assertion}: {first.message} ({first.subject})")
        elif verdict.not_exercised:
            lines.append(f"not exercised: {verdict.not_exercised[0].assertion}: {verdict.not_exercised[0].what}")
        return [*lines, f"replay: {self.replay()}"]


def run_of(plan: Plan, root: Path) -> Run:
    """The run of `plan` under `root`: the one that stands there, or made now. Of several processes that ask together
    one makes it, and the others wait.

    Raises OutputRefused, PreflightFailed."""
    name = f"{plan.scenario}-s{plan.seed}-{plan.sha256()[:10]}"
    path = root / name
    if not (path / MANIFEST).exists():
        with _alone(root, name):
            if not (path / MANIFEST).exists():
                _make(plan, root, name)
    return Run(path, Verdict.from_json((path / VERDICT).read_bytes()), Evidence.open(path))


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """Nobody else makes the run of that name while this is open. Raises OutputRefused."""
    check_writable(root)
    with (root / f".{name}.lock").open("wb") as lock:
        with suppress(OSError):  # without locks it may be made twice: the first that is there stays
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(plan: Plan, root: Path, name: str) -> None:
    with RunWriter(root, name) as writer:
        with writer.open(SNAPSHOTS) as lines:
            looking_on = [Snapshots(plan.starts_at, lines.write)]
            simulate_into(writer, plan, operations_of(plan), {"code": code_fingerprint()}, onlookers=looking_on)
        writer.write(VERDICT, judge(Evidence.open(writer.path)).to_json().encode())
        writer.publish()
