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
    verdicts = [_NOT_YET] * len(cells)
    by_round: dict[PlayerRound, list[int]] = {}
    for place, (golfer, round_, hole, strokes, _) in enumerate(cells):
        if golfer not in golfers:
            verdicts[place] = ("REJECT", "UNKNOWN_GOLFER")
        elif not (1 <= round_ <= rounds and 1 <= hole <= holes):
            verdicts[place] = ("REJECT", "UNKNOWN_HOLE")
        else:
            if not 1 <= strokes <= STROKES_MAX:
                verdicts[place] = ("REJECT", "IMPOSSIBLE_STROKES")
            by_round.setdefault((golfer, round_), []).append(place)
    broken: list[PlayerRound] = []
    rounds_: dict[PlayerRound, dict[int, tuple[int, int]]] = {}
    for player_round, places in by_round.items():
        before = known.get(player_round, _NOTHING)
        after = dict(before)
        told: list[tuple[int, tuple[str, str]]] = []
        for place in places:
            if verdicts[place] is _NOT_YET:
                told.append((place, _compare(cells[place], after)))
        if sum([strokes for strokes, _ in after.values()]) == totals.get(player_round):
            rounds_[player_round] = after
            for place, verdict in told:
                verdicts[place] = verdict
        else:
            broken.append(player_round)
            for place, _ in told:
                verdicts[place] = ("QUARANTINE", "HOLE_SUM_MISMATCH")
    receipts: list[Receipt] = [(*cell, *verdict) for cell, verdict in zip(cells, verdicts, strict=True)]
    if again:
        told_before = () if full and not broken else _TOLD
        receipts = [
            receipt
            for receipt in receipts
            if receipt[5:] not in told_before and not (receipt[5] in _REFUSED and receipt[:5] in held)
        ]
    return Judgement(receipts, rounds_, frozenset(broken), len(cells) - len(receipts))


_NOT_YET = ("", "")
_NOTHING: Mapping[int, tuple[int, int]] = {}
_REFUSED = ("QUARANTINE", "REJECT")
_OLDER = ("REJECT", "OLDER_THAN_KNOWN")
_SAME = ("DUPLICATE", "SAME_VALUE")
_TOLD = (_SAME, _OLDER)


def _compare(cell: Served, round_so_far: dict[int, tuple[int, int]]) -> tuple[str, str]:
    """The verdict on a cell given the round as known so far, which it is entered into."""
    _, _, hole, strokes, published_at = cell
    current = round_so_far.get(hole)
    if current is not None and published_at < current[1]:
        return _OLDER
    if current is not None and strokes == current[0]:
        return _SAME
    round_so_far[hole] = (strokes, published_at)
    return ("ADMIT", "FIRST_SCORE") if current is None else ("CORRECTION", "OTHER_VALUE")


def reject_all(cells: Iterable[Served], reason: str) -> list[Receipt]:
    return [(*cell, "REJECT", reason) for cell in cells]
