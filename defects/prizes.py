"""Defects of how prizes come about: rounding, ties, places."""

from __future__ import annotations

from defects.model import Defect, Edit

_PRIZES = "contest_platform/domain/prizes.py"

CATALOGUE = (
    Defect(
        "prizes.rounding_keeps_a_cent",
        "Each prize is rounded down, and nobody asked where the cents go that are left over.",
        (
            Edit(
                _PRIZES,
                "    for index in by_remainder[: pool_cents - sum(prizes)]:\n",
                "    for index in by_remainder[:0]:\n",
            ),
        ),
        ("ledger.pool_is_conserved",),
        "default",
    ),
)
