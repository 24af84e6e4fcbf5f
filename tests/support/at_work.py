"""For every runbook that has a Rollback, worlds in which it has work: how to prepare them, and whose alert opens it.

Invariant: each call of a case makes the same world anew, down to the ids in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, ServiceUnavailable
from contest_platform.services.anchoring import AnchoringService
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import ORDER_LIFE_MS, HealingService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests import test_runbooks_contests as contests
from tests import test_runbooks_fleet as fleet
from tests import test_runbooks_ingestion as ingestion
from tests import test_runbooks_overdue as overdue
from tests import test_runbooks_payments as payments
from tests import test_runbooks_payouts as payouts
from tests import test_runbooks_platform as platform
from tests import test_runbooks_tasks as tasks
from tests import test_runbooks_watch as watch
from tests.support.admin_world import AdminWorld
from tests.support.contest_world import LOCK_AT, OVER_AT
from tests.support.runbook_world import CARDS, RunbookWorld
from tests.support.tried import Tried


@dataclass(frozen=True)
class Case:
    """`begin` makes the world, and the control with which the runbook goes as written to its end."""

    begin: Callable[[], Tried]
    labels: Mapping[str, str] = field(default_factory=dict)


def _case(begin: Callable[[], Tried], **labels: str) -> Case:
    return Case(begin, labels)


# --- payouts ----------------------------------------------------------------------------------------------------------


def _paid_out(*script: str, then: tuple[str, ...] = ()) -> Callable[[], Tried]:
    def begin() -> Tried:
        world = payouts.paid_out(*script)
        world.processor.script = list(then)
        return payouts.tried(world)

    return begin


def _one_noted_before() -> Tried:
    """Somebody has looked into ann's transfer already: that note is none of this execution's business."""
    world = payouts.refused_for_good("resource_missing")
    payouts.healed("payout_transfer_failed", payouts.tried(world), contest_id="c1", reason="resource_missing")
    bob = world.row("transfers", user_id="bob")["transfer_id"]
    world.connection.execute("delete from checkpoints where name = ?", (f"payouts.resolved:{bob}",))
    return payouts.tried(world)


def _not_triggered() -> Tried:
    world = payouts.settled()
    return Tried(world, meanwhile={"Recovery/2": lambda: world.work(world.life(PayoutsService))})


def _payouts_idle() -> Tried:
    """The scheduler of payouts lives, does nothing when it is woken, and works in its next life."""
    world = payouts.settled()
    control = Tried(world)
    world.hosts.on_restart = lambda: setattr(control, "jobs", payouts.all_of(world.life(PayoutsService)))
    return control


# --- contests ---------------------------------------------------------------------------------------------------------


def _given_up() -> Tried:
    world = contests.mended(contests.given_up())
    return Tried(world, contests.daemons(world))  # type: ignore[arg-type]


def _late() -> Tried:
    world = overdue.late()
    world.processor.down_until = world.runtime.at + HOUR_MS
    world.provider.down_until = world.runtime.at + 2 * HOUR_MS
    jobs = [*world.reconciliation(), *world.ingestion()]
    control, daemons = Tried(world, jobs), world.contests()
    control.meanwhile = {"Diagnosis/4": lambda: setattr(control, "jobs", [*jobs, *daemons])}
    return control


def _unsettled() -> Tried:
    world = overdue.unsettled(official=False)
    world.provider.down_until = world.runtime.at + 4 * HOUR_MS
    return Tried(world, [*world.ingestion(), *world.settlement()])


def _never_begun() -> Tried:
    world = overdue.unsettled(official=True)
    control = Tried(world)
    control.meanwhile = {"Recovery/3": lambda: setattr(control, "jobs", world.settlement())}
    return control


def _alive_and_idle() -> Tried:
    """The settlement daemon lives, does nothing when it is woken, and works in its next life."""
    world = overdue.unsettled(official=True)
    control = Tried(world)
    world.hosts.on_restart = lambda: setattr(control, "jobs", world.settlement())
    return control


def _abandoned() -> Tried:
    """The host of the settlement daemon was down for so long that the order to start it has run out."""
    world = overdue.abandoned()
    healing = world.life(HealingService)
    world.hosts.stopped, world.hosts.down = {("win-1", "settlement")}, {"win-1": ConnectionFailed("down")}
    world.report(healing, "win-1", "settlement")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    [job] = world.settlement()

    async def due() -> int | None:
        return None if world.hosts.stopped else await job.due()

    return Tried(world, [*healing.jobs(), replace(job, due=due)])


def _corrected() -> Tried:
    world = overdue.corrected(before_settlement=True)
    world.connection.execute("update hole_scores set strokes = 4 where golfer_id = 'g1' and hole = 1")
    return Tried(world, world.settlement())


# --- ingestion --------------------------------------------------------------------------------------------------------


def _given_up_ingestion() -> Tried:
    world, healing = ingestion.given_up(ingestion.in_play())
    world.provider.publish(CARDS)
    return Tried(world, [*healing.jobs(), ingestion.Polling(world)])


def _held_back(hours: int) -> Callable[[], Tried]:
    def begin() -> Tried:
        world = ingestion.held_back(hours)
        return Tried(world, world.ingestion())

    return begin


def _still_in_quarantine() -> Tried:
    world = ingestion.held_back(hours=1)
    world.poll()
    world.connection.execute("drop trigger quarantine_resolutions_refuses_delete")
    world.connection.execute("delete from quarantine_resolutions")
    return Tried(world, world.ingestion())


def _in_play() -> Tried:
    world = ingestion.in_play()
    return Tried(world, world.ingestion())


# --- payments ---------------------------------------------------------------------------------------------------------


def _payments(prepare: Callable[[payments.Payments], Any]) -> Callable[[], Tried]:
    def begin() -> Tried:
        world = payments.Payments()
        world.reconciled()
        prepare(world)
        return payments.tried(world)

    return begin


def _disputed(world: payments.Payments) -> None:
    payments.disputed(world)
    world.reconciled()


def _refund_refused(world: payments.Payments) -> None:
    payments.asked_back(world, "ann")
    world.processor.troubles["refunds.create"] = [
        (payments.ProcessorError(400, "invalid_request_error", "charge_disputed", "the bank has it"), False)
    ]
    world.runtime.at += HOUR_MS
    world.work("refunds")


# --- platform ---------------------------------------------------------------------------------------------------------


def _database() -> Tried:
    world = platform.unsettled()
    world.runtime.at += 20 * MINUTE_MS
    return Tried(world, [*world.reconciliation(), *world.settlement()])


def _signing_in() -> Tried:
    return Tried(platform.signing_in()[0])


def _stale_anchor() -> Tried:
    world, _, anchoring = platform.stale(5)
    return Tried(world, list(anchoring.jobs()))


def _order_stuck() -> Tried:
    world, healing = platform.stopped()
    back = platform.at(world, world.runtime.at + 4 * HOUR_MS, world.hosts.down.clear)
    return Tried(world, [*healing.jobs(), back])


def _dead_daemon() -> Tried:
    world, _, jobs = platform.dead_settlement(down=True)
    return Tried(world, [*jobs, platform.at(world, world.runtime.at + 5 * HOUR_MS, world.hosts.down.clear)])


def _dead_ingestion() -> Tried:
    """Nobody has polled for three hours, in play."""
    world, healing = ingestion.given_up(ingestion.in_play())
    world.runtime.at += HOUR_MS
    world.provider.publish(CARDS)
    return Tried(world, [*healing.jobs(), ingestion.Polling(world)])


def _not_measured() -> Tried:
    world = platform.unsettled()
    world.work(world.life(SettlementService))
    world.anchor = platform.Elsewhere(world)
    jobs = [*world.ingestion(), *world.reconciliation(), *world.life(AnchoringService).jobs()]
    world.metrics.standing.clear()
    return Tried(world, jobs)


# --- tasks ------------------------------------------------------------------------------------------------------------


def _nothing(world: AdminWorld) -> None:
    """All is in order."""


def running() -> AdminWorld:
    """A platform that runs, with a contest, an entry and an audit log that is anchored outside."""
    world = AdminWorld()
    world.anchor = tasks.Witness()
    world.offer()
    world.enter("ann")
    world.work(world.life(AnchoringService))
    return world


def _task(prepare: Callable[[AdminWorld], Any] = _nothing, *lost: str) -> Callable[[], Tried]:
    def begin() -> Tried:
        world = running()
        prepare(world)
        return tasks.tried(world, lost=lost)

    return begin


def _drift(world: AdminWorld) -> None:
    tasks.drift(world, auth_timeout_ms=8_000, provider_timeout_ms=8_000)


def _too_small(world: AdminWorld) -> None:
    tasks.drift(world, database_connections=5, database_timeout_ms=3_000, auth_timeout_ms=8_000)


# --- hosts and the watch over all of it -------------------------------------------------------------------------------


def _host_away() -> Tried:
    world, healing = platform.stopped()
    back = platform.at(world, world.runtime.at + 9 * HOUR_MS - 30 * MINUTE_MS, world.hosts.down.clear)
    return Tried(world, [*healing.jobs(), back])


def _rule_in_vain() -> Tried:
    world, healing = fleet.in_vain()
    return Tried(world, list(healing.jobs()))


def _strange(check: str) -> Callable[[], Tried]:
    def begin() -> Tried:
        world, healing = fleet.strange(check)
        world.hosts.ahead_s = {"win-1": -400} if check == "secure_channel" else {}
        return Tried(world, list(healing.jobs()))

    return begin


def _wrong_clock() -> Tried:
    world = fleet.wrong(win_1=120)
    world.hosts.down = {"win-1": ConnectionFailed("down")}
    return Tried(world, [platform.at(world, world.runtime.at + 5 * HOUR_MS, world.hosts.down.clear)])


def _not_live() -> Tried:
    world = watch.locked(books=False, field=False)
    world.provider.down_until = world.runtime.at + HOUR_MS
    return Tried(world, watch.daemons(world))


def _not_complete() -> Tried:
    world = watch.locked(books=False)
    world.work(world.life(ContestsService))
    world.runtime.at = OVER_AT
    world.event_over()
    world.processor.down_until = OVER_AT + HOUR_MS
    return Tried(world, [*world.contests(), *world.reconciliation()])


def _orphaned() -> Tried:
    world = watch.linked(watch.lose("bob"), 10_000)
    settlement = world.life(SettlementService)
    world.store.fails = lambda operation: operation == "settlement.close"
    with pytest.raises(ServiceUnavailable):
        world.work(settlement)
    world.store.fails = lambda _: False
    return Tried(world, list(settlement.jobs()))


def _budget_spent() -> Tried:
    world = RunbookWorld()
    watch.spent(world)
    return Tried(world, world.reconciliation())


def _unwatched() -> Tried:
    world = watch.unwatched()
    return Tried(world, watch.all_daemons(world))


def _unwatched_without_a_provider() -> Tried:
    world = watch.locked()
    world.anchor = platform.Elsewhere(world)
    world.work(world.life(ContestsService))
    world.reconciled(world.runtime.at)
    world.runtime.at = LOCK_AT + HOUR_MS
    world.provider.down_until = world.runtime.at + 3 * HOUR_MS
    world.poll()
    return Tried(world, watch.all_daemons(world))


CASES: dict[str, tuple[Case, ...]] = {
    "alerting_down": (_case(_unwatched), _case(_unwatched_without_a_provider)),
    "audit_anchor_stale": (_case(_stale_anchor),),
    "auth_service_unavailable": (_case(_signing_in),),
    "backup_contest_data": (_case(_task()), _case(_task(_nothing, "Steps/1", "Steps/3"))),
    "backup_too_old": (_case(_task()), _case(_task(_nothing, "Recovery/1"))),
    "chargeback_received": (_case(_payments(_disputed)),),
    "configuration_change": (_case(_task(_drift)),),
    "contest_in_error": (_case(_given_up, contest_id="c1"),),
    "contest_lock_failed": (_case(lambda: Tried(contests.unlocked("c1", "c2"))),),
    "contest_transition_failed": (_case(_not_live, **watch.TO_LIVE), _case(_not_complete, **watch.TO_COMPLETE)),
    "contest_transition_overdue": (_case(_late),),
    "correction_after_settlement": (_case(_corrected, contest_id="c1"),),
    "daemon_heartbeat_missed": (_case(_dead_daemon, daemon="settlement"), _case(_dead_ingestion, daemon="ingestion")),
    "daily_check": (_case(_task()), _case(_task(_nothing, "Steps/9"))),
    "database_connection_failure": (_case(_database),),
    "duplicate_webhook": (_case(_payments(payments.missed)),),
    "payment_webhook_delayed": (_case(_payments(payments.missed)),),
    "emergency_rollback": (_case(_task(_drift)),),
    "environment_promotion": (_case(_task(_drift)), _case(_task(_drift, "Promotion/1", "Promotion/5"))),
    "error_budget_low": (_case(_budget_spent),),
    "healing_rule_never_succeeds": (_case(_rule_in_vain, rule_id=fleet.WIN),),
    "host_clock_skew": (_case(_wrong_clock, job="ingestion"),),
    "host_incident_unmatched": (_case(_strange("disk_health"), host="win-1", check="disk_health"),
                                _case(_strange("secure_channel"), host="win-1", check="secure_channel")),
    "host_unreachable": (_case(_host_away, host="win-1"),),
    "ingestion_lag": (_case(_given_up_ingestion, tournament_id="t1"),
                      _case(lambda: _with_ingestion(ingestion.silent()), tournament_id="t1")),
    "ingestion_quarantine": (_case(_held_back(8), tournament_id="t1"),
                             _case(_still_in_quarantine, tournament_id="t1")),
    "ingestion_stale_feed": (_case(_in_play, tournament_id="t1"),),
    "metric_absent": (_case(_not_measured, metric="quarantined_batches"),),
    "payment_intent_orphaned": (_case(_payments(lambda world: payments.orphan(world, paid=True))),),
    "payment_reconciliation_stale": (_case(_payments(payments.missed)),),
    "payout_destination_invalid": (
        _case(lambda: payouts.tried(payouts.refused_for_good("account_closed")), contest_id="c1",
              reason="account_closed"),
    ),
    "payout_idempotency_conflict": (_case(lambda: payouts.tried(payouts.in_conflict()), contest_id="c1"),),
    "payout_not_triggered": (_case(_not_triggered, contest_id="c1"), _case(_payouts_idle, contest_id="c1")),
    "payout_partial_batch": (_case(_paid_out("ok", "429", "lost_after"), contest_id="c1"),),
    "payout_transfer_failed": (
        _case(lambda: payouts.tried(payouts.refused_for_good("resource_missing")), contest_id="c1",
              reason="resource_missing"),
        _case(_one_noted_before, contest_id="c1", reason="resource_missing"),
    ),
    "payout_transfer_reversed": (_case(lambda: payouts.tried(payouts.taken_back()), contest_id="c1"),),
    "payout_transfer_stuck_in_retryable": (
        _case(_paid_out("lost_after", "500_not_done"), contest_id="c1"),
        _case(_paid_out("insufficient", then=("insufficient",) * 20), contest_id="c1"),
    ),
    "processor_outage": (_case(_payments(payments.missed)),),
    "refund_request": (
        _case(_payments(lambda world: (payments.asked_back(world, "ann"),
                                       payments.down(world, "refunds.create", times=3))), refund="waiting"),
        _case(_payments(_refund_refused), refund="failed"),
    ),
    "remediation_order_stuck": (_case(_order_stuck, host="win-1"),),
    "restart_services": (_case(_task()),),
    "restore_from_backup": (_case(_task(tasks.take)), _case(_task(tasks.take, "Steps/1"))),
    "scale_database": (_case(_task(_too_small)),),
    "score_discrepancy": (_case(lambda: Tried(ingestion.wrong()), tournament_id="t1"),),
    "settlement_failed_mid_run": (_case(_given_up),),
    "settlement_packs_unexecuted": (_case(_orphaned, **watch.ORPHANED),),
    "settlement_lease_stale": (_case(_abandoned),),
    "settlement_overdue": (_case(_unsettled), _case(_never_begun), _case(_alive_and_idle)),
    "snapshot_ritual": (_case(_task()), _case(_task(_nothing, "Steps/3"))),
    "user_deleted_after_settlement": (
        _case(lambda: payouts.tried(payouts.left()), contest_id="c1", reason="user_deleted"),
    ),
    "webhook_signature_failure": (_case(_payments(payments.missed)),),
    "webhooks_waiting": (_case(_payments(payments.early)),),
    "weekly_maintenance": (_case(_task()), _case(_task(_nothing, "Steps/5", "Steps/7"))),
}  # fmt: skip
"""Runbook -> the cases that together take every one of its steps outside of Rollback."""


def _with_ingestion(world: RunbookWorld) -> Tried:
    return Tried(world, world.ingestion())
