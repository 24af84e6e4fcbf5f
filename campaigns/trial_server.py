"""What runs in a tree for as long as plans come: one on each line of standard input, its trial on a line of standard
output.

Started as `python trial_server.py` with the tree as its place: see `tries`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main(documents: str | None = None) -> None:
    """`documents`: the directory whose runbooks and rules are in force, if it has any."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer

    from campaigns.capsules import documents_in
    from campaigns.trial import try_plan
    from evidence import manifest
    from evidence.plan import Plan
    from simulator.operations import ROOT, operations_of

    code = manifest.code_sha256([ROOT / "contest_platform"])
    kept = None if documents is None else documents_in(Path(documents))
    gc.freeze()
    for line in sys.stdin.buffer:
        answer: dict[str, Any]
        try:
            plan = Plan.model_validate_json(line)
            answer = {"trial": asdict(try_plan(plan, operations_of(plan) if kept is None else kept, code))}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
