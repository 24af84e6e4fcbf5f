"""Which contests should have gone on by now and have not, and what each of them waits for.

Invariant: what is told here is read off the conditions by which the services themselves go on, so that nobody has to
guess which of them stands still.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contest_platform import checkpoints
from contest_platform.admin.reading import Answer, Given
from contest_platform.domain.polling import tells_all
from contest_platform.ports import Row, Tx
from contest_platform.services.ingestion_batches import full_poll_name
from contest_platform.services.reconciliation import RECONCILED

AGE_S = 900

_UNPAID = """
    select c.*, t.field_ingested_at, t.completed_at as event_completed_at,
           exists (select 1 from checkpoints where name = 'entries_final:' || c.contest_id) as entries_final
    from contests c join tournaments t on t.tournament_id = c.tournament_id
    where c.status in ('SCHEDULED', 'LOCKED', 'LIVE', 'COMPLETE') or c.status = 'SETTLED'
      and not exists (select 1 from transfers o where o.contest_id = c.contest_id) order by c.contest_id
"""


def waiting(tx: Tx, given: Given) -> Answer:
    """Every contest that has waited for at least `age_s`, once for each thing that it waits for."""
    age_s = AGE_S if given["age_s"] is None else given["age_s"]
    items: list[dict[str, Any]] = []
    for contest in tx.all(_UNPAID):
        for waits_for, since_at in _waits(tx, contest):
            waited_s = (tx.now - since_at) // 1000
            if waited_s >= age_s and given["waits_for"] in (None, waits_for):
                told = {name: contest[name] for name in ("contest_id", "status", "tournament_id")}
                items.append({**told, "waits_for": waits_for, "since_at": since_at, "waited_s": waited_s})
    return {"items": items, "more": False}


def _waits(tx: Tx, contest: Row) -> Iterator[tuple[str, int]]:
    """(what it waits for, since when)."""
    status = contest["status"]
    if status == "SCHEDULED":
        yield "lock", contest["lock_at"]
    elif status == "SETTLED":
        yield "payout", contest["settled_at"]
    elif status == "COMPLETE":
        full_poll = checkpoints.read(tx, full_poll_name(contest["tournament_id"]))
        official = full_poll is not None and tells_all(full_poll["begun_at"], contest["cutoff_at"])
        yield "settlement" if official else "full_poll", contest["cutoff_at"]
    else:
        if not contest["entries_final"]:
            books = checkpoints.read(tx, RECONCILED)
            known = books is not None and books["through"] >= contest["lock_at"]
            yield "transition" if known else "reconciliation", contest["lock_at"]
        if status == "LOCKED":
            field_at = contest["field_ingested_at"]
            yield ("field", contest["start_at"]) if field_at is None else (
                "transition", max(contest["start_at"], field_at),
            )  # fmt: skip
        elif contest["entries_final"]:
            yield "transition", min(contest["end_at"], contest["event_completed_at"] or contest["end_at"])
