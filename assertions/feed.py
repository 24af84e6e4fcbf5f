"""The platform's receipts, read once, against what the provider published.

Invariant: one pass over the receipts; what is kept is one score a hole, so memory grows with the field alone.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from assertions.facts import facts
from assertions.once import once
from assertions.rows import Cell, Publication

if TYPE_CHECKING:
    from evidence.run import Evidence

RECEIVED = frozenset({"ADMIT", "CORRECTION", "DUPLICATE"})
REPLAYED = frozenset({"ADMIT", "CORRECTION"})
COUNTED = {
    "ADMIT": "admitted", "DUPLICATE": "duplicates", "CORRECTION": "corrections", "QUARANTINE": "quarantined",
    "REJECT": "rejected",
}  # fmt: skip
"""Verdict of a receipt -> the column of its batch that counts it."""
_COLUMNS = (
    "batch_id",
    "n",
    "tournament_id",
    "golfer_id",
    "round",
    "hole",
    "strokes",
    "published_at",
    "verdict",
    "reason",
)


class Receipts:
    def __init__(self, evidence: Evidence) -> None:
        known = facts(evidence)
        self.count = 0
        self.replayed: dict[str, dict[Cell, int]] = {tournament: {} for tournament in known.tournaments}
        """The scores that ADMIT and CORRECTION lead to, by tournament."""
        self.readmitted: list[tuple[int, int, str, Cell]] = []
        """(batch, n, tournament, cell) of every ADMIT of a hole that was admitted before."""
        self.silent: list[tuple[int, int, str]] = []
        """(batch, n, verdict) of receipts that refuse a score without a reason, or carry no known verdict."""
        self.received: set[int] = set()
        """Numbers of the provider's publications that were received."""
        self.wrong_hashes: list[tuple[int, int]] = []
        """(batch, received_at) where the receipts are not those that were hashed."""
        self.wrong_counts: list[tuple[int, int, str]] = []
        """(batch, received_at, what) where the batch counts other receipts than it has."""
        self.quarantined: list[tuple[int, int, int]] = []
        """(batch, received_at, holes) of batches with a quarantine."""
        published = {tournament: _by_cell(rows) for tournament, rows in known.publications.items()}
        admitted: dict[str, set[Cell]] = {}
        receipts = evidence.rows("platform.ingestion_receipts", *_COLUMNS)
        receipt: tuple[Any, ...] | None = next(receipts, None)
        batch_columns = ("batch_id", "received_at", "receipts_hash", *COUNTED.values())
        for batch, received_at, receipts_hash, *said in evidence.rows("platform.ingestion_batches", *batch_columns):
            lines: list[str] = []
            counts = dict.fromkeys(COUNTED, 0)
            while receipt is not None and receipt[0] <= batch:
                number, n, tournament, golfer, round_, hole, strokes, published_at, verdict, reason = receipt
                self.count += 1
                if number == batch:
                    lines.append(f"{n}|{golfer}|{round_}|{hole}|{strokes}|{published_at}|{verdict}|{reason or ''}\n")
                    counts[verdict] = counts.get(verdict, 0) + 1
                else:
                    self.wrong_counts.append((number, received_at, f"receipt {n} belongs to no batch"))
                cell = (golfer, round_, hole)
                if verdict in RECEIVED:
                    for publication, until_at in published.get(tournament, {}).get(cell, ()):
                        if publication.strokes == strokes and publication.published_at <= published_at < until_at:
                            self.received.add(publication.n)
                    if verdict in REPLAYED:
                        self.replayed.setdefault(tournament, {})[cell] = strokes
                        if verdict == "ADMIT":
                            before = admitted.setdefault(tournament, set())
                            if cell in before:
                                self.readmitted.append((batch, n, tournament, cell))
                            before.add(cell)
                elif verdict not in COUNTED or not reason:
                    self.silent.append((batch, n, verdict))
                receipt = next(receipts, None)
            if sha256("".join(lines).encode()).hexdigest() != receipts_hash:
                self.wrong_hashes.append((batch, received_at))
            if counts["QUARANTINE"]:
                self.quarantined.append((batch, received_at, counts["QUARANTINE"]))
            for (verdict, column), count in zip(COUNTED.items(), said, strict=True):
                if counts[verdict] != count:
                    self.wrong_counts.append(
                        (batch, received_at, f"it counts {count} {column}, its receipts are {counts[verdict]}")
                    )
        while receipt is not None:
            self.count += 1
            self.wrong_counts.append((receipt[0], receipt[7], f"receipt {receipt[1]} belongs to no batch"))
            receipt = next(receipts, None)


def receipts(evidence: Evidence) -> Receipts:
    """The receipts of this evidence."""
    return once(evidence, Receipts)


_EVER_AFTER = 1 << 62


def _by_cell(publications: list[Publication]) -> dict[Cell, list[tuple[Publication, int]]]:
    """The publications of each hole in their order, each with the instant (ms) at which the next one took its place."""
    found: dict[Cell, list[tuple[Publication, int]]] = {}
    for publication in publications:
        cell = (publication.golfer_id, publication.round, publication.hole)
        rows = found.get(cell)
        if rows is None:
            found[cell] = [(publication, _EVER_AFTER)]
        else:
            rows[-1] = (rows[-1][0], publication.published_at)
            rows.append((publication, _EVER_AFTER))
    return found


def owed_publications(evidence: Evidence) -> dict[str, list[Publication]]:
    """By tournament, the publications that had to be received: until the last cut-off of its contests, each that still
    stood when the provider next gave a whole answer."""
    known = facts(evidence)
    answers: dict[str, list[int]] = {}
    for at, event_id, status, glitch in evidence.rows("provider.requests", "at", "event_id", "status", "glitch"):
        if status == 200 and not glitch:
            answers.setdefault(event_id, []).append(at)
    owed = {}
    for tournament, rows in known.publications.items():
        until_at = known.last_cutoff_at(tournament)
        polls = answers.get(known.tournaments[tournament].event_id, [])
        owed[tournament] = [] if until_at is None else [
            publication
            for cells in _by_cell(rows).values()
            for publication, replaced_at in cells
            if publication.published_at <= until_at
            and (replaced_at == _EVER_AFTER or _stood(polls, publication.published_at, replaced_at))
        ]  # fmt: skip
    return owed


def _stood(polls: list[int], from_at: int, until_at: int) -> bool:
    """Whether a poll falls into [from_at, until_at)."""
    place = bisect_left(polls, from_at)
    return place < len(polls) and polls[place] < until_at
