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


HEALTHY = (
    "ingestion_last_success_timestamp_seconds", "score_audit_mismatches", "database_connection_pool_available",
    "operations_failures_allowed_this_month", "daemon_heartbeat_due_timestamp_seconds", "auth_service_requests_total",
    "processor_up",
)  # fmt: skip


def healthy(store: Store) -> None:
    for name in HEALTHY:
        value = {"score_audit_mismatches": 0, "daemon_heartbeat_due_timestamp_seconds": 10**9}.get(name, 50)
        store.set(name, {}, value, 0)
    store.set("operations_failed_this_month", {}, 0, 0)


def test_a_quiet_fortnight_fires_the_watchdog_and_nothing_else(shipped: Any) -> None:
    store = Store()
    healthy(store)
    engine = Engine(shipped, store)
    engine.advance(FORTNIGHT)

    assert [alert.name for alert in engine.active()] == ["Watchdog"]
    assert not engine.failures
    assert dict(engine.recorded("auth_service_error_rate")[0][0]) == {"__name__": "auth_service_error_rate"}
    assert engine.recorded("error_budget_remaining")[0][1] == 1


OLD, NOW = "old", "now"
INCIDENTS: dict[str, tuple[tuple[str, dict[str, str], Any], ...]] = {
    "IngestionLag": (("ingestion_last_success_timestamp_seconds", {}, OLD),
                     ("ingestion_play_started_timestamp_seconds", {}, OLD)),
    "IngestionNothingNew": (("ingestion_last_admission_timestamp_seconds", {}, OLD),
                            ("ingestion_last_success_timestamp_seconds", {}, NOW),
                            ("ingestion_play_started_timestamp_seconds", {}, OLD)),
    "IngestionQuarantine": (("ingestion_quarantine_oldest_timestamp_seconds", {}, OLD),),
    "ScoreDiscrepancy": (("score_audit_mismatches", {"contest_id": "c1"}, 1),),
    "CorrectionAfterSettlement": (("score_corrections_after_settlement_open", {}, 1),),
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
    "SettlementPacksUnexecuted": (("settlement_packs_unresolved", {"status": "FAILED"}, 3),),
    "SettlementLeaseStale": (("settlement_lease_expired_timestamp_seconds", {}, OLD),),
    "WebhookSignatureFailures": (("webhook_signature_failures_total", {}, (0, 1)),),
    "WebhookDuplicates": (("webhook_duplicates_total", {}, (0, 40)),),
    "WebhooksWaiting": (("webhook_waiting_oldest_timestamp_seconds", {}, OLD),),
    "PaymentIntentOrphaned": (("payment_intent_orphaned_oldest_timestamp_seconds", {}, OLD),),
    "PaymentReconciliationStale": (("payment_reconciliation_last_success_timestamp_seconds", {}, OLD),),
    "RefundRequested": (("refund_request_oldest_timestamp_seconds", {}, OLD),),
    "ChargebackReceived": (("disputes_open", {}, 1),),
    "ProcessorUnavailable": (("processor_up", {}, 0),),
    "PayoutTransferStuckRetryable": (("payout_transfer_retryable_oldest_timestamp_seconds", {}, OLD),),
    "PayoutDestinationInvalid": (("payout_transfers_failed_terminal", {"reason": "account_closed"}, 1),),
    "PayoutUserDeleted": (("payout_transfers_failed_terminal", {"reason": "user_deleted"}, 1),),
    "PayoutTransferFailedTerminal": (("payout_transfers_failed_terminal", {"reason": "invalid_amount"}, 1),),
    "PayoutTransferReversed": (("payout_transfers_reversed", {}, 1),),
    "PayoutBatchPartial": (("payout_batch_partial_oldest_timestamp_seconds", {}, OLD),),
    "PayoutNotTriggered": (("payout_due_timestamp_seconds", {}, OLD),),
    "PayoutIdempotencyConflict": (("payout_idempotency_conflicts_open", {}, 1),),
    "DatabaseConnectionPoolLow": (("database_connection_pool_available", {}, 4),),
    "DatabaseConnectionTimeout": (("database_connection_timeouts_total", {}, (0, 1)),),
    "AuthServiceErrorRateHigh": (
        ("auth_service_requests_total", {}, (0, 90)), ("auth_service_errors_total", {}, (0, 10)),
    ),
    "AuthServiceTimeout": (("auth_service_timeouts_total", {}, (0, 1)),),
    "ErrorBudgetLow": (("operations_failed_this_month", {}, 46),),
    "DaemonHeartbeatMissed": (("daemon_heartbeat_due_timestamp_seconds", {"daemon": "settlement", "host": "h1"}, OLD),),
    "AuditAnchorStale": (("audit_anchor_last_success_timestamp_seconds", {}, OLD),),
    "BackupTooOld": (("backup_last_success_timestamp_seconds", {}, OLD),),
    "CertificateExpiring": (("certificate_not_after_timestamp_seconds", {"endpoint": "api"}, 15 * 86_400),),
    "PagerTestOverdue": (("pager_test_last_success_timestamp_seconds", {}, OLD),),
    "MetricAbsent": (("processor_up", {}, STALE),),
    "HostUnreachable": (("host_up", {"host": "h1"}, 0),),
    "RemediationOrderStuck": (("remediation_order_oldest_open_timestamp_seconds", {"host": "h1"}, OLD),),
    "HostIncidentUnmatched": (("host_incidents_unmatched", {"host": "h1", "check": "dns"}, 1),),
    "HealingRuleNeverSucceeds": (("healing_rules_never_succeeding", {"rule_id": "r1"}, 1),),
    "HostClockSkew": (("host_clock_skew_seconds", {"host": "h1"}, -31),),
}  # fmt: skip


