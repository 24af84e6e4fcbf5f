"""A Windows host that cannot be reached, or lets nobody in, just when it must be put right."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fault_injectors.moments import MINUTE_MS
from fault_injectors.winrm.after_crash import HOST, OPERATIONS, First, after_crash, befalls, lasting
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    LoseRequest,
    Parameters,
    RecoverySpec,
    Refuse,
)

_TRIED_AGAIN = RecoverySpec("rule", "The order is tried again until the host answers, and then verified.", 7_200)


class _FirstConnections(Fault):
    """Befalls the first connections to the host after the crash."""

    seam, operation = "winrm", "connect"
    recovery = _TRIED_AGAIN

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._first = First()

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return after_crash(guarantees, draws)


class RefusedParams(Parameters):
    refusals: int = Field(ge=2, le=4)


class Refused(_FirstConnections):
    id = "winrm.refused"
    title = "A Windows host refuses WinRM connections while its worker is down"
    imitates = (
        "A refused connection comes through as a bare requests ConnectionError (pywinrm 0.5.0, measured); after five"
        " leaked shells every connection was refused (CrowdStrike/falcon-orchestrator#20)."
    )
    exercises = "Giving a remediation order up, or leaving it open for ever, when its host cannot be reached."
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": "$entity", "outcome": "refused"})
    Params = RefusedParams
    params: RefusedParams

    def effect(self, call: Call) -> Effect | None:
        return Refuse() if self._first.picks(self.binding, call, self.params.refusals) else None


class ConnectTimeoutParams(Parameters):
    dropped: int = Field(ge=2, le=6)


class ConnectTimeout(_FirstConnections):
    id = "winrm.connect_timeout"
    title = "A Windows host's firewall drops WinRM connections without a word while its worker is down"
    imitates = (
        "The Windows firewall drops what it does not let in and answers nothing, so that the client waits for its own"
        " time-out: pywinrm has one read_timeout for connecting and reading (0.5.0, measured)."
    )
    exercises = "Waiting without end for a connection, and taking one that was never made for a lost answer."
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": "$entity", "outcome": "dropped"})
    Params = ConnectTimeoutParams
    params: ConnectTimeoutParams

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self._first.picks(self.binding, call, self.params.dropped) else None


class ForMinutes(Parameters):
    minutes: int = Field(default=60, ge=5, le=1_440)
    """How long, where the binding does not say until when."""


class _LastsMinutes(Fault):
    """Befalls whatever is asked of `entity`, a host or host/verb, for some time from the crash of the worker there."""

    seam = "winrm"
    entity: ClassVar[str] = HOST
    Params: ClassVar[type[Parameters]] = ForMinutes
    params: ForMinutes

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ForMinutes)
        return lasting(guarantees, draws, params.minutes, cls.entity)

    def befalls(self, call: Call) -> bool:
        binding, from_at = self.binding, self.binding.from_at
        if from_at is None or not befalls(binding, call):
            return False
        return binding.until_at is not None or call.at < from_at + self.params.minutes * MINUTE_MS


class Unreachable(_LastsMinutes):
    id = "winrm.unreachable"
    title = "A Windows host lets nobody in for an hour or more while its worker is down"
    operation = "connect"
    imitates = (
        "A host whose network is gone, or which hangs in its start, answers on no port until somebody else has put it"
        " right: 8.5 million Windows hosts on 19 July 2024 (CrowdStrike, Channel File 291 root cause analysis)."
    )
    exercises = "An order that is tried until it runs out, and that nobody gives again when the host is back."
    recovery = RecoverySpec("rule", "The order is tried each minute, and another is issued when it has run out.", 7_200)
    bite = BiteSpec("hosts.requests", {"n": "$victim", "host": "$entity", "outcome": "refused"})

    def effect(self, call: Call) -> Effect | None:
        return Refuse() if self.befalls(call) else None


class Unauthorized(_LastsMinutes):
    id = "winrm.unauthorized"
    title = "A Windows host does not accept the platform's credentials while its worker is down"
    operation, also = OPERATIONS[0][1], OPERATIONS[1:]
    imitates = (
        "A failed sign-in is HTTP 401 without SOAP, for pywinrm an InvalidCredentialsError (0.5.0, measured): so after"
        " the Windows update of 8 November 2022, until the repair (Microsoft KB5021131)."
    )
    exercises = "Reading a refusal of credentials as an answer, or giving a host up for good because of it."
    recovery = _TRIED_AGAIN
    bite = BiteSpec("hosts.exchanges", {"message_id": "$victim", "host": "$entity", "status": 401})

    def effect(self, call: Call) -> Effect | None:
        return Refuse(401) if self.befalls(call) else None


Operation = Literal["create", "command", "receive", "signal", "delete"]


class UnavailableParams(Parameters):
    status: Literal[500, 503] = 503
    operation: Operation = "create"
    times: int = Field(ge=2, le=4)


class Unavailable(_FirstConnections):
    id = "winrm.unavailable"
    title = "A Windows host answers an HTTP error without SOAP while its worker is down"
    operation, also = OPERATIONS[0][1], OPERATIONS[1:]
    imitates = (
        "HTTP.sys answers 503 when its queue is full or the service behind it is gone, and 500 when that broke: an"
        " empty body, for pywinrm a WinRMTransportError, which is no WinRMError (0.5.0, measured)."
    )
    exercises = "A crash on an error of a class of its own; a shell that is left because its Delete met a 503."
    bite = BiteSpec("hosts.exchanges", {"message_id": "$victim", "host": "$entity", "soap": False})
    Params = UnavailableParams
    params: UnavailableParams

    def effect(self, call: Call) -> Effect | None:
        if call.operation != self.params.operation or not self._first.picks(self.binding, call, self.params.times):
            return None
        return Refuse(self.params.status)
