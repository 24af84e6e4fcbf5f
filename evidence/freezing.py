"""A run root whose evidence did not verify is frozen: nothing is written there until somebody thaws it, with a reason.

The mark is one file; each thaw is a line of another, which nothing removes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from evidence import atomic

FROZEN, THAWS = ".frozen.json", "thaws.jsonl"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Since when (UTC, ISO 8601), for which run of the root and for which problem of it."""

    at: str
    run: str
    problem: str


class RootFrozen(Exception):
    """Nothing may be written to this root. The message says why and what to do."""

    def __init__(self, root: Path, freeze: Freeze) -> None:
        super().__init__(
            f"{root} is frozen since {freeze.at}: {freeze.run} did not verify ({freeze.problem}). Nothing is written "
            f'there until it is thawed: look into it, then `absence runs thaw {root} --reason "…"`.'
        )
        self.root, self.freeze = root, freeze


def freeze(root: Path, at: str, run: str, problem: str) -> None:
    """Freeze `root`; one that is frozen stays as it is. Raises OSError."""
    if found(root) is None:
        atomic.write_json(root / FROZEN, {"at": at, "run": run, "problem": problem})


def found(root: Path) -> Freeze | None:
    """What froze `root`, if anything has. A mark that cannot be read freezes too."""
    try:
        told = json.loads((root / FROZEN).read_bytes())
        return Freeze(str(told["at"]), str(told["run"]), str(told["problem"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Freeze("an unknown time", FROZEN, f"the mark itself cannot be read: {error}")


def check(root: Path) -> None:
    """Raises RootFrozen."""
    frozen = found(root)
    if frozen is not None:
        raise RootFrozen(root, frozen)


def thaw(root: Path, at: str, by: str, reason: str) -> Freeze | None:
    """Lift the freeze of `root`, after noting who did, when and why; returns it, or None if there was none."""
    frozen = found(root)
    if frozen is None:
        return None
    told = {"at": at, "by": by, "reason": reason, "frozen_at": frozen.at, "run": frozen.run, "problem": frozen.problem}
    atomic.append_json(root / THAWS, told)
    atomic.remove(root / FROZEN)
    return frozen
