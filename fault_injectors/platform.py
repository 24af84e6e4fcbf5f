"""The platform itself and what it stands on: processes that die, a database without room, clocks that are wrong.

Invariant: no fault is told to the platform; it meets each as it would in production, by what its ports answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS, a_founder_after, a_transfer, in_play
from fault_injectors.violations import RevokedProbe
from seams.draws import Draws
from seams.faults import (
    Abort,
    Action,
    Binding,
    BiteSpec,
    Call,
    Die,
    Effect,
    Fault,
    Guarantees,
    Hang,
    LoseRequest,
    Occasion,
    Occupy,
    Parameters,
    RecoverySpec,
    Refuse,
)

AUDIT_MS = 3 * HOUR_MS
"""Scores are audited at this hour of the day."""
PLAY_LEFT_MS = 30 * MINUTE_MS
"""A crash hurts only while play goes on: at least three polls must fall after it."""
LEAVE_APART_MS = 3 * MINUTE_MS


class _Crashes(Fault):
    """A unit that dies at an instant."""

    seam = "services"
    operation = "crash"
    imitates = (
        "A process that dies without unwinding. The Service Control Manager marks the service stopped and, with no"
        " failure actions configured, leaves it so (learn.microsoft.com, SERVICE_FAILURE_ACTIONS)."
    )
    bite = BiteSpec("hosts.services", {"n": "$victim", "service": "$entity", "state": "stopped", "by": "crash"})

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "services.crash", self.binding.entity)]


class CrashParams(Parameters):
    unit: Literal["ingestion"] = "ingestion"


class Crash(_Crashes):
    id = "platform.crash"
    title = "The ingestion worker dies while play is on"
    exercises = "Holes lost or admitted twice by a restarted worker, and a host that stays broken with nobody there."
    recovery = RecoverySpec("rule", "Healing starts the service again; it resumes at the durable checkpoint.", 3_600)
    Params = CrashParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CrashParams)
        moment = in_play(guarantees, draws, PLAY_LEFT_MS)
        return None if moment is None else Binding(entity=params.unit, from_at=moment[1])


Moment = Literal["play", "lock", "settlement", "payouts"]


def at_moment(guarantees: Guarantees, draws: Draws, moment: Moment) -> int | None:
    """An instant in play, around a lock, around a settlement, or while its payouts are made."""
    if moment == "play":
        found = in_play(guarantees, draws, PLAY_LEFT_MS)
        return None if found is None else found[1]
    if moment == "lock":
        locks = guarantees.locks()
        near_ms = draws.between(-MINUTE_MS, MINUTE_MS, "near")
        return draws.choice(locks, "lock")[1] + near_ms if locks else None
    settlements = guarantees.settlements()
    if not settlements:
        return None
    _, from_at, until_at = draws.choice(settlements, "settlement")
    return draws.between(from_at if moment == "settlement" else (from_at + until_at) // 2, until_at, "near")


class CrashAtParams(Parameters):
    unit: Literal["app", "settlement"] = "app"
    moment: Moment = "lock"


class CrashAt(_Crashes):
    id = "platform.crash_at"
    title = "A service on the Linux host dies in play, at a lock, at a settlement or during payouts"
    imitates = (
        "A process that dies without unwinding (SIGKILL by the kernel when memory runs out); systemd starts it again"
        " after RestartSec where Restart=always is set (systemd.service(5))."
    )
    exercises = "State that was held in memory only; a contest that is not locked, settled or paid because of it."
    recovery = RecoverySpec("itself", "The host starts it again; it goes on from what was committed.", 3_600)
    Params = CrashAtParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CrashAtParams)
        at = at_moment(guarantees, draws, params.moment)
        return None if at is None else Binding(entity=params.unit, from_at=at)


class IngestionCrashAtParams(Parameters):
    moment: Moment = "settlement"


class IngestionCrashAt(_Crashes):
    id = "platform.ingestion_crash_at"
    title = "The ingestion worker dies in play, at a lock, at a settlement or during payouts"
    exercises = "Settling without the official scores, or never, because nobody asks for them any more."
    recovery = RecoverySpec("rule", "Healing starts the service again; it still owes the full poll.", 3_600)
    Params = IngestionCrashAtParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, IngestionCrashAtParams)
        at = at_moment(guarantees, draws, params.moment)
        return None if at is None else Binding(entity="ingestion", from_at=at)


class CrashInStepParams(Parameters):
    step: Literal[
        "contests.advance", "settlement.open", "settlement.execute", "settlement.close", "payouts.open",
        "payouts.submit", "payouts.paid", "payouts.finish",
    ] = "settlement.execute"  # fmt: skip
    committed: bool = False
    """Whether the step's transaction was committed before the process died."""


