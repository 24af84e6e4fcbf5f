"""From hole scores to places: golfers score by the contest's configuration, entries by their best golfers.

Invariant: the result depends only on the values passed in, never on their order, and is exact integer arithmetic
(strokes relative to par, or tenths of a point).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Kind = Literal["strokes", "points"]
GolferStatus = Literal["active", "cut", "withdrawn", "disqualified", "did_not_start"]

_KINDS: Final[Mapping[str, Kind]] = {kind: kind for kind in get_args(Kind)}
_STATUSES: Final[frozenset[str]] = frozenset(get_args(GolferStatus))
_JSON_KEYS: Final[Mapping[Kind, frozenset[str]]] = {
    "strokes": frozenset({"kind", "roster_size", "counting", "missed_round_penalty"}),
    "points": frozenset({"kind", "roster_size", "counting", "points_tenths", "finish_tenths"}),
}


@dataclass(frozen=True)
class ScoringConfig:
    """How one contest scores.

    The best `counting` of the `roster_size` golfers of an entry count. Under `strokes` the lowest score wins, and a
    round not completed costs the field's highest total of that round plus `missed_round_penalty` strokes. Under
    `points` the highest wins: `points_tenths` gives tenths of a point by result to par (without gaps; a result beyond
    an end scores as that end), `finish_tenths` tenths of a point by finishing place from 1.

    Raises ValueError when the fields cannot be the rules of a contest.
    """

    kind: Kind
    roster_size: int
    counting: int
    missed_round_penalty: int = 0
    points_tenths: Mapping[int, int] = field(default_factory=dict, hash=False)
    finish_tenths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"scoring kind: expected one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if not 1 <= self.counting <= self.roster_size:
            raise ValueError(f"counting golfers: expected 1 to roster_size ({self.roster_size}), got {self.counting}")
        if self.kind == "strokes":
            if self.missed_round_penalty < 0:
                raise ValueError(f"missed_round_penalty: expected 0 or more strokes, got {self.missed_round_penalty}")
            if self.points_tenths or self.finish_tenths:
                raise ValueError("points_tenths and finish_tenths have no meaning under strokes: remove them")
        else:
            if self.missed_round_penalty:
                raise ValueError("missed_round_penalty has no meaning under points: remove it")
            results = sorted(self.points_tenths)
            if not results or results != list(range(results[0], results[-1] + 1)):
                raise ValueError(f"points_tenths: expected results to par without gaps, got {results}")

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> "ScoringConfig":
        """Read a configuration as stored or as written in a scenario.

        Results to par are the strings of JSON keys ("-3") or integers. Raises ValueError naming the field that is
        missing, unknown or not an integer.
        """
        kind = _KINDS.get(str(document.get("kind")))
        if kind is None:
            raise ValueError(f"scoring kind: expected one of {', '.join(get_args(Kind))}, got {document.get('kind')!r}")
        points: dict[int, int] = {}
        for result, tenths in _mapping(document, "points_tenths").items():
            points[_result_to_par(result)] = _integer(f"points_tenths[{result}]", tenths)
        config = cls(
            kind=kind,
            roster_size=_integer("roster_size", document.get("roster_size")),
            counting=_integer("counting", document.get("counting")),
            # Required under strokes: a penalty left out by mistake would pay other people.
            missed_round_penalty=_integer(
                "missed_round_penalty", document.get("missed_round_penalty", None if kind == "strokes" else 0)
            ),
            points_tenths=points,
            finish_tenths=tuple(
                _integer(f"finish_tenths of place {place}", tenths)
                for place, tenths in enumerate(_sequence(document, "finish_tenths"), start=1)
            ),
        )
        known = _JSON_KEYS["strokes"] | _JSON_KEYS["points"]
        if unknown := sorted(set(document) - known):
            raise ValueError(f"scoring: unknown keys {unknown}; known are {sorted(known)}")
        return config

    def to_json(self) -> dict[str, object]:
        """Give the fields that this kind uses; `from_json` reads them back to an equal configuration."""
        document: dict[str, object] = {
            "kind": self.kind,
            "roster_size": self.roster_size,
            "counting": self.counting,
            "missed_round_penalty": self.missed_round_penalty,
            "points_tenths": {str(result): tenths for result, tenths in sorted(self.points_tenths.items())},
            "finish_tenths": list(self.finish_tenths),
        }
        return {key: value for key, value in document.items() if key in _JSON_KEYS[self.kind]}


@dataclass(frozen=True)
class GolferCard:
    """One golfer of the field: status, and strokes by (round, hole), both from 1. A hole not played has no key.

    Holes outside the course or the scheduled rounds (play-offs) may be present and never score.
    """

    status: GolferStatus
    holes: Mapping[tuple[int, int], int] = field(hash=False)

    def __post_init__(self) -> None:
        if self.status not in _STATUSES:
            raise ValueError(f"golfer status: expected one of {', '.join(sorted(_STATUSES))}, got {self.status!r}")


def score_golfers(
    config: ScoringConfig, par: Sequence[int], rounds: int, cards: Mapping[str, GolferCard]
) -> dict[str, int]:
    """Score every golfer of the field: strokes relative to par, or tenths of a point.

    `par` is by hole, `rounds` the number scheduled. `cards` must be the whole field, not just golfers on rosters: what
    a missed round costs and who finished where depend on all of it. While a round is still being played, strokes
    treats it as missed by whoever has not completed it.
    """
    if not par or rounds < 1:
        raise ValueError(f"expected a course of at least one hole and one round, got {len(par)} holes, {rounds} rounds")
    if config.kind == "strokes":
        return _strokes(config, par, rounds, cards)
    return _points(config, par, rounds, cards)


def score_entries(
    config: ScoringConfig, golfer_scores: Mapping[str, int], rosters: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Sum the best `config.counting` golfers of each roster (entry id -> golfer ids).

    Raises ValueError for a roster that is not `roster_size` different golfers of the field.
    """
    highest_first = config.kind == "points"
    scores: dict[str, int] = {}
    for entry, roster in rosters.items():
        if not len(roster) == len(set(roster)) == config.roster_size:
            raise ValueError(f"entry {entry}: expected {config.roster_size} different golfers, got {list(roster)}")
        try:
            totals = sorted([golfer_scores[golfer] for golfer in roster], reverse=highest_first)
        except KeyError as missing:
            raise ValueError(f"entry {entry}: golfer {missing} is not in the field") from None
        scores[entry] = sum(totals[: config.counting])
    return scores


