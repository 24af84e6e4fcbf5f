"""The catalogue of defects against the assertions: is each caught, by the one that it was made for, and how soon?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from defects.model import Defect
from defects.planting import planted
from defects.scenes import write_scene

SEEDS = 20
"""A defect that no seed below this one (from 1) shows is not caught."""
_START = "import sys; sys.path[:0] = sys.argv[1:2]; from campaigns.planted_trials import main; main(*sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Detection:
    """What became of one defect. `seed`: the first at which everything that it `breaks` was broken, None: at none.
    `broken`: every assertion that failed at the last seed tried."""

    defect: Defect
    seed: int | None
    broken: tuple[str, ...]
    status: str
    tried: int

    @property
    def is_killed(self) -> bool:
        return self.seed is not None


class TrialFailed(Exception):
    """The planted tree did not run at all: such a defect is none that could have been deployed."""


def detect(defect: Defect, seeds: int = SEEDS) -> Detection:
    """Plant `defect` and run its scene from seed 1 on, until what it breaks is broken.

    Raises StaleEdit, TrialFailed."""
    trials = list(_trials(defect, seeds))
    last = trials[-1]
    broken = tuple(sorted({assertion for assertion, _ in last["fingerprints"]}))
    is_caught = set(defect.breaks) <= set(broken)
    return Detection(defect, last["seed"] if is_caught else None, broken, last["status"], len(trials))


def _trials(defect: Defect, seeds: int) -> Iterator[dict[str, Any]]:
    with planted(defect) as tree:
        scenario = write_scene(defect, tree)
        process = subprocess.run(
            [sys.executable, "-c", _START, tree, scenario, ",".join(defect.breaks), f"1:{seeds + 1}"],
            capture_output=True, text=True, cwd=tree,
        )  # fmt: skip
    if process.returncode:
        raise TrialFailed(f"{defect.id}: {process.stderr.strip().splitlines()[-1]}\n{process.stderr}")
    yield from map(json.loads, process.stdout.splitlines())
