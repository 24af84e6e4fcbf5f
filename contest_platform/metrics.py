"""The metrics that the platform exports, by name: Prometheus' conventions, units last, instants as seconds since 1970.

Ages are exported as instants: an age would be true only at the moment of its export, and of no process that has died.
Invariant: each ends. What stands is taken back once it has been dealt with; of what nothing undoes, its instant tells,
and the rule that reads it says for how long it is news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from contest_platform.ports import Metrics, PortError, StoreBusy


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    # contests
    "contest_transition_due_timestamp_seconds": Metric(
        "gauge", "When a contest's next change of state is due", ("contest_id", "to_status")
    ),
    "contest_status_transitions_failed": Metric(
        "gauge",
        "Changes of state that were due, that the last pass could not make, and that are still to be made",
        ("contest_id", "from_status", "to_status"),
    ),
    "contests_in_error": Metric("gauge", "Contests that only a runbook moves on", ("contest_id", "error_code")),
    # settlement
    "settlement_due_timestamp_seconds": Metric("gauge", "The cut-off of a contest to be settled", ("contest_id",)),
    "settlement_status": Metric("gauge", "The last settlement run of a contest", ("contest_id", "settlement_status")),
    "settlement_packs_unexecuted_timestamp_seconds": Metric(
        "gauge", "When a pack of a contest last ended without being executed", ("contest_id", "status")
    ),
    "settlement_lease_expiry_timestamp_seconds": Metric(
        "gauge", "When the lease ends that another daemon holds while contests wait to be settled"
    ),
    "settlement_acceptance_failed_timestamp_seconds": Metric(
        "gauge", "The noon at which an acceptance test of settlement last failed, until it is judged again", ("test",)
    ),
    # ingestion
    "ingestion_answer_due_timestamp_seconds": Metric(
        "gauge",
        "When the provider's next answer about a tournament is due, to half an hour; while none comes, since when",
        ("tournament_id",),
    ),
    "ingestion_last_admission_timestamp_seconds": Metric(
        "gauge",
        "Since when answers have told nothing new, to half an hour, and since play began at most; only while it is on",
        ("tournament_id",),
    ),
    "quarantined_batches": Metric("gauge", "Answers that do not add up and are not yet made good", ("tournament_id",)),
    "ingestion_quarantine_oldest_timestamp_seconds": Metric(
        "gauge", "When the oldest of these came that nobody has resolved", ("tournament_id",)
    ),
    "score_audit_mismatches": Metric(
        "gauge", "Holes whose score is not what its receipts say, in the last audit", ("tournament_id",)
    ),
    "score_correction_late_timestamp_seconds": Metric(
        "gauge", "When a correction last came after the cut-off of a contest", ("contest_id",)
    ),
    # payments
    "webhook_signature_failures_total": Metric("counter", "Webhooks refused for their signature or form"),
    "webhook_duplicates_total": Metric("counter", "Webhooks that told what was known already"),
    "webhook_waiting_oldest_timestamp_seconds": Metric("gauge", "When the oldest webhook came that waits for our row"),
    "payment_webhook_missing_oldest_timestamp_seconds": Metric(
        "gauge", "When the oldest payment was told of in the processor's list whose webhook has not come"
    ),
    "payment_intent_orphaned_oldest_timestamp_seconds": Metric(
        "gauge", "Since when the oldest abandoned entry has an intent that is neither paid nor canceled"
    ),
    "payment_reconciliation_last_success_timestamp_seconds": Metric(
        "gauge", "When the processor's books were last read"
    ),
    "refund_request_oldest_timestamp_seconds": Metric("gauge", "When the oldest refund still to be made was owed"),
    "refund_failed_timestamp_seconds": Metric("gauge", "When a refund last failed for good"),
    "dispute_opened_timestamp_seconds": Metric("gauge", "When the newest open dispute was opened"),
    "processor_up": Metric("gauge", "Whether the last pass over the processor's books had its answers"),
    # payouts
    "payout_due_timestamp_seconds": Metric(
        "gauge", "When a contest was settled whose payout has not begun", ("contest_id",)
    ),
    "payout_transfer_retryable_oldest_timestamp_seconds": Metric(
        "gauge", "When the oldest transfer was owed that is tried again", ("contest_id",)
    ),
    "payout_batch_partial_oldest_timestamp_seconds": Metric(
        "gauge", "When the payout of a contest began of which a part is paid", ("contest_id",)
    ),
    "payout_idempotency_conflicts_open": Metric(
        "gauge", "Transfers whose key the processor knows with another request", ("contest_id",)
    ),
    "payout_transfer_failed_timestamp_seconds": Metric(
        "gauge", "When a transfer of a contest last failed for good", ("contest_id", "reason")
    ),
    "payout_transfer_reversed_timestamp_seconds": Metric(
        "gauge", "When money of a transfer of a contest last came back", ("contest_id",)
    ),
    # hosts
    "host_up": Metric("gauge", "Whether a host with an open order answered when last spoken to", ("host",)),
    "remediation_order_oldest_open_timestamp_seconds": Metric(
        "gauge", "When a host's oldest open order was issued", ("host",)
    ),
    "host_incident_unmatched_timestamp_seconds": Metric(
        "gauge", "When an open incident was reported that no rule heals", ("host", "check")
    ),
    "healing_rule_failed_timestamp_seconds": Metric(
        "gauge", "When an order last ended in vain of a rule that has never healed anything", ("rule_id",)
    ),
    "host_clock_skew_seconds": Metric("gauge", "How far a process' clock is ahead of the database's"),
    # the platform itself
    "database_connection_pool_available": Metric(
        "gauge", "0 once a job was refused a connection, until it has one again; how many there are nobody tells"
    ),
    "database_connection_timeouts_total": Metric("counter", "Transactions that got no connection"),
    "auth_service_error_rate": Metric(
        "gauge", "Share of the introspections without an answer in the ten minutes to the last one"
    ),
    "auth_failure_timestamp_seconds": Metric(
        "gauge", "When an introspection was last without an answer in time (timeout), or failed otherwise", ("result",)
    ),
    "error_budget_remaining": Metric(
        "gauge", "Share of this month's failures that may still happen, below 0 when spent"
    ),
    "audit_anchor_last_success_timestamp_seconds": Metric(
        "gauge", "When the audit head was last at the outside anchor"
    ),
    "backup_last_success_timestamp_seconds": Metric("gauge", "When the last backup was taken"),
}


class Gauge:
    """All series of one gauge: what has changed is told, and what does not stand any more is taken back. Instants are
    taken in ms."""

    __slots__ = ("_labels", "_metrics", "_name", "_per", "_told")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics, self._name, self._labels = metrics, name, METRICS[name].labels
        self._per = 1000 if name.endswith("_timestamp_seconds") else 1
        self._told: dict[tuple[str, ...], int] = {}

    def tell(self, standing: Mapping[tuple[str, ...], int]) -> None:
        """How all of it stands: values of the labels, in their order -> value."""
        told = self._told
        if standing == told:
            return
        for values in [values for values in told if values not in standing]:
            self.tell_of(None, *values)
        for values, value in standing.items():
            self.tell_of(value, *values)

    def tell_of(self, value: int | None, *values: str) -> None:
        """How the series with these values of the labels stands; None: not any more."""
        told = self._told
        if value == told.get(values):
            return
        labels = dict(zip(self._labels, values, strict=True))
        if value is None:
            del told[values]
            self._metrics.remove(self._name, **labels)
        else:
            told[values] = value
            self._metrics.set(self._name, value // self._per, **labels)


def count_failure(metrics: Metrics, error: PortError) -> None:
    """Count what ended a job or a request, if it was the store that did not serve."""
    if isinstance(error, StoreBusy):
        metrics.add("database_connection_timeouts_total")


def export_skew(skew: Gauge, now: int, store_now: int) -> bool:
    """How far the process' clock (`now`, ms) is from the database's; nothing when that is less than a second. Returns
    whether there was something to tell: then it is to be looked at again."""
    ahead_s = int((now - store_now) / 1000)
    skew.tell_of(ahead_s or None)
    return ahead_s != 0
