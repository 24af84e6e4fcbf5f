"""Quotas of the WinRM service that are used up just when a host must be put right, by whoever shares the account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from fault_injectors.moments import MINUTE_MS
from fault_injectors.platform.crashes import Crash
from fault_injectors.winrm.after_crash import First, after_crash
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Call, Effect, Fault, Guarantees, Parameters, RecoverySpec, Refuse

IDLE_MIN = 120
"""A leaked shell counts for two hours."""
ACCOUNT = "svc-healing"
"""The quotas are of an account, and a script that shares the platform's uses up the platform's."""


class LeakedParams(Parameters):
    minutes: int = Field(ge=10, le=90)
    """How long after the crash the leaked shells still count."""


class _Leaked(Fault):
    """Somebody's script has opened `shells`, run `commands` in each, and closed none."""

    seam, operation = "winrm", "leak"
    shells: ClassVar[int]
    commands: ClassVar[int]
    recovery = RecoverySpec(
        "rule", "The order is tried again until the leaked shells have been idle too long.",
        IDLE_MIN * 60 + Crash.recovery.within_s,
    )  # fmt: skip
    """From then on the worker's crash is one like any other: the start, and the next poll, where play is over by then
    that of the full hour."""
    Params: ClassVar[type[Parameters]] = LeakedParams
    params: LeakedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, LeakedParams)
        bound = after_crash(guarantees, draws)
        if bound is None or bound.from_at is None:
            return None
        return replace(bound, from_at=bound.from_at - (IDLE_MIN - params.minutes) * MINUTE_MS)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        leak = {"user": ACCOUNT, "shells": self.shells, "commands": self.commands}
        return [Action(self.binding.from_at, "winrm.leak", self.binding.entity, leak)]


class ShellsLeaked(_Leaked):
    id = "winrm.shells_leaked"
    title = "Leaked shells have used up what an account may open on a Windows host"
    shells, commands = 30, 1
    imitates = (
        "MaxShellsPerUser, 30: 2150859173, and an answer in the place of each new shell until old ones have been idle"
        " for two hours (CrowdStrike/falcon-orchestrator#20; hashicorp/vagrant#7489)."
    )
    exercises = "Leaking one more shell at each failure, and so never getting in again."
    bite = BiteSpec("hosts.exchanges", {"host": "$entity", "operation": "Create", "fault": 2150859173})


class OperationsUsedUp(_Leaked):
    id = "winrm.operations_used_up"
    title = "Commands in leaked shells have used up the operations of an account on a Windows host"
    shells, commands = 25, 60
    imitates = (
        "MaxConcurrentOperationsPerUser, 1500: 2150859174, which is not about shells; Signal takes nothing off that"
        " count for a text-based shell (MS-WSMV, appendix A, note 118; diyan/pywinrm#124)."
    )
    exercises = "Reading it as the quota of shells, or running many commands in a shell that is never closed."
    bite = BiteSpec("hosts.exchanges", {"host": "$entity", "operation": "Create", "fault": 2150859174})


QuotaFault = Literal[
    "quota", "shells", "operations", "user", "system", "users", "not_allowed", "plugin_shells", "plugin_operations",
    "plugin_user_operations", "plugin_user_shells", "plugin_users", "commands",
]  # fmt: skip


class QuotaParams(Parameters):
    fault: QuotaFault = "system"
    wmi: bool = True
    """Whether it comes as an MSFT_WmiError, without a WSManFault."""
    operation: Literal["create", "command"] = "create"
    times: int = Field(ge=2, le=4)


class Quota(Fault):
    id = "winrm.quota"
    title = "A Windows host has no room for what is asked of it while its worker is down"
    seam, operation, also = "winrm", "create", (("winrm", "command"),)
    imitates = (
        "2150859175 to 2150859180 and the quotas of a plugin, 2150859236 to 2150859241 (wsmerror.h); some come as"
        " p:MSFT_WmiError with an error_Code and no WSManFault (diyan/pywinrm, WSManFaultError.wmierror_code)."
    )
    exercises = "Looking for the code in one place only, and taking what bears none for a broken host."
    recovery = RecoverySpec("rule", "The order is tried again until there is room.", 7_200)
    bite = BiteSpec("hosts.exchanges", {"message_id": "$victim", "status": 500})
    Params = QuotaParams
    params: QuotaParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._first = First()

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return after_crash(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        params = self.params
        if call.operation != params.operation or not self._first.picks(self.binding, call, params.times):
            return None
        return Refuse(500, params.fault + ("/wmi" if params.wmi else ""))
