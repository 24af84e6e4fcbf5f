"""The four dashboards: how things stand at one instant, on one page each, for whoever looks in from outside.

Invariant: nothing is worked out here that a list of opsctl tells already, it is asked for there; a page is of one
transaction, whose place in the audit log it names (`audit_seq`), but for the alerts, which only the pager knows of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform import audit
from contest_platform.admin.reading import Answer, Given, Read, read_route
from contest_platform.admin.reads import READS
from contest_platform.budget import ErrorBudget
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import PagerIncident, PortError, Ports, Tx
from contest_platform.service import Config, Route

ROOT = "/api/admin/dashboards/"
OPERATIONAL, CONTESTS, AUDIT, ERRORS = (ROOT + name for name in ("operational", "contests", "audit", "errors"))
DAY_MS = 24 * HOUR_MS
RECENT = 20
"""So many of what is newest are shown."""
ALL = 100_000
OVER = frozenset({"PAID_OUT", "CANCELLED"})
"""Contests in which nothing more is to come."""
ESCALATES = ("failed", "partial")
"""Ends of an execution that ops has to hand on."""

_LISTS = {read.path.removeprefix("/api/admin/"): read for read in READS}
_TOP_ERRORS = """
    select 'refused' as source, action as code, count(*) as errors from audit_log
        where at > :since and action like 'refuse.%' group by action
    union all select 'denied', principal, count(*) from access_log where at > :since and not allowed group by principal
    union all select 'transfer', coalesce(code, outcome), count(*) from transfer_attempts
        where finished_at > :since and outcome <> 'SUCCEEDED' group by coalesce(code, outcome)
    order by 3 desc, 1, 2
"""


def routes(ports: Ports, config: Config) -> Mapping[tuple[str, str], Route]:
    """Those of the admin service; `errors` is the edge's own, which counts them."""

    async def operational(given: Given, principal: str) -> Answer:
        alerts = await _alerts(ports, config)
        return await ports.store.transact("admin.dashboards_operational", lambda tx: _operational(tx, alerts))

    return {
        ("GET", OPERATIONAL): read_route("How things stand, open alerts, recent escalations", (), operational),
        ("GET", CONTESTS): Read(CONTESTS, "Every contest that is not over", (), _contests).route(ports),
        ("GET", AUDIT): Read(AUDIT, "Recent operations, runbook executions, changes of state", (), _audit).route(ports),
    }


def errors(ports: Ports, budget: ErrorBudget) -> Route:
    """How many requests failed, what went wrong in the last day, and how fast that uses up the month's budget."""

    def answer(tx: Tx, given: Given) -> Answer:
        found = [dict(row) for row in tx.all(_TOP_ERRORS, {"since": tx.now - DAY_MS})]
        return {"items": [{**_instant(tx), **budget.state()}], "errors": found}

    return Read(ERRORS, "How many requests failed, and of what", (), answer).route(ports)


async def _alerts(ports: Ports, config: Config) -> Sequence[PagerIncident] | None:
    """None when the pager does not say."""
    try:
        return await ports.runtime.deadline(ports.pager.incidents(), config.pager_timeout_ms)
    except PortError:
        return None


def _operational(tx: Tx, alerts: Sequence[PagerIncident] | None) -> Answer:
    state = _LISTS["state"].answer(tx, {})
    assert isinstance(state, dict)
    ended = [row for status in ESCALATES for row in _list(tx, "runbooks", status=status, limit=RECENT)]
    newest = sorted(ended, key=lambda row: (-row["end_at"], row["id"]))[:RECENT]
    return {
        "items": [{**_instant(tx), "pager_answers": alerts is not None, **state}],
        "alerts": [
            {"dedup_key": one.dedup_key, "status": one.status, "since_at": one.since_at} for one in alerts or ()
        ],
        "escalations": [
            _only(row, "id", "runbook_name", "executed_by", "status", "end_at", "error_reason") for row in newest
        ],
    }


def _contests(tx: Tx, given: Given) -> Answer:
    feeds = {row["tournament_id"]: row for row in _list(tx, "ingestion/status")}
    waiting = {row["contest_id"]: row["waits_for"] for row in _list(tx, "contests/waiting")}
    contests = []
    for row in _list(tx, "contests", limit=ALL):
        if row["status"] not in OVER:
            feed = _only(feeds[row["tournament_id"]], "in_play", "lag_s", "last_success_at")
            of = _only(row, "contest_id", "status", "tournament_id", "lock_at", "start_at", "error_code")
            contests.append({**of, "waits_for": waiting.get(row["contest_id"]), **feed})
    return {"items": [_instant(tx)], "contests": contests}


def _audit(tx: Tx, given: Given) -> Answer:
    told = ("seq", "at", "actor", "action", "subject")
    operations = _list(tx, "audit/tail", limit=RECENT)
    changes = _list(tx, "audit/tail", limit=RECENT, action="contests.update")
    executions = _list(tx, "runbooks", limit=RECENT)
    named = ("id", "runbook_name", "executed_by", "status", "start_at", "end_at")
    return {
        "items": [_instant(tx)],
        "operations": [_only(row, *told) for row in operations],
        "executions": [_only(row, *named) for row in executions],
        "state_changes": [{**_only(row, *told), "after": row["after"]} for row in changes],
    }


def _instant(tx: Tx) -> dict[str, Any]:
    return {"at": tx.now, "audit_seq": audit.head(tx)[0]}


def _list(tx: Tx, path: str, **given: Any) -> list[dict[str, Any]]:
    """What the list at `path` says, asked as opsctl asks it."""
    read = _LISTS[path]
    answer = read.answer(tx, {field.name: given.get(field.name) for field in read.fields})
    assert isinstance(answer, dict)
    items: list[dict[str, Any]] = answer["items"]
    return items


def _only(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}
