"""Defects for the machines, and how a machine meets one: in a process of its own, on a planted tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from defects.model import Defect, Edit
from defects.planting import planted

ROOT = Path(__file__).parents[3]
_START = (
    "import sys; sys.path[:0] = sys.argv[1:3]; from tests.support.machines.planted import main; main(*sys.argv[3:])"
)

_PAYOUTS = "contest_platform/services/payouts.py"


def _defect(id: str, born: str, file: str, old: str, new: str) -> Defect:
    return Defect(id, born, (Edit(file, old, new),), ())


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "payouts": (
        _defect(
            "payouts.new_key_after_any_failure", "A time-out is taken for a rejection.", _PAYOUTS,
            "            self._retry(tx, row, code, new_key=code in SAVED_REJECTIONS)\n",
            "            self._retry(tx, row, code, new_key=True)\n",
        ),
        _defect(
            "payouts.key_believed_for_a_month", "Somebody read that keys of the API's version 2 live for 30 days.",
            _PAYOUTS, "KEY_LIFE_MS = 23 * HOUR_MS\n", "KEY_LIFE_MS = 30 * 24 * HOUR_MS\n",
        ),
        _defect(
            "payouts.deleted_without_a_look", "Whoever is gone is given up, without asking whether he was paid.",
            _PAYOUTS, "        if gone and not _in_doubt(tx, row):\n", "        if gone:\n",
        ),
    ),
}  # fmt: skip
"""By the machine that has to fail."""


def met(machine: str, defect: Defect | None, examples: int) -> str:
    """What `machine` says of a platform with `defect`: the last line of what it raised, `held` when nothing broke."""
    if defect is None:
        return _explored(machine, ROOT, examples)
    with planted(defect) as tree:
        return _explored(machine, tree, examples)


def _explored(machine: str, tree: Path, examples: int) -> str:
    process = subprocess.run(
        [sys.executable, "-c", _START, tree, ROOT, machine, str(examples)], capture_output=True, text=True, cwd=tree
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def main(machine: str, examples: str) -> None:
    from tests.support.machines import MACHINES, explore

    try:
        explore(MACHINES[machine](), int(examples), shrink=False)
    except AssertionError as broken:
        print(f"broken: {str(broken).splitlines()[0] if str(broken) else 'an assertion'}")
    else:
        print("held")
