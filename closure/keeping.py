"""Decisions that were made, kept in the run root: `decisions/<hash>.json` names the runs that must not be pruned.

Invariant: a decision's file is there whole or not at all; the same decision is the same file.
"""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from closure.decision import Decision
from evidence import freezing

FOLDER = "decisions"
HASH_CHARS = 16


def keep(decision: Decision, root: Path) -> Path:
    """Write `decision` into the run root and return the file. Raises OSError, and RootFrozen."""
    freezing.check(root)
    content = decision.to_json()
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256(content.encode()).hexdigest()[:HASH_CHARS]}.json"
    write(path, content)
    return path


def write(path: Path, content: str) -> None:
    """Write a file by one rename. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
