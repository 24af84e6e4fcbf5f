"""Transactions that get no connection, wait for ever, fail or die with the lease; and what a disk makes of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS, in_play
from fault_injectors.platform.crashes import at_moment
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
    Occupy,
    Parameters,
    RecoverySpec,
    Refuse,
)

AUDIT_MS = 3 * HOUR_MS
"""Scores are audited at this hour of the day."""
PLAY_LEFT_MS = 30 * MINUTE_MS
"""A crash hurts only while play goes on: at least three polls must fall after it."""


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
