"""SSH that fails just when a Linux host must be put right."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.platform.crashes import at_moment
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Call, Effect, Fault, Guarantees, Parameters, RecoverySpec, Refuse

HOST, UNIT = "lin-settle-1", "settlement"


class RefusedParams(Parameters):
    refusals: int = Field(ge=2, le=10)


class Refused(Fault):
    id = "ssh.refused"
    title = "A Linux host refuses SSH connections while its settlement daemon is down"
    seam = "ssh"
    operation = "run"
    imitates = (
        "ssh: connect to host …: Connection refused, exit 255: sshd is not there, or has more unauthenticated"
        " connections than MaxStartups (sshd_config(5)). The unit is not started again: StartLimitBurst (systemd.unit)."
    )
    exercises = "Giving a remediation order up, or leaving it open for ever, when its host cannot be reached."
    recovery = RecoverySpec("rule", "The order is tried again until the host answers, and then verified.", 7_200)
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": HOST, "outcome": "refused"})
    Params = RefusedParams
    params: RefusedParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._refused = 0

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        at = at_moment(guarantees, draws, "play")
        return None if at is None else Binding(entity=HOST, from_at=at)

    def actions(self) -> Sequence[Action]:
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "services.kill", UNIT, {"agent_dies": False})]

    def effect(self, call: Call) -> Effect | None:
        from_at = self.binding.from_at
        if from_at is None or call.at < from_at or call.entity.partition("/")[0] != HOST:
            return None
        self._refused += 1
        return Refuse() if self._refused <= self.params.refusals else None
