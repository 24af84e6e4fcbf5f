"""The daily acceptance tests of settlement, AT-1 to AT-4: whether what had to grow has grown, judged every noon.

Invariant: a test is about the work of its own day. What grew the day before passes nothing, a day without work is not
applicable, and every total is the sum of the rows that stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.domain.polling import tells_all
from contest_platform.jobs import HOUR_MS, Job, next_tick
from contest_platform.metrics import Gauge
from contest_platform.ports import Ports, Row, Tx
from contest_platform.service import Config, Route
from contest_platform.services.ingestion_batches import full_poll_name

ACTOR = "system:acceptance"
DAY_MS = 24 * HOUR_MS
AT_HOUR_MS = 12 * HOUR_MS
"""Of the day in UTC: when somebody is at the desk."""
WEEK_MS = 7 * DAY_MS
GRACE_MS = HOUR_MS
"""So long after its cut-off a contest that is not settled is work that was not done."""
TESTS = {"AT-1": "link_growth", "AT-2": "executed", "AT-3": "log_growth", "AT-4": "lvi"}

_CONTESTS = """
    select contest_id, tournament_id, status, error_code, cutoff_at, settled_at from contests
    where cutoff_at is not null and status in ('COMPLETE', 'SETTLED', 'PAID_OUT', 'ERROR') order by contest_id
"""
_PACKS = """
    select count(*) as packs,
        sum(case when l.linked_at < :since or p.terminalized_at < :since then 1 else 0 end) as linked_before,
        sum(case when l.linked_at >= :since and l.linked_at < :day_at then 1 else 0 end) as linked,
        sum(case when p.terminalized_at < :since then 1 else 0 end) as ended_before,
        sum(case when p.terminalized_at < :day_at then 1 else 0 end) as ended,
        sum(case when p.status = 'EXECUTED' and p.terminalized_at >= :since and p.terminalized_at < :day_at
            then 1 else 0 end) as executed,
        sum(case when p.status = 'EXECUTED' and p.terminalized_at < :day_at and o.entry_id = p.entry_id
            then 1 else 0 end) as executed_linked,
        sum(case when g.settled_at >= :since and g.settled_at < :day_at then 1 else 0 end) as logged
    from settlement_packs p
    left join outcome_pack_links l on l.pack_id = p.pack_id
    left join outcomes o on o.outcome_id = l.outcome_id
    left join outcome_settlement_log g on g.pack_id = p.pack_id
    where p.contest_id = :c
"""
_LOG = """
    select settlement_id, pack_id, prior_status, new_status, outcome_id, settlement_reason_code,
        settlement_evidence_hash, settled_at, settled_by
    from outcome_settlement_log where settled_at < :until order by settled_at, settlement_id
"""
_UNEXECUTED = """
    select pack_id from settlement_packs
    where contest_id = :c and status in ('FAILED', 'ORPHANED_OUTCOME_MISSING') order by pack_id
"""


class _Log(NamedTuple):
    rows: int
    hash: str


class AcceptanceService:
    """It sleeps until the first noon of which there is something to judge; what it missed while it was down it judges
    then, day by day, as of each day."""

    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports
        self._gauge = Gauge(ports.metrics, "settlement_acceptance_failed_timestamp_seconds")
        self._over: dict[str, dict[str, Any]] = {}
        """Of each contest that was settled before the day that was judged last: its row, which is the same from then
        on."""

    def jobs(self) -> Sequence[Job]:
        return (Job("acceptance", "acceptance", HOUR_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        due_at, failed = await self._ports.store.transact("acceptance.due", lambda tx: (_next_noon(tx), _failed(tx)))
        self._gauge.tell(failed)
        return due_at

    async def _work(self) -> None:
        while await self._ports.store.transact("acceptance.judge", self._judge):
            pass

    def _judge(self, tx: Tx) -> bool:
        """Judge the next noon that has come; whether there was one."""
        day_at = _next_noon(tx)
        if day_at is None or day_at > tx.now:
            return False
        row = _judged(tx, day_at, self._over)
        audit.insert(tx, Context(ACTOR, "settlement"), "settlement_acceptance", row, "the acceptance tests of the day")
        return True


def noon(at: int) -> int:
    """The first noon at or after `at`."""
    return next_tick(at - AT_HOUR_MS, DAY_MS) + AT_HOUR_MS


def _next_noon(tx: Tx) -> int | None:
    """The first noon after those judged at which a contest is to be judged by: its settlement had to have ended, and
    has not, or has within the week before."""
    last = tx.tuples("select max(day_at) from settlement_acceptance")[0][0]
    noons = []
    for contest in tx.all(_CONTESTS):
        settled_at = contest["settled_at"]
        first_at = contest["cutoff_at"] + GRACE_MS if settled_at is None else settled_at + 1
        at = noon(first_at if last is None else max(first_at, last + 1))
        if settled_at is None or at <= settled_at + WEEK_MS:
            noons.append(at)
    return min(noons, default=None)


def _failed(tx: Tx) -> dict[tuple[str, ...], int]:
    """Test -> the last noon judged, where it failed then."""
    rows = tx.all("select * from settlement_acceptance order by day_at desc limit 1")
    return {(test,): row["day_at"] for row in rows for test, column in TESTS.items() if row[column] == "FAIL"}


# --- a day ------------------------------------------------------------------------------------------------------------


def _judged(tx: Tx, day_at: int, over: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row of the day that ended at `day_at`: of what was before that instant, and not of what is at it, for then it
    is judged."""
    since = day_at - DAY_MS
    contests = [contest for contest in tx.all(_CONTESTS) if _is_of(contest, day_at)]
    rows = [_of_contest(tx, contest, since, day_at, over) for contest in contests]
    total = {name: sum(row[name] for row in rows) for name in _COUNTED}
    log, problem = _log_standing(tx, day_at, bool(total["to_log"]))
    blocked = _blocked(tx, contests, rows, day_at) if total["due"] and not total["executed_linked"] else {}
    is_blocked = len(blocked) == sum(row["due"] > 0 for row in rows) > 0
    evidence = {"contests": rows, "totals": total, "log_problem": problem, "blocked": blocked}
    return {
        "day_at": day_at,
        "at": tx.now,
        "link_growth": _grown(total["to_link"], total["linked"]),
        "executed": _grown(total["to_execute"], total["executed"]),
        "log_growth": "FAIL" if problem else _grown(total["to_log"], total["logged"]),
        "lvi": "BLOCKED" if is_blocked else _grown(total["due"], total["executed_linked"]),
        "lvi_executed": total["executed_linked"],
        "lvi_due": total["due"],
        "log_rows": log.rows,
        "log_hash": log.hash,
        "evidence": audit.canonical(evidence),
    }


