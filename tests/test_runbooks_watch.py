"""The runbooks of steps that failed, packs unexecuted, requests unserved, and alerting that is down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contest_platform.http import Request
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job
from contest_platform.ports import ServiceUnavailable
from contest_platform.services import payout_resolutions
from contest_platform.services.anchoring import AnchoringService
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.score_audit import ScoreAuditService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import CTX, CUTOFF_AT, LOCK_AT, OVER_AT
from tests.support.runbook_world import CARDS, RunbookWorld
from tests.support.tried import REFUSED, Tried, handed_on, healed, tables
from tests.test_runbooks_platform import Down, Elsewhere, Patient, outage

# --- contest_transition_failed ----------------------------------------------------------------------------------------

TRANSITION = "contest_transition_failed"
TO_LIVE = {"contest_id": "c1", "from_status": "LOCKED", "to_status": "LIVE"}
TO_COMPLETE = {"contest_id": "c1", "from_status": "LIVE", "to_status": "COMPLETE"}


def locked(books: bool = True, field: bool = True) -> RunbookWorld:
    """c1 is locked and play should begin; the processor's books and the field may be known."""
    world = RunbookWorld()
    world.entered()
    world.runtime.at = LOCK_AT
    world.work(world.life(ContestsService))
    world.provider.publish(dict.fromkeys(CARDS, ()))
    if field:
        world.poll()
    if books:
        world.reconciled(LOCK_AT)
    world.runtime.at += 2 * MINUTE_MS
    return world


def daemons(world: RunbookWorld) -> list[Job]:
    return [*world.contests(), *world.reconciliation(), *world.ingestion()]


def test_the_step_that_failed_is_told_with_its_contest_until_it_is_made() -> None:
    world = locked()
    contests = world.life(ContestsService)
    world.store.fails = lambda operation: operation == "contests.advance"
    world.due(contests)
    with pytest.raises(ServiceUnavailable):
        world.work(contests)
    series = ("contest_status_transitions_failed", "c1", "LOCKED", "LIVE")
    assert series in world.metrics.standing
    world.store.fails = lambda _: False
    healed(TRANSITION, Tried(world, list(contests.jobs())), **TO_LIVE)
    assert world.status() == "LIVE"
    assert series not in world.metrics.standing


def test_a_contest_without_the_processors_books_has_them_read_and_is_completed() -> None:
    world = locked(books=False)
    world.work(world.life(ContestsService))
    world.runtime.at = OVER_AT
    world.event_over()
    world.processor.down_until = OVER_AT + HOUR_MS
    control = healed(TRANSITION, Tried(world, [*world.contests(), *world.reconciliation()]), **TO_COMPLETE)
    assert (world.status(), "Recovery/1" in control.steps) == ("COMPLETE", True)


def test_a_contest_without_a_field_has_it_asked_for_and_goes_live() -> None:
    world = locked(field=False)
    world.provider.down_until = world.runtime.at + HOUR_MS
    control = healed(TRANSITION, Tried(world, daemons(world)), **TO_LIVE)
    assert (world.status(), "Recovery/3" in control.steps) == ("LIVE", True)


def test_play_that_is_over_completes_the_contest_once_the_database_serves() -> None:
    world = locked()
    world.work(world.life(ContestsService))
    world.runtime.at = OVER_AT
    world.event_over()
    outage(world, 1)()
    healed(TRANSITION, Down(world, world.contests()), **TO_COMPLETE)
    assert world.status() == "COMPLETE"


def test_a_contest_that_has_gone_on_is_only_verified() -> None:
    world = locked()
    world.work(world.life(ContestsService))
    before = tables(world)
    control = healed(TRANSITION, Tried(world), **TO_LIVE)
    assert control.steps == ["Diagnosis/1", "Diagnosis/2", "Verification/1", "Verification/2", "Verification/3"]
    assert tables(world) == before


def test_a_step_that_nobody_takes_is_handed_on_with_everything_as_it_was() -> None:
    world = locked()
    before = tables(world)
    handed_on(TRANSITION, Tried(world), "Recovery/5", **TO_LIVE)
    assert tables(world) == before
    world = locked(field=False)
    before = tables(world)
    handed_on(TRANSITION, Tried(world, refused={"Recovery/3": REFUSED}), "Recovery/3", **TO_LIVE)
    assert tables(world) == before


# --- settlement_packs_unexecuted --------------------------------------------------------------------------------------

PACKS = "settlement_packs_unexecuted"
ORPHANED = {"contest_id": "c1", "status": "ORPHANED_OUTCOME_MISSING"}


