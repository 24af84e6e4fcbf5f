"""A command in a planted tree: the same command line, with the platform that has the defect.

Invariant: nothing in the platform or in what judges it knows of this; the run's manifest names the defect, and no gate
takes it for evidence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absence.command_line import HANDED_ON, given
from campaigns.waiting import waited_for

START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from absence.main import main; main()"
"""What a Python is started with (-c): the command line of the tree that its first argument names."""


def run_planted(id: str, arguments: Sequence[str], wants_scene: bool) -> int:
    """Run `absence ARGUMENTS` with the defect planted, in the directory where we are; its exit code. `wants_scene`: the
    scenario in which it shows is given as the last argument. What there is to note, and to tell, of how it ends it has
    noted and told. Raises UnknownDefect, StaleEdit, KeyboardInterrupt."""
    from defects import defect
    from defects.planting import planted
    from defects.scenes import write_scene

    with planted(defect(id)) as tree:
        scene = [str(write_scene(defect(id), tree))] if wants_scene else []
        command = [sys.executable, "-c", START, str(tree), *arguments, *scene]
        return waited_for(command, env={**os.environ, HANDED_ON: given()}).returncode
