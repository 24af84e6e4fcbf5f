"""The canary: a defect that is planted, and has to be caught on the sweep's own scenario. If it is not, that nothing
else was found means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from campaigns.mutants import Nursery
from defects import defect
from defects.planting import planted

CANARY = "canary.first_prize_cut_off"
SEEDS = 3


class Canary(NamedTuple):
    """`seed`: at which everything broke that has to, None: at none of those `tried`. `broken`: what failed at the last
    of them."""

    defect: str
    seed: int | None
    tried: int
    broken: tuple[str, ...]


def sing(id: str, scenario: Path, first: int) -> Canary:
    """Plant the defect `id` and run `scenario` under a few seeds from `first` on. Raises UnknownDefect, StaleEdit,
    TrialFailed."""
    one = defect(id)
    with planted(one) as tree, Nursery() as nursery:
        trials = nursery.trials(id, tree, scenario.resolve(), range(first, first + SEEDS), one.breaks)
    last = trials[-1]
    return Canary(id, last.seed if last.breaks(one.breaks) else None, len(trials), last.broken)
