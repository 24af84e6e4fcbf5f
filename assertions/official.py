"""What the provider published of a tournament, and what was official of it at an instant.

Invariant: from the provider's books and the plan alone. Scores come column by column: there are many of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, cast

import orjson

from assertions.oracles.scoring import Card

if TYPE_CHECKING:
    from evidence.plan import Tournament

Hole = tuple[str, str, int, int]
"""Tournament, golfer, round, hole."""


class Published(NamedTuple):
    """The scores that were published of a tournament, in their order; strokes of None take a score back."""

    n: list[int]
    published_at: list[int]
    hole: list[Hole]
    strokes: list[int | None]


class Official:
    """The scores of a tournament as they stood at the instant `at` (ms), that instant included."""

    def __init__(
        self, tournament: Tournament, published: Published, statuses: Iterable[tuple[int, str, str]], at: int
    ) -> None:
        """`statuses`: (published at, golfer, status), in their order."""
        self._tournament = tournament
        last = {
            hole: strokes
            for published_at, hole, strokes in zip(*published[1:], strict=True)
            if published_at <= at
        }  # fmt: skip
        for hole in [hole for hole, strokes in last.items() if strokes is None]:
            del last[hole]
        self.holes = cast(dict[Hole, int], last)
        self.statuses = {golfer.id: "active" for golfer in tournament.golfers}
        self.statuses.update([(golfer, status) for published_at, golfer, status in statuses if published_at <= at])

    @cached_property
    def scores_hash(self) -> str:
        """As in evidence/CONVENTIONS.md."""
        played: dict[str, list[tuple[int, int, int]]] = {}
        for (_, golfer, number, hole), strokes in self.holes.items():
            played.setdefault(golfer, []).append((number, hole, strokes))
        rows = [(golfer, *stroke) for golfer in sorted(played) for stroke in sorted(played[golfer])]
        return sha256(orjson.dumps(rows)).hexdigest()

    @cached_property
    def cards(self) -> dict[str, Card]:
        """The cards of the field. What was published of others, or of rounds beyond the scheduled ones, is on none."""
        holes, rounds = len(self._tournament.par), self._tournament.rounds
        blank: dict[str, list[list[int | None]]] = {
            golfer.id: [[None] * holes for _ in range(rounds)] for golfer in self._tournament.golfers
        }
        for (_, golfer, number, hole), strokes in self.holes.items():
            if golfer in blank and number <= rounds:
                blank[golfer][number - 1][hole - 1] = strokes
        return {golfer: Card(self.statuses[golfer], tuple(map(tuple, played))) for golfer, played in blank.items()}
