"""The judge's own scoring: from hole scores to the places of the entries.

Invariant: every function is pure and imports nothing of ours; a score depends on the official cards and the
configured rules alone. The rules are those of tests/golden/scoring/README.md. Strokes and places are ints,
points are int tenths of a point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

STATUSES = frozenset({"active", "cut", "withdrawn", "disqualified", "did_not_start"})


@dataclass(frozen=True)
class ScoringRules:
    """How a contest is scored: configuration, not code.

    `counting` is K, how many of the `roster_size` golfers of an entry count. `missed_round_penalty` is in strokes.
    `points_tenths` maps a hole's result to par to tenths of a point, without gaps; beyond an end the end's value
    holds. `finish_tenths` lists tenths of a point by finishing place from 1; empty means no finish points.
    Raises ValueError for rules that cannot score.
    """

    kind: Literal["strokes", "points"]
    roster_size: int
    counting: int
    missed_round_penalty: int = 0
    points_tenths: Mapping[int, int] = field(default_factory=dict)
    finish_tenths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("strokes", "points"):
            raise ValueError(f"scoring kind must be 'strokes' or 'points', got {self.kind!r}")
        if not 1 <= self.counting <= self.roster_size:
            raise ValueError(f"counting must be from 1 to roster_size {self.roster_size}, got {self.counting}")
        results = sorted(self.points_tenths)
        if self.kind == "points" and not results:
            raise ValueError("points scoring needs points_tenths, got none")
        if results and results != list(range(results[0], results[-1] + 1)):
            raise ValueError(f"points_tenths must name every result between its ends, got {results}")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ScoringRules:
        """The rules written as in a scenario or plan; keys of points_tenths may be strings, as in JSON."""
        known = set(cls.__dataclass_fields__)
        unknown, missing = set(mapping) - known, {"kind", "roster_size", "counting"} - set(mapping)
        if unknown or missing:
            raise ValueError(
                f"scoring rules: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}; "
                f"known are {sorted(known)}"
            )
        points: Mapping[Any, int] = mapping.get("points_tenths") or {}
        return cls(
            kind=mapping["kind"],
            roster_size=mapping["roster_size"],
            counting=mapping["counting"],
            missed_round_penalty=mapping.get("missed_round_penalty") or 0,
            points_tenths={int(result): tenths for result, tenths in points.items()},
            finish_tenths=tuple(mapping.get("finish_tenths") or ()),
        )

    @property
    def lowest_wins(self) -> bool:
        return self.kind == "strokes"


@dataclass(frozen=True)
class Card:
    """A golfer's official card: a status and, by round and hole, the strokes or None for a hole not played.

    Rounds never begun may be left out at the end, and so may the last holes of a round. Raises ValueError for a
    status or strokes that no card can show; a NaN that pandas made of a missing hole is such.
    """

    status: str
    rounds: tuple[tuple[int | None, ...], ...]

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"unknown golfer status {self.status!r}; known are {sorted(STATUSES)}")
        for number, holes in enumerate(self.rounds, start=1):
            for strokes in holes:
                if strokes is not None and not (isinstance(strokes, int) and strokes >= 1):
                    raise ValueError(f"round {number}: a hole is an int from 1, or None if unplayed; got {strokes!r}")


def golfer_scores(rules: ScoringRules, par: Sequence[int], rounds: int, cards: Mapping[str, Card]) -> dict[str, int]:
    """Each golfer's score over the `rounds` scheduled ones: strokes relative to par, or tenths of a point.

    Rounds beyond the scheduled ones (a play-off) never score. Raises ValueError for a round with more holes than
    the course.
    """
    scheduled = {golfer: _scheduled_rounds(golfer, card, len(par), rounds) for golfer, card in cards.items()}
    totals = {golfer: [_round_total(holes) for holes in played] for golfer, played in scheduled.items()}
    if rules.kind == "strokes":
        return _strokes_to_par(rules, sum(par), rounds, totals)
    finish = _finish_points(rules, cards, totals)
    return {golfer: _hole_points(rules, par, played) + finish.get(golfer, 0) for golfer, played in scheduled.items()}


def entry_scores(
    rules: ScoringRules, golfer_scores: Mapping[str, int], rosters: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Each entry's score: the sum of its best K golfer scores, in the unit of `golfer_scores`.

    Raises ValueError for a roster of the wrong size or with a golfer who is not in the field.
    """
    scores: dict[str, int] = {}
    size, counting, highest_first = rules.roster_size, rules.counting, not rules.lowest_wins
    for entry, roster in rosters.items():
        if len(roster) != size:
            raise ValueError(f"entry {entry}: the roster must have {size} golfers, got {len(roster)}")
        try:
            ordered = sorted(map(golfer_scores.__getitem__, roster), reverse=highest_first)
        except KeyError as missing:
            raise ValueError(f"entry {entry}: golfer {missing.args[0]!r} has no card in the field") from None
        scores[entry] = sum(ordered[:counting])
    return scores


