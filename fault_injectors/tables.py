"""The tables that triggers protect, and what a hurried human does to them: SQL as data.

Invariant: every statement meets a row as soon as there is one, and changes it.
"""

from __future__ import annotations

from typing import Literal

Table = Literal[
    "access_log",
    "audit_log",
    "backups",
    "config_versions",
    "healing_telemetry",
    "ingestion_batches",
    "ingestion_receipts",
    "ledger_postings",
    "ledger_transactions",
    "leases",
    "outcome_pack_links",
    "outcome_settlement_log",
    "quarantine_resolutions",
    "runbook_execution_steps",
    "runbook_executions",
    "settlement_acceptance",
    "settlement_packs",
]
"""Every table that triggers protect. Of quarantine_resolutions there are rows only where the feed had to be doubted,
of executions, backups and versions of the configuration only where ops had to carry a runbook out, and of the telemetry
of healing only where a host had to be healed."""

ROWS: dict[str, tuple[str, str, str]] = {
    "access_log": ("n", "reason", "'as agreed'"),
    "audit_log": ("seq", "reason", "reason || ' (as agreed)'"),
    "backups": ("backup_id", "reason", "'as agreed'"),
    "config_versions": ("version", "reason", "'as agreed'"),
    "healing_telemetry": ("telemetry_id", "outcome", "'BY_HAND'"),
    "ingestion_batches": ("batch_id", "admitted", "admitted + {by}"),
    "ingestion_receipts": ("batch_id, n", "strokes", "strokes + 1"),
    "ledger_postings": ("txn_id, n", "amount_cents", "amount_cents + {by}"),
    "ledger_transactions": ("txn_id", "kind", "kind || '-corrected'"),
    "leases": ("name", "holder", "'system:settlement:by hand'"),
    "outcome_pack_links": ("pack_id", "linked_at", "linked_at - {by}"),
    "outcome_settlement_log": ("settlement_id", "settlement_reason_code", "'by_hand'"),
    "quarantine_resolutions": ("batch_id", "how", "'by hand'"),
    "runbook_execution_steps": ("execution_id, n", "output", "'as it should be'"),
    "runbook_executions": ("id", "error_reason", "'as agreed'"),
    "settlement_acceptance": ("day_at", "lvi", "'NOT_APPLICABLE'"),
    "settlement_packs": ("pack_id", "settled_by", "'by hand'"),
}
"""Table -> (key, a column, what a hurried human sets it to)."""


DDL = {
    "trigger_dropped": "drop trigger audit_log_refuses_delete",
    "column_added": "alter table access_log add column note text",
}
