"""What one answer of the score provider changes: receipts and scores, the field, statuses, the end of the event.

Invariant: `apply` runs in one transaction, and the revision moves only to one whose every hole adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, get_args

import orjson

from contest_platform import audit, checkpoints
from contest_platform.audit import Context
from contest_platform.domain import receipts
from contest_platform.domain.polling import Tournament
from contest_platform.domain.receipts import Receipt, Scores, Served
from contest_platform.domain.scoring import GolferStatus
from contest_platform.ports import Row, ScoreAnswer, Tx
from contest_platform.service import Refusal

ACTOR = "system:ingestion"
STATUSES = frozenset(get_args(GolferStatus))


def full_poll_name(tournament_id: str) -> str:
    """The checkpoint {"begun_at", "received_at"} of the last full poll that told what was official at a cut-off."""
    return f"full_poll:{tournament_id}"


def late_statuses_name(tournament_id: str) -> str:
    """The checkpoint {golfer: [[published_at, status before], …]} of statuses published after a contest's cut-off, in
    their order: what they were at a cut-off is what counts for its contest."""
    return f"late_statuses:{tournament_id}"


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll and its answer. `full`: asked for everything because a cut-off had passed."""

    tournament: Tournament
    full: bool
    since: int | None
    begun_at: int
    received_at: int
    answer: ScoreAnswer

    @property
    def ctx(self) -> Context:
        return Context(ACTOR, self.tournament.id)

    @property
    def subject(self) -> str:
        return f"tournaments/{self.tournament.id}"


@dataclass(slots=True)
class Known:
    """What is known of a tournament: `field`, golfer_id -> status, and `scores`.

    These are what the receipts say, not what `hole_scores` says: receipts cannot be edited.
    """

    field: Mapping[str, str]
    scores: Scores

    def take(self, changes: Known) -> None:
        """Take over what a transaction has committed."""
        self.field = changes.field
        self.scores.take(changes.scores)


def read_known(tx: Tx, tournament_id: str) -> Known:
    params = {"t": tournament_id}
    golfers = tx.tuples("select golfer_id, status from golfers where tournament_id = :t order by golfer_id", params)
    admitted = tx.tuples(
        """
        select golfer_id, round, hole, strokes, published_at from ingestion_receipts
        where tournament_id = :t and verdict in ('ADMIT', 'CORRECTION') order by batch_id, n
        """,
        params,
    )
    return Known(dict(golfers), Scores.of(admitted))


def apply(tx: Tx, poll: Poll, checkpoint: dict[str, Any], known: Known) -> Known:
    """Apply an answer and bring `checkpoint` up to date. Returns the field as it is then, and the scores learned."""
    answer, revision = poll.answer, checkpoint["revision"]
    checkpoint["polls"] += 1
    if answer.event_id != poll.tournament.event_id:
        _refuse_event(tx, poll, checkpoint)
    elif revision is not None and answer.revision < revision:
        checkpoint["stale"] += 1
    elif not answer.cells and not answer.field:
        _refuse_empty(tx, poll, checkpoint)
    else:
        return _take(tx, poll, checkpoint, known)
    return Known(known.field, Scores({}, {}))


# --- answers that are none --------------------------------------------------------------------------------------------


def _refuse_event(tx: Tx, poll: Poll, checkpoint: dict[str, Any]) -> None:
    answer = poll.answer
    content = sha256(repr((answer.event_id, answer.cells)).encode()).hexdigest()
    if content == checkpoint["refused"]:
        checkpoint["repeated"] += 1
        return
    checkpoint["refused"] = content
    _write_batch(tx, poll, receipts.reject_all(answer.cells, "WRONG_EVENT"), f"REJECT WRONG_EVENT {answer.event_id}")


def _refuse_empty(tx: Tx, poll: Poll, checkpoint: dict[str, Any]) -> None:
    """An answer without even a field tells nothing, so nothing was learned; asked for everything, it contradicts us."""
    checkpoint["empty"] += 1
    if poll.since is None and checkpoint["empty_since"] is None:
        checkpoint["empty_since"] = poll.begun_at
        reason = "asked for everything, the provider answered 200 without a field"
        audit.append(tx, poll.ctx, "refuse.empty_answer", poll.subject, reason=reason)


# --- an answer to work with -------------------------------------------------------------------------------------------