_COUNTED = ("due", "to_link", "linked", "to_execute", "executed", "to_log", "logged", "executed_linked")


def _grown(work: int, grown: int) -> str:
    return "NOT_APPLICABLE" if not work else "PASS" if grown else "FAIL"


def _is_of(contest: Row, day_at: int) -> bool:
    """Whether a contest was to be settled by then, and was not settled before the week that ended then."""
    settled_at = contest["settled_at"]
    if settled_at is not None and settled_at < day_at:
        return bool(settled_at >= day_at - WEEK_MS)
    return bool(contest["cutoff_at"] + GRACE_MS <= day_at)


def _of_contest(tx: Tx, contest: Row, since: int, day_at: int, over: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What there was to do of a contest in the day, and what was done. A pack that has ended has nothing to grow."""
    contest_id, settled_at = contest["contest_id"], contest["settled_at"]
    is_over = settled_at is not None and settled_at < since
    if is_over and contest_id in over:
        return over[contest_id]
    [(due,)] = tx.tuples("select count(*) from entries where contest_id = :c and status = 'VALID'", {"c": contest_id})
    found = tx.one(_PACKS, {"c": contest_id, "since": since, "day_at": day_at})
    assert found is not None
    packs = {name: count or 0 for name, count in found.items()}
    row = {
        "contest_id": contest_id, "due": due, "ended": packs["ended"],
        "to_link": due - packs["linked_before"], "linked": packs["linked"],
        "to_execute": due - packs["ended_before"], "executed": packs["executed"],
        "to_log": due - packs["ended_before"], "logged": packs["logged"],
        "executed_linked": packs["executed_linked"],
    }  # fmt: skip
    if is_over:
        over[contest_id] = row
    return row


def _log_standing(tx: Tx, day_at: int, has_work: bool) -> tuple[_Log, str | None]:
    """The settlement log at the end of the day, and what of it is not as it was when it was judged before. It is read
    through when it had to grow, and when it has another number of rows."""
    last = tx.one("select day_at, log_rows, log_hash from settlement_acceptance order by day_at desc limit 1")
    before = _Log(0, sha256().hexdigest()) if last is None else _Log(last["log_rows"], last["log_hash"])
    until = 0 if last is None else last["day_at"]
    [(count,)] = tx.tuples("select count(*) from outcome_settlement_log where settled_at < :at", {"at": day_at})
    if not has_work and count == before.rows:
        return before, None
    seen, state = 0, sha256()
    was: _Log | None = None
    for row in tx.tuples(_LOG, {"until": day_at}):
        if was is None and row[7] >= until:
            was = _Log(seen, state.hexdigest())
        state.update(orjson.dumps(row) + b"\n")
        seen += 1
    now = _Log(seen, state.hexdigest())
    was = was or now
    problem = None if was == before else f"its first {before.rows} rows are {was.rows}, or others than they were"
    return now, problem


def _blocked(tx: Tx, contests: Sequence[Row], rows: Sequence[Row], day_at: int) -> dict[str, dict[str, Any]]:
    """Of each contest that had packs due and has executed none: why, as the platform's rows have it. A contest of
    which they say nothing is not in it."""
    found: dict[str, dict[str, Any]] = {}
    for contest, row in zip(contests, rows, strict=True):
        contest_id = contest["contest_id"]
        if not row["due"]:
            continue
        polls = tx.tuples(
            "select value from checkpoints where name = :n", {"n": full_poll_name(contest["tournament_id"])}
        )
        begun_at = orjson.loads(polls[0][0])["begun_at"] if polls else None
        if contest["status"] == "ERROR":
            found[contest_id] = {"reason": "contest_in_error", "error_code": contest["error_code"]}
        elif row["ended"] == row["due"]:
            packs = [pack_id for (pack_id,) in tx.tuples(_UNEXECUTED, {"c": contest_id})]
            found[contest_id] = {"reason": "packs_unexecuted", "packs": packs}
        elif not tells_all(begun_at, contest["cutoff_at"]):
            found[contest_id] = {"reason": "scores_not_official", "full_poll_begun_at": begun_at}
    return found