class CrashInStep(Fault):
    id = "platform.crash_in_step"
    title = "A service dies within a step: just before its transaction is committed, or just after"
    seam = "store"
    operation = "commit"
    imitates = (
        "Between an effect and the record of it there is always an instant; a committed transaction outlives the"
        " process, any other leaves nothing (PostgreSQL 15, write-ahead log; SQLite, atomic commit)."
    )
    exercises = "Steps that cannot be taken again: a second pack, a second transfer, or one that is forgotten."
    recovery = RecoverySpec("itself", "The host starts it again; the step is taken again, or found taken.", 3_600)
    bite = BiteSpec("hosts.services", {"n": "$victim", "state": "stopped", "by": "crash"})
    Params = CrashInStepParams
    params: CrashInStepParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CrashInStepParams)
        settlements = guarantees.settlements()
        transfer = a_transfer(guarantees, draws)
        if not settlements or transfer is None:
            return None
        # A contest is opened, executed and closed once at least, and a running one locks, goes live and completes.
        most = len(settlements) if params.step.startswith("settlement") else 1
        if params.step in ("payouts.submit", "payouts.paid"):
            most = sum(n for _, n in guarantees.transfers())
        return Binding(entity=params.step, occurrence=draws.between(1, most, "occurrence"))

    def effect(self, call: Call) -> Effect | None:
        return Die(committed=self.params.committed) if self.is_bound_to(call) else None


class PoolExhaustedParams(Parameters):
    minutes: int = Field(ge=11, le=20)
    """In play somebody polls every ten minutes: within eleven somebody needs the database."""
    moment: Literal["play", "settlement"] = "play"


class PoolExhausted(Fault):
    id = "platform.pool_exhausted"
    title = "The database refuses connections for minutes: all are taken"
    seam = "store"
    operation = "begin"
    imitates = (
        "FATAL: sorry, too many clients already (PostgreSQL error 53300, too_many_connections), or a pool that times"
        " out (SQLAlchemy: QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00)."
    )
    exercises = "A job that ends with its first error, or an effect outside that nobody writes down afterwards."
    recovery = RecoverySpec("itself", "Callers are told 503 and try again; jobs try again each minute.", 7_200)
    bite = BiteSpec("database.refusals", {"n": "$victim", "reason": "too_many_connections"})
    Params = PoolExhaustedParams
    params: PoolExhaustedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, PoolExhaustedParams)
        if params.moment == "play":
            at, length_ms = at_moment(guarantees, draws, "play"), params.minutes * MINUTE_MS
        else:
            settlements = guarantees.settlements()
            at = draws.choice(settlements, "settlement")[1] if settlements else None
            length_ms = (30 + params.minutes) * MINUTE_MS
        return None if at is None else Binding(from_at=at, until_at=at + length_ms)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(0, "too_many_connections") if self.in_window(call) else None


INGESTION = ("ingestion.", "score_audit.")
"""What the transactions of the ingestion worker are called."""


class ConnectionsHeldParams(Parameters):
    connections: int = Field(default=20, ge=5, le=500)
    """So many of its connections are held: as many as a pool has by default."""
    minutes: int = Field(ge=15, le=45)


