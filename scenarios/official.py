"""What a tournament's publications amount to in the end.

Invariant: later publications win, cell by cell and golfer by golfer; glitches count for nothing.
"""

from __future__ import annotations

from evidence.plan import Tournament

Cell = tuple[str, int, int]


def final_cells(tournament: Tournament) -> dict[Cell, int]:
    """(golfer, round, hole) -> strokes as last published."""
    return {
        (golfer, round, hole): strokes
        for publication in tournament.publications
        for golfer, round, hole, strokes in publication.cells
    }


def final_statuses(tournament: Tournament) -> dict[str, str]:
    """golfer -> status as last published; `active` when nothing was."""
    statuses = {golfer.id: "active" for golfer in tournament.golfers}
    for publication in tournament.publications:
        statuses.update(publication.statuses)
    return statuses


def finishers(tournament: Tournament) -> list[str]:
    """Golfers who are active to the end and played every hole, the lowest total first (ties by id)."""
    statuses = final_statuses(tournament)
    cards: dict[str, list[int]] = {}
    for (golfer, _, _), strokes in final_cells(tournament).items():
        cards.setdefault(golfer, []).append(strokes)
    every = tournament.rounds * len(tournament.par)
    done = [g for g, card in cards.items() if len(card) == every and statuses[g] == "active"]
    return sorted(done, key=lambda g: (sum(cards[g]), g))
