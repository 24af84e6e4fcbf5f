"""Trials, each in a process that has loaded what is the same for all of them and nothing that a tree may have edited.

Invariant: each trial runs the code of its tree.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from assertions.judge import discover
from campaigns.forks import serve

_SAME_FOR_ALL = ("apsw", "numpy", "pydantic", "simpy", "yaml", "evidence.run", "evidence.writer")
"""With the assertions they are a third of the time of a small trial."""


def main() -> None:
    for name in _SAME_FOR_ALL:
        import_module(name)
    discover()
    serve(_trials)


def _trials(
    tree: str, scenario: str, seeds: Sequence[int], until: Sequence[str] | None, kept: str | None
) -> Iterator[Any]:
    """One trial a seed, without the faults that find nothing to befall in it; the last is the first that breaks all of
    `until`, if that is given. Under `kept`, if that is given, the runs are kept, and it is their paths that are told.
    """
    _enter(Path(tree))
    from campaigns.published import run_of
    from campaigns.trial import try_plan
    from evidence import manifest
    from scenarios import load, make_plan
    from simulator.operations import NONE, ROOT, shipped

    scene = load(Path(scenario))
    if kept is not None:
        yield from (str(run_of(make_plan(scene, seed, dropped=[]), Path(kept)).path) for seed in seeds)
        return
    code, operations = manifest.code_sha256([ROOT / "contest_platform"]), shipped() if scene.model.operations else NONE
    for seed in seeds:
        trial = try_plan(make_plan(scene, seed, dropped=[]), operations, code)
        yield asdict(trial)
        if until is not None and trial.breaks(until):
            return


def _enter(tree: Path) -> None:
    loaded = {name.partition(".")[0] for name in sys.modules}
    edited = {room.name for room in tree.iterdir() if room.is_dir() and not room.is_symlink()}
    if sys.path[0] != str(tree) and (stale := sorted(loaded & edited)):
        raise RuntimeError(f"{', '.join(stale)} is loaded before the fork: an edit of it would not be run")
    sys.path.insert(0, str(tree))
    os.chdir(tree)


if __name__ == "__main__":
    main()
