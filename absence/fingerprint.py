"""The code that runs, as one hash: what a run states of who made it, and what judges it is compared with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import absence
from absence.planted import planted_here
from evidence import manifest

PACKAGES = (
    "absence",
    "assertions",
    "contest_platform",
    "evidence",
    "fault_injectors",
    "located",
    "operations",
    "reports",
    "scenarios",
    "seams",
    "simulator",
)


@cache
def code_fingerprint() -> str:
    """Of the code that this process runs: what is edited under it later is not that."""
    root = Path(absence.__file__).parent.parent
    return manifest.code_sha256([root / package for package in PACKAGES])


def fingerprints() -> dict[str, str]:
    """What a manifest states of who made the run: its code, and the defect that was planted in it, if one was."""
    planted = planted_here()
    return {"code": code_fingerprint(), **({"defect": planted} if planted else {})}
