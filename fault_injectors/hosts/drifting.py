"""What all drifts have in common: a host, settings that are no longer as they should be, and an instant.

Invariant: a drift is healed by a rule or by a runbook, never by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS, in_play
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec

BY_RULE_S = 2 * 3_600
PLAY_LEFT_MS = 30 * MINUTE_MS


def drifted(setting: str) -> BiteSpec:
    return BiteSpec("hosts.drifts", {"n": "$victim", "host": "$entity", "setting": setting, "by": "drift"})


def by_rule(how: str) -> RecoverySpec:
    return RecoverySpec("rule", how, BY_RULE_S)


class DriftParams(Parameters):
    reboot_after_min: int = Field(default=0, ge=0, le=1_440)
    """The host is restarted so long after it, 0: not at all."""


class RestartedParams(DriftParams):
    reboot_after_min: int = Field(default=90, ge=0, le=1_440)


class _Drift(Fault):
    """`settings`: what is set to what. `when`: while play is on, in the day before a lock, or before a settlement."""

    seam = "hosts"
    operation = "drift"
    host: ClassVar[str]
    settings: ClassVar[tuple[tuple[str, str], ...]]
    when: ClassVar[Literal["play", "lock", "settlement"]] = "lock"
    Params: ClassVar[type[Parameters]] = DriftParams
    params: DriftParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        if cls.when == "play":
            moment = in_play(guarantees, draws, PLAY_LEFT_MS)
            return None if moment is None else Binding(entity=cls.host, from_at=moment[1])
        instants = [at for _, at in guarantees.locks()]
        earliest_h, latest_h = 2, 24
        if cls.when == "settlement":
            instants, latest_h = [from_at for _, from_at, _ in guarantees.settlements()], 3
        if not instants:
            return None
        before_ms = draws.between(earliest_h * HOUR_MS, latest_h * HOUR_MS, "before")
        return Binding(entity=cls.host, from_at=draws.choice(instants, "instant") - before_ms)

    def set_to(self) -> dict[str, str]:
        return dict(self.settings)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        told = {"settings": self.set_to(), "reboot_after_ms": self.params.reboot_after_min * MINUTE_MS}
        return [Action(self.binding.from_at, "hosts.drift", self.binding.entity, told)]
