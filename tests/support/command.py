"""The `absence` command as tests use it: called in this process, or started as a process of its own.

Runs that several tests look at are made once a session and shared between the workers of pytest-xdist.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from click.testing import CliRunner

from absence.cli import cli
from assertions.judge import Verdict
from evidence.layout import DECISIONS, INCIDENTS
from evidence.plan import FaultPlan
from evidence.run import Evidence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Told:
    """What a command said, and the exit code it ended in."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def errors(self) -> list[str]:
        """The lines of standard error but for the one that says where the incident file is."""
        return [line for line in self.stderr.splitlines() if not line.startswith("Incident: ")]


@dataclass(frozen=True)
class Ran(Told):
    """What a run said, and the run directory that it left."""

    path: Path

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence.open(self.path)

    @cached_property
    def verdict(self) -> Verdict:
        return Verdict.from_json((self.path / "verdict.json").read_bytes())

    def status(self, assertion: str) -> str:
        return str(self.result(assertion).status.value)

    def result(self, assertion: str) -> Any:
        return next(result for result in self.verdict.results if result.id == assertion)

    def rows(self, book: str, **where: Any) -> list[Any]:
        """The rows of a book whose columns have the values given."""
        return [row for row in self.evidence.records(book) if all(getattr(row, k) == v for k, v in where.items())]


def absence(*arguments: str | Path) -> Told:
    """`absence` in this process: as quick as it can be, and with the same exit codes."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="absence")
    gc.unfreeze()  # a run keeps what is there when it begins: well in a process of its own, a leak in this one
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Told(result.exit_code, result.stdout, result.stderr)


def start(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    start_new_session: bool = False,
) -> subprocess.Popen[str]:
    """`absence` as a process of its own, not waited for; its output is captured. In a session of its own, it can be
    signalled with all that it starts, as a terminal does."""
    command = [sys.executable, "-m", "absence", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=start_new_session,
    )


def process(*arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Told:
    """`absence` as a process of its own, to its end."""
    started = start(*arguments, env=env, cwd=cwd)
    stdout, stderr = started.communicate(timeout=300)
    return Told(started.returncode, stdout, stderr)


def run_into(out: Path, *arguments: str | Path) -> Ran:
    """`absence run … --out OUT`, where OUT holds nothing else."""
    told = absence("run", *arguments, "--out", out)
    left = runs_in(out)
    assert len(left) == 1, f"the run left {left}; it said:\n{told.stdout}{told.stderr}"
    return Ran(told.exit_code, told.stdout, told.stderr, left[0])


def runs_in(root: Path) -> list[Path]:
    """What stands in a run root, but for the records of it."""
    return [path for path in sorted(root.iterdir()) if path.name not in (DECISIONS, INCIDENTS)] if root.is_dir() else []


KNOWN = 8
"""So many runs, with what was read of them, a worker keeps in memory: one takes 10 MB."""


class SharedRuns:
    """Runs by their arguments, each made once and kept on the disk until the session ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = lru_cache(maxsize=KNOWN)(self._made)

    def __call__(self, *arguments: str | Path) -> Ran:
        return self._known(tuple(map(str, arguments)))

    def _made(self, key: tuple[str, ...]) -> Ran:
        folder = self._folder / sha256(repr(key).encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        said = folder / "said.json"
        with held(folder / "lock"):
            if not said.exists():
                ran = run_into(folder / "out", *key)
                said.write_text(json.dumps({**asdict(ran), "path": str(ran.path)}))
        kept = json.loads(said.read_text())
        return Ran(kept["exit_code"], kept["stdout"], kept["stderr"], Path(kept["path"]))


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """No other process of the session does this meanwhile."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


CANCELLED = """
  - id: short-private
    tournament: t1
    name: Short Table of Ten
    fee_cents: 2000
    entries: 4
    min_entries: 10
    max_entries: 10
    rake_bp: 500
    prizes: {winner_takes_all: true}
    scoring: {kind: strokes, roster_size: 4, counting: 4, missed_round_penalty: 1}
"""
"""A contest that cannot run: for faults that need refunds."""


def scenario_with(folder: Path, *faults: str) -> Path:
    """The small scenario with some faults or violations, each by its id and what may follow that in its mapping."""
    contests = (ROOT / "scenarios" / "small.yaml").read_text()
    if any("refund" in fault or "charge_locked" in fault for fault in faults):
        contests += CANCELLED
    path = folder / "some_faults.yaml"
    path.write_text("\n".join([contests, "faults:", *(f"  - {{fault: {fault}}}" for fault in faults), ""]))
    return path


class Books(Protocol):
    """A run whose books can be asked."""

    @property
    def evidence(self) -> Evidence: ...

    def rows(self, book: str, **where: Any) -> list[Any]: ...


def bitten(ran: Books, fault: FaultPlan) -> list[Any]:
    """The rows of its victim's book that show `fault`, found by its bite and the keys that the injector noted."""
    shown: list[Any] = []
    for bite in ran.rows("injector.bites", fault_id=fault.id):
        keys = {"$victim": bite.victim, "$entity": fault.entity if fault.entity is not None else bite.entity}
        where = {name: keys.get(value, value) for name, value in fault.bite.where.items()}
        shown += [
            row
            for row in ran.evidence.records(fault.bite.book)
            if all(str(getattr(row, name)) == str(value) for name, value in where.items())
        ]
    return shown
