"""A process that has loaded what is the same for every trial, and makes each in a fork of itself.

Invariant: no room that a tree may have edited is loaded before the fork, so that each trial runs the code of its tree.
One request a line on standard input, as JSON; for each a line a trial, and `{"end": …}` with what went wrong, if
anything did.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from assertions.judge import discover

_SAME_FOR_ALL = ("apsw", "numpy", "pydantic", "simpy", "yaml", "evidence.run", "evidence.writer")
"""With the assertions they are a third of the time of a small trial."""


def main() -> None:
    _load()
    try:
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                os._exit(_forked(**json.loads(line)))
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                _say({"end": f"killed by signal {os.WTERMSIG(status)}"})
    except KeyboardInterrupt:
        sys.exit(130)


def _load() -> None:
    for name in _SAME_FOR_ALL:
        import_module(name)
    discover()


def _forked(tree: str, scenario: str, seeds: Sequence[int], until: Sequence[str] | None) -> int:
    error = None
    try:
        _make_trials(Path(tree), Path(scenario), seeds, until)
    except KeyboardInterrupt:
        return 130
    except BaseException:
        error = traceback.format_exc()
    _say({"end": error})
    return 0


def _make_trials(tree: Path, scenario: Path, seeds: Sequence[int], until: Sequence[str] | None) -> None:
    """One trial a seed; the last is the first that breaks all of `until`, if that is given."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    edited = {room.name for room in tree.iterdir() if room.is_dir() and not room.is_symlink()}
    if sys.path[0] != str(tree) and (stale := sorted(loaded & edited)):
        raise RuntimeError(f"{', '.join(stale)} is loaded before the fork: an edit of it would not be run")
    sys.path.insert(0, str(tree))
    os.chdir(tree)
    from campaigns.trial import try_plan
    from evidence import manifest
    from scenarios import load, make_plan
    from simulator.operations import NONE, ROOT, shipped

    scene, code = load(scenario), manifest.code_sha256([ROOT / "contest_platform"])
    operations = shipped() if scene.model.operations else NONE
    for seed in seeds:
        trial = try_plan(make_plan(scene, seed), operations, code)
        _say(asdict(trial))
        if until is not None and trial.breaks(until):
            return


def _say(told: dict[str, object]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
