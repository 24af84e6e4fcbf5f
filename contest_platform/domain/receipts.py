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
PlayerRound: TypeAlias = tuple[str, int]
Known: TypeAlias = Mapping[PlayerRound, Mapping[int, tuple[int, int]]]
"""By golfer and round: hole -> (strokes, published_at)."""

STROKES_MAX = 15
"""More strokes on one hole than a live feed has any business to tell."""


@dataclass(slots=True)
class Judgement:
    """`receipts` in the order of the answer. `rounds`: what is known then of each golfer's round that it touches and
    that adds up. `broken`: the rounds that do not. `repeated`: how many cells were left out because an earlier answer
    had told them."""

    receipts: list[Receipt]
    rounds: dict[PlayerRound, dict[int, tuple[int, int]]]
    broken: frozenset[PlayerRound]
    repeated: int


def judge(
    cells: Sequence[Served],
    totals: Mapping[PlayerRound, int],
    known: Known,
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
    verdicts: list[tuple[str, str]] = []
    after: dict[PlayerRound, dict[int, tuple[int, int]]] = {}
    for golfer, round_, hole, strokes, published_at in cells:
        round_after = after.get((golfer, round_))
        if round_after is None or not 1 <= hole <= holes:
            if golfer not in golfers:
                verdicts.append(_UNKNOWN_GOLFER)
                continue
            if not (1 <= round_ <= rounds and 1 <= hole <= holes):
                verdicts.append(_UNKNOWN_HOLE)
                continue
            round_after = after[golfer, round_] = dict(known.get((golfer, round_), _NOTHING))
        current = round_after.get(hole)
        if not 1 <= strokes <= STROKES_MAX:
            verdict = _IMPOSSIBLE
        elif current is None:
            verdict = _FIRST
        elif published_at < current[1]:
            verdict = _OLDER
        elif strokes == current[0]:
            verdict = _SAME
        else:
            verdict = _OTHER
        if verdict is _FIRST or verdict is _OTHER:
            round_after[hole] = (strokes, published_at)
        verdicts.append(verdict)
    broken = frozenset(
        player_round
        for player_round, scores in after.items()
        if sum([strokes for strokes, _ in scores.values()]) != totals.get(player_round)
    )
    for player_round in broken:
        del after[player_round]
    receipts: list[Receipt] = [(*cell, *verdict) for cell, verdict in zip(cells, verdicts, strict=True)]
    if broken:
        receipts = [
            (*receipt[:5], *_MISMATCH) if receipt[:2] in broken and receipt[5] != "REJECT" else receipt
            for receipt in receipts
        ]
    if again:
        told_before = () if full and not broken else (_SAME, _OLDER)
        receipts = [
            receipt
            for receipt in receipts
            if receipt[5:] not in told_before and not (receipt[5] in _REFUSED and receipt[:5] in held)
        ]
    return Judgement(receipts, after, broken, len(cells) - len(receipts))


_NOTHING: Mapping[int, tuple[int, int]] = {}
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
