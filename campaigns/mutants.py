"""The catalogue of defects against the assertions: is each caught, by the one that it was made for, and how soon?

Invariant: a defect counts as killed only where the same scene without it passes at every seed that was tried.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from os import killpg
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Self

from campaigns.trial import Trial, TrialFailed
from defects.model import Defect
from defects.planting import ROOT, planted
from defects.scenes import scene, write_scene

SEEDS = 20
"""A defect that no seed below this one (from 1) shows is not caught."""
_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from campaigns.planted_trials import main; main()"


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


class Nursery:
    """A process in which trials are made, one at a time. A context manager: left, nothing of it runs on."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        with suppress(ProcessLookupError):
            killpg(self._server.pid, signal.SIGINT)
        self._server.wait()

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
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"tree": str(tree), "scenario": str(scenario), "seeds": list(seeds), "until": until}
        with suppress(BrokenPipeError):
            print(json.dumps(request), file=self._server.stdin, flush=True)
        told: list[Trial] = []
        for line in self._server.stdout:
            answer = json.loads(line)
            if "end" not in answer:
                told.append(Trial.from_json(answer))
            elif answer["end"] is None:
                return told
            else:
                raise TrialFailed(f"{what}: {answer['end'].strip().splitlines()[-1]}\n{answer['end']}")
        raise TrialFailed(f"{what}: the process of the trials has ended")


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
    with ThreadPoolExecutor(workers) as pool, ExitStack() as stack:
        free = SimpleQueue[Nursery]()
        for _ in range(workers):
            free.put(stack.enter_context(Nursery()))

        def borrowed(call: Callable[[Nursery], Any]) -> Any:
            nursery = free.get()
            try:
                return call(nursery)
            finally:
                free.put(nursery)

        def made(calls: Sequence[Callable[[Nursery], Any]], before: int, of: int) -> list[Any]:
            futures = [pool.submit(borrowed, call) for call in calls]
            for count, future in enumerate(as_completed(futures), 1):
                future.result()
                done(before + count, of)
            return [future.result() for future in futures]

        every = len(defects) + len({scene(defect) for defect in defects})
        try:
            found = made([partial(Nursery.detect, defect=one, seeds=seeds) for one in defects], 0, every)
            by_tried = sorted((one for one in found if one.seed is not None), key=lambda one: one.tried)
            caught: dict[str, Detection] = {scene(one.defect): one for one in by_tried}  # the one that took longest
            calls = [
                partial(Nursery.statuses, defect=one.defect, seeds=range(1, one.tried + 1)) for one in caught.values()
            ]
            statuses = dict(zip(caught, made(calls, len(defects), every), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
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
