"""The platform's receipts, read once, against what the provider published.

Invariant: one pass over the receipts, some of them at a time, and a second where a publication seems not to have been
received. What is kept is a few numbers a published score, so memory grows with the field alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import compress, groupby
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import orjson

from assertions import version_1
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


class Owed(NamedTuple):
    """The publications that had to be received, column by column: with when the next one of its hole took its place."""

    n: list[int]
    published_at: list[int]
    hole: list[Hole]
    strokes: list[int | None]
    replaced_at: list[int]


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

    __slots__ = ("_hash", "first_published_at", "id", "verdicts")

    def __init__(self, id: int) -> None:
        self.id = id
        self.verdicts: Counter[str] = Counter()
        self.first_published_at = _EVER_AFTER
        self._hash = sha256()

    def add(self, receipts: Sequence[Sequence[Any]], verdicts: Sequence[str]) -> None:
        self._hash.update(b"," if self.verdicts else b"[")
        self._hash.update(orjson.dumps(receipts)[1:-1])
        self.verdicts.update(verdicts)

    def receipts_hash(self) -> str:
        """Of the JSON array of all its receipts."""
        whole = self._hash.copy()
        whole.update(b"]" if self.verdicts else b"[]")
        return whole.hexdigest()


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
        self._received: dict[int, tuple[int, int]] = {}
        """Batch -> (first publication in it, when it was received)."""
        self._told: set[tuple[int, Hole, int]] = set()
        """(published at, hole, strokes) of every ADMIT and CORRECTION."""
        self._left: list[int] | None = None
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
        if self.wrong_hashes and evidence.version == version_1.VERSION:
            in_lines = version_1.receipts_hashes(evidence)
            hashes: dict[int, str] = dict(evidence.rows("platform.ingestion_batches", "batch_id", "receipts_hash"))
            self.wrong_hashes = [batch for batch in self.wrong_hashes if in_lines.get(batch) != hashes[batch]]

    def _count(self, rows: _Rows) -> None:
        """Hash and count the receipts of each batch. A batch may go on in the next rows: another one closes it."""
        receipts = list(zip(*rows, strict=True))
        start = 0
        for batch_id, group in groupby(rows.batch_id):
            end = start + len(list(group))
            if self._batch is None or self._batch.id != batch_id:
                self._close(self._batch)
                self._batch = _Batch(batch_id)
            self._batch.add(receipts[start:end], rows.verdict[start:end])
            if not REPLAYED.isdisjoint(rows.verdict[start:end]):
                self._batch.first_published_at = min(self._batch.first_published_at, min(rows.published_at[start:end]))
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
        self._received[batch.id] = batch.first_published_at, received_at
        if batch.receipts_hash() != receipts_hash:
            self.wrong_hashes.append(batch.id)
        if batch.verdicts["QUARANTINE"]:
            self.quarantined.append((batch.id, received_at, batch.verdicts["QUARANTINE"]))
        for (verdict, column), stated in zip(COUNTED.items(), counts, strict=True):
            actual = batch.verdicts[verdict]
            if actual != stated:
                what = f"it counts {stated} {column}, its receipts are {actual}"
                self.wrong_counts.append((batch.id, received_at, what))

    @property
    def admitted(self) -> int:
        """How many scores were admitted, corrections included."""
        return len(self._told)

    def made_up(self, owed: Owed, published: Iterable[Published]) -> list[tuple[int, Hole, int]]:
        """(published at, hole, strokes) of what was admitted and never published. All publications are looked through
        only when those that had to be received do not account for everything that was admitted."""
        if len(owed.n) - len(self._not_told(owed)) == len(self._told):
            return []
        made_up = set(self._told)
        for one in published:
            made_up.difference_update(zip(*one[1:], strict=True))
        return sorted(made_up)

    def slow(self, within_ms: int) -> list[tuple[str, Hole, int, int, int]]:
        """(tournament, hole, strokes, published at, received at) of each score that was admitted more than `within_ms`
        after its publication. Receipts are read again for the batches in which there is one."""
        batches = {
            batch: received_at
            for batch, (first_at, received_at) in self._received.items()
            if received_at - first_at > within_ms
        }
        if not batches:
            return []
        evidence = self._evidence()
        assert evidence is not None
        found = []
        for batch_ids, *columns in evidence.chunks(
            _RECEIPTS, "batch_id", "verdict", "published_at", "tournament_id", "strokes", "golfer_id", "round", "hole"
        ):
            for place in [place for place, batch in enumerate(batch_ids) if batch in batches]:
                verdict, published_at, tournament, strokes, *cell = [column[place] for column in columns]
                received_at = batches[batch_ids[place]]
                if verdict in REPLAYED and received_at - published_at > within_ms:
                    golfer, round_, number = cell
                    found.append((tournament, (tournament, golfer, round_, number), strokes, published_at, received_at))
        return found

    def unheard(self, owed: Owed) -> list[int]:
        """The places of publications of which no receipt tells: a receipt tells of one if it took a score of its hole
        and strokes, and of an instant at which it stood. All are asked where ADMIT and CORRECTION do not settle it."""
        left = self._not_told(owed)
        taken = self._taken({owed.hole[place] for place in left}) if left else {}
        return [
            place
            for place in left
            if not any(
                owed.published_at[place] <= at < owed.replaced_at[place]
                for at in taken.get((owed.hole[place], owed.strokes[place]), ())
            )
        ]

    def _not_told(self, owed: Owed) -> list[int]:
        """The places of publications that no ADMIT or CORRECTION tells of. Worked out once: there are many of them."""
        if self._left is None:
            told = self._told
            self._left = [place for place, one in enumerate(zip(*owed[1:4], strict=True)) if one not in told]
        return self._left

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


def owed_publications(evidence: Evidence) -> Owed:
    """The publications that had to be received: until the last cut-off of the contests on their tournament, each that
    still stood when the provider next gave a whole answer."""
    return once(evidence, _owed_publications)


def _owed_publications(evidence: Evidence) -> Owed:
    known = facts(evidence)
    answers: dict[str, list[int]] = {}
    for at, event_id, status, glitch in evidence.rows("provider.requests", "at", "event_id", "status", "glitch"):
        if status == 200 and not glitch:
            answers.setdefault(event_id, []).append(at)
    owed: list[list[Any]] = [[] for _ in Owed._fields]
    for tournament, published in known.publications.items():
        until_at = known.last_cutoff_at(tournament)
        if until_at is not None:
            polls = answers.get(known.tournaments[tournament].event_id, [])
            columns: list[list[Any]] = [*published, _replaced_at(published)]
            is_owed = [
                at <= until_at and (replaced_at == _EVER_AFTER or _stood(polls, at, replaced_at))
                for _, at, _, _, replaced_at in zip(*columns, strict=True)
            ]
            for whole, column in zip(owed, columns, strict=True):
                whole.extend(compress(column, is_owed))
    return Owed(*owed)


def _replaced_at(published: Published) -> list[int]:
    """When the next publication of its hole took the place of each."""
    found: list[int] = []
    after: dict[Hole, int] = {}
    for hole, at in zip(reversed(published.hole), reversed(published.published_at), strict=True):
        found.append(after.get(hole, _EVER_AFTER))
        after[hole] = at
    return found[::-1]


def _stood(polls: list[int], from_at: int, until_at: int) -> bool:
    """Whether a poll falls into [from_at, until_at)."""
    place = bisect_left(polls, from_at)
    return place < len(polls) and polls[place] < until_at
