"""What a killed command may leave in a run root, and what the next one has to say of it and make of it."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from absence.cli import cli
from evidence import lock
from evidence.layout import DECISIONS
from evidence.sweeping import Leftover, leftovers
from tests.support.command import Told, absence
from tests.support.killed_commands import arguments, killed
from tests.support.killing import RECOVER
from tests.support.stored_runs import decide, names, put, whole


def template(root: Path) -> Path:
    """Four runs, of which a decision keeps the first: to prune all but the last takes two."""
    runs = [put(root, seed, name=f"run-{seed}") for seed in range(1, 5)]
    decide(root, [runs[0]])
    return root


KEPT, GONE = {"run-1", "run-4"}, {"run-2", "run-3"}


def check_all(name: str, like: Path, base: Path, points: int, seed: int) -> dict[str, int]:
    """Kill the command `name` at so many points, check each root, and count what was found in them."""
    found = {"killed": 0, "stale": 0, "leftovers": 0, "untouched": 0, "done": 0, "begun": 0}
    for root, by in killed(name, like, base, points, seed).items():
        assert by in (0, signal.SIGKILL)
        found["killed"] += by == signal.SIGKILL
        for what in check(name, root, like):
            found[what] += 1
    return found


def check(name: str, root: Path, like: Path) -> Iterator[str]:
    """No half-truth in `root`, and the next command says what it finds and makes it good. Yields what it found."""
    _whole(root, like)
    decided = {path.name for path in (root / DECISIONS).glob("[!.]*")}
    yield (
        {0: "untouched", len(GONE): "done"}.get(len(GONE - names(root)), "begun")
        if name == "prune"
        else ("done" if len(decided) == 2 else "untouched")
    )
    remains = remains_of(root)
    yield from ["leftovers"] * bool(remains.leftovers)
    if remains.lock is not None:
        yield "stale"
        _told_how_to_go_on(again(name, root), name, root)
    after = again(name, root, *RECOVER)
    assert after.exit_code == 0, after.stderr
    told_of(remains, after)
    _whole(root, like)
    assert names(root) == (KEPT if name == "prune" else KEPT | GONE)
    assert len(list((root / DECISIONS).iterdir())) == (1 if name == "prune" else 2)
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


@dataclass(frozen=True)
class Remains:
    leftovers: list[Leftover]
    lock: lock.LockHeld | None


def remains_of(root: Path) -> Remains:
    """What a killed command left beside runs and records, as `absence runs list` has to say too."""
    left, held = leftovers(root), lock.found(root)
    assert not [one for one in left if one.in_use]
    listed = absence("runs", "list", root)
    assert listed.exit_code == 0
    for one in left:
        assert f"No run: {one.path}: {one.what} when its command died" in listed.stdout
    if held is not None:
        assert held.stale is not None
        assert held.stale.gone
        assert held.stale.why in listed.stdout
    return Remains(left, held)


def told_of(remains: Remains, after: Told) -> None:
    """The next command that wrote there has said what of it it made good."""
    swept = {line for line in after.stderr.splitlines() if line.startswith("Swept ")}
    assert swept == {f"Swept {one.path}: {one.what} when its command died." for one in remains.leftovers}
    assert ("Broke the lock of " in after.stderr) is (remains.lock is not None)


def _told_how_to_go_on(told: Told, name: str, root: Path) -> None:
    assert told.exit_code == 40
    assert "It is stale: there is no process " in told.stderr
    given = shlex.join(["absence", *arguments(name, root)])
    assert name != "prune" or f'{given} --force-lock-break --reason "…"' in told.stderr


def again(name: str, root: Path, *options: str) -> Told:
    result = CliRunner().invoke(cli, [*arguments(name, root), *options], prog_name="absence")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Told(result.exit_code, result.stdout, result.stderr)


def _whole(root: Path, like: Path) -> None:
    """Every run that can be seen is whole; none that is kept is gone; every decision can be read."""
    assert names(root) >= KEPT
    for name in names(root):
        assert whole(root / name, like / name), name
    for path in (root / DECISIONS).glob("[!.]*"):
        assert json.loads(path.read_text())["runs"]
