"""The code that a run runs, as one hash: what the run states of who made it, and what judges it is compared with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from evidence import manifest

ROOT = Path(__file__).parent.parent
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
    return manifest.code_sha256([ROOT / package for package in PACKAGES])