def incident(name: str) -> list[tuple[str, dict[str, str], Any]]:
    """The series of an incident, with the labels that name the contest and the host it is about."""
    about = {"contest_id": "c1", "host": "h1"}
    base = {*HEALTHY, "operations_failed_this_month"}
    return [(m, {**about, **labels} if labels or m not in base else {}, value) for m, labels, value in INCIDENTS[name]]


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
    changes += engine.advance(at + 30 * MINUTE)
    assert {change.alert.name for change in changes} == {name}
    fired = [change.alert for change in changes if change.alert.state == "firing"]
    assert fired
    assert all("{{" not in text and "  " not in text for alert in fired for text in alert.annotations.values())

    end = at + 31 * MINUTE
    base = {metric for metric, _, _ in incident(name)} & {*HEALTHY, "operations_failed_this_month"}
    for metric, labels, _ in incident(name):
        if labels or metric not in base:
            store.stale(metric, labels, end)
    for metric in base:
        healthy_value = {"score_audit_mismatches": 0.0, "operations_failed_this_month": 0.0}.get(metric, 50.0)
        store.set(metric, {}, 10**9 if "heartbeat" in metric else healthy_value, end)
    engine.advance(end + 120 * MINUTE)
    assert [alert.name for alert in engine.active()] == ["Watchdog"]


def test_no_lag_is_counted_at_night_nor_in_the_first_hour_of_play(shipped: Any) -> None:
    store = Store()
    healthy(store)
    last, play = (
        store.series("ingestion_last_success_timestamp_seconds"),
        store.series("ingestion_play_started_timestamp_seconds"),
    )
    engine = Engine(shipped, store)
    last.set(0, 0)
    engine.advance(12 * 60 * MINUTE)
    assert [alert.name for alert in engine.firing()] == ["Watchdog"]
    play.set(12 * 3600, 12 * 60 * MINUTE + 1)

    changes = engine.advance(14 * 60 * MINUTE)

    assert [(c.at_ms // MINUTE, c.alert.name) for c in changes] == [(13 * 60 + 1, "IngestionLag")]
    play.stale(14 * 60 * MINUTE + 1)
    assert [c.alert.state for c in engine.advance(15 * 60 * MINUTE)] == ["resolved"]
