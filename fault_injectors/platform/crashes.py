"""Processes that die, at an instant or in the middle of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fault_injectors.moments import MINUTE_MS, a_transfer, in_play
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Die,
    Effect,
    Fault,
    Guarantees,
    Parameters,
    RecoverySpec,
)

PLAY_LEFT_MS = 30 * MINUTE_MS
"""A crash hurts only while play goes on: at least three polls must fall after it."""


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