class ConnectionsHeld(Fault):
    id = "platform.connections_held"
    title = "The ingestion worker's connections are all held by statements that wait for a lock"
    seam = "store"
    operation = "begin"
    imitates = (
        "A statement that waits for a lock keeps its connection for as long (PostgreSQL manual, explicit locking; with"
        " lock_timeout 0, for ever), and the pool has none left: QueuePool limit of size 5 overflow 10 reached"
        " (SQLAlchemy, error 3o7r)."
    )
    exercises = "A pool whose size nobody can change without a release, or whose new size nobody enforces."
    recovery = RecoverySpec(
        "itself", "The worker tries again at its next poll; a larger pool has connections left.", 7_200
    )
    bite = BiteSpec("database.refusals", {"n": "$victim", "reason": "pool_exhausted"})
    Params = ConnectionsHeldParams
    params: ConnectionsHeldParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ConnectionsHeldParams)
        # Polled every ten minutes: three more polls go through after it, and lag stays below an hour.
        found = in_play(guarantees, draws, params.minutes * MINUTE_MS + PLAY_LEFT_MS)
        return None if found is None else Binding(from_at=found[1], until_at=found[1] + params.minutes * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        held = call.entity.startswith(INGESTION) and self.in_window(call)
        return Occupy(self.params.connections) if held else None


class _Hangs(Fault):
    """A job waits for ever in one transaction of its own."""

    seam = "store"
    operation = "transact"
    imitates = (
        "statement_timeout is the server's; a client whose connection is half-open waits in recv() for as long as TCP"
        " lets it, for ever without keepalives (PostgreSQL manual, libpq: keepalives, tcp_user_timeout)."
    )
    exercises = "Watching that a daemon lives, and not that it does its work."
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "rolled_back"})


class SchedulerStopped(_Hangs):
    id = "platform.scheduler_stopped"
    title = "The settlement daemon lives, and waits for ever on a connection that is gone"
    recovery = RecoverySpec(
        "runbook", "Ops wakes the daemon, sees that it does not wake, and restarts it.", 4 * 3_600, "settlement_overdue"
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        if not guarantees.settlements() or not guarantees.on_call():
            return None
        # The daemon is woken once for all that becomes due together.
        wakings = {from_at for _, from_at, _ in guarantees.settlements()}
        return Binding(entity="settlement.ready", occurrence=draws.between(1, len(wakings), "waking"))

    def effect(self, call: Call) -> Effect | None:
        return Hang() if self.is_bound_to(call) else None


class PayoutsHang(_Hangs):
    id = "platform.payouts_hang"
    title = "The scheduler of payouts lives, and waits for ever on a connection that is gone"
    recovery = RecoverySpec(
        "runbook", "Ops wakes the scheduler, sees that it does not wake, and restarts the application.", 4 * 3_600,
        "payout_not_triggered",
    )  # fmt: skip

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._met = False

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        paying = {contest_id for contest_id, n in guarantees.transfers() if n > 0}
        settlements = [settled for settled in guarantees.settlements() if settled[0] in paying]
        if not settlements or not guarantees.on_call():
            return None
        from_at = draws.choice(settlements, "settlement")[1] - draws.between(0, 30, "before") * MINUTE_MS
        return Binding(entity="payouts.open", from_at=from_at)

    def effect(self, call: Call) -> Effect | None:
        """The first time from then on, which is when the payouts of a contest are to begin."""
        assert self.binding.from_at is not None
        if self._met or call.entity != self.binding.entity or call.at < self.binding.from_at:
            return None
        self._met = True
        return Hang()


class LeaseStale(Fault):
    id = "platform.lease_stale"
    title = "The settlement daemon dies with the lease in its hand"
    seam = "store"
    operation = "commit"
    imitates = (
        "A lease outlives its holder until it expires, and with its next holder the epoch goes up, so the first can"
        " do nothing if he wakes (Gray and Cheriton, Leases, SOSP 1989; Kleppmann, fencing tokens, 2016)."
    )
    exercises = "Two daemons that settle at once, or none because one that is dead holds the lease."
    recovery = RecoverySpec("itself", "The next daemon waits until the lease has expired, and takes it.", 3_600)
    bite = BiteSpec("hosts.services", {"n": "$victim", "service": "settlement", "state": "stopped", "by": "crash"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        if not guarantees.settlements():
            return None
        # Opening takes the lease, whatever there is to pay.
        return Binding(entity="settlement.open", occurrence=draws.between(1, len(guarantees.settlements()), "contest"))

    def effect(self, call: Call) -> Effect | None:
        return Die(committed=True) if self.is_bound_to(call) else None


class LockTransitionFailsParams(Parameters):
    minutes: int = Field(ge=35, le=55)
    """Longer than it takes to wake somebody who locks the contest by hand."""


class LockTransitionFails(Fault):
    id = "platform.lock_transition_fails"
    title = "The database cancels each attempt to lock a contest as its lock time comes"
    seam = "store"
    operation = "transact"
    imitates = (
        "A statement that takes longer than statement_timeout is cancelled, and its transaction rolled back, however"
        " often it is begun again (PostgreSQL manual, client connection defaults; error 57014, query_canceled)."
    )
    exercises = "Entries made and taken back while play is on, because nobody locks what a job could not lock."
    recovery = RecoverySpec(
        "runbook", "Ops locks the contest by hand, the same step as the job's own.", 3_600, "contest_lock_failed"
    )
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "rolled_back"})
    Params = LockTransitionFailsParams
    params: LockTransitionFailsParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, LockTransitionFailsParams)
        locks = guarantees.locks()
        if not locks or not guarantees.on_call():
            return None
        _, lock_at = draws.choice(locks, "lock")
        return Binding(
            entity="contests.advance", from_at=lock_at - MINUTE_MS, until_at=lock_at + params.minutes * MINUTE_MS
        )

    def effect(self, call: Call) -> Effect | None:
        return Abort(1) if self.in_window(call) else None


