"""How hashes of rows were made in version 1 of the contract: of lines of text, before they were of JSON arrays.

Some runs of that version have the one form and some the other; either binds every row. Goes when version 1 does.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assertions.official import Official
    from evidence.run import Evidence

VERSION = 1


def receipts_hashes(evidence: Evidence) -> dict[int, str]:
    """The `receipts_hash` of each ingestion batch that has receipts."""
    rows = evidence.rows(
        "platform.ingestion_receipts",
        "batch_id", "n", "golfer_id", "round", "hole", "strokes", "published_at", "verdict", "reason",
    )  # fmt: skip
    return {
        batch: _of_lines("|".join(map(str, (*columns, reason or ""))) for _, *columns, reason in receipts)
        for batch, receipts in groupby(rows, key=itemgetter(0))
    }


def scores_hash(official: Official) -> str:
    holes = sorted((golfer, number, hole, strokes) for (_, golfer, number, hole), strokes in official.holes.items())
    return _of_lines("|".join(map(str, hole)) for hole in holes)


def _of_lines(lines: Iterable[str]) -> str:
    return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
