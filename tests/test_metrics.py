"""What the platform tells monitoring: each metric stands as long as its matter does, and rules read no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contest_platform.budget import REQUESTS_MIN, ErrorBudget
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.metrics import METRICS, Gauge, export_skew
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, StoreBusy
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import HealingService
from contest_platform.services.score_audit import ScoreAuditService, replay_now
from contest_platform.services.settlement import SettlementService
from evidence.layout import ALERTS
from evidence.run import Evidence
from evidence.writer import RunWriter
from operations.alerts import AlertRule, Group
from operations.alerts.tree import selectors
from scenarios import load, make_plan
from simulator.operations import ROOT, Operations, in_force
from tests.support.contest_world import LOCK_AT, ContestWorld
from tests.support.metrics import KeptMetrics
from tests.support.payout_world import paying, settled
from tests.support.platform_ports import START, Platform

DAY_MS = 24 * HOUR_MS
FROM_OUTSIDE = {"up": ("job",)}
"""Made by whoever scrapes: every series has the label job besides, the unit that told it."""


@pytest.fixture(scope="module")
def rules() -> Operations:
    """The alert rules that are shipped, without their runbooks."""
    files = sorted((ROOT / ALERTS).glob("*.yml"))
    return in_force({path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files})


def read_by(groups: Any) -> dict[str, set[str]]:
    """Metric -> the labels by which rules select it."""
    read: dict[str, set[str]] = {}
    for rule in [rule for group in groups for rule in group.rules]:
        for selector in selectors(rule.expr):
            labels = {matcher.label: matcher for matcher in selector.matchers}
            read.setdefault(labels.pop("__name__").value, set()).update(labels)
    return read


def test_rules_read_what_is_exported_and_all_of_it(rules: Operations) -> None:
    read = read_by(rules.groups)
    assert set(read) == {*METRICS, *FROM_OUTSIDE}
    for name, labels in read.items():
        known = {*METRICS[name].labels, "job"} if name in METRICS else set(FROM_OUTSIDE[name])
        assert labels <= known, name


def test_what_an_alert_says_names_labels_that_it_has(rules: Operations) -> None:
    for group in rules.groups:
        assert isinstance(group, Group)
        for rule in group.rules:
            assert isinstance(rule, AlertRule)
            has = {"job", *rule.labels}
            for selector in selectors(rule.expr):
                name = next(matcher.value for matcher in selector.matchers if matcher.label == "__name__")
                has |= set(METRICS[name].labels) if name in METRICS else {"job"}
            for text in [template.text for template in rule.annotations.values()]:
                said = {part.split("}}")[0].split("|")[0].strip() for part in text.split("$labels.")[1:]}
                assert said <= has, (rule.name, said - has)


# --- a gauge ----------------------------------------------------------------------------------------------------------


def test_a_gauge_tells_what_has_changed_and_takes_back_what_is_gone() -> None:
    told: list[tuple[Any, ...]] = []

    class Told(KeptMetrics):
        def set(self, name: str, value: float, **labels: str) -> None:
            super().set(name, value, **labels)
            told.append((*labels.values(), value))

        def remove(self, name: str, **labels: str) -> None:
            super().remove(name, **labels)
            told.append((*labels.values(), None))

    gauge = Gauge(Told(), "payout_due_timestamp_seconds")
    for standing in ({("c1",): 5_999, ("c2",): 7_000}, {("c1",): 5_999, ("c2",): 8_000}, {("c2",): 8_000}, {}):
        gauge.tell(standing)
        gauge.tell(standing)
    assert told == [("c1", 5), ("c2", 7), ("c2", 8), ("c1", None), ("c2", None)]


@pytest.mark.parametrize(("ahead_ms", "seconds"), [(31_400, 31), (-31_400, -31), (999, None), (-999, None)])
def test_a_clock_is_off_by_whole_seconds_or_not_at_all(ahead_ms: int, seconds: int | None) -> None:
    metrics = KeptMetrics()
    skew = Gauge(metrics, "host_clock_skew_seconds")
    export_skew(skew, START + ahead_ms, START)
    assert metrics.standing.get(("host_clock_skew_seconds",)) == seconds
    export_skew(skew, START, START)
    assert metrics.standing == {}


# --- what stands in the store -----------------------------------------------------------------------------------------

Made = tuple[ContestWorld, Any]


def contests() -> Made:
    world = ContestWorld()
    world.offer()
    return world, world.life(ContestsService)


def settling() -> Made:
    world = settled()
    return world, world.life(SettlementService)


def healing() -> Made:
    world = ContestWorld()
    return world, world.life(HealingService)


def scores() -> Made:
    world = ContestWorld()
    return world, world.life(ScoreAuditService)


ORDER = (
    "insert into incidents values ('i1', 'h1', 'service_running', 'app', 'stopped', 5000, 'OPEN', 'L1', null)",
    "insert into remediation_orders values"
    " ('o1', 'i1', 'R1', 'rb', 'h1', 'ISSUED', 0, 6000, null, null, null, 9000, null, null, null, 0)",
)
FAILED = "update transfers set status = 'FAILED_TERMINAL', reason = 'account_closed', done_at = 9000"
STUCK = "update transfers set status = 'RETRYABLE', created_at = 4000, reason = "

UNEXECUTED = "insert into post_mortem_settlement select pack_id, 'x', 'x', 8000 from settlement_packs limit 1"
REVERSED = (
    "insert into ledger_transactions select 9999, 'reversed:' || transfer_id, 'reversed', 7000, '', '' from transfers"
)

STANDING: list[tuple[Callable[[], Made], tuple[str, ...], tuple[str, ...], float, tuple[str, ...]]] = [
    (contests, (), ("contest_transition_due_timestamp_seconds", "c1", "LOCKED"), LOCK_AT // 1000,
     ("update contests set status = 'LOCKED'",)),
    (contests, ("update contests set status = 'LOCKED', start_at = 3000",),
     ("contest_transition_due_timestamp_seconds", "c1", "LIVE"), 3, ("update contests set status = 'CANCELLED'",)),
    (settling, ("update contests set status = 'ERROR', error_code = 'settlement_impossible'",),
     ("contests_in_error", "c1", "settlement_impossible"), 1, ("update contests set status = 'COMPLETE'",)),
    (settling, ("update contests set status = 'COMPLETE', cutoff_at = 7000",),
     ("settlement_due_timestamp_seconds", "c1"), 7, ("update contests set status = 'SETTLED'",)),
    (settling, ("update settlement_audit set status = 'FAILED'",), ("settlement_status", "c1", "FAILED"), 1,
     ("update settlement_audit set status = 'SUCCEEDED'",)),
    (settling, ("update contests set status = 'COMPLETE'",
                "update leases set holder = 'system:settlement:another', epoch = epoch + 1, acquired_at = expires_at,"
                " expires_at = 9999999999999"),
     ("settlement_lease_expiry_timestamp_seconds",), 9_999_999_999, ("update leases set expires_at = acquired_at",
                                                                    "update contests set status = 'SETTLED'")),
    (paying, (FAILED,), ("payout_transfer_failed_timestamp_seconds", "c1", "account_closed"), 9,
     ("update transfers set status = 'PAID', reason = null",)),
    (paying, (f"{STUCK} 'rate_limit'",), ("payout_transfer_retryable_oldest_timestamp_seconds", "c1"), 4,
     ("update transfers set status = 'PAID'",)),
    (paying, (f"{STUCK} 'idempotency_error'",), ("payout_idempotency_conflicts_open", "c1"), 1,
     ("update transfers set status = 'PAID', reason = null",)),
    (lambda: paying(prize_shares_bp=(5_000, 5_000)), (f"{STUCK} 'rate_limit' where user_id = 'ann'",),
     ("payout_batch_partial_oldest_timestamp_seconds", "c1"), 4, ("update transfers set status = 'PAID'",)),
    (paying, ("delete from transfers", "update contests set status = 'SETTLED', settled_at = 2000"),
     ("payout_due_timestamp_seconds", "c1"), 2, ("update contests set status = 'PAID_OUT'",)),
    (healing, ORDER, ("remediation_order_oldest_open_timestamp_seconds", "h1"), 6,
     ("update remediation_orders set status = 'COMPLETED', finished_at = 7000",)),
    (healing, (*ORDER[:1], "update incidents set level = 'L2'"),
     ("host_incident_unmatched_timestamp_seconds", "h1", "service_running"), 5,
     ("update incidents set status = 'RESOLVED'",)),
    (healing, (*ORDER, "update remediation_orders set status = 'EXPIRED', finished_at = 8000"),
     ("healing_rule_failed_timestamp_seconds", "R1"), 8, ("update remediation_orders set status = 'COMPLETED'",)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "begin", "series", "value", "end"), STANDING)
def test_a_metric_stands_as_long_as_its_matter(
    make: Callable[[], Made], begin: tuple[str, ...], series: tuple[str, ...], value: float, end: tuple[str, ...]
) -> None:
    world, service = make()
    if begin:
        world.due(service)
        assert series not in world.metrics.standing
    for sql in begin:
        world.write(lambda tx, sql=sql: tx.run(sql))
    world.due(service)
    assert world.metrics.standing[series] == value
    for sql in end:
        world.write(lambda tx, sql=sql: tx.run(sql))
    world.due(service)
    assert series not in world.metrics.standing


@pytest.mark.parametrize(
    ("make", "sql", "series", "value"),
    [
        (settling, UNEXECUTED, ("settlement_packs_unexecuted_timestamp_seconds", "c1", "EXECUTED"), 8),
        (paying, REVERSED, ("payout_transfer_reversed_timestamp_seconds", "c1"), 7),
    ],
)
def test_of_what_nothing_undoes_the_instant_is_told(
    make: Callable[[], Made], sql: str, series: tuple[str, ...], value: float
) -> None:
    world, service = make()
    world.due(service)
    assert series not in world.metrics.standing
    world.write(lambda tx: tx.run(sql))
    world.due(service)
    assert world.metrics.standing[series] == value


def test_a_host_is_down_while_an_order_does_not_reach_it_and_untold_of_without_one() -> None:
    world, service = healing()

    class Nobody:
        async def run(self, **_: Any) -> Any:
            raise ConnectionFailed("refused")

    for sql in (
        "update incidents set host = 'lin-1'",
        "update remediation_orders set host = 'lin-1', expires_at = 1e15, rule_id = 'L1-LIN-SERVICE-STOPPED'",
    ):
        for first in ORDER if "incidents" in sql else ():
            world.write(lambda tx, first=first: tx.run(first))
        world.write(lambda tx, sql=sql: tx.run(sql))
    world.hosts = Nobody()
    service = world.life(HealingService)
    world.work(service)
    assert world.metrics.standing["host_up", "lin-1"] == 0
    world.write(lambda tx: tx.run("update remediation_orders set status = 'COMPLETED', finished_at = 7000"))
    world.due(service)
    assert ("host_up", "lin-1") not in world.metrics.standing


def test_a_mismatch_ends_with_the_replay_that_finds_none() -> None:
    world, audits = scores()
    wrong = "insert into score_audits values (1, 't1', 5000, 9, 3)"
    world.write(lambda tx: tx.run(wrong))
    world.due(audits)
    assert world.metrics.standing["score_audit_mismatches", "t1"] == 3
    world.runtime.at = START
    world.run(world.store.transact("scores.replay", lambda tx: replay_now(tx, "t1")))
    world.due(audits)
    assert world.metrics.standing["score_audit_mismatches", "t1"] == 0


def test_a_change_that_the_store_refused_stands_until_it_is_made() -> None:
    world, service = contests()
    world.due(service)
    world.runtime.at = LOCK_AT
    served = world.store.transact

    async def refuse(operation: str, fn: Callable[[Any], Any]) -> Any:
        if operation == "contests.advance":
            raise StoreBusy(operation)
        return await served(operation, fn)

    series = ("contest_status_transitions_failed", "c1", "SCHEDULED", "LOCKED")
    world.store.transact = refuse  # type: ignore[method-assign]
    with pytest.raises(StoreBusy):
        world.work(service)
    assert world.metrics.standing[series] == 1
    world.store.transact = served  # type: ignore[method-assign]
    world.work(service)
    assert series not in world.metrics.standing


# --- payments ---------------------------------------------------------------------------------------------------------


def test_a_webhook_that_waits_is_told_of_until_it_is_applied_or_nobody_could_any_more() -> None:
    platform, series = Platform(), ("webhook_waiting_oldest_timestamp_seconds",)
    for number, ends in enumerate(("given up", "applied")):
        waits = f"insert into checkpoints values ('webhook:e{number}', '{{}}', {platform.runtime.at})"
        platform.write(lambda tx, sql=waits: (tx.run(sql), tx.known.clear()))
        platform.signals.notify("webhooks")
        assert platform.due("webhooks.waiting") == platform.runtime.at
        assert platform.metrics.standing[series] == platform.runtime.at // 1000
        if ends == "applied":
            platform.write(lambda tx: (tx.run("delete from checkpoints where name like 'webhook:%'"), tx.known.clear()))
        platform.runtime.at += 3 * DAY_MS if ends == "given up" else MINUTE_MS
        platform.signals.notify("webhooks")
        platform.due("webhooks.waiting")
        assert series not in platform.metrics.standing


def read_twice(platform: Platform) -> None:
    """A reading finds what nobody has told; the next says what has not come since."""
    for _ in range(2):
        platform.runtime.at += HOUR_MS
        platform.run(platform.jobs["payments.reconciliation"].work())


def test_a_webhook_that_does_not_come_is_told_of_until_it_does_or_nobody_sends_it_any_more() -> None:
    platform, series = Platform(), ("payment_webhook_missing_oldest_timestamp_seconds",)
    first, second = (platform.processor.pay(platform.entered(name)[1]) for name in ("ann", "bob"))
    platform.deliver(first)
    read_twice(platform)
    assert platform.metrics.standing[series] == second.created_at // 1000
    platform.deliver(second)
    read_twice(platform)
    assert series not in platform.metrics.standing
    third = platform.processor.pay(platform.entered("cid")[1])
    read_twice(platform)
    assert platform.metrics.standing[series] == third.created_at // 1000
    platform.runtime.at = third.created_at + 3 * DAY_MS - 1_000
    platform.run(platform.jobs["payments.reconciliation"].work())
    assert series in platform.metrics.standing
    platform.runtime.at += 1_000
    platform.run(platform.jobs["payments.reconciliation"].work())
    assert series not in platform.metrics.standing


def test_webhooks_that_tell_nothing_new_or_prove_nothing_are_counted_from_nought() -> None:
    platform = Platform()
    _, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    duplicates, forged = ("webhook_duplicates_total",), ("webhook_signature_failures_total",)
    counted = []
    for _ in range(3):
        counted.append((platform.metrics.standing[duplicates], platform.metrics.standing[forged]))
        platform.deliver(event)
    assert counted == [(0, 0), (0, 0), (1, 0)]
    response = platform.run(platform.app.handle(platform.webhook(b"{}", "t=1,v1=00")))
    assert response.status == 400
    assert (platform.metrics.standing[duplicates], platform.metrics.standing[forged]) == (2, 1)


def test_refunds_and_disputes_and_orphans_are_told_of_while_they_are_open() -> None:
    platform = Platform()
    entry_id, _ = platform.entered()
    sqls = {
        "refunds": (("refund_request_oldest_timestamp_seconds",),
                    "insert into refunds values ('r1', 'e', 'pi', 1, 'x', 'PENDING', 'k:0:0', null, 0, 5000, 3000, null)",  # noqa: E501
                    "update refunds set status = 'DONE'"),
        "payments.reconciliation": (("dispute_opened_timestamp_seconds",),
                                    "insert into disputes values ('dp_1', null, null, 1, 0, 'needs_response', 3000, null)",  # noqa: E501
                                    "update disputes set closed_at = 5000"),
        "entries.cancellations": (("payment_intent_orphaned_oldest_timestamp_seconds",),
                                  "update entries set status = 'ABANDONED', closed_at = 3000",
                                  "update payments set status = 'CANCELED'"),
    }  # fmt: skip
    for job, (series, begin, end) in sqls.items():
        for sql, value in ((begin, 3), (end, None)):
            platform.write(lambda tx, sql=sql: tx.run(sql))
            platform.signals.notify("payments")
            platform.due(job)
            assert platform.metrics.standing.get(series) == value, job
    platform.write(lambda tx: tx.run("update refunds set status = 'FAILED_TERMINAL', done_at = 9000"))
    platform.due("refunds")
    assert platform.metrics.standing["refund_failed_timestamp_seconds",] == 9
    assert entry_id


def test_a_processor_that_does_not_answer_is_down_until_a_pass_has_had_its_answers() -> None:
    platform = Platform()
    listing = platform.processor.list_events

    async def nobody(**_: Any) -> Any:
        raise ConnectionFailed("refused")

    platform.due("payments.reconciliation")
    began = platform.metrics.standing["payment_reconciliation_last_success_timestamp_seconds",]
    platform.processor.list_events = nobody  # type: ignore[method-assign]
    platform.work("payments.reconciliation")
    assert platform.metrics.standing["processor_up",] == 0
    platform.processor.list_events = listing  # type: ignore[method-assign]
    platform.runtime.at += 5 * MINUTE_MS
    platform.work("payments.reconciliation")
    assert platform.metrics.standing["processor_up",] == 1
    assert platform.metrics.standing["payment_reconciliation_last_success_timestamp_seconds",] == began + 300


# --- the edge ---------------------------------------------------------------------------------------------------------


def test_introspections_without_an_answer_are_a_share_of_the_last_ten_minutes() -> None:
    platform = Platform()
    introspect = platform.auth.introspect

    async def late(**_: Any) -> Any:
        raise DeadlineExceeded("introspect")

    def rate() -> float:
        platform.call("GET", "/api/admin/status", "ops:olga")
        return platform.metrics.standing["auth_service_error_rate",]

    assert rate() == 0
    platform.auth.introspect = late  # type: ignore[method-assign]
    assert rate() == pytest.approx(2 / 3)  # it was asked twice
    assert platform.metrics.standing["auth_failure_timestamp_seconds", "timeout"] == platform.runtime.at // 1000
    platform.auth.introspect = introspect  # type: ignore[method-assign]
    platform.runtime.at += 10 * MINUTE_MS
    assert rate() == 0


def test_the_error_budget_is_spent_by_failures_and_whole_again_with_the_next_month() -> None:
    metrics = KeptMetrics()
    budget = ErrorBudget(metrics, START)
    for _ in range(REQUESTS_MIN // 100):
        budget.asked(START)
        budget.failed(START, "store_busy")
    assert metrics.standing["error_budget_remaining",] == 0
    budget.asked(START + DAY_MS)
    assert metrics.standing["error_budget_remaining",] == 0
    budget.asked(START + 31 * DAY_MS)
    assert metrics.standing["error_budget_remaining",] == 1


# --- whole runs -------------------------------------------------------------------------------------------------------


def alerts(scenario: str, seed: int, days: int, rules: Operations, tmp_path: Path) -> list[tuple[str, str]]:
    from evidence.journal import JournalWriter
    from simulator.run import simulate

    with RunWriter(tmp_path, "run") as writer:
        plan = make_plan(load(scenario), seed, days=days)
        writer.write_plan(plan)
        simulate(plan, JournalWriter(writer.journal), writer.books, None, rules)
        writer.seal({"code": "0" * 64})
        return [
            (alert, state) for alert, state in Evidence.open(writer.path).rows("monitoring.alerts", "alert", "state")
        ]


def test_thirty_days_without_an_incident_have_no_alert_nor_have_their_idle_weeks(
    rules: Operations, tmp_path: Path
) -> None:
    assert alerts("calm", 1, 30, rules, tmp_path) == [("Watchdog", "firing")]


def test_an_outage_of_the_provider_and_webhooks_that_do_not_come_are_an_alert_each_and_its_end(
    rules: Operations, tmp_path: Path
) -> None:
    watchdog, *heard = alerts("default", 5, 14, rules, tmp_path)
    assert watchdog == ("Watchdog", "firing")
    for name in ("IngestionLag", "PaymentWebhookDelayed"):
        assert [state for alert, state in heard if alert == name] == ["firing", "resolved"]
    assert len(heard) == 4


def test_a_provider_that_is_silent_repeats_itself_or_corrects_late_is_told_of_and_all_of_it_ends(
    rules: Operations, tmp_path: Path
) -> None:
    heard = alerts("provider", 1, 14, rules, tmp_path)
    names = {"IngestionLag", "IngestionQuarantine", "IngestionNothingNew", "CorrectionAfterSettlement"}
    assert {name for name, _ in heard} == {"Watchdog", *names}
    for name in names:
        assert heard.count((name, "firing")) == heard.count((name, "resolved")) > 0
