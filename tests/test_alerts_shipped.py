"""The rule files that are shipped: each alert at its incident, and silence without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operations.alerts import Change, Engine, Store, read
from operations.alerts.conventions import check_conventions
from operations.alerts.series import STALE
from tests.support.promtool import MINUTE

ALERTS = sorted((Path(__file__).parent.parent / "alerts").glob("*.yml"))
FORTNIGHT = 14 * 24 * 60 * MINUTE


@pytest.fixture(scope="module")
def shipped() -> Any:
    return read(ALERTS)


def test_every_shipped_alert_has_what_the_house_asks(shipped: Any) -> None:
    assert len(ALERTS) >= 6
    assert check_conventions(shipped) == []


FOR_EVER = 10**9
HEALTHY: dict[str, tuple[dict[str, str], float]] = {
    "quarantined_batches": ({}, 0),
    "score_audit_mismatches": ({}, 0),
    "payment_reconciliation_last_success_timestamp_seconds": ({}, FOR_EVER),
    "audit_anchor_last_success_timestamp_seconds": ({}, FOR_EVER),
    "auth_service_error_rate": ({}, 0),
    "error_budget_remaining": ({}, 1),
    "database_connection_timeouts_total": ({"job": "settlement"}, 0),
}


def healthy(store: Store) -> None:
    for name, (labels, value) in HEALTHY.items():
        store.set(name, labels, value, 0)


def test_a_quiet_fortnight_fires_the_watchdog_and_nothing_else(shipped: Any) -> None:
    store = Store()
    healthy(store)
    engine = Engine(shipped, store)
    engine.advance(FORTNIGHT)

    assert [alert.name for alert in engine.active()] == ["Watchdog"]
    assert not engine.failures


OLD, NOW = "old", "now"
INCIDENTS: dict[str, tuple[tuple[str, dict[str, str], Any], ...]] = {
    "IngestionLag": (("ingestion_answer_due_timestamp_seconds", {"tournament_id": "t1"}, OLD),),
    "IngestionNothingNew": (("ingestion_last_admission_timestamp_seconds", {"tournament_id": "t1"}, OLD),),
    "IngestionQuarantine": (("ingestion_quarantine_oldest_timestamp_seconds", {}, OLD),),
    "ScoreDiscrepancy": (("score_audit_mismatches", {"contest_id": "c1"}, 1),),
    "CorrectionAfterSettlement": (("score_correction_late_timestamp_seconds", {}, NOW),),
    "ContestLockFailed": (
        ("contest_status_transitions_failed", {"from_status": "SCHEDULED", "to_status": "LOCKED"}, 1),
    ),
    "ContestStatusTransitionFailed": (
        ("contest_status_transitions_failed", {"from_status": "LOCKED", "to_status": "LIVE"}, 1),
    ),
    "ContestTransitionOverdue": (("contest_transition_due_timestamp_seconds", {"to_status": "LIVE"}, OLD),),
    "ContestInError": (("contests_in_error", {"contest_id": "c1"}, 1),),
    "SettlementFailed": (("settlement_status", {"settlement_status": "FAILED"}, 1),
                         ("settlement_status", {"settlement_status": "COMPLETE"}, 1)),
    "SettlementOverdue": (("settlement_due_timestamp_seconds", {}, OLD),),
    "SettlementPacksUnexecuted": (("settlement_packs_unexecuted_timestamp_seconds", {"status": "FAILED"}, NOW),),
    "SettlementAcceptanceFailed": (("settlement_acceptance_failed_timestamp_seconds", {"test": "AT-1"}, NOW),),
    "SettlementLeaseStale": (("settlement_lease_expiry_timestamp_seconds", {}, OLD),),
    "WebhookSignatureFailures": (("webhook_signature_failures_total", {}, (0, 1)),),
    "WebhookDuplicates": (("webhook_duplicates_total", {}, (0, 40)),),
    "WebhooksWaiting": (("webhook_waiting_oldest_timestamp_seconds", {}, OLD),),
    "PaymentWebhookDelayed": (("payment_webhook_missing_oldest_timestamp_seconds", {}, OLD),),
    "PaymentIntentOrphaned": (("payment_intent_orphaned_oldest_timestamp_seconds", {}, OLD),),
    "PaymentReconciliationStale": (("payment_reconciliation_last_success_timestamp_seconds", {}, OLD),),
    "RefundRequested": (("refund_request_oldest_timestamp_seconds", {}, OLD),),
    "ChargebackReceived": (("dispute_opened_timestamp_seconds", {}, NOW),),
    "ProcessorUnavailable": (("processor_up", {}, 0),),
    "PayoutTransferStuckRetryable": (("payout_transfer_retryable_oldest_timestamp_seconds", {}, OLD),),
    "PayoutDestinationInvalid": (("payout_transfer_failed_timestamp_seconds", {"reason": "account_closed"}, NOW),),
    "PayoutUserDeleted": (("payout_transfer_failed_timestamp_seconds", {"reason": "user_deleted"}, NOW),),
    "PayoutTransferFailedTerminal": (("payout_transfer_failed_timestamp_seconds", {"reason": "invalid_amount"}, NOW),),
    "PayoutTransferReversed": (("payout_transfer_reversed_timestamp_seconds", {}, NOW),),
    "PayoutBatchPartial": (("payout_batch_partial_oldest_timestamp_seconds", {}, OLD),),
    "PayoutNotTriggered": (("payout_due_timestamp_seconds", {}, OLD),),
    "PayoutIdempotencyConflict": (("payout_idempotency_conflicts_open", {}, 1),),
    "DatabaseConnectionPoolLow": (("database_connection_pool_available", {}, 4),),
    "DatabaseConnectionTimeout": (("database_connection_timeouts_total", {}, (0, 1)),),
    "AuthServiceErrorRateHigh": (
        ("auth_service_error_rate", {}, 0.1), ("auth_failure_timestamp_seconds", {"result": "failed"}, NOW),
    ),
    "AuthServiceTimeout": (("auth_failure_timestamp_seconds", {"result": "timeout"}, NOW),),
    "ErrorBudgetLow": (("error_budget_remaining", {}, 0.05),),
    "DaemonHeartbeatMissed": (("up", {"job": "settlement"}, 0),),
    "AuditAnchorStale": (("audit_anchor_last_success_timestamp_seconds", {}, OLD),),
    "BackupTooOld": (("backup_last_success_timestamp_seconds", {}, OLD),),
    "MetricAbsent": (("score_audit_mismatches", {}, STALE),),
    "HostUnreachable": (("host_up", {"host": "h1"}, 0),),
    "RemediationOrderStuck": (("remediation_order_oldest_open_timestamp_seconds", {"host": "h1"}, OLD),),
    "HostIncidentUnmatched": (("host_incident_unmatched_timestamp_seconds", {"host": "h1", "check": "dns"}, NOW),),
    "HealingRuleNeverSucceeds": (("healing_rule_failed_timestamp_seconds", {"rule_id": "r1"}, NOW),),
    "HostClockSkew": (("host_clock_skew_seconds", {"job": "app"}, -31),),
}  # fmt: skip


def incident(name: str) -> list[tuple[str, dict[str, str], Any]]:
    """The series of an incident, with the labels that name the contest and the host it is about."""
    about = {"contest_id": "c1", "host": "h1", "tournament_id": "t1"}
    return [
        (metric, {**about, **labels} if labels or metric not in HEALTHY else {}, value)
        for metric, labels, value in INCIDENTS[name]
    ]


def test_there_is_an_incident_for_every_shipped_alert(shipped: Any) -> None:
    names = {rule.name for group in shipped for rule in group.rules if hasattr(rule, "for_ms")}

    assert names == {*INCIDENTS, "Watchdog"}


@pytest.mark.parametrize("name", sorted(INCIDENTS))
def test_a_shipped_alert_fires_at_its_incident_alone_and_resolves_after_it(name: str, shipped: Any) -> None:
    begun = FORTNIGHT
    store = Store()
    healthy(store)
    engine = Engine(shipped, store)
    for metric, labels, value in incident(name):
        if isinstance(value, tuple):  # a counter, which has been there before
            store.set(metric, labels, value[0], 0)
    engine.advance(begun)
    assert [alert.name for alert in engine.active()] == ["Watchdog"]

    changes: list[Change] = []
    at = begun + 1
    for metric, labels, value in incident(name):
        if value is STALE:
            store.stale(metric, labels, at)
        else:
            seconds = {OLD: 1.0, NOW: begun / 1000}.get(value) if isinstance(value, str) else None
            store.set(
                metric, labels, seconds if seconds is not None else value[1] if isinstance(value, tuple) else value, at
            )
    changes += engine.advance(at + 150 * MINUTE)
    assert {change.alert.name for change in changes} == {name}
    fired = [change.alert for change in changes if change.alert.state == "firing"]
    assert fired
    assert all("{{" not in text and "  " not in text for alert in fired for text in alert.annotations.values())

    end = at + 151 * MINUTE
    for metric, labels, _ in incident(name):
        if labels or metric not in HEALTHY:
            store.stale(metric, labels, end)
        else:
            store.set(metric, {}, HEALTHY[metric][1], end)
    engine.advance(end + 120 * MINUTE)
    assert [alert.name for alert in engine.active()] == ["Watchdog"]


def test_no_lag_is_counted_at_night_nor_in_the_first_hour_of_silence(shipped: Any) -> None:
    store = Store()
    healthy(store)
    due = store.series("ingestion_answer_due_timestamp_seconds")
    engine = Engine(shipped, store)
    due.set(12 * 3600, 0)  # the next poll is in the morning
    engine.advance(12 * 60 * MINUTE)
    assert [alert.name for alert in engine.firing()] == ["Watchdog"]

    changes = engine.advance(14 * 60 * MINUTE)

    assert [(c.at_ms // MINUTE, c.alert.name) for c in changes] == [(13 * 60 + 1, "IngestionLag")]
    due.set(15 * 3600, 14 * 60 * MINUTE + 1)
    assert [c.alert.state for c in engine.advance(15 * 60 * MINUTE)] == ["resolved"]


def test_a_backup_is_too_old_two_hours_after_the_next_was_due_and_only_where_one_was_taken(shipped: Any) -> None:
    store = Store()
    healthy(store)
    engine = Engine(shipped, store)
    engine.advance(60 * MINUTE)
    taken = store.series("backup_last_success_timestamp_seconds")
    for day in range(3):  # each a little later than the day before
        taken.set(3600 + day * 87_000, (3600 + day * 87_000) * 1000)
    changes = engine.advance(5 * 24 * 60 * MINUTE)
    fired = [(c.alert.state, c.at_ms // 1000 - (3600 + 2 * 87_000)) for c in changes if c.alert.name == "BackupTooOld"]
    assert fired == [("firing", 26 * 3600 + 60)]
    [alert] = [alert for alert in engine.active() if alert.name == "BackupTooOld"]
    assert alert.annotations["summary"].startswith("The last backup was taken 2d ")


@pytest.mark.parametrize(
    ("name", "metric", "labels", "news_s"),
    [
        ("ChargebackReceived", "dispute_opened_timestamp_seconds", {}, 86_400),
        ("RefundRequested", "refund_failed_timestamp_seconds", {}, 86_400),
        ("PayoutUserDeleted", "payout_transfer_failed_timestamp_seconds", {"reason": "user_deleted"}, 86_400),
        ("PayoutTransferReversed", "payout_transfer_reversed_timestamp_seconds", {}, 86_400),
        ("CorrectionAfterSettlement", "score_correction_late_timestamp_seconds", {}, 86_400),
        ("SettlementAcceptanceFailed", "settlement_acceptance_failed_timestamp_seconds", {"test": "AT-1"}, 86_400),
        ("SettlementPacksUnexecuted", "settlement_packs_unexecuted_timestamp_seconds", {"status": "FAILED"}, 86_400),
        ("HostIncidentUnmatched", "host_incident_unmatched_timestamp_seconds", {}, 86_400),
        ("HealingRuleNeverSucceeds", "healing_rule_failed_timestamp_seconds", {}, 7 * 86_400),
        ("AuthServiceTimeout", "auth_failure_timestamp_seconds", {"result": "timeout"}, 600),
    ],
)
def test_what_nothing_undoes_is_news_for_a_time_and_then_no_more(
    name: str, metric: str, labels: dict[str, str], news_s: int, shipped: Any
) -> None:
    store = Store()
    healthy(store)
    engine = Engine(shipped, store)
    store.set(metric, labels, 3600, 60 * MINUTE)  # and so it stays

    changes = engine.advance(10 * 24 * 60 * MINUTE)

    news = [(c.alert.state, c.at_ms // 1000 - 3600) for c in changes if c.alert.name == name]
    assert news == [("firing", 0), ("resolved", news_s)]
