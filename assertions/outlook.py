"""What the observer saw of the dashboards, and what the audit trail says was so at each of those instants.

Invariant: one pass over the trail, made only where somebody looked; of each look numbers are kept and a few rows.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from assertions.facts import facts
from assertions.once import once
from assertions.words import DAY_MS

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.run import Evidence

LAST_BEFORE_MS = 600_000
"""How long before the end of the run the last look is."""
RECENT = 20
REFUSAL = "refuse."
OPEN_ORDERS = frozenset({"ISSUED", "DELIVERED", "ACKNOWLEDGED"})
COUNTED = {
    "contests": ("SCHEDULED", "LOCKED", "LIVE", "COMPLETE", "SETTLED", "PAID_OUT", "CANCELLED", "ERROR"),
    "transfers": ("PENDING", "SUBMITTED", "PAID", "RETRYABLE", "FAILED_TERMINAL", "REVERSED"),
    "settlement_packs": ("PENDING", "EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING"),
}
"""Tables of which there is a number for each status."""
NAMED = {"settlement_packs": "packs"}
FOLLOWED = frozenset({
    *COUNTED, "disputes", "incidents", "payments", "refunds", "remediation_orders", "settlement_audit",
    "webhook_inbox",
})  # fmt: skip


class Look(NamedTuple):
    n: int
    at: int
    answered_at: int
    dashboard: str
    status: int | None
    body: dict[str, Any] | None
    problem: str

    @property
    def subject(self) -> str:
        return f"observer.dashboards/{self.n}"

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["items"][0] if self.body else {}
        return found

    @property
    def told_at(self) -> int:
        return int(self.summary["at"])

    @property
    def audit_seq(self) -> int:
        return int(self.summary["audit_seq"])


def observed_from(plan: Plan) -> bool:
    """Whether somebody looks at the dashboards in this run: where operations is on and somebody is ops."""
    return plan.operations and any(principal.role == "ops" for principal in plan.principals)


def looks(evidence: Evidence) -> list[Look]:
    return once(evidence, _looks)


def _looks(evidence: Evidence) -> list[Look]:
    if not observed_from(evidence.plan):
        return []
    found = []
    for n, at, answered_at, dashboard, status, body, problem in evidence.rows("observer.dashboards"):
        found.append(Look(n, at, answered_at, dashboard, status, None if body is None else json.loads(body), problem))
    return found


def answered(evidence: Evidence, *dashboards: str) -> list[Look]:
    """The looks at these dashboards (all, if none is named) that were answered."""
    return [
        look for look in looks(evidence) if look.body is not None and (not dashboards or look.dashboard in dashboards)
    ]


def due(evidence: Evidence) -> int:
    """What each claim about pages has to see at least: one page, once a whole day of the run has passed."""
    plan = evidence.plan
    return int(observed_from(plan) and facts(evidence).ended_at >= plan.starts_at + DAY_MS)


def platform_starts(evidence: Evidence) -> list[int]:
    """When the platform's public process began, each time, by the hosts' own log."""
    return [
        at
        for at, service, state in evidence.rows("hosts.services", "at", "service", "state")
        if service == "app" and state == "running"
    ]


@dataclass(slots=True)
class Truth:
    """What the trail says up to one row. `at`: of that row; `next_at`: of the one after it."""

    at: int | None = None
    next_at: int | None = None
    state: dict[str, int] = field(default_factory=dict)
    operations: list[tuple[Any, ...]] = field(default_factory=list)
    changes: list[tuple[Any, ...]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    def refusals(self, after_at: int) -> dict[str, int]:
        """How often each thing was refused after that instant."""
        found: dict[str, int] = {}
        for at, action in self.refused:
            if at > after_at:
                found[action] = found.get(action, 0) + 1
        return found


def outlook(evidence: Evidence) -> dict[int, Truth]:
    """The truth after each audit row that a page names."""
    return once(evidence, _outlook)


def _outlook(evidence: Evidence) -> dict[int, Truth]:
    wanted = sorted({look.audit_seq for look in answered(evidence)})
    found = {seq: Truth() for seq in wanted}
    if not wanted:
        return found
    replay, place = _Replay(), 0
    for row in evidence.rows("platform.audit_log", "seq", "at", "actor", "action", "subject", "before", "after"):
        seq, at = row[:2]
        while place < len(wanted) and wanted[place] < seq:
            replay.tell(found[wanted[place]])
            found[wanted[place]].next_at = at
            place += 1
        if place == len(wanted):
            break
        replay.take(*row)
    for seq in wanted[place:]:
        if seq == replay.seq:
            replay.tell(found[seq])
    return found


class _Replay:
    """The rows of the followed tables as far as they are counted, row by row of the trail."""

    def __init__(self) -> None:
        self.seq = self._at = 0
        self._rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in FOLLOWED}
        self._quarantined: set[str] = set()
        self._imbalanced: set[str] = set()
        self._operations: deque[tuple[Any, ...]] = deque(maxlen=RECENT)
        self._changes: deque[tuple[Any, ...]] = deque(maxlen=RECENT)
        self._refused: list[tuple[int, str]] = []

    def take(
        self, seq: int, at: int, actor: str, action: str, subject: str, before: str | None, after: str | None
    ) -> None:
        self.seq, self._at = seq, at
        told = (seq, at, actor, action, subject)
        self._operations.append(told)
        table = action.partition(".")[0]
        key = subject.partition("/")[2]
        if action == "contests.update":
            self._changes.append(told)
        if action.startswith(REFUSAL):
            self._refused.append((at, action))
        elif table in FOLLOWED and after is not None:
            self._rows[table].setdefault(key, {}).update(_counted(after))
        elif action == "ingestion.batch" and after is not None:
            if json.loads(after)["quarantined"]:
                self._quarantined.add(key)
        elif table == "quarantine_resolutions":
            self._quarantined.discard(key)
        elif action == "ledger.post" and after is not None and sum(cents for _, cents in json.loads(after)["postings"]):
            self._imbalanced.add(key)

    def tell(self, truth: Truth) -> None:
        truth.at = self._at
        truth.operations, truth.changes = list(self._operations), list(self._changes)
        truth.refused = list(self._refused)
        rows = self._rows
        state = {
            f"{NAMED.get(table, table)}_{status.lower()}": sum(
                row.get("status") == status for row in rows[table].values()
            )
            for table, statuses in COUNTED.items()
            for status in statuses
        }
        runs: dict[str, tuple[int, str]] = {}
        for run in rows["settlement_audit"].values():
            last = (run["started_at"], run["status"])
            runs[run["contest_id"]] = max(runs.get(run["contest_id"], last), last)

        def having(table: str, *statuses: str) -> int:
            return sum(row.get("status") in statuses for row in rows[table].values())

        truth.state = state | {
            "disputes_open": sum(row.get("closed_at") is None for row in rows["disputes"].values()),
            "incidents_open": having("incidents", "OPEN"),
            "ledger_out_of_balance": len(self._imbalanced),
            "orders_open": having("remediation_orders", *OPEN_ORDERS),
            "payments_unpaid": having("payments", "CREATED"),
            "quarantine_open": len(self._quarantined),
            "refunds_failed": having("refunds", "FAILED_TERMINAL"),
            "refunds_pending": having("refunds", "PENDING"),
            "settlements_failed": sum(status == "FAILED" for _, status in runs.values()),
            "settlements_running": having("settlement_audit", "RUNNING"),
            "webhooks_waiting": having("webhook_inbox", "WAITING"),
        }


_KEPT = ("status", "closed_at", "contest_id", "started_at")


def _counted(after: str) -> dict[str, Any]:
    """The columns of an image that are counted by."""
    image = json.loads(after)
    return {name: image[name] for name in _KEPT if name in image}
