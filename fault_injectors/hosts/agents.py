"""The agents on the hosts: one that falls silent, and one that reports what no rule heals.

Invariant: an agent tells only what is so on its host; what fails may be that it tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS
from fault_injectors.platform.crashes import Crash, CrashParams
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Occasion, Parameters, RecoverySpec

HOST = "win-ingest-1"
DISK = "C:"
"""What a check is of that is about no service."""
REPORTED_MS = 90_000
"""By then the agent has reported a service that has stopped: it looks every full minute."""


class AgentSilentParams(Parameters):
    minutes: int = Field(default=240, ge=5, le=1_440)
    """How long, where the binding does not say until when."""


class AgentSilent(Fault):
    id = "hosts.agent_silent"
    title = "The agent of a host reports that its worker is down, and then dies itself"
    seam = "hosts"
    operation = "silence"
    imitates = (
        "An agent is a process like any other: it stops without a word, and what it watched looks as it did when it was"
        " last heard of, for which Prometheus has up and absent() (prometheus.io, querying: functions)."
    )
    exercises = "Trusting that what is still out of order will be reported once more."
    recovery = RecoverySpec("rule", "The order that its one report led to is carried out.", 7_200)
    bite = BiteSpec("hosts.services", {"n": "$victim", "host": "$entity", "service": "agent", "state": "stopped"})
    Params = AgentSilentParams
    params: AgentSilentParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AgentSilentParams)
        unit = CrashParams()
        crash = Crash.bind(guarantees, draws, unit)
        if crash is None or crash.from_at is None:
            return None
        from_at = crash.from_at + REPORTED_MS
        occasion = Occasion(Crash.id, crash, unit.model_dump())
        return Binding(
            entity=HOST, from_at=from_at, until_at=from_at + params.minutes * MINUTE_MS, occasion=(occasion,)
        )

    def actions(self) -> Sequence[Action]:
        host, from_at, until_at = self.binding.entity, self.binding.from_at, self.binding.until_at
        assert host is not None
        assert from_at is not None
        for_ms = self.params.minutes * MINUTE_MS if until_at is None else until_at - from_at
        return [Action(from_at, "hosts.silence", host, {"for_ms": for_ms})]


class CheckFailedParams(Parameters):
    check: Literal["disk_health", "secure_channel", "event_log"] = "disk_health"
    reports: int = Field(default=1, ge=1, le=1_000)
    """So often is it reported, every five minutes."""


class CheckFailed(Fault):
    id = "hosts.check_failed"
    title = "The agent of a host reports a check for which there is no rule"
    seam = "hosts"
    operation = "report"
    imitates = (
        "Disks about to fail, logs with errors in them and trusts that are broken are what agents warn of, each with a"
        " check of its own (Nagios plugins: check_ide_smart, check_log; nltest /sc_verify)."
    )
    exercises = "An incident that nobody answers because no rule does, and that stays open for ever."
    recovery = RecoverySpec(
        "runbook", "Ops looks into it, and ends it on record.", 6 * 3_600, "host_incident_unmatched"
    )
    bite = BiteSpec("platform.incidents", {"incident_id": "$victim", "host": "$entity", "target": DISK})
    Params = CheckFailedParams
    params: CheckFailedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        days = (guarantees.absence_until_at - guarantees.starts_at) // DAY_MS - 1
        if not guarantees.on_call() or days < 1:
            return None
        from_at = guarantees.starts_at + draws.between(HOUR_MS, days * DAY_MS, "instant")
        return Binding(entity=HOST, from_at=from_at)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        told = {"check": self.params.check, "target": DISK, "observed": "failed", "reports": self.params.reports}
        return [Action(self.binding.from_at, "hosts.report", self.binding.entity, told)]