# --- who watches -----------------------------------------------------------------------------------------------------


class AnchorDownParams(Parameters):
    outage_h: int = Field(ge=5, le=7)


class AnchorDown(Fault):
    id = "platform.anchor_down"
    title = "The outside anchor of the audit log is down for hours"
    seam = "anchor"
    operation = "publish"
    imitates = "A small service of somebody else's, down for 27 and 93 min on one day (stripe.com/rcas/2019-07-10)."
    exercises = "Losing heads, or stopping the platform's work because nobody witnesses it."
    recovery = RecoverySpec("itself", "The head of the hour after is anchored, and covers all before it.", 2 * 3_600)
    bite = BiteSpec("anchor.refusals", {"head_seq": "$victim", "status": 503})
    Params = AnchorDownParams
    params: AnchorDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AnchorDownParams)
        moment = in_play(guarantees, draws, params.outage_h * HOUR_MS)
        if moment is None:
            return None
        return Binding(from_at=moment[1], until_at=moment[1] + params.outage_h * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


class _WhileAnchorIsDown(Fault):
    """Befalls the page about a stale anchor, so it brings the outage that makes somebody send one."""

    seam = "pager"
    operation = "send"

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        given = AnchorDownParams(outage_h=7)
        outage = AnchorDown.bind(guarantees, draws, given)
        if outage is None or outage.from_at is None:
            return None
        occasion = Occasion(AnchorDown.id, outage, given.model_dump())
        return Binding(
            entity="audit_anchor_stale", from_at=outage.from_at,
            until_at=outage.from_at + 5 * HOUR_MS, occasion=(occasion,),
        )  # fmt: skip


class PagerDown(_WhileAnchorIsDown):
    id = "platform.pager_down"
    title = "The pager is down when somebody has to be told that the anchor is stale"
    imitates = (
        "Events that the pager does not accept are answered 429 or 5xx, and the sender has to send them again"
        " (PagerDuty Events API v2)."
    )
    exercises = "Telling once, and taking it for told."
    recovery = RecoverySpec("itself", "The page is sent again until the pager has taken it.", 4 * 3_600)
    bite = BiteSpec("pager.refusals", {"dedup_key": "$victim", "status": 503})

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


class PageLost(_WhileAnchorIsDown):
    id = "platform.page_lost"
    title = "A page is lost on its way to the pager"
    imitates = (
        "A read timeout leaves unknown whether the request arrived; a dedup_key makes it safe to send it again"
        " (PagerDuty Events API v2)."
    )
    exercises = "Telling once, and taking it for told."
    recovery = RecoverySpec("itself", "The page is sent again under the same dedup key.", 4 * 3_600)
    bite = BiteSpec("platform.audit_log", {"action": "call.page_unanswered", "correlation": "$victim"})

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._lost = False

    def effect(self, call: Call) -> Effect | None:
        if self._lost or not self.in_window(call):
            return None
        self._lost = True
        return LoseRequest()


class MonitoringDownParams(Parameters):
    hours: int = Field(ge=2, le=4)


class MonitoringDown(Fault):
    id = "platform.monitoring_down"
    title = "Alerting stands still for hours: no rule is evaluated, and nothing that happens pages anybody"
    seam = "monitoring"
    operation = "stop"
    imitates = (
        "Rule evaluations that are missed while the server lives (prometheus_rule_group_iterations_missed_total; alert"
        " PrometheusMissingRuleEvaluations of prometheus-operator). The alert Watchdog always fires for this, and a"
        " receiver outside pages when it stays away (the same, runbook Watchdog: a dead man's switch)."
    )
    exercises = "Taking it for peace that nobody is paged."
    recovery = RecoverySpec(
        "itself", "Ops looks at everything by hand until the rules are evaluated again; what stands then is paged.",
        7_200,
    )  # fmt: skip
    bite = BiteSpec("pager.events", {"dedup_key": "$victim", "action": "trigger"})
    Params = MonitoringDownParams
    params: MonitoringDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, MonitoringDownParams)
        lasts_ms = params.hours * HOUR_MS
        moment = in_play(guarantees, draws, lasts_ms)
        if moment is None or not guarantees.on_call():
            return None
        return Binding(entity="rules", from_at=moment[1], until_at=moment[1] + lasts_ms)

    def actions(self) -> Sequence[Action]:
        binding = self.binding
        assert binding.entity is not None
        assert binding.from_at is not None
        assert binding.until_at is not None
        for_ms = binding.until_at - binding.from_at
        return [Action(binding.from_at, "monitoring.stop", binding.entity, {"for_ms": for_ms})]