def linked(change: Callable[[RunbookWorld], None], *shares: int) -> RunbookWorld:
    """The settlement of c1 has begun, and the links of its packs are not what they were."""
    world = RunbookWorld()
    world.entered(prize_shares_bp=list(shares) or [5_000, 3_000, 2_000])
    world.play()
    world.store.fails = lambda operation: operation == "settlement.execute"
    with pytest.raises(ServiceUnavailable):
        world.work(world.life(SettlementService))
    world.store.fails = lambda _: False
    change(world)
    world.runtime.at += HOUR_MS
    return world


def lose(user: str) -> Callable[[RunbookWorld], None]:
    return lambda world: world.connection.execute(
        "delete from outcome_pack_links where pack_id = ?",
        (world.row("settlement_packs", entry_id=f"c1-{user}")["pack_id"],),
    )


def swap(world: RunbookWorld) -> None:
    """The packs of ann and cyd are linked to each other's outcome."""
    users = ("ann", "cyd")
    packs = [world.row("settlement_packs", entry_id=f"c1-{user}")["pack_id"] for user in users]
    outcomes = [world.row("outcomes", entry_id=f"c1-{user}")["outcome_id"] for user in users]
    world.connection.execute("delete from outcome_pack_links where pack_id in (?, ?)", packs)
    for pack, outcome in zip(packs, reversed(outcomes), strict=True):
        world.connection.execute("insert into outcome_pack_links values (?, ?, 0)", (pack, outcome))


def test_an_orphaned_pack_that_won_nothing_is_seen_and_costs_nobody_anything() -> None:
    world = linked(lose("cyd"), 6_000, 4_000)
    settlement = world.life(SettlementService)
    control = healed_after(world, settlement, ORPHANED)
    told = [record.output for record in control.records]
    assert any("entry_id=c1-cyd prize_cents=0 code=outcome_missing" in text for text in told)
    assert world.status() == "SETTLED"


def healed_after(world: RunbookWorld, settlement: SettlementService, labels: dict[str, str]) -> Tried:
    world.work(settlement)
    world.due(settlement)
    series = ("settlement_packs_unexecuted_timestamp_seconds", *labels.values())
    assert series in world.metrics.standing
    before = tables(world)
    control = healed(PACKS, Tried(world), **labels)
    assert tables(world) == before
    return control


@pytest.mark.parametrize(
    ("change", "status", "step", "aside", "told"),
    [
        (lose("bob"), "ORPHANED_OUTCOME_MISSING", "Recovery/2", 810, "entry_id=c1-bob prize_cents=810"),
        (swap, "FAILED", "Recovery/2", 1_890, "entry_id=c1-ann prize_cents=1350"),
    ],
)
def test_a_prize_that_is_set_aside_is_handed_on_where_it_is(
    change: Callable[[RunbookWorld], None], status: str, step: str, aside: int, told: str
) -> None:
    world = linked(change)
    world.work(world.life(SettlementService))
    assert world.status() == "SETTLED"
    before, money = tables(world), world.balances()
    assert money["liabilities:unexecuted_packs:c1"] == -aside
    outcome = handed_on(PACKS, Tried(world), step, contest_id="c1", status=status)
    assert outcome.escalation is not None
    assert told in str(outcome.escalation.package())
    assert (tables(world), world.balances()) == (before, money)


def test_the_other_packs_are_waited_for() -> None:
    world = linked(lose("bob"), 10_000)
    settlement = world.life(SettlementService)
    world.store.fails = lambda operation: operation == "settlement.close"
    with pytest.raises(ServiceUnavailable):
        world.work(settlement)
    world.store.fails = lambda _: False
    control = healed(PACKS, Tried(world, list(settlement.jobs())), **ORPHANED)
    assert (world.status(), "Recovery/2" in control.steps) == ("SETTLED", True)


# --- error_budget_low -------------------------------------------------------------------------------------------------

BUDGET = "error_budget_low"


def spent(world: RunbookWorld, requests: int = 10) -> None:
    """So many requests are not served."""
    world.store.fails = lambda _: True
    for _ in range(requests):
        assert world.call("GET", "status").status == 503
    world.store.fails = lambda _: False


def test_a_spent_budget_is_told_with_its_cause_and_it_is_waited_until_an_hour_is_quiet() -> None:
    world = RunbookWorld()
    spent(world)
    assert world.metrics.standing["error_budget_remaining",] <= 0
    told = world.opsctl("budget status").text
    assert " failures=10 allowed=10 quiet_s=0 " in told
    assert told.endswith(" last_code=service_unavailable counted_s=0\n")
    began_at = world.runtime.at
    control = healed(BUDGET, Tried(world, world.reconciliation()))
    assert world.runtime.at - began_at >= HOUR_MS
    assert "Recovery/2" in control.steps


