"""The platform itself: processes that die."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fault_injectors.moments import MINUTE_MS, in_play
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec

PLAY_LEFT_MS = 30 * MINUTE_MS
"""A crash hurts only while play goes on: at least three polls must fall after it."""


class CrashParams(Parameters):
    unit: Literal["ingestion"] = "ingestion"


class Crash(Fault):
    id = "platform.crash"
    title = "The ingestion worker dies while play is on"
    seam = "services"
    operation = "crash"
    imitates = (
        "A process that dies without unwinding. The Service Control Manager marks the service stopped and, with no"
        " failure actions configured, leaves it so (learn.microsoft.com, SERVICE_FAILURE_ACTIONS)."
    )
    exercises = "Holes lost or admitted twice by a restarted worker, and a host that stays broken with nobody there."
    recovery = RecoverySpec("rule", "Healing starts the service again; it resumes at the durable checkpoint.", 3_600)
    bite = BiteSpec("hosts.services", {"n": "$victim", "service": "$entity", "state": "stopped", "by": "crash"})
    Params = CrashParams
    params: CrashParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CrashParams)
        moment = in_play(guarantees, draws, PLAY_LEFT_MS)
        return None if moment is None else Binding(entity=params.unit, from_at=moment[1])

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "services.crash", self.binding.entity)]