def _take(tx: Tx, poll: Poll, checkpoint: dict[str, Any], known: Known) -> Known:
    tournament, answer = poll.tournament, poll.answer
    checkpoint["refused"] = checkpoint["empty_since"] = None
    field = _ingest_field(tx, poll, known.field)
    open_batches = {batch: _refused_cells(tx, batch) for batch in checkpoint["open"]}
    judgement = receipts.judge(
        answer.cells,
        answer.totals,
        known.scores,
        golfers=field,
        rounds=tournament.rounds,
        holes=tournament.holes,
        held={cell for cells in open_batches.values() for cell in cells},
        again=bool(open_batches),
        full=answer.full,
    )
    broken, rows = judgement.broken, _mark_late(tx, poll, judgement.receipts, checkpoint)
    batch_id = _write_batch(tx, poll, rows, "answer of the provider") if rows else None
    learned = bool(judgement.learned.holes)
    if learned:
        tx.run(_SHOW, {"batch": batch_id})
    checkpoint["repeated"] += bool(broken) and batch_id is None
    good = [batch for batch, cells in open_batches.items() if broken.isdisjoint(cell[:2] for cell in cells)]
    if good:
        batch_id = batch_id or _write_batch(tx, poll, [], "answer that adds up again")
        _resolve(tx, poll, good, batch_id)
    checkpoint["open"] = [batch for batch in open_batches if batch not in good]
    if broken and any(row[5] in ("QUARANTINE", "REJECT") and row[:2] in broken for row in rows):
        checkpoint["open"].append(batch_id)
    changed = batch_id is not None or field is not known.field
    if not broken:
        # Statuses and the end come again with the next answer that adds up: a scrambled one is not to be believed.
        checkpoint["revision"] = answer.revision
        told = _update_statuses(tx, poll, field)
        if told is not field:
            _mark_late_statuses(tx, poll, field, told, checkpoint)
        changed |= _complete(tx, poll) or told is not field
        field = told
        if poll.full:
            _note_full_poll(tx, poll)
    checkpoint["unchanged"] += not changed and not broken
    if learned or not broken:
        _note_success(tx, poll, checkpoint)
    return Known(field, judgement.learned)


def _mark_late(tx: Tx, poll: Poll, rows: list[Receipt], checkpoint: dict[str, Any]) -> list[Receipt]:
    """Give corrections published after a contest's cut-off their reason, and have the pager told of them."""
    if "CORRECTION" not in [row[5] for row in rows]:
        return rows
    cutoffs = _cutoffs(tx, poll)
    page = checkpoint["page"] or {"contests": [], "cells": []}
    marked: list[Receipt] = []
    for row in rows:
        late = [contest for contest, cutoff_at in cutoffs if row[4] > cutoff_at] if row[5] == "CORRECTION" else []
        if late:
            page["contests"] = sorted({*page["contests"], *late})
            page["cells"].append(list(row[:4]))
        marked.append((*row[:6], f"AFTER_CUTOFF:{','.join(late)}") if late else row)
    checkpoint["page"] = page if page["cells"] else None
    return marked


def _cutoffs(tx: Tx, poll: Poll) -> list[tuple[str, int]]:
    """(contest_id, cutoff_at) of the contests on the tournament that have ended."""
    rows = tx.all(
        """
        select contest_id, cutoff_at from contests
        where tournament_id = :t and cutoff_at is not null order by contest_id
        """,
        {"t": poll.tournament.id},
    )
    return [(row["contest_id"], row["cutoff_at"]) for row in rows]


def _write_batch(tx: Tx, poll: Poll, rows: Sequence[Receipt], reason: str) -> int:
    """A batch, its receipts, and one audit row for all of them. Returns the batch's number."""
    answer, tournament_id = poll.answer, poll.tournament.id
    last_id = tx.known.get("ingestion.batch_id")
    if last_id is None:
        last_id = tx.tuples("select coalesce(max(batch_id), 0) from ingestion_batches")[0][0]
    batch_id: int = last_id + 1
    verdicts = [row[5] for row in rows]
    receipt_rows = [(batch_id, n, tournament_id, *row) for n, row in enumerate(rows, 1)]
    batch = {
        "batch_id": batch_id,
        "tournament_id": tournament_id,
        "event_id": answer.event_id,
        "requested_at": poll.begun_at,
        "received_at": poll.received_at,
        "since_revision": poll.since,
        "revision": answer.revision,
        "published_at": answer.published_at,
        "full": answer.full,
        "admitted": verdicts.count("ADMIT"),
        "duplicates": verdicts.count("DUPLICATE"),
        "corrections": verdicts.count("CORRECTION"),
        "quarantined": verdicts.count("QUARANTINE"),
        "rejected": verdicts.count("REJECT"),
        "receipts_hash": sha256(orjson.dumps(receipt_rows)).hexdigest(),
    }
    tx.insert("ingestion_batches", batch)
    tx.known["ingestion.batch_id"] = batch_id
    if rows:
        tx.insert_many("ingestion_receipts", _RECEIPT_COLUMNS, receipt_rows)
    audit.append(tx, poll.ctx, "ingestion.batch", f"ingestion_batches/{batch_id}", after=batch, reason=reason)
    return batch_id


