"""Small changes of the assertions' own code, one at a time, against runs whose verdicts are known: is each noticed?

Where the catalogue of defects asks whether the assertions see what the platform does wrong, this asks what of their own
code matters to any verdict. Invariant: a mutant is killed by a verdict that says something else, never by its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from campaigns.forks import Crew, Forks, TaskFailed
from campaigns.generic_mutants import Mutant, sample
from campaigns.mutants import Nursery
from defects.model import Defect
from defects.planting import ROOT, planted
from defects.scenes import scene, write_scene
from scenarios.planner import root_key
from seams.draws import Draws

_KNOWN = "known.json"
_FIRST = 1
"""The seed of every kept run: all defects but four show at it."""

Done = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant. `by`: what of a verdict it changed (`statuses`, or other `figures` only), or that it
    has none to give (`crash`); None: nothing. `run`: of which run, as far as one is to blame."""

    mutant: Mutant
    by: str | None
    run: str | None = None


class Gallery:
    """Kept runs, and what the assertions as they are say of each."""

    def __init__(self, root: Path, broken: dict[Path, frozenset[str]]) -> None:
        self.root, self._broken = root, broken

    @property
    def runs(self) -> int:
        return len(self._broken)

    def for_module(self, name: str) -> list[Path]:
        """All runs, those first of which the assertions of that family say that something is broken."""

        def key(run: Path) -> tuple[bool, Path]:
            return not any(id.startswith(f"{name}.") for id in self._broken[run]), run

        return sorted(self._broken, key=key)


def changed(count: int) -> list[Mutant]:
    """So many mutants of the assertions, always the same; of fewer, each is among those of more."""
    return sample(ROOT, sorted((ROOT / "assertions").rglob("*.py")), count, Draws(root_key(1)))


def make_gallery(root: Path, defects: Sequence[Defect], workers: int, done: Done) -> Gallery:
    """A run of each defect and of each of their scenes without it, under `root`, judged. Raises StaleEdit,
    TrialFailed."""
    scenes = {scene(defect): defect for defect in defects}
    calls = [partial(_planted, defect=defect, root=root / defect.id) for defect in defects]
    for index, defect in enumerate(scenes.values()):
        calls.append(partial(_sound, defect=defect, root=root / f"scene-{index}"))
    with Crew(Nursery, workers) as crew:
        runs = crew.all(calls, lambda count: done(count, len(calls)))
    with Crew(partial(Forks, "second_opinion"), workers) as crew:
        parts = [runs[start::workers] for start in range(workers)]
        said = crew.all([partial(_opinions, runs=part) for part in parts if part])
    known = {run: figures for part in said for run, figures in part.items()}
    (root / _KNOWN).write_text(json.dumps(known))
    return Gallery(
        root,
        {
            Path(run): frozenset(id for id, status in figures["statuses"].items() if status != "PASS")
            for run, figures in known.items()
        },
    )


def _planted(nursery: Nursery, defect: Defect, root: Path) -> Path:
    with planted(defect) as tree:
        (run,) = nursery.kept(defect.id, tree, write_scene(defect, tree), [_FIRST], root)
    return run


def _sound(nursery: Nursery, defect: Defect, root: Path) -> Path:
    root.mkdir()
    (run,) = nursery.kept(defect.scenario, ROOT, write_scene(defect, root), [_FIRST], root)
    return run


def _opinions(judge: Forks, runs: Sequence[Path]) -> dict[str, dict[str, dict[str, str]]]:
    paths = [str(run) for run in runs]
    return dict(zip(paths, judge.ask({"runs": paths, "known": None, "module": None, "text": None}), strict=True))


def outcomes(mutants: Sequence[Mutant], gallery: Gallery, workers: int, done: Done) -> list[Outcome]:
    """What becomes of each, in their order."""
    with Crew(partial(Forks, "second_opinion"), workers) as crew:
        calls = [partial(_outcome, mutant=mutant, gallery=gallery) for mutant in mutants]
        return crew.all(calls, lambda count: done(count, len(calls)))


def _outcome(judge: Forks, mutant: Mutant, gallery: Gallery) -> Outcome:
    place = Path(mutant.file).with_suffix("")
    runs = [str(run) for run in gallery.for_module(place.name)]
    module = ".".join(place.parts)
    known = str(gallery.root / _KNOWN)
    try:
        answers = list(judge.ask({"runs": runs, "known": known, "module": module, "text": mutant.text}))
    except TaskFailed:
        return Outcome(mutant, "crash")
    if not answers:
        return Outcome(mutant, None)
    ((run, by),) = answers
    return Outcome(mutant, by, Path(run).relative_to(gallery.root).parts[0])
