"""Scores as the receipts tell them: official ones for settlement, and a replay for the audit.

Invariant: nothing here reads `hole_scores`; what was admitted, and when it was published, decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import orjson

from contest_platform import checkpoints
from contest_platform.domain.receipts import PlayerRound
from contest_platform.domain.scoring import GolferCard, GolferStatus
from contest_platform.ports import Tx
from contest_platform.services.ingestion_batches import late_statuses_name

# Batches number the order in which values of a hole were told, which is the order in which they were published.
_ADMITTED = """
    select golfer_id, round, hole, strokes from ingestion_receipts
    where batch_id > :after and tournament_id = :t and verdict in ('ADMIT', 'CORRECTION') and published_at <= :until
    order by batch_id, n
"""
_FOR_EVER = (1 << 63) - 1


def official_cards(tx: Tx, tournament_id: str, cutoff_at: int) -> tuple[dict[str, GolferCard], str]:
    """The card of every golfer of the field by the last scores and status published at or before `cutoff_at`, and the
    scores_hash: SHA-256 of the JSON array of [golfer_id, round, hole, strokes], sorted."""
    field = tx.tuples(
        "select golfer_id, status from golfers where tournament_id = :t order by golfer_id", {"t": tournament_id}
    )
    late = checkpoints.read(tx, late_statuses_name(tournament_id)) or {}
    if late:
        field = [(golfer, _as_of(cutoff_at, status, late.get(golfer, ()))) for golfer, status in field]
    holes: dict[str, dict[tuple[int, int], int]] = {golfer: {} for golfer, _ in field}
    for golfer, round_, hole, strokes in _admitted(tx, tournament_id, until=cutoff_at):
        holes[golfer][round_, hole] = strokes
    cards = {golfer: GolferCard(cast(GolferStatus, status), holes[golfer]) for golfer, status in field}
    played = [
        (golfer, round_, hole, strokes)
        for golfer, card in sorted(holes.items())
        for (round_, hole), strokes in sorted(card.items())
    ]
    return cards, sha256(orjson.dumps(played)).hexdigest()


def _as_of(cutoff_at: int, status: str, late: Sequence[tuple[int, str]]) -> str:
    """What a golfer was at the cut-off who is `status` now; `late`: (when that changed, what he was before)."""
    return next((before for at, before in late if at > cutoff_at), status)


@dataclass(frozen=True, slots=True)
class Replay:
    """Every hole's current score by the receipts of the batches up to `through`: of each golfer's round its strokes by
    hole, as JSON, for the store can give what it shows in this form without a row for every hole."""

    through: int
    rounds: Mapping[PlayerRound, str]


def replay(tx: Tx, tournament_id: str, known: Replay | None) -> Replay:
    """Every hole's current score, recomputed from all receipts: from those since `known`, if it is given, for receipts
    are only added to."""
    last = tx.one("select max(batch_id) as batch_id from ingestion_batches")
    through = int((last["batch_id"] if last is not None else None) or 0)
    before = Replay(0, {}) if known is None else known
    told: dict[PlayerRound, dict[int, int]] = {}
    for golfer, round_, hole, strokes in _admitted(tx, tournament_id, after=before.through):
        told.setdefault((golfer, round_), {})[hole] = strokes
    rounds = dict(before.rounds)
    for player_round, holes in told.items():
        played = orjson.loads(rounds.get(player_round, "{}"))
        by_hole = sorted({**{int(hole): strokes for hole, strokes in played.items()}, **holes}.items())
        rounds[player_round] = orjson.dumps(dict(by_hole), option=orjson.OPT_NON_STR_KEYS).decode()
    return Replay(through, rounds)


def _admitted(tx: Tx, tournament_id: str, *, after: int = 0, until: int = _FOR_EVER) -> list[tuple[Any, ...]]:
    return tx.tuples(_ADMITTED, {"t": tournament_id, "after": after, "until": until})
