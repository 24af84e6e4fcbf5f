"""Seats: how many entries hold a place in a contest that has not locked.

A count is kept: counting the rows at each entry would cost the square of the entries.
"""

from __future__ import annotations

from contest_platform import checkpoints
from contest_platform.ports import Tx


def _name(contest_id: str) -> str:
    return f"entries.seats:{contest_id}"


def taken(tx: Tx, contest_id: str) -> int:
    return checkpoints.read(tx, _name(contest_id)) or 0


def take(tx: Tx, contest_id: str, seats_taken: int) -> None:
    """Take one more than the `seats_taken` that this transaction has read."""
    checkpoints.save(tx, _name(contest_id), seats_taken + 1)


def free(tx: Tx, contest_id: str) -> None:
    checkpoints.save(tx, _name(contest_id), taken(tx, contest_id) - 1)