def test_a_budget_that_is_spent_on_and_on_is_handed_on() -> None:
    world = RunbookWorld()
    spent(world)

    class Ailing(Patient):
        async def pass_time(self, ms: int) -> None:
            await super().pass_time(ms)
            world.store.fails = lambda _: True
            await world.app.handle(_status(world))
            world.store.fails = lambda _: False

    before = tables(world)
    handed_on(BUDGET, Ailing(world), "Recovery/1")
    assert tables(world) == before


def _status(world: RunbookWorld) -> Request:
    return Request("GET", "/api/admin/status", world.headers(), {})


def test_what_the_unserved_requests_left_undone_is_handed_on() -> None:
    world = RunbookWorld()
    world.entered()
    world.play()
    spent(world)
    world.runtime.at = CUTOFF_AT + 3 * HOUR_MS
    world.connection.execute("insert into ledger_postings values ('t', 1, 'assets:x', 5)")
    handed_on(BUDGET, Tried(world, world.reconciliation()), "Verification/2")


# --- alerting_down ----------------------------------------------------------------------------------------------------

DOWN = "alerting_down"


def unwatched(*script: str) -> RunbookWorld:
    """A platform at work, whose contest is settled and paid by now; `script`: how the processor answers first."""
    world = RunbookWorld()
    world.anchor = Elsewhere(world)
    world.entered()
    world.play()
    world.work(world.life(SettlementService))
    world.processor.script = list(script)
    world.work(world.life(PayoutsService))
    return world


def a_lost_transfer() -> RunbookWorld:
    return unwatched("closed")


def all_daemons(world: RunbookWorld) -> list[Job]:
    return [*daemons(world), *world.life(AnchoringService).jobs()]


def test_what_alerts_would_tell_is_looked_at_by_hand_and_nothing_else_changes() -> None:
    world = unwatched()
    control = healed(DOWN, Tried(world, all_daemons(world)))
    assert [step for step in control.steps if step.startswith("Diagnosis")] == [
        f"Diagnosis/{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)
    ]
    assert world.status() == "PAID_OUT"


def a_wrong_clock(world: RunbookWorld) -> None:
    world.hosts.ahead_s = {"win-1": 600}


def a_contest_in_error(world: RunbookWorld) -> None:
    world.connection.execute("update contests set status = 'ERROR'")


def a_wrong_score(world: RunbookWorld) -> None:
    world.connection.execute("update hole_scores set strokes = 9")
    world.work(world.life(ScoreAuditService))


def a_broken_chain(world: RunbookWorld) -> None:
    world.connection.execute("drop trigger audit_log_refuses_update")
    world.connection.execute("update audit_log set reason = 'nothing' where seq = 1")


def a_contest_that_nobody_locks(world: RunbookWorld) -> None:
    later = {"start_at": world.runtime.at + 9 * HOUR_MS, "end_at": world.runtime.at + 10 * HOUR_MS}
    world.offer("c2", lock_at=world.runtime.at, **later)


@pytest.mark.parametrize(
    ("harm", "step"),
    [
        (a_wrong_clock, 3),
        (a_contest_in_error, 5),
        (a_contest_that_nobody_locks, 8),
        (a_wrong_score, 11),
        (a_broken_chain, 12),
    ],
)
def test_what_would_have_been_an_alert_is_handed_on(harm: Callable[[RunbookWorld], None], step: int) -> None:
    world = unwatched()
    harm(world)
    world.runtime.at += HOUR_MS
    handed_on(DOWN, Tried(world), f"Diagnosis/{step}")


def test_a_transfer_that_failed_for_good_is_handed_on_and_is_no_news_once_somebody_has_looked_into_it() -> None:
    world = a_lost_transfer()
    handed_on(DOWN, Tried(world), "Diagnosis/6")
    transfer = world.row("transfers", entry_id="c1-ann")["transfer_id"]
    world.write(lambda tx: payout_resolutions.resolve(tx, CTX, transfer, "the account is closed"))
    healed(DOWN, Tried(world, all_daemons(world)))


def test_a_provider_that_does_not_answer_is_waited_for() -> None:
    world = locked()
    world.anchor = Elsewhere(world)
    world.work(world.life(ContestsService))
    world.reconciled(world.runtime.at)
    world.runtime.at = LOCK_AT + HOUR_MS
    world.provider.down_until = world.runtime.at + 3 * HOUR_MS
    world.poll()
    control = healed(DOWN, Tried(world, all_daemons(world)))
    assert "Diagnosis/10" in control.steps
    assert world.runtime.at >= world.provider.down_until


def test_books_that_cannot_be_read_and_an_anchor_that_is_stale_are_handed_on() -> None:
    world = unwatched()
    handed_on(DOWN, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1")
    handed_on(DOWN, Tried(world), "Recovery/2")
    handed_on(DOWN, Tried(world, world.reconciliation()), "Recovery/3")
