"""Daemons that stay down: nobody on their host starts them, and nobody gets in to do so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS, in_play
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Call, Effect, Fault, Guarantees, Parameters, RecoverySpec, Refuse

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
