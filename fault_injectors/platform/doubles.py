"""Two settlement daemons at once: one that somebody has started by mistake, and one that wakes when it was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS
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
)

BEFORE_MS = 20 * MINUTE_MS
"""So long before a settlement the second daemon is there."""


class SecondDaemonParams(Parameters):
    hours: int = Field(ge=2, le=12)


class SecondDaemon(Fault):
    id = "platform.second_daemon"
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
    Params = SecondDaemonParams
    params: SecondDaemonParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, SecondDaemonParams)
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


class DaemonPausedParams(Parameters):
    pause_min: int = Field(ge=21, le=50)
    """Longer than its lease and that of whoever takes over: it wakes when nobody holds one."""
    step: Literal["settlement.open", "settlement.execute", "settlement.close"] = "settlement.execute"


class DaemonPaused(Fault):
    id = "platform.daemon_paused"
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
    Params = DaemonPausedParams
    params: DaemonPausedParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._met = False

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, DaemonPausedParams)
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