class AuthDownParams(Parameters):
    outage_min: int = Field(ge=5, le=120)


class AuthDown(Fault):
    id = "platform.auth_down"
    title = "The identity provider does not answer while a founder tries a revoked credential"
    seam = "auth"
    operation = "introspect"
    imitates = (
        "A protected resource that cannot introspect a token cannot tell whether it was revoked (RFC 7662, section 4):"
        " signature and dates are right until it expires."
    )
    exercises = "Letting in whoever cannot be checked, or keeping out the customers, who need no such check."
    recovery = RecoverySpec("itself", "Admin calls are denied and recorded; customers' tokens go on counting.", 600)
    bite = BiteSpec("identity.events", {"token_id": "$victim", "action": "unavailable", "allowed": False})
    Params = AuthDownParams
    params: AuthDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AuthDownParams)
        moment = a_founder_after(guarantees, draws, guarantees.starts_at + 12 * HOUR_MS)
        if moment is None or not guarantees.payments():
            return None
        founder, at = moment
        occasion = Occasion(RevokedProbe.id, Binding(entity=founder, from_at=at))
        until_at = at + params.outage_min * MINUTE_MS
        return Binding(from_at=at - MINUTE_MS, until_at=until_at, occasion=(occasion,))

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


# --- what happens beside it ------------------------------------------------------------------------------------------