_RECEIPT_COLUMNS = (
    *("batch_id", "n", "tournament_id", "golfer_id", "round", "hole"),
    *("strokes", "published_at", "verdict", "reason"),
)
# Several values of a hole come in the order of their publication: the last is the one to show.
_SHOW = """
    insert into hole_scores (tournament_id, golfer_id, round, hole, strokes, batch_id, published_at)
    select tournament_id, golfer_id, round, hole, strokes, batch_id, published_at from ingestion_receipts
    where batch_id = :batch and (verdict = 'ADMIT' or verdict = 'CORRECTION') order by n
    on conflict (tournament_id, golfer_id, round, hole)
        do update set strokes = excluded.strokes, batch_id = excluded.batch_id, published_at = excluded.published_at
"""
_SHOW_ALL = _SHOW.replace("batch_id = :batch", "tournament_id = :t").replace("order by n", "order by batch_id, n")


# --- quarantine -------------------------------------------------------------------------------------------------------


def _refused_cells(tx: Tx, batch_id: int) -> list[Served]:
    rows = tx.all(
        """
        select golfer_id, round, hole, strokes, published_at from ingestion_receipts
        where batch_id = :batch and verdict in ('QUARANTINE', 'REJECT') order by n
        """,
        {"batch": batch_id},
    )
    return [(row["golfer_id"], row["round"], row["hole"], row["strokes"], row["published_at"]) for row in rows]


_NOW_ADMITTED = """
    select count(*) as cells, sum(case when s.strokes = r.strokes then 1 else 0 end) as admitted,
           exists (select 1 from quarantine_resolutions where batch_id = :batch) as resolved
    from ingestion_receipts r left join hole_scores s
        on s.tournament_id = r.tournament_id and s.golfer_id = r.golfer_id and s.round = r.round and s.hole = r.hole
    where r.batch_id = :batch and r.verdict = 'QUARANTINE'
"""


def _resolve(tx: Tx, poll: Poll, batches: Iterable[int], resolved_by: int) -> None:
    """The rounds of these batches add up now: what was quarantined is admitted, or another value is."""
    for batch_id in batches:
        row = tx.one(_NOW_ADMITTED, {"batch": batch_id})
        if row is None or not row["cells"] or row["resolved"]:
            continue  # Rejected outright, or resolved by a runbook: there is nothing to resolve.
        _write_resolution(tx, poll.ctx, row, batch_id, resolved_by, "the rounds add up to the provider's totals")


def _write_resolution(tx: Tx, ctx: Context, row: Row, batch_id: int, resolved_by: int, reason: str) -> str:
    resolution = {
        "batch_id": batch_id,
        "resolved_by_batch_id": resolved_by,
        "at": tx.now,
        "how": "ADMITTED" if row["admitted"] == row["cells"] else "SUPERSEDED",
    }
    audit.insert(tx, ctx, "quarantine_resolutions", resolution, reason)
    return str(resolution["how"])


_TOLD_AGAIN = """
    with held as (
        select distinct tournament_id, golfer_id, round, hole from ingestion_receipts
        where batch_id = :batch and verdict = 'QUARANTINE')
    select count(*) as cells, count(t.told_by) as told, max(t.told_by) as told_by from held h left join (
        select golfer_id, round, hole, max(batch_id) as told_by from ingestion_receipts
        where batch_id > :batch and tournament_id = (select tournament_id from held limit 1)
            and verdict in ('ADMIT', 'CORRECTION', 'DUPLICATE')
        group by golfer_id, round, hole
    ) t on t.golfer_id = h.golfer_id and t.round = h.round and t.hole = h.hole
"""


def resolve_told_again(tx: Tx, ctx: Context, batch_id: int, reason: str) -> str | Refusal | None:
    """Resolve a quarantined batch of which every hole has been told again by a later batch and admitted; returns how,
    None when it is resolved already. What nobody has told again stays in quarantine: no score is made up."""
    row = tx.one(_NOW_ADMITTED, {"batch": batch_id})
    if row is None or not row["cells"]:
        return Refusal(404, f"no batch {batch_id} with holes in quarantine")
    if row["resolved"]:
        return None
    again = tx.one(_TOLD_AGAIN, {"batch": batch_id})
    assert again is not None
    if again["told"] < again["cells"]:
        left = again["cells"] - again["told"]
        return Refusal(409, f"{left} of {again['cells']} holes in quarantine have not been told again")
    return _write_resolution(tx, ctx, row, batch_id, again["told_by"], reason)


# --- what is shown ----------------------------------------------------------------------------------------------------


