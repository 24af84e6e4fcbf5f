"""The platform's receipts, read once, against what the provider published.

Invariant: one pass over the receipts; what is kept is one score a hole, so memory grows with the field alone.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.once import once
from assertions.rows import Cell, Publication

if TYPE_CHECKING:
    from evidence.run import Evidence

RECEIVED = frozenset({"ADMIT", "CORRECTION", "DUPLICATE"})
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
        self.count = 0
        self.replayed: dict[str, dict[Cell, int]] = {tournament: {} for tournament in facts(evidence).tournaments}
        """The scores that ADMIT and CORRECTION lead to, by tournament."""
        self.readmitted: list[tuple[int, int, str, Cell]] = []
        """(batch, n, tournament, cell) of every ADMIT of a hole that was admitted before."""
        self.silent: list[tuple[int, int, str]] = []
        """(batch, n, verdict) of receipts that refuse a score without a reason, or carry no known verdict."""
        self.received: set[int] = set()
        """Numbers of the provider's publications that were received."""
        self.wrong_hashes: list[int] = []
        """Batches whose receipts are not those that were hashed."""
        self.wrong_counts: list[tuple[int, int | None, str]] = []
        """(batch, received_at, what) where the batch counts other receipts than it has."""
        self.quarantined: list[tuple[int, int, int]] = []
        """(batch, received_at, holes) of batches with a quarantine."""
        columns = ("batch_id", "received_at", "receipts_hash", *COUNTED.values())
        self._batches = {batch: rest for batch, *rest in evidence.rows("platform.ingestion_batches", *columns)}
        self._read(evidence)
        for batch in sorted(self._batches):
            self._close(batch, [], [])

    def _read(self, evidence: Evidence) -> None:
        told: set[tuple[str, str, int, int, int, int]] = set()
        admitted: dict[str, set[Cell]] = {}
        for batch, group in groupby(evidence.rows("platform.ingestion_receipts", *_COLUMNS), itemgetter(0)):
            rows = list(group)
            self._close(
                batch,
                [
                    f"{n}|{golfer}|{round_}|{hole}|{strokes}|{published_at}|{verdict}|{reason or ''}\n"
                    for _, n, _, golfer, round_, hole, strokes, published_at, verdict, reason in rows
                ],
                [row[8] for row in rows],
            )
            told.update([row[2:8] for row in rows if row[8] in RECEIVED])
            for _, n, tournament, golfer, round_, hole, strokes, _, verdict, reason in rows:
                if verdict == "ADMIT" or verdict == "CORRECTION":
                    cell = (golfer, round_, hole)
                    self.replayed.setdefault(tournament, {})[cell] = strokes
                    if verdict == "ADMIT":
                        once_admitted = admitted.setdefault(tournament, set())
                        if cell in once_admitted:
                            self.readmitted.append((batch, n, tournament, cell))
                        once_admitted.add(cell)
                elif verdict not in COUNTED or (verdict != "DUPLICATE" and not reason):
                    self.silent.append((batch, n, verdict))
        published = once(evidence, by_cell)
        for tournament, golfer, round_, hole, strokes, published_at in told:
            for publication, until_at in published.get(tournament, {}).get((golfer, round_, hole), ()):
                if publication.strokes == strokes and publication.published_at <= published_at < until_at:
                    self.received.add(publication.n)

    def _close(self, batch: int, lines: list[str], verdicts: list[str]) -> None:
        """Compare the receipts of a batch with what the batch says of them; each batch is closed once."""
        self.count += len(verdicts)
        said = self._batches.pop(batch, None)
        if said is None:
            self.wrong_counts.append(
                (batch, None, f"{len(verdicts)} receipts belong to it, and there is no such batch")
            )
            return
        received_at, receipts_hash, *counts = said
        if sha256("".join(lines).encode()).hexdigest() != receipts_hash:
            self.wrong_hashes.append(batch)
        if "QUARANTINE" in verdicts:
            self.quarantined.append((batch, received_at, verdicts.count("QUARANTINE")))
        for (verdict, column), count in zip(COUNTED.items(), counts, strict=True):
            actual = verdicts.count(verdict)
            if actual != count:
                self.wrong_counts.append((batch, received_at, f"it counts {count} {column}, its receipts are {actual}"))


def receipts(evidence: Evidence) -> Receipts:
    """The receipts of this evidence."""
    return once(evidence, Receipts)


_EVER_AFTER = 1 << 62


def by_cell(evidence: Evidence) -> dict[str, dict[Cell, list[tuple[Publication, int]]]]:
    """By tournament and hole, the publications in their order, each with when (ms) the next one took its place."""
    return {tournament: _by_cell(rows) for tournament, rows in facts(evidence).publications.items()}


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
    return once(evidence, _owed_publications)


def _owed_publications(evidence: Evidence) -> dict[str, list[Publication]]:
    known = facts(evidence)
    answers: dict[str, list[int]] = {}
    for at, event_id, status, glitch in evidence.rows("provider.requests", "at", "event_id", "status", "glitch"):
        if status == 200 and not glitch:
            answers.setdefault(event_id, []).append(at)
    owed = {}
    for tournament, cells in once(evidence, by_cell).items():
        until_at = known.last_cutoff_at(tournament)
        polls = answers.get(known.tournaments[tournament].event_id, [])
        owed[tournament] = [] if until_at is None else [
            publication
            for publications in cells.values()
            for publication, replaced_at in publications
            if publication.published_at <= until_at
            and (replaced_at == _EVER_AFTER or _stood(polls, publication.published_at, replaced_at))
        ]  # fmt: skip
    return owed


def _stood(polls: list[int], from_at: int, until_at: int) -> bool:
    """Whether a poll falls into [from_at, until_at)."""
    place = bisect_left(polls, from_at)
    return place < len(polls) and polls[place] < until_at
