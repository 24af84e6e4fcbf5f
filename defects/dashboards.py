"""Defects of the dashboards: what is shown to whoever looks in from outside, and of which instant."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_DASHBOARDS = "contest_platform/admin/dashboards.py"
_READS = "contest_platform/admin/reads.py"
_STATE = "contest_platform/admin/state.py"

_STATE_NOW = """\
    state = _LISTS["state"].answer(tx, {})
    assert isinstance(state, dict)
"""
_CONTESTS = """\
def _contests(tx: Tx, given: Given) -> Answer:
    feeds = {row["tournament_id"]: row for row in _list(tx, "ingestion/status")}
"""

CATALOGUE = (
    Defect(
        "dashboards.acknowledged_is_not_open",
        "An alert that somebody has taken is taken for dealt with, and not shown any more.",
        (
            Edit(
                _DASHBOARDS,
                '            {"dedup_key": one.dedup_key, "status": one.status, "since_at": one.since_at}'
                " for one in alerts or ()\n",
                '            {"dedup_key": one.dedup_key, "status": one.status, "since_at": one.since_at}'
                " for one in alerts or ()\n"
                '            if one.status == "triggered"\n',
            ),
        ),
        ("dashboards.alerts_are_the_pagers",),
        "operated",
        (Fault("corrections.after_settled"),),
    ),
    Defect(
        "dashboards.canceled_counts_as_unpaid",
        "Whatever is not captured is unpaid: that an intent can end without money was forgotten.",
        (
            Edit(
                _STATE,
                '    "payments_unpaid": "payments where status = \'CREATED\'",\n',
                '    "payments_unpaid": "payments where status <> \'CAPTURED\'",\n',
            ),
        ),
        ("dashboards.state_as_audited",),
        "operated",
    ),
    Defect(
        "dashboards.contest_that_waits_for_nothing",
        "The page looks up what each contest waits for, and falls over the first that waits for nothing.",
        (
            Edit(
                _DASHBOARDS,
                '            contests.append({**of, "waits_for": waiting.get(row["contest_id"]), **feed})\n',
                '            contests.append({**of, "waits_for": waiting[row["contest_id"]], **feed})\n',
            ),
        ),
        ("dashboards.sampled",),
        "operated",
    ),
    Defect(
        "dashboards.counted_by_contest",
        "A join had made the numbers too large, so they are counted distinct, by what they were joined with.",
        (
            Edit(
                _STATE,
                '        found = dict(tx.tuples(f"select status, count(*) from {_TABLES.get(name, name)}'
                ' group by status"))\n',
                '        found = dict(tx.tuples(f"select status, count(distinct contest_id)'
                ' from {_TABLES.get(name, name)} group by status"))\n',
            ),
        ),
        ("dashboards.money_as_at_the_processor", "dashboards.state_as_audited"),
        "operated",
    ),
    Defect(
        "dashboards.ended_is_over",
        "A contest that has ended is over, for whoever made the page: that it is still to be settled is not shown.",
        (
            Edit(
                _DASHBOARDS,
                'OVER = frozenset({"PAID_OUT", "CANCELLED"})\n',
                'OVER = frozenset({"COMPLETE", "SETTLED", "PAID_OUT", "CANCELLED"})\n',
            ),
        ),
        ("dashboards.contests_as_audited",),
        "operated",
    ),
    Defect(
        "dashboards.errors_of_an_hour",
        "The page says that it is about a day, and its query is about an hour.",
        (
            Edit(
                _DASHBOARDS,
                '        found = [dict(row) for row in tx.all(_TOP_ERRORS, {"since": tx.now - DAY_MS})]\n',
                '        found = [dict(row) for row in tx.all(_TOP_ERRORS, {"since": tx.now - HOUR_MS})]\n',
            ),
        ),
        ("dashboards.errors_as_others_saw",),
        "operated",
    ),
    Defect(
        "dashboards.errors_under_another_path",
        "The page of errors was renamed, and whoever looks at it has the old address.",
        (
            Edit(
                _DASHBOARDS,
                "OPERATIONAL, CONTESTS, AUDIT, ERRORS = (ROOT + name for name in"
                ' ("operational", "contests", "audit", "errors"))\n',
                "OPERATIONAL, CONTESTS, AUDIT, ERRORS = (ROOT + name for name in"
                ' ("operational", "contests", "audit", "trends"))\n',
            ),
        ),
        ("dashboards.sampled",),
        "operated",
    ),
    Defect(
        "dashboards.every_end_escalates",
        "Every execution that has ended is listed as an escalation, also one that did what it was to do.",
        (
            Edit(
                _DASHBOARDS,
                'ESCALATES = ("failed", "partial")\n',
                'ESCALATES = ("completed", "failed", "partial")\n',
            ),
        ),
        ("dashboards.executions_as_noted",),
        "operated",
    ),
    Defect(
        "dashboards.executions_oldest_first",
        "A list that is cut at twenty is sorted the wrong way round: its first twenty are shown for ever.",
        (
            Edit(
                _READS,
                '                " and (:runbook_name is null or runbook_name = :runbook_name)'
                ' order by start_time desc, id"),\n',
                '                " and (:runbook_name is null or runbook_name = :runbook_name)'
                ' order by start_time, id"),\n',
            ),
        ),
        ("dashboards.executions_as_noted",),
        "operated",
    ),
    Defect(
        "dashboards.instant_to_the_minute",
        "The instant of a page is rounded to the minute, as it is printed.",
        (
            Edit(
                _DASHBOARDS,
                '    return {"at": tx.now, "audit_seq": audit.head(tx)[0]}\n',
                '    return {"at": tx.now - tx.now % 60_000, "audit_seq": audit.head(tx)[0]}\n',
            ),
        ),
        ("dashboards.of_one_instant",),
        "operated",
    ),
    Defect(
        "dashboards.lag_at_night",
        "Lag is counted while nobody plays: the case without play was not thought of.",
        (
            Edit(
                _READS,
                '        since = max(began[0], known["last_success_at"] or 0) if began else tx.now\n',
                '        since = max(began[0] if began else 0, known["last_success_at"] or 0)\n',
            ),
        ),
        ("dashboards.lag_as_polled",),
        "operated",
    ),
    Defect(
        "dashboards.lag_in_minutes",
        "A lag in minutes stands under a heading that says seconds.",
        (
            Edit(
                _READS,
                '            "lag_s": (tx.now - since) // 1000,\n',
                '            "lag_s": (tx.now - since) // 60_000,\n',
            ),
        ),
        ("dashboards.lag_as_polled",),
        "operated",
    ),
    Defect(
        "dashboards.numbers_of_last_night",
        "The numbers are slow to count, so they are counted once a day and shown beside the instant of the page.",
        (
            Edit(
                _DASHBOARDS,
                _STATE_NOW,
                """\
    if tx.now - _KEPT.get("at", 0) > DAY_MS:
        _KEPT.update(_LISTS["state"].answer(tx, {}), at=tx.now)  # type: ignore[arg-type]
    state = {name: count for name, count in _KEPT.items() if name != "at"}
