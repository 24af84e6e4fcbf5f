"""The state of the system in numbers: what a runbook notes before and after, and a rollback has to restore.

Invariant: it tells how much stands where, never when: two states are equal when nothing of it is different.
"""

from __future__ import annotations

from contest_platform.ports import Tx
from contest_platform.statuses import CONTEST_STATUSES, PACK_STATUSES, TRANSFER_STATUSES

_BY_STATUS = {"contests": CONTEST_STATUSES, "transfers": TRANSFER_STATUSES, "packs": PACK_STATUSES}
_TABLES = {"packs": "settlement_packs"}
_COUNTS = {
    "disputes_open": "disputes where closed_at is null",
    "incidents_l1_open": "incidents where status = 'OPEN' and level = 'L1'",
    "incidents_open": "incidents where status = 'OPEN'",
    "ledger_out_of_balance": "(select 1 from ledger_postings group by txn_id having sum(amount_cents) <> 0)",
    "orders_open": "remediation_orders where status in ('ISSUED', 'DELIVERED', 'ACKNOWLEDGED')",
    "payments_unpaid": "payments where status = 'CREATED'",
    "quarantine_open": "ingestion_batches b where quarantined > 0"
    " and not exists (select 1 from quarantine_resolutions where batch_id = b.batch_id)",
    "refunds_failed": "refunds where status = 'FAILED_TERMINAL'",
    "refunds_pending": "refunds where status = 'PENDING'",
    "settlements_failed": "settlement_audit a where status = 'FAILED' and not exists (select 1 from settlement_audit b"
    " where b.contest_id = a.contest_id and b.started_at > a.started_at)",
    "settlements_running": "settlement_audit where status = 'RUNNING'",
    "webhooks_waiting": "webhook_inbox where status = 'WAITING'",
}


def snapshot(tx: Tx) -> dict[str, int]:
    """Name -> count, in the order of the names; every status has its count, 0 among them."""
    counts = {name: int(tx.tuples(f"select count(*) from {what}")[0][0]) for name, what in _COUNTS.items()}
    for name, statuses in _BY_STATUS.items():
        found = dict(tx.tuples(f"select status, count(*) from {_TABLES.get(name, name)} group by status"))
        counts |= {f"{name}_{status.lower()}": found.get(status, 0) for status in statuses}
    return dict(sorted(counts.items()))
