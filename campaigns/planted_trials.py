"""What runs in a planted tree: one scenario, seed by seed, a line of JSON for each, until all that should break broke.

Started as `python planted_trials.py SCENARIO ASSERTION,… FIRST:LAST` with the tree as its place: see `mutants`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path


def main(scenario: str, expected: str, seeds: str) -> None:
    from campaigns.trial import try_plan
    from evidence import manifest
    from scenarios import load, make_plan
    from simulator.operations import NONE, ROOT, shipped

    loaded, (first, last) = load(Path(scenario)), map(int, seeds.split(":"))
    code = manifest.code_sha256([ROOT / "contest_platform"])
    operations = shipped() if loaded.model.operations else NONE
    for seed in range(first, last):
        trial = try_plan(make_plan(loaded, seed), operations, code)
        print(json.dumps(asdict(trial)), flush=True)
        if trial.breaks(expected.split(",")):
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
