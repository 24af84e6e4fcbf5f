"""The metrics that the platform exports, by name: Prometheus' conventions, units last, instants as seconds since 1970.

Ages are exported as instants: an age would be true only at the moment of its export, and of no process that has died.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contest_platform.ports import Metrics


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "ingestion_answer_due_timestamp_seconds": Metric(
        "gauge",
        "When the score provider's next answer about a tournament is due; in the past while none has come",
        ("tournament_id",),
    ),
    "contest_transition_due_timestamp_seconds": Metric("gauge", "When the next contest changes its state"),
    "settlement_due_timestamp_seconds": Metric("gauge", "When the next contest can be settled"),
    "settlement_runs": Metric("gauge", "Contests by the status of their last settlement", ("settlement_status",)),
    "score_audit_mismatches": Metric(
        "gauge", "Holes whose score is not what its receipts say, in the last audit", ("tournament_id",)
    ),
    "quarantined_batches": Metric("gauge", "Answers that do not add up and are not yet made good", ("tournament_id",)),
    "payout_transfers": Metric(
        "gauge", "Transfers that are tried again (RETRYABLE) or have failed for good", ("transfer_status",)
    ),
    "payout_oldest_unended_timestamp_seconds": Metric("gauge", "When the oldest transfer that has not ended was owed"),
    "reconciliation_last_success_timestamp_seconds": Metric("gauge", "When the processor's books were last read"),
    "webhook_signature_failures_total": Metric("counter", "Webhooks refused for their signature or form"),
    "audit_anchor_last_success_timestamp_seconds": Metric(
        "gauge", "When the audit head was last at the outside anchor"
    ),
    "backup_last_success_timestamp_seconds": Metric("gauge", "When the last backup was taken"),
    "remediation_orders": Metric("gauge", "Open remediation orders"),
    "remediation_oldest_order_timestamp_seconds": Metric("gauge", "When the oldest open order was issued"),
    "auth_requests_total": Metric("counter", "Introspections by result: ok, denied or failed", ("result",)),
    "operations_failed_total": Metric("counter", "Requests at the edge that were not served"),
}


def export_instant(metrics: Metrics, name: str, at: int | None, **labels: str) -> None:
    """A gauge of an instant (ms), which has nothing to say when there is none."""
    if at is None:
        metrics.remove(name, **labels)
    else:
        metrics.set(name, at // 1000, **labels)