class ClockSkewParams(Parameters):
    host: Literal["lin-app-1", "win-ingest-1"] = "lin-app-1"
    direction: Literal["ahead", "behind"] = "ahead"
    over: Literal["settlement", "entries"] = "settlement"
    offset_s: int = Field(ge=60, le=900)
    hours: int = Field(ge=6, le=24)


class ClockSkew(Fault):
    id = "platform.clock_skew"
    title = "A host's clock is minutes wrong for hours, over a settlement or while customers enter"
    seam = "hosts"
    operation = "skew"
    imitates = (
        "System clock wrong by 125.4 seconds, as chronyd logs it before it steps the clock (chrony documentation);"
        " RFC 7519 allows a few minutes of leeway for skew, and Stripe's tolerance of 300 s needs a right clock."
    )
    exercises = "Taking the host's word for when something was asked: scores for official that were read too early."
    recovery = RecoverySpec(
        "itself", "What decides is dated by the database; the rest comes late and is retried.", 7_200
    )
    bite = BiteSpec("hosts.clocks", {"n": "$victim", "host": "$entity", "state": "wrong"})
    Params = ClockSkewParams
    params: ClockSkewParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ClockSkewParams)
        instants = [until_at for _, _, until_at in guarantees.settlements()]
        if params.over == "entries":
            instants = [captured_at for _, captured_at in guarantees.payments()]
        if not instants:
            return None
        from_at = draws.choice(instants, "instant") - draws.between(2, 5, "before") * HOUR_MS
        return Binding(entity=params.host, from_at=from_at, until_at=from_at + params.hours * HOUR_MS)

    def actions(self) -> Sequence[Action]:
        binding, params = self.binding, self.params
        assert binding.entity is not None
        assert binding.from_at is not None
        offset_ms = params.offset_s * (1_000 if params.direction == "ahead" else -1_000)
        skew = {"offset_ms": offset_ms, "for_ms": params.hours * HOUR_MS}
        return [Action(binding.from_at, "hosts.skew", binding.entity, skew)]


class ScoreRotten(Fault):
    id = "platform.score_rotten"
    title = "A score that customers are shown is, one night, not what was written"
    seam = "database"
    operation = "rot"
    imitates = (
        "400,000 blocks whose checksum did not fit, on 1.53 million disks in 41 months (Bairavasundaram et al., FAST"
        " 2008); PostgreSQL checks none of its pages by default before version 18 (initdb, --data-checksums)."
    )
    exercises = "Believing what is shown, because nothing has changed it."
    recovery = RecoverySpec(
        "runbook", "The nightly audit replays the receipts and sees it; ops has the scores shown anew.", 4 * 3_600,
        "score_discrepancy",
    )  # fmt: skip
    bite = BiteSpec("platform.score_audits", {"tournament_id": "$entity", "mismatches": 1})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        """In the hour and a half before the audit of the night after a day of play."""
        windows = guarantees.play()
        if not windows or not guarantees.on_call():
            return None
        tournament_id, _, until_at = draws.choice(windows, "window")
        audit_at = until_at - (until_at - AUDIT_MS) % DAY_MS + DAY_MS
        return Binding(entity=tournament_id, from_at=audit_at - draws.between(15, 90, "before") * MINUTE_MS)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "database.rot", self.binding.entity)]


