"""Defects of how prizes come about: rounding, ties, rake."""

from __future__ import annotations

from defects.model import Defect, Edit

_PRIZES = "contest_platform/domain/prizes.py"
_SETTLEMENT = "contest_platform/services/settlement.py"

_FLOORED = Edit(
    _PRIZES,
    "    for index in by_remainder[: pool_cents - sum(prizes)]:\n",
    "    for index in by_remainder[:0]:\n",
)

CATALOGUE = (
    Defect(
        "prizes.guarantee_raked",
        "The rake is taken of the prize pool that is advertised, and not of the fees that came in.",
        (
            Edit(
                _PRIZES,
                "    rake = collected * rake_bp // BASIS_POINTS\n",
                "    rake = max(collected, guaranteed_cents or 0) * rake_bp // BASIS_POINTS\n",
            ),
        ),
        ("ledger.pool_is_conserved",),
        "default",
    ),
    Defect(
        "prizes.rounding_account",
        "Prizes are rounded down, and an account was opened for the cents that are left over.",
        (
            _FLOORED,
            Edit(
                _SETTLEMENT,
                '            self._give_up(tx, contest, f"every pack is terminal, and {left_cents} cents are left in '
                'escrow")\n            return\n',
                "            ledger.move(\n"
                '                tx, Context(ACTOR, contest_id), "rounding", f"rounding:{contest_id}",\n'
                '                debit=ledger.escrow(contest_id), credit="income:rounding", cents=left_cents,\n'
                '                reason="left over by rounding",\n'
                "            )\n",
            ),
        ),
        ("ledger.no_rounding_account", "ledger.pool_is_conserved"),
        "default",
    ),
    Defect(
        "prizes.rounding_keeps_a_cent",
        "Each prize is rounded down, and nobody asked where the cents go that are left over.",
        (_FLOORED,),
        ("ledger.pool_is_conserved",),
        "default",
    ),
    Defect(
        "prizes.ties_paid_twice",
        "Everybody who shares a place is given its whole prize, as a leaderboard shows it.",
        (
            Edit(
                _PRIZES,
                "        prize = sum(table_cents[place - 1 : place - 1 + len(group)])\n",
                "        prize = sum(table_cents[place - 1 : place]) * len(group)\n",
            ),
        ),
        ("payouts.right_people_right_amounts", "ledger.pool_is_conserved"),
        "default",
    ),
)
