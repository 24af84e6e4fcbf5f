"""The canary: a defect that is planted, and has to be caught on the sweep's own scenario. If it is not, that nothing
else was found means nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from campaigns.mutants import TrialFailed
from defects import defect
from defects.planting import planted

CANARY = "canary.first_prize_cut_off"
SEEDS = 3
_START = "import sys; sys.path[:0] = sys.argv[1:2]; from campaigns.planted_trials import main; main(*sys.argv[2:])"


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
    with planted(one) as tree:
        seeds = f"{first}:{first + SEEDS}"
        process = subprocess.run(
            [sys.executable, "-c", _START, tree, scenario.resolve(), ",".join(one.breaks), seeds],
            capture_output=True, text=True, cwd=tree,
        )  # fmt: skip
    if process.returncode:
        raise TrialFailed(f"{id}: {process.stderr.strip().splitlines()[-1]}\n{process.stderr}")
    trials = [json.loads(line) for line in process.stdout.splitlines()]
    broken = {assertion for assertion, _ in trials[-1]["fingerprints"]}
    seed = trials[-1]["seed"] if broken.issuperset(one.breaks) else None
    return Canary(id, seed, len(trials), tuple(sorted(broken)))
