"""WinRM that fails just when a host must be put right. Each brings the crash that makes somebody call the host."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from fault_injectors.moments import MINUTE_MS
from fault_injectors.platform.crashes import Crash, CrashParams
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    Occasion,
    Parameters,
    RecoverySpec,
    Refuse,
)

HOST = "win-ingest-1"
LOGON_FAILURE = "error 1069: the service did not start due to a logon failure"


class _AfterCrash(Fault):
    """Befalls the first calls to `entity` after the worker on the host has crashed at `from_at`.

    `entity` is a host, for every command on it, or host/verb.
    """

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._met = 0

    @classmethod
    def after_crash(cls, guarantees: Guarantees, draws: Draws, entity: str) -> Binding | None:
        unit = CrashParams()
        crash = Crash.bind(guarantees, draws, unit)
        if crash is None:
            return None
        occasion = Occasion(Crash.id, crash, unit.model_dump())
        return Binding(entity=entity, from_at=crash.from_at, occasion=(occasion,))

    def is_among_first(self, call: Call, calls: int) -> bool:
        """Whether `call` is one of the first `calls` that are met. Counts it if so."""
        entity, from_at = self.binding.entity, self.binding.from_at
        if entity not in (call.entity, call.entity.partition("/")[0]) or from_at is None or call.at < from_at:
            return False
        if self._met >= calls:
            return False
        self._met += 1
        return True


class RefusedParams(Parameters):
    refusals: int = Field(ge=2, le=4)


class Refused(_AfterCrash):
    id = "winrm.refused"
    title = "A Windows host refuses WinRM connections while its worker is down"
    seam = "winrm"
    operation = "run"
    imitates = (
        "A refused connection comes through as a bare requests ConnectionError (pywinrm 0.5.0, measured); after five"
        " leaked shells every connection was refused (CrowdStrike/falcon-orchestrator#20)."
    )
    exercises = "Giving a remediation order up, or leaving it open for ever, when its host cannot be reached."
    recovery = RecoverySpec("rule", "The order is tried again until the host answers, and then verified.", 7_200)
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": "$entity", "outcome": "refused"})
    Params = RefusedParams
    params: RefusedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return cls.after_crash(guarantees, draws, HOST)

    def effect(self, call: Call) -> Effect | None:
        return Refuse() if self.is_among_first(call, self.params.refusals) else None


class AnswerLost(_AfterCrash):
    id = "winrm.answer_lost"
    title = "A Windows host starts the worker, and its answer is lost"
    seam = "winrm"
    operation = "run"
    imitates = (
        "A connection reset at Command is ambiguous, it may have run, and WinRM has no idempotency key (pywinrm 0.5.0,"
        " measured)."
    )
    exercises = "Repeating a command blindly, or calling a service that runs a failure, instead of probing first."
    recovery = RecoverySpec(
        "rule", "The service is probed before anything is repeated: it runs, the order ends.", 7_200
    )
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": HOST, "ran": True, "answered": False})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return cls.after_crash(guarantees, draws, f"{HOST}/start")

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_among_first(call, 1) else None


class ForMinutes(Parameters):
    minutes: int = Field(default=60, ge=5, le=1_440)
    """How long, where the binding does not say until when."""


class _ForMinutes(Fault):
    """Befalls every command on `entity`, a host or host/verb, for some time from the crash of the worker there on."""

    seam = "winrm"
    operation = "run"
    entity: ClassVar[str]
    Params: ClassVar[type[Parameters]] = ForMinutes
    params: ForMinutes

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ForMinutes)
        bound = _AfterCrash.after_crash(guarantees, draws, cls.entity)
        if bound is None or bound.from_at is None:
            return None
        return replace(bound, until_at=bound.from_at + params.minutes * MINUTE_MS)

    def befalls(self, call: Call) -> bool:
        entity, from_at, until_at = self.binding.entity, self.binding.from_at, self.binding.until_at
        if entity not in (call.entity, call.entity.partition("/")[0]) or from_at is None:
            return False
        return from_at <= call.at < (until_at or from_at + self.params.minutes * MINUTE_MS)


class Unreachable(_ForMinutes):
    id = "winrm.unreachable"
    title = "A Windows host lets nobody in for an hour or more while its worker is down"
    entity = HOST
    imitates = (
        "A host whose network is gone, or which hangs in its start, answers on no port until somebody else has put it"
        " right: 8.5 million Windows hosts on 19 July 2024 (CrowdStrike, Channel File 291 root cause analysis)."
    )
    exercises = "An order that is tried until it runs out, and that nobody gives again when the host is back."
    recovery = RecoverySpec("rule", "The order is tried each minute, and another is issued when it has run out.", 7_200)
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": "$entity", "outcome": "refused"})

    def effect(self, call: Call) -> Effect | None:
        return Refuse() if self.befalls(call) else None


class StartFails(_ForMinutes):
    id = "winrm.start_fails"
    title = "A Windows host answers, and does not start its worker"
    entity = f"{HOST}/start"
    imitates = (
        "Start-Service: the service did not start due to a logon failure, error 1069, as long as the password of its"
        " account is wrong or has expired (learn.microsoft.com, service startup permissions)."
    )
    exercises = "Taking a command that ran for one that helped, or giving up a host that only needs time."
    recovery = RecoverySpec("rule", "The host is probed after each start, and the start repeated until it runs.", 7_200)
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": HOST, "ran": True, "exit_code": 1})

    def effect(self, call: Call) -> Effect | None:
        return Refuse(0, LOGON_FAILURE) if self.befalls(call) else None
