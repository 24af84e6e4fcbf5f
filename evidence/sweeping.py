"""What commands that died left in a run root: found, told apart from what living ones are at, and taken away.

Invariant: whoever makes something under one of these names holds its lock while at work, and the system releases that
however he dies. So what can be locked is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from evidence.atomic import TEMPORARY_PREFIX
from evidence.layout import DECISIONS, INCIDENTS

STAGING_PREFIX, PRUNING_PREFIX = ".staging-", ".pruning-"

WHAT = {
    STAGING_PREFIX: "a run that was being written",
    PRUNING_PREFIX: "a run that was being pruned",
    TEMPORARY_PREFIX: "a file that was being written",
}


@dataclass(frozen=True, slots=True)
class Leftover:
    path: Path
    what: str
    in_use: bool
    """Its maker lives."""


def leftovers(root: Path) -> list[Leftover]:
    """What stands in `root` under a name for what is under way. Takes nothing away."""
    found = []
    for path, what in _candidates(root):
        try:
            with locked(path):
                found.append(Leftover(path, what, in_use=False))
        except FileNotFoundError:  # it was done in between
            continue
        except OSError:
            found.append(Leftover(path, what, in_use=True))
    return found


def sweep(root: Path) -> list[Leftover]:
    """Take away what dead commands left, and say what. Never touches what a living one is at."""
    swept = []
    for path, what in _candidates(root):
        # By path, not by descriptor: what was published in between has left this name.
        with suppress(OSError), locked(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            swept.append(Leftover(path, what, in_use=False))
    return swept


def _candidates(root: Path) -> Iterator[tuple[Path, str]]:
    for prefix, what in WHAT.items():
        places = (root, root / DECISIONS, root / INCIDENTS) if prefix == TEMPORARY_PREFIX else (root,)
        for place in places:
            for path in sorted(place.glob(f"{prefix}*")):
                yield path, what


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or directory. Raises OSError: BlockingIOError when another process holds it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
