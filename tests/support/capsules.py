"""Runs that old code wrote, unpacked: see tests/capsules/README.md."""

from __future__ import annotations

import tarfile
from pathlib import Path

CAPSULES = Path(__file__).resolve().parents[1] / "capsules"
NAMES = sorted(path.parent.name for path in CAPSULES.glob("*/run.tar.gz"))


def unpack(name: str, into: Path) -> Path:
    """The run directory of a capsule, under `into`."""
    with tarfile.open(CAPSULES / name / "run.tar.gz") as packed:
        packed.extractall(into)
    return into / "run"
