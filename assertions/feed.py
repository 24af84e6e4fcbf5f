"""The platform's receipts, read once, against what the provider published.

Invariant: one pass over the receipts, some of them at a time, and a second where a publication seems not to have been
received. What is kept is a few numbers a published score, so memory grows with the field alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from functools import partial
from hashlib import sha256
from itertools import compress, groupby
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

from assertions.facts import facts
from assertions.official import Hole, Published
from assertions.once import once

if TYPE_CHECKING:
    from evidence.run import Evidence

RECEIVED = frozenset({"ADMIT", "CORRECTION", "DUPLICATE"})
COUNTED = {
    "ADMIT": "admitted", "DUPLICATE": "duplicates", "CORRECTION": "corrections", "QUARANTINE": "quarantined",
    "REJECT": "rejected",
}  # fmt: skip
"""Verdict of a receipt -> the column of its batch that counts it."""
REPLAYED = frozenset({"ADMIT", "CORRECTION"})
_RECEIPTS = "platform.ingestion_receipts"
_EVER_AFTER = 1 << 62


class Publication(NamedTuple):
    """A published score, and when the next one of its hole took its place (ms)."""

    n: int
    published_at: int
    hole: Hole
    strokes: int | None
    replaced_at: int


class _Rows(NamedTuple):
    """Some receipts, column by column."""

    batch_id: list[int]
    n: list[int]
    tournament_id: list[str]
    golfer_id: list[str]
    round: list[int]
    hole: list[int]
    strokes: list[int]
    published_at: list[int]
    verdict: list[str]
    reason: list[str | None]


class _Batch:
    """A batch whose receipts are being read."""

    __slots__ = ("id", "lines", "verdicts")

    def __init__(self, id: int) -> None:
        self.id = id
        self.lines = sha256()
        self.verdicts: Counter[str] = Counter()


class Receipts:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = ref(evidence)
        self.count = 0
        self.replayed: dict[Hole, int] = {}
        """The scores that ADMIT and CORRECTION lead to."""
        self.readmitted: list[tuple[int, int, Hole]] = []
        """(batch, n, hole) of every ADMIT of a hole that was admitted before."""
        self.silent: list[tuple[int, int, str]] = []
        """(batch, n, verdict) of receipts that refuse a score without a reason, or carry no known verdict."""
        self.wrong_hashes: list[int] = []
        """Batches whose receipts are not those that were hashed."""
        self.wrong_counts: list[tuple[int, int | None, str]] = []
        """(batch, received_at, what) where the batch counts other receipts than it has."""
        self.quarantined: list[tuple[int, int, int]] = []
        """(batch, received_at, holes) of batches with a quarantine."""
        self._told: set[tuple[int, Hole, int]] = set()
        """(published at, hole, strokes) of every ADMIT and CORRECTION."""
        self._admitted: set[Hole] = set()
        self._batch: _Batch | None = None
        columns = ("batch_id", "received_at", "receipts_hash", *COUNTED.values())
        self._batches = {batch: rest for batch, *rest in evidence.rows("platform.ingestion_batches", *columns)}
        for chunk in evidence.chunks(_RECEIPTS, *_Rows._fields):
            rows = _Rows._make(chunk)
            self._count(rows)
            self._follow(rows)
        self._close(self._batch)
        for batch in sorted(self._batches):
            self._close(_Batch(batch))

    def _count(self, rows: _Rows) -> None:
        """Hash and count the receipts of each batch. A batch may go on in the next rows: another one closes it."""
        lines = [
            f"{n}|{golfer}|{round_}|{hole}|{strokes}|{published_at}|{verdict}|{reason or ''}\n"
            for _, n, _, golfer, round_, hole, strokes, published_at, verdict, reason in zip(*rows, strict=True)
        ]
        start = 0
        for batch_id, receipts in groupby(rows.batch_id):
            end = start + sum(1 for _ in receipts)
            if self._batch is None or self._batch.id != batch_id:
                self._close(self._batch)
                self._batch = _Batch(batch_id)
            self._batch.lines.update("".join(lines[start:end]).encode())
            self._batch.verdicts.update(rows.verdict[start:end])
            start = end

    def _follow(self, rows: _Rows) -> None:
        """What the receipts make of the scores."""
        holes = list(zip(*rows[2:6], strict=True))
        is_replayed = [verdict in REPLAYED for verdict in rows.verdict]
        self.replayed.update(compress(zip(holes, rows.strokes, strict=True), is_replayed))
        self._told.update(compress(zip(rows.published_at, holes, rows.strokes, strict=True), is_replayed))
        for batch_id, n, hole, verdict, reason in zip(
            rows.batch_id, rows.n, holes, rows.verdict, rows.reason, strict=True
        ):
            if verdict == "ADMIT":
                if hole in self._admitted:
                    self.readmitted.append((batch_id, n, hole))
                self._admitted.add(hole)
            elif verdict not in RECEIVED and (verdict not in COUNTED or not reason):
                self.silent.append((batch_id, n, verdict))

    def _close(self, batch: _Batch | None) -> None:
        """Compare the receipts of a batch with what the batch says of them; each batch is closed once."""
        if batch is None:
            return
        count = batch.verdicts.total()
        self.count += count
        said = self._batches.pop(batch.id, None)
        if said is None:
            self.wrong_counts.append((batch.id, None, f"{count} receipts belong to it, and there is no such batch"))
            return
        received_at, receipts_hash, *counts = said
        if batch.lines.hexdigest() != receipts_hash:
            self.wrong_hashes.append(batch.id)
        if batch.verdicts["QUARANTINE"]:
            self.quarantined.append((batch.id, received_at, batch.verdicts["QUARANTINE"]))
        for (verdict, column), stated in zip(COUNTED.items(), counts, strict=True):
            actual = batch.verdicts[verdict]
            if actual != stated:
                what = f"it counts {stated} {column}, its receipts are {actual}"
                self.wrong_counts.append((batch.id, received_at, what))

    def unheard(self, publications: list[Publication]) -> list[Publication]:
        """Those of which no receipt tells: a receipt tells of a publication if it took a score of its hole and strokes,
        and of an instant at which it stood. Every receipt is asked only where the first ones do not settle it."""
        left = [one for one in publications if one[1:4] not in self._told]
        taken = self._taken({one.hole for one in left}) if left else {}
        return [
            one
            for one in left
            if not any(one.published_at <= at < one.replaced_at for at in taken.get((one.hole, one.strokes), ()))
        ]

    def _taken(self, holes: set[Hole]) -> dict[tuple[Hole, int | None], list[int]]:
        """When the scores of these holes that were received had been published, by hole and strokes."""
        evidence = self._evidence()
        assert evidence is not None
        found: dict[tuple[Hole, int | None], list[int]] = {}
        for strokes, published_at, verdict, *hole in evidence.rows(
            _RECEIPTS, "strokes", "published_at", "verdict", "tournament_id", "golfer_id", "round", "hole"
        ):
            if verdict in RECEIVED and tuple(hole) in holes:
                found.setdefault((tuple(hole), strokes), []).append(published_at)
        return found


def receipts(evidence: Evidence) -> Receipts:
    """The receipts of this evidence."""
    return once(evidence, Receipts)


def owed_publications(evidence: Evidence) -> list[Publication]:
    """The publications that had to be received: until the last cut-off of the contests on their tournament, each that
    still stood when the provider next gave a whole answer."""
    return once(evidence, _owed_publications)


def _owed_publications(evidence: Evidence) -> list[Publication]:
    known = facts(evidence)
    answers: dict[str, list[int]] = {}
    for at, event_id, status, glitch in evidence.rows("provider.requests", "at", "event_id", "status", "glitch"):
        if status == 200 and not glitch:
            answers.setdefault(event_id, []).append(at)
    owed = []
    for tournament, published in known.publications.items():
        until_at = known.last_cutoff_at(tournament)
        if until_at is not None:
            polls = answers.get(known.tournaments[tournament].event_id, [])
            owed += [
                one
                for one in _publications(published)
                if one.published_at <= until_at
                and (one.replaced_at == _EVER_AFTER or _stood(polls, one.published_at, one.replaced_at))
            ]
    return owed


def _publications(published: Published) -> list[Publication]:
    replaced_at = [_EVER_AFTER] * len(published.n)
    last: dict[Hole, int] = {}
    for place, (hole, at) in enumerate(zip(published.hole, published.published_at, strict=True)):
        if hole in last:
            replaced_at[last[hole]] = at
        last[hole] = place
    # What `_make` does, without its check of the length.
    return list(map(partial(tuple.__new__, Publication), zip(*published, replaced_at, strict=True)))


def _stood(polls: list[int], from_at: int, until_at: int) -> bool:
    """Whether a poll falls into [from_at, until_at)."""
    place = bisect_left(polls, from_at)
    return place < len(polls) and polls[place] < until_at
