"""Scores as the receipts tell them: official ones for settlement, and a replay for the audit.

Invariant: nothing here reads `hole_scores`; what was admitted, and when it was published, decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from contest_platform.domain.scoring import GolferCard, GolferStatus
from contest_platform.ports import Tx

Cell = tuple[str, int, int]
"""(golfer_id, round, hole)."""

# Batches number the order in which values of a hole were told, which is the order in which they were published.
_ADMITTED = """
    select golfer_id, round, hole, strokes from ingestion_receipts
    where batch_id > :after and tournament_id = :t and verdict in ('ADMIT', 'CORRECTION') and published_at <= :until
    order by batch_id, n
"""
_FOR_EVER = (1 << 63) - 1


def official_cards(tx: Tx, tournament_id: str, cutoff_at: int) -> tuple[dict[str, GolferCard], str]:
    """The card of every golfer of the field by the last values published at or before `cutoff_at`, and the scores_hash:
    SHA-256 of the lines `golfer_id|round|hole|strokes`, sorted."""
    cells = _last_values(tx, tournament_id, cutoff_at)
    holes: dict[str, dict[tuple[int, int], int]] = {}
    statuses: dict[str, str] = {}
    for row in tx.all(
        "select golfer_id, status from golfers where tournament_id = :t order by golfer_id", {"t": tournament_id}
    ):
        holes[row["golfer_id"]] = {}
        statuses[row["golfer_id"]] = row["status"]
    for (golfer, round_, hole), strokes in cells.items():
        holes[golfer][round_, hole] = strokes
    cards = {golfer: GolferCard(cast(GolferStatus, status), holes[golfer]) for golfer, status in statuses.items()}
    return cards, scores_hash(cells)


def scores_hash(cells: Mapping[Cell, int]) -> str:
    lines = [f"{golfer}|{round_}|{hole}|{cells[golfer, round_, hole]}\n" for golfer, round_, hole in sorted(cells)]
    return sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Replay:
    """Every hole's current score by the receipts of the batches up to `through`."""

    through: int
    cells: dict[Cell, int]


def replay(tx: Tx, tournament_id: str, known: Replay | None) -> Replay:
    """Every hole's current score, recomputed from all receipts: from those since `known`, if it is given, for receipts
    are only added to."""
    last = tx.one("select max(batch_id) as batch_id from ingestion_batches")
    through = int((last["batch_id"] if last is not None else None) or 0)
    before = Replay(0, {}) if known is None else known
    return Replay(through, before.cells | _last_values(tx, tournament_id, _FOR_EVER, after=before.through))


def _last_values(tx: Tx, tournament_id: str, until: int, after: int = 0) -> dict[Cell, int]:
    rows = tx.tuples(_ADMITTED, {"t": tournament_id, "until": until, "after": after})
    return {(golfer, round_, hole): strokes for golfer, round_, hole, strokes in rows}
