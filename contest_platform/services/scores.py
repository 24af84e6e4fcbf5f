"""Scores as the receipts tell them: official ones for settlement, and a replay for the audit.

Invariant: nothing here reads `hole_scores`; what was admitted, and when it was published, decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast

from contest_platform.domain.scoring import GolferCard, GolferStatus
from contest_platform.ports import Tx

Cell = tuple[str, int, int]
"""(golfer_id, round, hole)."""

# Batches number the order in which values of a hole were told, which is the order in which they were published.
_ADMITTED = """
    select golfer_id, round, hole, strokes from ingestion_receipts
    where tournament_id = :t and batch_id > :after and verdict in ('ADMIT', 'CORRECTION') and published_at <= :until
    order by batch_id, n
"""
_FOR_EVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Replay:
    """Every hole's score as the receipts of the batches up to number `through` tell it."""

    through: int = 0
    cells: Mapping[Cell, int] = field(default_factory=dict)


def official_cards(tx: Tx, tournament_id: str, cutoff_at: int) -> tuple[dict[str, GolferCard], str]:
    """The card of every golfer of the field by the last values published at or before `cutoff_at`, and the scores_hash:
    SHA-256 of the lines `golfer_id|round|hole|strokes`, sorted."""
    cells = _last_values(tx, tournament_id, 0, cutoff_at)
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


def replay(tx: Tx, tournament_id: str, before: Replay) -> Replay:
    """Every hole's current score. Only the receipts that came after `before` are read: the store lets nobody change a
    receipt, so what has been replayed once cannot come out differently."""
    last = tx.one("select max(batch_id) as batch_id from ingestion_batches")
    through = int((last["batch_id"] if last is not None else None) or 0)
    return Replay(through, {**before.cells, **_last_values(tx, tournament_id, before.through, _FOR_EVER)})


def _last_values(tx: Tx, tournament_id: str, after: int, until: int) -> dict[Cell, int]:
    rows = tx.tuples(_ADMITTED, {"t": tournament_id, "after": after, "until": until})
    return {(golfer, round_, hole): strokes for golfer, round_, hole, strokes in rows}