def rank(config: ScoringConfig, scores: Mapping[str, int]) -> dict[str, int]:
    """Place the scores best first; equal scores share a place and use up the ones behind it (1, 2, 2, 4)."""
    return _places(scores, lowest_best=config.kind == "strokes")


def _strokes(config: ScoringConfig, par: Sequence[int], rounds: int, cards: Mapping[str, GolferCard]) -> dict[str, int]:
    course = sum(par)
    scores = dict.fromkeys(cards, 0)
    for round_no in range(1, rounds + 1):
        totals = {golfer: _round_total(card, round_no, len(par)) for golfer, card in cards.items()}
        completed = [total for total in totals.values() if total is not None]
        if not completed:
            continue  # A round that nobody completed (washed out, or not yet played) counts 0 for everybody.
        missed = max(completed) + config.missed_round_penalty
        for golfer, total in totals.items():
            scores[golfer] += (missed if total is None else total) - course
    return scores


def _points(config: ScoringConfig, par: Sequence[int], rounds: int, cards: Mapping[str, GolferCard]) -> dict[str, int]:
    table = config.points_tenths
    best, worst = min(table), max(table)
    scores: dict[str, int] = {}
    finishers: dict[str, int] = {}
    for golfer, card in cards.items():
        played = [
            (strokes, strokes - par[hole - 1])
            for (round_no, hole), strokes in card.holes.items()
            if 1 <= round_no <= rounds and 1 <= hole <= len(par)
        ]
        results = [best if result < best else worst if result > worst else result for _, result in played]
        scores[golfer] = sum([table[result] for result in results])
        if card.status == "active" and len(played) == rounds * len(par):
            finishers[golfer] = sum(strokes for strokes, _ in played)
    # Finish points of tied golfers are not averaged, unlike money: each gets the full points of the place.
    for golfer, place in _places(finishers, lowest_best=True).items():
        if place <= len(config.finish_tenths):
            scores[golfer] += config.finish_tenths[place - 1]
    return scores


def _round_total(card: GolferCard, round_no: int, holes: int) -> int | None:
    """Give the strokes of a completed round, or None when a hole of it has no score."""
    total = 0
    for hole in range(1, holes + 1):
        strokes = card.holes.get((round_no, hole))
        if strokes is None:
            return None
        total += strokes
    return total


def _places(scores: Mapping[str, int], *, lowest_best: bool) -> dict[str, int]:
    place_of: dict[int, int] = {}
    place = 1
    for score, sharing in sorted(Counter(scores.values()).items(), reverse=not lowest_best):
        place_of[score] = place
        place += sharing
    return {name: place_of[score] for name, score in scores.items()}


def _integer(name: str, value: object) -> int:
    if type(value) is not int:  # bool is an int to isinstance, and True is no penalty.
        raise ValueError(f"scoring {name}: expected an integer, got {value!r}")
    return value


def _result_to_par(key: object) -> int:
    text = str(key)
    if not text.removeprefix("-").isdecimal() or str(int(text)) != text:
        raise ValueError(f'scoring points_tenths: expected results to par such as "-3" as keys, got {key!r}')
    return int(text)


def _mapping(document: Mapping[str, object], key: str) -> Mapping[object, object]:
    value = document.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"scoring {key}: expected a mapping, got {value!r}")
    return value


def _sequence(document: Mapping[str, object], key: str) -> Sequence[object]:
    value = document.get(key) or ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"scoring {key}: expected a list, got {value!r}")
    return value
