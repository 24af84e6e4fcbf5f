"""What a run states of who made it."""

from __future__ import annotations

from campaigns.code import PACKAGES as PACKAGES
from campaigns.code import code_fingerprint as code_fingerprint
from defects.planting import planted_here


def fingerprints() -> dict[str, str]:
    """What a manifest states of who made the run: its code, and the defect that was planted in it, if one was."""
    planted = planted_here()
    return {"code": code_fingerprint(), **({"defect": planted} if planted else {})}