""",
            ),
            Edit(
                _DASHBOARDS,
                'ESCALATES = ("failed", "partial")\n',
                'ESCALATES = ("failed", "partial")\n_KEPT: dict[str, Any] = {}\n',
            ),
        ),
        ("dashboards.state_as_audited",),
        "operated",
    ),
    Defect(
        "dashboards.operations_by_time",
        "The trail is sorted by time, and what happened in one instant comes in whatever order.",
        (
            Edit(
                _READS,
                "      and (:action is null or action = :action) order by seq desc\n",
                "      and (:action is null or action = :action) order by at desc\n",
            ),
        ),
        ("dashboards.trail_as_audited",),
        "operated",
    ),
    Defect(
        "dashboards.page_is_kept",
        "The page of contests is kept once it is made, and nothing ever makes it again.",
        (
            Edit(
                _DASHBOARDS,
                _CONTESTS,
                """\
@cache
def _kept() -> dict[str, Any]:
    return {}


def _contests(tx: Tx, given: Given) -> Answer:
    if not _kept():
        _kept().update(_made(tx))
    return _kept()


def _made(tx: Tx) -> dict[str, Any]:
    feeds = {row["tournament_id"]: row for row in _list(tx, "ingestion/status")}
""",
            ),
            Edit(
                _DASHBOARDS,
                "from typing import Any\n",
                "from functools import cache\nfrom typing import Any\n",
            ),
        ),
        ("dashboards.of_one_instant",),
        "operated",
    ),
    Defect(
        "dashboards.pager_timeout_in_seconds",
        "A time-out in milliseconds is made one of seconds, and the pager never answers in time.",
        (
            Edit(
                _DASHBOARDS,
                "        return await ports.runtime.deadline(ports.pager.incidents(), config.pager_timeout_ms)\n",
                "        return await ports.runtime.deadline(ports.pager.incidents(),"
                " config.pager_timeout_ms // 1000)\n",
            ),
        ),
        ("dashboards.alerts_are_the_pagers",),
        "operated",
    ),
    Defect(
        "dashboards.rejected_transfers_left_out",
        "Only what nobody knows the outcome of counts as an error: a transfer that was rejected got its answer.",
        (
            Edit(
                _DASHBOARDS,
                "        where finished_at > :since and outcome <> 'SUCCEEDED' group by coalesce(code, outcome)\n",
                "        where finished_at > :since and outcome = 'UNKNOWN' group by coalesce(code, outcome)\n",
            ),
        ),
        ("dashboards.errors_as_others_saw",),
        "operated",
        (Fault("processor.funds_pending"),),
    ),
    Defect(
        "dashboards.reversed_is_failed",
        "A transfer that was reversed is noted as failed, for nobody got the money in the end.",
        (
            Edit(
                "contest_platform/services/webhooks.py",
                '        changes = {"status": "REVERSED", "reason": "reversed by the processor"}\n',
                '        changes = {"status": "FAILED_TERMINAL", "reason": "reversed by the processor"}\n',
            ),
        ),
        ("dashboards.money_as_at_the_processor",),
        "operated",
        (Fault("processor.transfer_reversed"),),
    ),
    Defect(
        "dashboards.state_changes_of_one_service",
        "Changes of state are taken to be what the service of contests writes; settlement and payouts do so too.",
        (
            Edit(
                _DASHBOARDS,
                '    changes = _list(tx, "audit/tail", limit=RECENT, action="contests.update")\n',
                '    changes = _list(tx, "audit/tail", limit=RECENT, actor="system:contests",'
                ' action="contests.update")\n',
            ),
        ),
        ("dashboards.trail_as_audited",),
        "operated",
    ),
    Defect(
        "dashboards.what_has_not_begun_is_left_out",
        "Whoever made the page wanted to see what is played, and a contest that has not begun is not on it.",
        (
            Edit(
                _DASHBOARDS,
                '        if row["status"] not in OVER:\n',
                '        if row["status"] not in OVER and row["start_at"] <= tx.now:\n',
            ),
        ),
        ("dashboards.contests_as_audited",),
        "operated",
    ),
)
