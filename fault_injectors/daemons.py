"""Daemons that stay down, with nobody who gets in to start them; and two of them at once, started by mistake or given
up too early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS, in_play
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Delay,
    Effect,
    Fault,
    Guarantees,
    Parameters,
    RecoverySpec,
    Refuse,
)

_RUNS_ON = {"ingestion": "win-ingest-1", "settlement": "lin-settle-1"}


class KilledParams(Parameters):
    unit: Literal["ingestion", "settlement"] = "settlement"
    hours: int = Field(ge=3, le=5)
    """Longer than an order to heal it is tried."""
    agent_dies: bool = True
    """Whether nobody reports the daemon any more when the first order has ended in vain."""


class Killed(Fault):
    id = "daemons.killed"
    title = "A host runs out of memory: it kills a daemon and its own agent, and lets nobody in for hours"
    seam = "services"
    operation = "kill"
    also = (("ssh", "run"), ("winrm", "connect"))
    imitates = (
        "Out of memory: Killed process (Linux, Documentation/admin-guide/mm); the shell cannot fork: Cannot allocate"
        " memory. On Windows WinRM refuses for want of quota (CrowdStrike/falcon-orchestrator#20)."
    )
    exercises = "Believing that healing heals: its order ends in vain, and nobody reports the daemon a second time."
    recovery = RecoverySpec(
        "runbook", "Ops waits until the host lets somebody in, and issues the order again.", 8 * 3_600,
        "host_unreachable",
    )  # fmt: skip
    bite = BiteSpec("hosts.services", {"n": "$victim", "service": "$entity", "state": "stopped", "by": "kill"})
    Params = KilledParams
    params: KilledParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, KilledParams)
        if not guarantees.on_call():
            return None
        length_ms = params.hours * HOUR_MS
        if params.unit == "ingestion":
            moment = in_play(guarantees, draws, HOUR_MS)
            at = None if moment is None else moment[1]
        else:
            settlements = guarantees.settlements()
            at = draws.choice(settlements, "settlement")[1] if settlements else None
            at = None if at is None else at - draws.between(5, 60, "before") * MINUTE_MS
        return None if at is None else Binding(entity=params.unit, from_at=at, until_at=at + length_ms)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [
            Action(self.binding.from_at, "services.kill", self.binding.entity, {"agent_dies": self.params.agent_dies})
        ]

    def effect(self, call: Call) -> Effect | None:
        from_at, until_at = self.binding.from_at, self.binding.until_at
        assert from_at is not None
        assert until_at is not None
        host = _RUNS_ON[self.binding.entity or ""]
        return Refuse() if from_at <= call.at < until_at and call.entity.partition("/")[0] == host else None


# --- two at once -----------------------------------------------------------------------------------------------------

BEFORE_MS = 20 * MINUTE_MS
"""So long before a settlement the second daemon is there."""


class SecondParams(Parameters):
    hours: int = Field(ge=2, le=12)


class Second(Fault):
    id = "daemons.second"
    title = "Somebody starts the settlement daemon a second time, and both run over a settlement"
    seam = "services"
    operation = "twin"
    imitates = (
        "A batch whose schedule ran it twice paid 75,000 payments a second time (Santander UK, Christmas Day 2021); a"
        " unit that is enabled on two hosts, or started by hand while systemd runs it too, is two writers."
    )
    exercises = "A single writer by convention: whoever runs believes that it is alone."
    recovery = RecoverySpec("itself", "Whoever has the lease settles; the other is refused it, and waits.", 3_600)
    bite = BiteSpec("database.sessions", {
        "n": "$victim", "principal": "system:settlement", "purpose": "application, started twice",
    })  # fmt: skip
    Params = SecondParams
    params: SecondParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, SecondParams)
        settlements = guarantees.settlements()
        if not settlements:
            return None
        from_at = draws.choice(settlements, "settlement")[1] - BEFORE_MS
        return Binding(entity="settlement", from_at=from_at, until_at=from_at + params.hours * HOUR_MS)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        for_ms = {"for_ms": self.params.hours * HOUR_MS}
        return [Action(self.binding.from_at, "services.twin", self.binding.entity, for_ms)]


class PausedParams(Parameters):
    pause_min: int = Field(ge=21, le=50)
    """Longer than its lease and that of whoever takes over: it wakes when nobody holds one."""
    step: Literal["settlement.open", "settlement.execute", "settlement.close"] = "settlement.execute"


class Paused(Fault):
    id = "daemons.paused"
    title = "The settlement daemon stands still with the lease in its hand, another takes over, and then it wakes"
    seam = "store"
    operation = "transact"
    imitates = (
        "A process that is stopped (SIGSTOP, a VM that is moved, a long collection of garbage) does not know that it"
        " was, and goes on with what it was about to write (Kleppmann, How to do distributed locking, 2016; HBase"
        " had this bug)."
    )
    exercises = "Looking at the lease, or at the contest, and writing later: a second end of a pack, or of a contest."
    recovery = RecoverySpec(
        "itself", "The other takes the lease once it is over; the one that wakes finds the contest settled.", 2 * 3_600
    )
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "stood_still"})
    Params = PausedParams
    params: PausedParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._met = False

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, PausedParams)
        settlements = guarantees.settlements()
        if not settlements:
            return None
        _, due_at, until_at = draws.choice(settlements, "settlement")
        return Binding(entity=params.step, from_at=due_at - BEFORE_MS, until_at=until_at + 2 * HOUR_MS)

    def actions(self) -> Sequence[Action]:
        binding = self.binding
        assert binding.from_at is not None
        assert binding.until_at is not None
        return [Action(binding.from_at, "services.twin", "settlement", {"for_ms": binding.until_at - binding.from_at})]

    def effect(self, call: Call) -> Effect | None:
        """The first of the two that comes to this step."""
        if self._met or not self.in_window(call):
            return None
        self._met = True
        return Delay(self.params.pause_min * MINUTE_MS)
