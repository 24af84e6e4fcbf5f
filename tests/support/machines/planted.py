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

_BATCHES = "contest_platform/services/ingestion_batches.py"
_PAYMENTS = "contest_platform/services/payments.py"
_REFUNDS = "contest_platform/services/refunds.py"
_RECEIPTS = "contest_platform/domain/receipts.py"
_SCORES = "contest_platform/services/scores.py"
_SETTLEMENT = "contest_platform/services/settlement.py"
_LEASE = "contest_platform/services/settlement_lease.py"
_PAYOUTS = "contest_platform/services/payouts.py"


def _defect(id: str, born: str, file: str, old: str, new: str) -> Defect:
    return Defect(id, born, (Edit(file, old, new),), ())


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "ingestion": (
        _defect(
            "ingestion.believes_any_total", "The check of sums is off since a provider left them out.", _RECEIPTS,
            "    if broken:\n        after = ", "    broken = frozenset()\n    if broken:\n        after = ",
        ),
        _defect(
            "ingestion.keeps_the_first_score", "A score is shown once, and its correction is not.", _RECEIPTS,
            "            verdict = _OTHER\n            after[place] = cell\n", "            verdict = _OTHER\n",
        ),
        _defect(
            "ingestion.moves_on_from_what_does_not_add_up", "The cursor moves though the answer was refused.", _BATCHES,
            "    if not broken:\n        # Statuses",
            '    checkpoint["revision"] = answer.revision\n    if not broken:\n        # Statuses',
        ),
    ),
    "ledger": (
        _defect(
            "payments.capture_by_the_instant", "The business key of a capture holds when we learnt of it.", _PAYMENTS,
            'f"capture:{intent_id}", debit=ledger.PENDING', 'f"capture:{intent_id}:{tx.now}", debit=ledger.PENDING',
        ),
        _defect(
            "payments.late_news_stays_in_the_wallet", "Escrow is filled at the lock, and only then.", _PAYMENTS,
            '    if row["contest_status"] != "SCHEDULED":\n', "    if False:\n",
        ),
        _defect(
            "refunds.new_key_after_any_failure", "A refund that failed is sent as a new one.", _REFUNDS,
            "        if rejected and what is Meaning.DID_NOT_HAPPEN:\n", "        if True:\n",
        ),
    ),
    "settlement": (
        _defect(
            "settlement.does_not_wait_for_a_full_poll", "Any full poll will do, that of the week before included.",
            _SETTLEMENT,
            '    return row is not None and orjson.loads(row["value"])["begun_at"] >= contest["cutoff_at"]\n',
            "    return row is not None\n",
        ),
        _defect(
            "settlement.takes_the_lease_of_the_living", "Whose lease is found must be dead.",
            _LEASE, '    elif held["holder"] != holder:\n        return None\n', "",
        ),
        _defect(
            "settlement.scores_of_today", "The official score is read as of now, not as of the cut-off.", _SCORES,
            "in _admitted(tx, tournament_id, until=cutoff_at):\n", "in _admitted(tx, tournament_id, until=tx.now):\n",
        ),
    ),
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

    explored = MACHINES[machine]()
    try:
        explore(explored, int(examples), shrink=False)
    except Exception as broken:  # what a service raises where nothing should be raised tells as much as an invariant
        print(f"broken: {type(broken).__name__} {broken}".splitlines()[0])
    else:
        print("held")
