"""The defect that shows in every scenario in which anybody is paid: what a sweep plants to see that it would see."""

from __future__ import annotations

from defects.model import Defect, Edit

CATALOGUE = (
    Defect(
        "canary.first_prize_cut_off",
        "The first prize is worked out in floating point and cut off, a cent below what it comes to.",
        (
            Edit(
                "contest_platform/domain/prizes.py",
                "        prizes[index] += 1\n    return tuple(prizes)\n",
                "        prizes[index] += 1\n    prizes[0] -= min(prizes[0], 1)\n    return tuple(prizes)\n",
            ),
        ),
        ("ledger.pool_is_conserved",),
    ),
)
