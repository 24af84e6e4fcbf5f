"""What a provider's answer is worth: one verdict for each hole score in it, with the reason.

Invariant: a hole is admitted only when the holes of its golfer's round, with it, add up to the provider's own total.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Served: TypeAlias = tuple[str, int, int, int, int]
"""(golfer_id, round, hole, strokes, published_at)."""
Receipt: TypeAlias = tuple[str, int, int, int, int, str, str]
"""(golfer_id, round, hole, strokes, published_at, verdict, reason)."""
Hole: TypeAlias = tuple[str, int, int]
PlayerRound: TypeAlias = tuple[str, int]

STROKES_MAX = 15
"""More strokes on one hole than a live feed has any business to tell."""


@dataclass(slots=True)
class Scores:
    """What was admitted: of each hole the last, of each golfer's round the sum of its holes."""

    holes: dict[Hole, Served]
    sums: dict[PlayerRound, int]

    @classmethod
    def of(cls, admitted: Iterable[Served]) -> Scores:
        holes = {cell[:3]: cell for cell in admitted}
        sums: dict[PlayerRound, int] = {}
        for golfer, round_, _, strokes, _ in holes.values():
            sums[golfer, round_] = sums.get((golfer, round_), 0) + strokes
        return cls(holes, sums)

    def take(self, later: Scores) -> None:
        self.holes.update(later.holes)
        self.sums.update(later.sums)


@dataclass(slots=True)
class Judgement:
    """`receipts` in the order of the answer. `learned`: the holes that it changes and the rounds that it touches, of
    rounds that add up. `broken`: the rounds that do not, those included of which only the total came through."""

    receipts: list[Receipt]
    learned: Scores
    broken: frozenset[PlayerRound]


def judge(
    cells: Sequence[Served],
    totals: Mapping[PlayerRound, int],
    known: Scores,
    *,
    golfers: Container[str],
    rounds: int,
    holes: int,
    held: Container[Served],
    again: bool,
    full: bool,
) -> Judgement:
    """Judge `cells`, which may tell several values of a hole in order of publication, against `known` and `totals`.

    `held` are the cells refused by answers that did not add up and are not yet made good; `again`: there are such
    answers, so this one repeats what has come since. What is only told again gets no receipt, unless a `full` answer
    that adds up tells it.
    """
    receipts: list[Receipt] = []
    after: dict[Hole, Served] = {}
    sums: dict[PlayerRound, int] = {}
    known_hole, known_sum = known.holes.get, known.sums.get
    for cell in cells:
        golfer, round_, hole, strokes, published_at = cell
        place = golfer, round_, hole
        current = after.get(place) or known_hole(place)
        if current is None:
            if golfer not in golfers:
                receipts.append(cell + _UNKNOWN_GOLFER)
                continue
            if not (1 <= round_ <= rounds and 1 <= hole <= holes):
                receipts.append(cell + _UNKNOWN_HOLE)
                continue
        player_round = golfer, round_
        if player_round not in sums:
            sums[player_round] = known_sum(player_round, 0)
        if not 1 <= strokes <= STROKES_MAX:
            verdict = _IMPOSSIBLE
        elif current is None:
            verdict = _FIRST
            after[place] = cell
            sums[player_round] += strokes
        elif published_at < current[4]:
            verdict = _OLDER
        elif strokes == current[3]:
            verdict = _SAME
        else:
            verdict = _OTHER
            after[place] = cell
            sums[player_round] += strokes - current[3]
        receipts.append(cell + verdict)
    broken = frozenset([player_round for player_round, strokes in sums.items() if totals.get(player_round) != strokes])
    if len(totals) > len(sums):
        # A cell that was refused may be a hole of a round of which nothing else is told: its total misses it.
        broken |= {
            (golfer, round_)
            for (golfer, round_), strokes in totals.items()
            if (golfer, round_) not in sums and golfer in golfers and 1 <= round_ <= rounds
            if known_sum((golfer, round_), 0) != strokes
        }
    if broken:
        after = {place: value for place, value in after.items() if place[:2] not in broken}
        sums = {player_round: strokes for player_round, strokes in sums.items() if player_round not in broken}
        receipts = [
            receipt[:5] + _MISMATCH if receipt[:2] in broken and receipt[5] != "REJECT" else receipt
            for receipt in receipts
        ]
    if again:
        told_before = () if full and not broken else (_SAME, _OLDER)
        receipts = [
            receipt
            for receipt in receipts
            if receipt[5:] not in told_before and not (receipt[5] in _REFUSED and receipt[:5] in held)
        ]
    return Judgement(receipts, Scores(after, sums), broken)


_REFUSED = ("QUARANTINE", "REJECT")

_FIRST = ("ADMIT", "FIRST_SCORE")
_SAME = ("DUPLICATE", "SAME_VALUE")
_OTHER = ("CORRECTION", "OTHER_VALUE")
_MISMATCH = ("QUARANTINE", "HOLE_SUM_MISMATCH")
_UNKNOWN_GOLFER = ("REJECT", "UNKNOWN_GOLFER")
_UNKNOWN_HOLE = ("REJECT", "UNKNOWN_HOLE")
_IMPOSSIBLE = ("REJECT", "IMPOSSIBLE_STROKES")
_OLDER = ("REJECT", "OLDER_THAN_KNOWN")


def reject_all(cells: Iterable[Served], reason: str) -> list[Receipt]:
    return [(*cell, "REJECT", reason) for cell in cells]