def places(rules: ScoringRules, entry_scores: Mapping[str, int]) -> dict[str, int]:
    """Each entry's place from 1, equal scores sharing the better one: 1, 2, 2, 4."""
    return _competition_places(entry_scores, lowest_first=rules.lowest_wins)


def _competition_places(scores: Mapping[str, int], *, lowest_first: bool) -> dict[str, int]:
    place_of: dict[int, int] = {}
    for position, score in enumerate(sorted(scores.values(), reverse=not lowest_first), start=1):
        place_of.setdefault(score, position)
    return {name: place_of[score] for name, score in scores.items()}


def _scheduled_rounds(golfer: str, card: Card, holes: int, rounds: int) -> list[tuple[int | None, ...]]:
    """The card as exactly `rounds` rounds of exactly `holes` holes, None where nothing was played."""
    played = card.rounds[:rounds]
    if any(len(scores) > holes for scores in played):
        raise ValueError(f"golfer {golfer}: a round has more than the {holes} holes of the course: {played}")
    full = [scores + (None,) * (holes - len(scores)) for scores in played]
    return full + [(None,) * holes] * (rounds - len(full))


def _round_total(holes: Sequence[int | None]) -> int | None:
    """The strokes of a completed round; None for a round with a hole unplayed."""
    strokes = [hole for hole in holes if hole is not None]
    return sum(strokes) if len(strokes) == len(holes) else None


def _strokes_to_par(
    rules: ScoringRules, par_total: int, rounds: int, totals: Mapping[str, Sequence[int | None]]
) -> dict[str, int]:
    scores = dict.fromkeys(totals, 0)
    for index in range(rounds):
        completed = [total for golfer in totals if (total := totals[golfer][index]) is not None]
        if not completed:
            continue  # nobody completed it, so there is no highest total to charge: it counts 0 for everybody
        missed = max(completed) + rules.missed_round_penalty
        for golfer in totals:
            total = totals[golfer][index]
            scores[golfer] += (missed if total is None else total) - par_total
    return scores


def _hole_points(rules: ScoringRules, par: Sequence[int], played: Sequence[Sequence[int | None]]) -> int:
    table = rules.points_tenths
    lowest, highest = min(table), max(table)
    results = Counter([
        strokes - hole_par
        for holes in played
        for strokes, hole_par in zip(holes, par, strict=True)
        if strokes is not None
    ])  # fmt: skip
    return sum(times * table[min(max(result, lowest), highest)] for result, times in results.items())


def _finish_points(
    rules: ScoringRules, cards: Mapping[str, Card], totals: Mapping[str, Sequence[int | None]]
) -> dict[str, int]:
    """Tenths by golfer for those with a finishing place; tied golfers each get the full points of their place."""
    finished = {
        golfer: sum(total for total in by_round if total is not None)
        for golfer, by_round in totals.items()
        if cards[golfer].status == "active" and None not in by_round
    }
    return {
        golfer: rules.finish_tenths[place - 1]
        for golfer, place in _competition_places(finished, lowest_first=True).items()
        if place <= len(rules.finish_tenths)
    }