def show_again(tx: Tx, tournament_id: str) -> None:
    """Make what is shown of a tournament's scores anew, from its receipts alone."""
    tx.run("delete from hole_scores where tournament_id = :t", {"t": tournament_id})
    tx.run(_SHOW_ALL, {"t": tournament_id})


# --- the field, the end, the checkpoint -------------------------------------------------------------------------------


def _ingest_field(tx: Tx, poll: Poll, field: Mapping[str, str]) -> Mapping[str, str]:
    """Enter golfers not yet known; the first ones are the field of the event. A feed names them by id only."""
    golfers = [golfer for golfer in poll.answer.field if golfer not in field]
    if not golfers:
        return field
    tournament_id = poll.tournament.id
    tx.insert_many(
        "golfers",
        ("tournament_id", "golfer_id", "name", "status"),
        [(tournament_id, golfer, golfer, "active") for golfer in golfers],
    )
    reason = "late entrants" if field else "first answer with a field"
    audit.append(tx, poll.ctx, "field.ingest", poll.subject, after={"golfers": golfers}, reason=reason)
    if not field:
        _update_tournament(tx, poll, "field_ingested_at", "the field is in")
    return {**field, **dict.fromkeys(golfers, "active")}


def _update_statuses(tx: Tx, poll: Poll, field: Mapping[str, str]) -> Mapping[str, str]:
    told = {golfer: status for golfer, status in sorted(poll.answer.statuses.items()) if field.get(golfer) != status}
    if not told:
        return field
    after = dict(field)
    for golfer, status in told.items():
        subject = f"golfers/{poll.tournament.id}/{golfer}"
        if golfer not in field or status not in STATUSES:
            reason = f"{'UNKNOWN_STATUS' if golfer in field else 'UNKNOWN_GOLFER'} {status}"
            audit.append(tx, poll.ctx, "refuse.golfer_status", subject, reason=reason)
            continue
        tx.run(
            "update golfers set status = :status where tournament_id = :t and golfer_id = :g",
            {"status": status, "t": poll.tournament.id, "g": golfer},
        )
        before, after[golfer] = {"status": field[golfer]}, status
        audit.append(
            tx,
            poll.ctx,
            "golfer.status",
            subject,
            before=before,
            after={"status": status},
            reason="told by the provider",
        )
    return after


def _mark_late_statuses(
    tx: Tx, poll: Poll, before: Mapping[str, str], after: Mapping[str, str], checkpoint: dict[str, Any]
) -> None:
    """Keep what golfers were before a status that was published after a cut-off, and have the pager told of it."""
    cutoffs = _cutoffs(tx, poll)
    told_at = poll.answer.statuses_at
    changed = [
        (golfer, status, told_at.get(golfer, poll.answer.published_at))
        for golfer, status in after.items()
        if before[golfer] != status
    ]
    page = checkpoint["page"] or {"contests": [], "cells": []}
    kept: dict[str, list[list[Any]]] = {}
    for golfer, status, at in changed:
        late = [contest for contest, cutoff_at in cutoffs if at > cutoff_at]
        if late:
            kept[golfer] = [[at, before[golfer]]]
            page["contests"] = sorted({*page["contests"], *late})
            page.setdefault("statuses", []).append([golfer, status])
    if kept:
        name = late_statuses_name(poll.tournament.id)
        known = checkpoints.read(tx, name) or {}
        checkpoints.save(tx, name, {**known, **{golfer: known.get(golfer, []) + was for golfer, was in kept.items()}})
        checkpoint["page"] = page


def _complete(tx: Tx, poll: Poll) -> bool:
    if not poll.answer.complete:
        return False
    row = tx.one("select completed_at from tournaments where tournament_id = :t", {"t": poll.tournament.id})
    if row is None or row["completed_at"] is not None:
        return False
    _update_tournament(tx, poll, "completed_at", "the provider says that the event is over")
    return True


def _update_tournament(tx: Tx, poll: Poll, column: str, reason: str) -> None:
    audit.update(tx, poll.ctx, "tournaments", {"tournament_id": poll.tournament.id}, {column: tx.now}, reason)
    tx.notify("contests")


def _note_full_poll(tx: Tx, poll: Poll) -> None:
    value = {"begun_at": poll.begun_at, "received_at": poll.received_at}
    checkpoints.save(tx, full_poll_name(poll.tournament.id), value)
    tx.notify("settlement")


def _note_success(tx: Tx, poll: Poll, checkpoint: dict[str, Any]) -> None:
    checkpoint["last_success_at"] = poll.received_at
    failing_since = checkpoint["failing_since"]
    if failing_since is not None:
        checkpoint["failing_since"] = None
        before = {"failing_since": failing_since}
        audit.append(tx, poll.ctx, "ingestion.recovered", poll.subject, before=before, reason="a poll succeeded")