class PayoutsHeld(Fault):
    id = "platform.payouts_held"
    title = "The processor turns away every payout of a contest for hours: too many requests"
    seam = "processor"
    operation = "transfers.create"
    imitates = (
        "429 rate_limit comes before execution, is saved under no key, and stripe-python does not retry it (stripe SDK"
        " 16.1.0, measured)."
    )
    exercises = "Giving payouts up that were only turned away, or closing the contest without them."
    recovery = RecoverySpec("itself", "Each payout is tried again, later each time, until it is taken.", 3 * 3_600)
    bite = BiteSpec("processor.requests", {"idempotency_key": "$victim", "status": 429})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        paying = {contest_id for contest_id, n in guarantees.transfers() if n > 0}
        settlements = [settled for settled in guarantees.settlements() if settled[0] in paying]
        return cls.during(draws.choice(settlements, "settlement")) if settlements else None

    @classmethod
    def during(cls, settlement: tuple[str, int, int]) -> Binding:
        """From before the contest can be settled until four hours after it should have been."""
        contest_id, from_at, until_at = settlement
        return Binding(entity=contest_id, from_at=from_at, until_at=until_at + 4 * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(429, "rate_limit") if self.in_window(call) else None


class PayoutsNotBegunParams(Parameters):
    minutes: int = Field(ge=40, le=90)
    """After the contest has been settled: longer than it takes until somebody is paged."""


class PayoutsNotBegun(Fault):
    id = "platform.payouts_not_begun"
    title = "The database cancels each attempt to begin the payouts of what has been settled"
    seam = "store"
    operation = "transact"
    imitates = LockTransitionFails.imitates
    exercises = "Prizes that nobody is told about, because nothing was sent that could have failed."
    recovery = RecoverySpec("itself", "Beginning is tried again each minute, until it is done.", 7_200)
    bite = LockTransitionFails.bite
    Params = PayoutsNotBegunParams
    params: PayoutsNotBegunParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, PayoutsNotBegunParams)
        paying = {contest_id for contest_id, n in guarantees.transfers() if n > 0}
        settlements = [settled for settled in guarantees.settlements() if settled[0] in paying]
        if not settlements:
            return None
        _, from_at, until_at = draws.choice(settlements, "settlement")
        return Binding(entity="payouts.open", from_at=from_at, until_at=until_at + params.minutes * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return Abort(1) if self.in_window(call) else None


class UserDeletedParams(Parameters):
    leavers: int = Field(default=1, ge=1, le=3)
    """So many of the contest's winners leave, a few minutes apart."""
    also: tuple[str, ...] = ()
    """Who leaves beside the one that it is bound to; settled by the binding."""


class UserDeleted(Fault):
    id = "platform.user_deleted"
    title = "A winner deletes his account after the settlement and before the payout"
    seam = "entrants"
    operation = "delete"
    imitates = (
        "A right to erasure does not wait for a payout (GDPR, article 17); unclaimed money stays a liability, on record"
        " by name (FACTS 4, prize_payable)."
    )
    exercises = "Paying somebody who has left, forgetting what is owed to him, or a contest that never closes for him."
    recovery = RecoverySpec(
        "itself", "The payout ends FAILED_TERMINAL with user_deleted; the others are paid.", 3 * 3_600
    )
    bite = BiteSpec("entrants.actions", {
        "n": "$victim", "user_id": "$entity", "action": "deleted_account", "result": "ok",
    })  # fmt: skip

    Params = UserDeletedParams
    params: UserDeletedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, UserDeletedParams)
        winners = guarantees.winners()
        together = {
            contest_id: [user for contest, user in winners if contest == contest_id] for contest_id, _ in winners
        }
        winners = [one for one in winners if len(together[one[0]]) >= params.leavers]
        if not winners:
            return None
        contest_id, user_id = draws.choice(winners, "winner")
        settlement = next(settled for settled in guarantees.settlements() if settled[0] == contest_id)
        at = settlement[2] + draws.between(5, 90, "after") * MINUTE_MS
        others = [user for user in together[contest_id] if user != user_id][: params.leavers - 1]
        held = Occasion(PayoutsHeld.id, PayoutsHeld.during(settlement))
        return Binding(entity=user_id, from_at=at, occasion=(held,), params={"also": others})

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [
            Action(self.binding.from_at + n * LEAVE_APART_MS, "entrants.delete", user)
            for n, user in enumerate([self.binding.entity, *self.params.also])
        ]
