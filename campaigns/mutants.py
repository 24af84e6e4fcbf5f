"""The catalogue of defects against the assertions: is each caught, by the one that it was made for, and how soon?

Invariant: a defect counts as killed only where the same scene without it passes at every seed that was tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from campaigns.forks import Crew, Forks, TaskFailed
from campaigns.trial import Trial, TrialFailed
from defects.model import Defect
from defects.planting import ROOT, planted
from defects.scenes import scene, write_scene

SEEDS = 20
"""A defect that no seed below this one (from 1) shows is not caught."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What became of one defect. `seed`: the first at which everything that it `breaks` was broken, None: at none.
    `broken`: every assertion that failed at the last seed tried. `unsound`: the seeds tried at which its scene does not
    pass without it."""

    defect: Defect
    seed: int | None
    broken: tuple[str, ...]
    status: str
    tried: int
    unsound: tuple[int, ...] = ()

    @property
    def is_killed(self) -> bool:
        return self.seed is not None and not self.unsound

    @property
    def missed(self) -> tuple[str, ...]:
        """What it was to break and did not."""
        return tuple(assertion for assertion in self.defect.breaks if assertion not in self.broken)

    @property
    def others(self) -> tuple[str, ...]:
        """What it broke besides."""
        return tuple(assertion for assertion in self.broken if assertion not in self.defect.breaks)


@dataclass(frozen=True, slots=True)
class Score:
    """What the catalogue comes to. `kills`: by assertion of the registry, how many defects it was to kill and did."""

    detections: tuple[Detection, ...]
    kills: dict[str, int]

    @property
    def killed(self) -> int:
        return sum(detection.is_killed for detection in self.detections)

    @property
    def is_full(self) -> bool:
        """Whether every defect was killed by all that it breaks."""
        return self.killed == len(self.detections)

    @property
    def never(self) -> tuple[str, ...]:
        """The assertions that killed nothing."""
        return tuple(assertion for assertion, kills in self.kills.items() if not kills)


class Nursery(Forks):
    """A process in which trials are made, one at a time. A context manager: left, nothing of it runs on."""

    def __init__(self) -> None:
        super().__init__("planted_trials")

    def detect(self, defect: Defect, seeds: int = SEEDS) -> Detection:
        """Plant `defect` and run its scene from seed 1 on, until what it breaks is broken.

        Raises StaleEdit, TrialFailed."""
        with planted(defect) as tree:
            trials = self.trials(defect.id, tree, write_scene(defect, tree), range(1, seeds + 1), defect.breaks)
        last = trials[-1]
        seed = last.seed if last.breaks(defect.breaks) else None
        return Detection(defect, seed, last.broken, last.status, len(trials))

    def statuses(self, defect: Defect, seeds: Sequence[int]) -> dict[int, str]:
        """The verdict of the defect's scene without the defect, by seed. Raises TrialFailed."""
        with TemporaryDirectory(prefix="absence-scene-") as scratch:
            trials = self.trials(defect.scenario, ROOT, write_scene(defect, Path(scratch)), seeds, None)
        return {trial.seed: trial.status for trial in trials}

    def trials(
        self, what: str, tree: Path, scenario: Path, seeds: Sequence[int], until: Sequence[str] | None
    ) -> list[Trial]:
        """What the code of `tree` makes of a scenario, seed by seed, up to the first that breaks all of `until`. Raises
        TrialFailed."""
        return [Trial.from_json(told) for told in self._asked(what, tree, scenario, seeds, until=until)]

    def kept(self, what: str, tree: Path, scenario: Path, seeds: Sequence[int], root: Path) -> list[Path]:
        """The runs themselves, in directories under `root`. Raises TrialFailed."""
        return [Path(told) for told in self._asked(what, tree, scenario, seeds, kept=root)]

    def _asked(
        self, what: str, tree: Path, scenario: Path, seeds: Sequence[int], *, until: Sequence[str] | None = None,
        kept: Path | None = None,
    ) -> list[Any]:  # fmt: skip
        task = {"tree": str(tree), "scenario": str(scenario), "seeds": list(seeds), "until": until}
        try:
            return list(self.ask({**task, "kept": None if kept is None else str(kept)}))
        except TaskFailed as failed:
            whole = str(failed).strip()
            raise TrialFailed(f"{what}: {whole.splitlines()[-1]}\n{whole}") from None


def detect(defect: Defect, seeds: int = SEEDS) -> Detection:
    """What becomes of one defect, its scene without it left aside. Raises StaleEdit, TrialFailed."""
    with Nursery() as nursery:
        return nursery.detect(defect, seeds)


def detect_all(
    defects: Sequence[Defect],
    workers: int,
    seeds: int = SEEDS,
    done: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Detection]:
    """What becomes of each, in their order, and of the scenes of those that are caught without them. `done` is told
    how many are through of how many. Raises StaleEdit, TrialFailed."""
    every = len(defects) + len({scene(defect) for defect in defects})
    with Crew(Nursery, workers) as crew:
        calls = [partial(Nursery.detect, defect=one, seeds=seeds) for one in defects]
        found = crew.all(calls, lambda count: done(count, every))
        by_tried = sorted((one for one in found if one.seed is not None), key=lambda one: one.tried)
        caught: dict[str, Detection] = {scene(one.defect): one for one in by_tried}  # the one that took longest
        again = [partial(Nursery.statuses, defect=one.defect, seeds=range(1, one.tried + 1)) for one in caught.values()]
        statuses = dict(zip(caught, crew.all(again, lambda count: done(len(defects) + count, every)), strict=True))
    return [with_scene(one, statuses[scene(one.defect)]) if one.seed is not None else one for one in found]


def with_scene(detection: Detection, statuses: dict[int, str]) -> Detection:
    """The detection, with what its scene comes to without the defect, by seed."""
    unsound = [seed for seed in range(1, detection.tried + 1) if statuses[seed] != "PASS"]
    return replace(detection, unsound=tuple(unsound))


def score(detections: Iterable[Detection], assertions: Iterable[str]) -> Score:
    """`assertions`: those that are asked for, all of the registry or some."""
    found = tuple(detections)
    kills = Counter(assertion for one in found if one.is_killed for assertion in one.defect.breaks)
    return Score(found, {assertion: kills[assertion] for assertion in sorted(assertions)})
