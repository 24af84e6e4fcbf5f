"""Changes of the code that change nothing of what it does: a failure that was recorded before one comes back after it.

Each is planted as a defect is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from defects.model import Defect, Edit
from defects.planting import planted
from tests.support.command import ROOT

_ANCHORING = "contest_platform/services/anchoring.py"
_CONTESTS = "contest_platform/services/contests.py"
_JOBS = '        return (Job("anchoring", "anchoring", HOUR_MS, self._due, self._work),)\n'
_MORE_JOBS = """        look = Job("anchoring.look", "anchoring.look", HOUR_MS, self._now, self._look)
        return (Job("anchoring", "anchoring", HOUR_MS, self._due, self._work), look)

    async def _now(self) -> int | None:
        return self._ports.runtime.now()

    async def _look(self) -> None:
        await self._ports.store.transact("look", _known)
"""
_REPLAY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from campaigns import capsules
from defects.planting import ROOT
assert str(ROOT) == sys.argv[1]
for place in sys.argv[2:]:
    found = capsules.replay(capsules.read(Path(place)))
    print(json.dumps([found.reproduced, found.trial.digest, len(found.silent)]))
"""
_UNITS = "contest_platform/units.py"
_FIRST = "                EntriesService,\n                WebhooksService,\n"
_LAST = "                AdminService,\n"


def _renamed(file: str, old: str, new: str) -> Edit:
    text = (ROOT / file).read_text()
    assert text.count(old) > 1, f"{old} is not used in {file} any more"
    return Edit(file, text, text.replace(old, new))


def refactors() -> tuple[Defect, ...]:
    return (
        Defect(
            "refactor.renamed_function",
            "A function that several use inside a service has a better name.",
            (_renamed(_CONTESTS, "_lock_as", "_lock_in_the_name_of"),),
            (),
        ),
        Defect(
            "refactor.extra_draw",
            "Something is drawn that nobody uses yet.",
            (
                Edit(
                    "contest_platform/services/payouts.py",
                    '                transfer_id = self._ports.ids.new("payout", winner["entry_id"])\n',
                    '                self._ports.entropy.below(100, "payouts.spread", winner["entry_id"])\n'
                    '                transfer_id = self._ports.ids.new("payout", winner["entry_id"])\n',
                ),
            ),
            (),
        ),
        Defect(
            "refactor.new_job",
            "A job more looks at the books every hour, and changes nothing.",
            (
                Edit(
                    _ANCHORING,
                    _JOBS,
                    _MORE_JOBS,
                ),
            ),
            (),
        ),
        Defect(
            "refactor.reordered_registration",
            "The services of a unit are listed in another order.",
            (
                Edit(_UNITS, _FIRST, ""),
                Edit(_UNITS, _LAST, _LAST + _FIRST),
            ),
            (),
        ),
        Defect(
            "refactor.other_default",
            "A parameter of a fault has another default.",
            (
                Edit(
                    "fault_injectors/processor.py",
                    "    transfer: int = Field(default=1, ge=1, le=1_000)\n",
                    "    transfer: int = Field(default=2, ge=1, le=1_000)\n",
                ),
            ),
            (),
        ),
    )


def together() -> Defect:
    return Defect("refactor.all", "All of it.", tuple(edit for refactor in refactors() for edit in refactor.edits), ())


def replayed_after(refactor: Defect, *places: Path) -> list[tuple[bool, str, int]]:
    """Of the capsule at each place, on the code after `refactor`: whether its failure comes back, the digest of the run
    and how many of its faults did not bite."""
    with planted(refactor) as tree:
        command = [sys.executable, "-c", _REPLAY, str(tree), *map(str, places)]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tree)
    assert process.returncode == 0, process.stderr
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]
