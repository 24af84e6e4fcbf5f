"""The runbooks of what the platform stands on, each carried out while it is away and when it is back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from contest_platform import audit
from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, Introspection
from contest_platform.services.anchoring import AnchoringService
from contest_platform.services.healing import ORDER_LIFE_MS, HealingService
from contest_platform.services.score_audit import ScoreAuditService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import CTX
from tests.support.runbook_world import RunbookWorld
from tests.support.tried import REFUSED, Tried, handed_on, healed, tables


@dataclass
class Patient(Tried):
    """Somebody who writes down what he did as soon as it is taken, and does nothing before that."""

    async def _tell(self, what: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        for _ in range(10_000):
            told = {**self.world.headers(), **(headers or {})}
            response: Response = await self.world.app.handle(Request("POST", f"/api/admin/runbooks/{what}", told, body))
            if response.status == 200:
                return response
            assert response.status in (401, 503), (what, response)
            await self.pass_time(MINUTE_MS)
        raise AssertionError("it is never taken")


# --- database_connection_failure --------------------------------------------------------------------------------------

DATABASE = "database_connection_failure"


def outage(world: RunbookWorld, hours: int) -> Callable[[], None]:
    """Begins when it is called: no transaction is served for so long."""

    def begins() -> None:
        until = world.runtime.at + hours * HOUR_MS
        world.store.fails = lambda _: world.runtime.at < until

    return begins


def unsettled() -> RunbookWorld:
    world = RunbookWorld()
    world.entered()
    world.play()
    return world


@dataclass
class Down(Patient):
    """As long as the database is away, the jobs find out and try again later."""

    async def _tick(self, job: Any) -> None:
        if not self.world.store.fails(""):  # type: ignore[attr-defined]
            await super()._tick(job)


@pytest.mark.parametrize("step", ["Diagnosis/1", "Diagnosis/2", "Recovery/1", "Recovery/2", "Verification/2"])
def test_the_database_is_waited_for_whenever_it_goes_and_what_stood_still_goes_on(step: str) -> None:
    world = unsettled()
    world.runtime.at += 20 * MINUTE_MS
    jobs = [*world.reconciliation(), *world.settlement()]
    control = Down(world, jobs)
    control.meanwhile = {step: outage(world, 2)}
    if step == "Verification/2":
        control.meanwhile = {step: outage(world, 0)}
    healed(DATABASE, control)
    assert world.status() == "SETTLED"
    assert "Recovery/1" in control.steps
    checkpoint = world.rows("select * from checkpoints where name = 'payments.reconciled'")
    assert checkpoint[0]["updated_at"] > world.row("contests", contest_id="c1")["cutoff_at"]


def test_a_database_that_serves_again_has_nothing_changed_but_the_books_read() -> None:
    world = RunbookWorld()
    control = healed(DATABASE, Tried(world, world.reconciliation()))
    assert control.steps[0] == "Diagnosis/1"
    assert len(control.steps) == 8


def test_what_still_stands_when_the_database_is_back_is_handed_on() -> None:
    world = unsettled()
    world.runtime.at += 20 * MINUTE_MS
    before = {**tables(world), "checkpoints": 0}
    handed_on(DATABASE, Tried(world), "Recovery/3")
    assert {**tables(world), "checkpoints": 0} == before
    handed_on(DATABASE, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1")


# --- auth_service_unavailable -----------------------------------------------------------------------------------------

AUTH = "auth_service_unavailable"


class AwayAuth:
    """Answers for Kim, but not before the clock stands at `until`; `only_health`: the others are answered."""

    def __init__(self, world: RunbookWorld) -> None:
        self._runtime, self.until = world.runtime, 0

    async def introspect(self, *, token_id: str) -> Introspection:
        if self._runtime.at < self.until:
            raise DeadlineExceeded("lost")
        kim = token_id == "tok-ops:kim"
        return Introspection(kim, "ops:kim" if kim else "", "" if kim else "unknown")


def signing_in() -> tuple[RunbookWorld, AwayAuth]:
    world = RunbookWorld()
    auth = AwayAuth(world)
    world.auth.introspect = auth.introspect
    return world, auth


@pytest.mark.parametrize("step", ["Diagnosis/1", "Diagnosis/2", "Recovery/1"])
def test_the_identity_provider_is_waited_for_until_it_has_answered_for_an_hour(step: str) -> None:
    world, auth = signing_in()
    back_at = world.runtime.at + 3 * HOUR_MS

    def goes() -> None:
        auth.until = back_at

    before = tables(world)
    healed(AUTH, Patient(world, meanwhile={step: goes}))
    assert world.runtime.at >= back_at + HOUR_MS
    denied = world.rows("select * from access_log where not allowed")
    assert denied
    assert all("identity provider unreachable" in row["reason"] for row in denied)
    assert tables(world) == before


def test_an_identity_provider_that_answers_again_is_only_looked_at() -> None:
    world, _ = signing_in()
    began_at = world.runtime.at
    control = healed(AUTH, Tried(world))
    assert len(control.steps) == 6
    assert world.runtime.at < began_at + 10 * MINUTE_MS


def test_an_identity_provider_that_comes_and_goes_is_handed_on() -> None:
    world, auth = signing_in()

    class Flapping(Patient):
        async def pass_time(self, ms: int) -> None:
            await super().pass_time(ms)
            auth.until = self.now() + MINUTE_MS if self.now() // MINUTE_MS % 30 < 5 else 0

    auth.until = world.runtime.at + HOUR_MS
    handed_on(AUTH, Flapping(world), "Recovery/1")


# --- audit_anchor_stale -----------------------------------------------------------------------------------------------

ANCHOR = "audit_anchor_stale"


class Elsewhere:
    """The outside book, out of reach until the clock stands at `down_until`; and a pager that takes everything."""

    def __init__(self, world: RunbookWorld) -> None:
        self._runtime, self.down_until = world.runtime, 0
        self.heads: list[int] = []

    async def publish(self, *, head_seq: int, head_hash: str) -> None:
        if self._runtime.at < self.down_until:
            raise ConnectionFailed
        self.heads.append(head_seq)

    async def send(self, **event: Any) -> None:
        return None


def stale(hours: int) -> tuple[RunbookWorld, Elsewhere, AnchoringService]:
    """Published once, and then not for three hours, nor for `hours` to come."""
    world = RunbookWorld()
    world.anchor = world.pager = elsewhere = Elsewhere(world)
    anchoring = world.life(AnchoringService)
    world.work(anchoring)
    world.write(lambda tx: audit.append(tx, CTX, "refuse.entry", "contests/c1", reason="contest_full"))
    elsewhere.down_until = world.runtime.at + (3 + hours) * HOUR_MS
    for _ in range(3):
        world.step(anchoring)
    assert "stale=" in world.opsctl("anchor status").text
    return world, elsewhere, anchoring


def test_the_anchor_is_waited_for_until_it_has_the_head_again() -> None:
    world, elsewhere, anchoring = stale(5)
    healed(ANCHOR, Tried(world, list(anchoring.jobs())))
    assert len(elsewhere.heads) == 2
    assert world.runtime.at >= elsewhere.down_until


def test_an_anchor_that_was_reached_in_the_meantime_is_only_watched_for_another_hour() -> None:
    world, _, anchoring = stale(0)
    world.step(anchoring)
    assert world.opsctl("anchor status").text.startswith("stale=no")
    began_at = world.runtime.at
    healed(ANCHOR, Tried(world, list(anchoring.jobs())))
    assert world.runtime.at <= began_at + 2 * HOUR_MS


def test_an_anchor_out_of_reach_for_more_than_a_day_and_a_broken_chain_are_handed_on() -> None:
    world, _, anchoring = stale(48)
    handed_on(ANCHOR, Tried(world, list(anchoring.jobs())), "Recovery/1")
    world, elsewhere, _ = stale(1)
    world.connection.execute("drop trigger audit_log_refuses_update")
    world.connection.execute("update audit_log set reason = 'nothing' where seq = 1")
    handed_on(ANCHOR, Tried(world), "Diagnosis/1")
    assert len(elsewhere.heads) == 1


# --- remediation_order_stuck ------------------------------------------------------------------------------------------

ORDER = "remediation_order_stuck"


def stopped(target: str = "ingestion", down: bool = True) -> tuple[RunbookWorld, HealingService]:
    """A service of win-1 has stopped, and an order to start it has been open for an hour; the host may be down."""
    world = RunbookWorld()
    healing = world.life(HealingService)
    world.hosts.stopped = {("win-1", target)}
    if down:
        world.hosts.down = {"win-1": ConnectionFailed("down")}
    world.report(healing, "win-1", target)
    if down:
        world.work(healing)
    world.runtime.at += HOUR_MS
    return world, healing


def orders(world: RunbookWorld) -> list[str]:
    return [row["status"] for row in world.rows("select status from remediation_orders order by issued_at")]


def at(world: RunbookWorld, when: int, then: Callable[[], None]) -> Any:
    """A job that does something once the clock stands at `when`."""

    class Once:
        name, topic, period_ms, done = f"once-{when}", "", MINUTE_MS, False

        async def due(self) -> int | None:
            return None if self.done else when

        async def work(self) -> None:
            self.done = True
            then()

    return Once()


def test_a_host_that_was_down_for_longer_than_its_order_lived_gets_another_and_is_healed() -> None:
    world, healing = stopped()
    back = at(world, world.runtime.at + 4 * HOUR_MS, world.hosts.down.clear)
    control = healed(ORDER, Tried(world, [*healing.jobs(), back]), host="win-1")
    assert orders(world) == ["EXPIRED", "COMPLETED"]
    assert world.hosts.stopped == set()
    assert "Recovery/4" in control.steps


def test_an_order_that_succeeds_before_its_time_is_over_is_waited_for() -> None:
    world, healing = stopped()
    back = at(world, world.runtime.at + 20 * MINUTE_MS, world.hosts.down.clear)
    control = healed(ORDER, Tried(world, [*healing.jobs(), back]), host="win-1")
    assert orders(world) == ["COMPLETED"]
    assert "Recovery/4" not in control.steps


def test_a_host_that_was_healed_in_the_meantime_is_only_verified() -> None:
    world, healing = stopped(down=False)
    world.work(healing)
    control = healed(ORDER, Tried(world), host="win-1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_service_that_no_order_starts_is_handed_on_and_not_ordered_for_ever() -> None:
    world, healing = stopped(down=False)
    world.hosts.broken = {("win-1", "ingestion")}
    handed_on(ORDER, Tried(world, list(healing.jobs())), "Recovery/6", host="win-1")
    assert orders(world) == ["EXPIRED", "EXPIRED"]


def test_an_order_that_the_agent_has_asked_for_meanwhile_is_not_doubled() -> None:
    world, healing = stopped()
    back = at(world, world.runtime.at + 4 * HOUR_MS, world.hosts.down.clear)
    control = Tried(world, [*healing.jobs(), back])
    control.meanwhile = {"Recovery/4": lambda: world.report(healing, "win-1", "ingestion")}
    healed(ORDER, control, host="win-1")
    assert orders(world) == ["EXPIRED", "COMPLETED"]


def test_an_order_that_is_refused_leaves_everything_as_it_was() -> None:
    world, healing = stopped()
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    world.hosts.down.clear()
    before = tables(world)
    handed_on(ORDER, Tried(world, refused={"Recovery/4": REFUSED}), "Recovery/4", host="win-1")
    assert tables(world) == before


# --- daemon_heartbeat_missed ------------------------------------------------------------------------------------------

HEARTBEAT = "daemon_heartbeat_missed"


class While:
    """The jobs of a daemon that works only while its service on win-1 runs."""

    def __init__(self, world: RunbookWorld, service: str, job: Any) -> None:
        self._world, self._service, self._job = world, service, job
        self.name, self.topic, self.period_ms, self.work = job.name, job.topic, job.period_ms, job.work

    async def due(self) -> int | None:
        runs = ("win-1", self._service) not in self._world.hosts.stopped
        return await self._job.due() if runs else None


def dead_settlement(down: bool) -> tuple[RunbookWorld, HealingService, list[Any]]:
    """The settlement daemon of win-1 is gone, at the cut-off of a contest."""
    world = unsettled()
    healing = world.life(HealingService)
    world.hosts.stopped = {("win-1", "settlement")}
    if down:
        world.hosts.down = {"win-1": ConnectionFailed("down")}
    world.report(healing, "win-1", "settlement")
    world.runtime.at += 20 * MINUTE_MS
    [job] = world.life(SettlementService).jobs()
    return world, healing, [*healing.jobs(), While(world, "settlement", job)]


def test_a_daemon_whose_order_ended_in_vain_is_started_and_takes_up_its_work() -> None:
    world, _, jobs = dead_settlement(down=True)
    back = at(world, world.runtime.at + 5 * HOUR_MS, world.hosts.down.clear)
    control = healed(HEARTBEAT, Tried(world, [*jobs, back]), daemon="settlement")
    assert world.status() == "SETTLED"
    assert "Recovery/3" in control.steps


def test_an_order_for_a_daemon_that_never_arrived_is_asked_for_again() -> None:
    world, _, jobs = dead_settlement(down=True)
    back = at(world, world.runtime.at + 5 * HOUR_MS, world.hosts.down.clear)
    control = healed(HEARTBEAT, Tried(world, [*jobs, back], dropped=["Recovery/3"]), daemon="settlement")
    assert world.status() == "SETTLED"
    assert control.steps.count("Recovery/3") == 2


def test_a_daemon_that_healing_starts_is_waited_for() -> None:
    world, _, jobs = dead_settlement(down=False)
    control = healed(HEARTBEAT, Tried(world, jobs), daemon="settlement")
    assert world.status() == "SETTLED"
    assert "Recovery/3" not in control.steps


def test_a_daemon_that_no_order_starts_is_handed_on() -> None:
    world, _, jobs = dead_settlement(down=False)
    world.hosts.broken = {("win-1", "settlement")}
    money = world.balances()
    handed_on(HEARTBEAT, Tried(world, jobs), "Recovery/4", daemon="settlement")
    assert (world.status(), world.balances()) == ("COMPLETE", money)


def test_a_daemon_that_nobody_reports_and_whose_work_is_not_done_is_handed_on() -> None:
    world = unsettled()
    world.runtime.at += HOUR_MS
    before = tables(world)
    handed_on(HEARTBEAT, Tried(world), "Recovery/5", daemon="settlement")
    assert tables(world) == before


def test_a_daemon_that_is_back_is_only_looked_at() -> None:
    world = RunbookWorld()
    before = tables(world)
    control = healed(HEARTBEAT, Tried(world), daemon="ingestion")
    assert "Recovery/1" not in control.steps
    assert tables(world) == before


# --- metric_absent ----------------------------------------------------------------------------------------------------

ABSENT = "metric_absent"


def measured(world: RunbookWorld) -> set[str]:
    return {series[0] for series in world.metrics.standing}


def test_what_is_not_measured_is_measured_again_once_every_job_has_worked() -> None:
    world = unsettled()
    world.work(world.life(SettlementService))
    world.anchor = Elsewhere(world)
    jobs = [*world.ingestion(), *world.reconciliation(), *world.life(AnchoringService).jobs()]
    world.metrics.standing.clear()
    control = healed(ABSENT, Tried(world, jobs), metric="quarantined_batches")
    assert {"Recovery/1", "Recovery/2", "Recovery/3"} <= {*control.steps}
    assert {"quarantined_batches", "audit_anchor_last_success_timestamp_seconds"} <= measured(world)
    assert any(name.endswith("reconciliation_last_success_timestamp_seconds") for name in measured(world))


def test_what_the_missing_metric_would_have_told_is_handed_on() -> None:
    world = unsettled()
    world.work(world.life(SettlementService))
    world.anchor = Elsewhere(world)
    world.connection.execute("update hole_scores set strokes = 9")
    world.work(world.life(ScoreAuditService))
    before = tables(world)
    handed_on(ABSENT, Tried(world), "Diagnosis/3", metric="score_audit_mismatches")
    assert tables(world) == before


def test_a_job_that_does_not_work_is_handed_on() -> None:
    world = unsettled()
    world.work(world.life(SettlementService))
    scores = world.rows("select * from hole_scores")
    handed_on(ABSENT, Tried(world), "Recovery/2", metric="quarantined_batches")
    jobs = world.ingestion()
    handed_on(ABSENT, Tried(world, jobs), "Recovery/4", metric="audit_anchor_last_success_timestamp_seconds")
    control = Tried(world, jobs, refused={"Recovery/3": REFUSED})
    handed_on(ABSENT, control, "Recovery/3", metric="auth_service_error_rate")
    assert world.rows("select * from hole_scores") == scores
