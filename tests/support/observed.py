"""Somebody who looks at an honest platform's dashboards, once a day, in a run that is written by hand.

Invariant: a page is put together from the books as they stand when `observe` is called, so it is called before they
change; nothing here is shared with the judge, nor with the platform.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.support.scribe import Scribe, encode

MINUTE, DAY = 60_000, 86_400_000
LOOKS_AT = 30 * MINUTE
"""So long after midnight, each day."""
OPS = "ops:kim"
STATUSES = {
    "contests": "scheduled locked live complete settled paid_out cancelled error",
    "transfers": "pending submitted paid retryable failed_terminal reversed",
    "settlement_packs": "pending executed failed orphaned_outcome_missing",
}


def observe(scribe: Scribe, until_at: int) -> None:
    """The looks that are due before `until_at` and that nobody has had yet: nothing changes in between."""
    plan, looked = scribe.evidence.plan, len(scribe.books["observer.dashboards"]) // 4
    at = plan.starts_at + looked * DAY + LOOKS_AT
    while at < until_at:
        for name, page in (("operational", _operational), ("contests", _contests), ("audit", _audit),
                           ("errors", _errors)):  # fmt: skip
            called(scribe, at + 100, f"GET /api/admin/dashboards/{name}")
            scribe.note(
                "observer.dashboards", at=at, answered_at=at + 300, dashboard=name, status=200, problem="",
                body=encode(page(scribe, at + 200)),
            )  # fmt: skip
            at += 300
        at += DAY - 1_200


def called(scribe: Scribe, at: int, resource: str) -> None:
    """Ops calls an admin endpoint: the identity provider is asked about the token, and the platform takes note."""
    scribe.note("identity.events", at=at, action="introspected", principal=OPS, token_id=OPS, allowed=True)
    scribe.note(
        "platform.access_log", at=at, principal=OPS, action="admin.authenticate", resource=resource, allowed=True,
        reason="authenticated",
    )  # fmt: skip


def _of(scribe: Scribe, at: int) -> dict[str, Any]:
    return {"at": at, "audit_seq": len(scribe.books["platform.audit_log"])}


def _operational(scribe: Scribe, at: int) -> dict[str, Any]:
    books = {name.partition(".")[2]: rows for name, rows in scribe.books.items() if name.startswith("platform.")}
    state = {}
    for table, statuses in STATUSES.items():
        counts = Counter(row["status"].lower() for row in books[table])
        state |= {f"{table.removeprefix('settlement_')}_{status}": counts[status] for status in statuses.split()}
    resolved = {row["batch_id"] for row in books["quarantine_resolutions"]}
    waiting = {"orders_open": ("remediation_orders", ("ISSUED", "DELIVERED", "ACKNOWLEDGED")),
               "incidents_open": ("incidents", ("OPEN",)), "payments_unpaid": ("payments", ("CREATED",)),
               "refunds_failed": ("refunds", ("FAILED_TERMINAL",)), "refunds_pending": ("refunds", ("PENDING",)),
               "webhooks_waiting": ("webhook_inbox", ("WAITING",))}  # fmt: skip
    state |= {
        name: sum(row["status"] in statuses for row in books[table]) for name, (table, statuses) in waiting.items()
    }
    state |= {
        "disputes_open": sum(row["closed_at"] is None for row in books["disputes"]),
        "ledger_out_of_balance": 0, "settlements_failed": 0, "settlements_running": 0,
        "quarantine_open": sum(
            row["quarantined"] > 0 and row["batch_id"] not in resolved for row in books["ingestion_batches"]
        ),
    }  # fmt: skip
    alerts: dict[str, dict[str, Any]] = {}
    for event in scribe.books["pager.events"]:
        key = event["dedup_key"]
        if event["action"] == "resolve":
            alerts.pop(key, None)
        elif event["action"] == "trigger":
            alerts.setdefault(key, {"dedup_key": key, "status": "triggered", "since_at": event["at"]})
        else:
            alerts[key]["status"] = "acknowledged"
    escalations = [row["id"] for row in books["runbook_executions"] if row["status"] in ("failed", "partial")]
    return {
        "items": [{**_of(scribe, at), "pager_answers": True, **state}],
        "alerts": [alerts[key] for key in sorted(alerts)], "escalations": [{"id": one} for one in escalations],
    }  # fmt: skip


def _contests(scribe: Scribe, at: int) -> dict[str, Any]:
    play = scribe.evidence.plan.tournaments[0].play
    began = [from_at for from_at, until_at in play if from_at <= at < until_at]
    sound = [row["at"] for row in scribe.books["provider.requests"] if row["at"] <= at and "glitch" not in row]
    lag_s = (at - max(began + sound)) // 1_000 if began else 0
    shown = [
        {"contest_id": row["contest_id"], "status": row["status"], "tournament_id": row["tournament_id"],
         "lag_s": lag_s, "in_play": bool(began)}
        for row in scribe.books["platform.contests"]
        if row["status"] not in ("PAID_OUT", "CANCELLED")
    ]  # fmt: skip
    return {"items": [_of(scribe, at)], "contests": shown}


def _audit(scribe: Scribe, at: int) -> dict[str, Any]:
    rows = [
        {name: row[name] for name in ("seq", "at", "actor", "action", "subject")}
        for row in reversed(scribe.books["platform.audit_log"])
    ]
    executions = [
        {"id": row["id"], "runbook_name": row["runbook_name"], "status": row["status"]}
        for row in scribe.books["platform.runbook_executions"]
    ]
    changes = [row for row in rows if row["action"] == "contests.update"]
    return {"items": [_of(scribe, at)], "operations": rows[:20], "executions": executions,
            "state_changes": changes[:20]}  # fmt: skip


def _errors(scribe: Scribe, at: int) -> dict[str, Any]:
    def lately(book: str, column: str) -> list[dict[str, Any]]:
        return [row for row in scribe.books[book] if at - DAY < row[column] <= at]

    told = {
        "refused": [row["action"] for row in lately("platform.audit_log", "at") if row["action"][:7] == "refuse."],
        "denied": [row["principal"] for row in lately("platform.access_log", "at") if not row["allowed"]],
        "transfer": [
            row.get("code") or row["outcome"]
            for row in lately("platform.transfer_attempts", "finished_at")
            if row["outcome"] != "SUCCEEDED"
        ],
    }
    counts = {"requests": 2_000, "failures": 0, "burn_rate_bp": 0, "error_rate_bp": 0, "budget_remaining_bp": 10_000}
    since_at = scribe.evidence.plan.starts_at
    return {
        "items": [{**_of(scribe, at), "month": "2026-06", "since_at": since_at, **counts}],
        "errors": [
            {"source": source, "code": code, "errors": errors}
            for source, codes in told.items()
            for code, errors in Counter(codes).items()
        ],
    }
