"""What a tournament's publications amount to in the end.

Invariant: later publications win, cell by cell and golfer by golfer; glitches count for nothing.
"""

from __future__ import annotations

from collections import Counter

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
    cells, statuses = final_cells(tournament), final_statuses(tournament)
    totals: Counter[str] = Counter()
    holes: Counter[str] = Counter()
    for (golfer, _, _), strokes in cells.items():
        totals[golfer] += strokes
        holes[golfer] += 1
    every = tournament.rounds * len(tournament.par)
    done = [g for g in totals if holes[g] == every and statuses[g] == "active"]
    return sorted(done, key=lambda g: (totals[g], g))
