"""Exchanges with a Windows host that go wrong: lost or false answers, commands that hang, shells that vanish.

Invariant: what the command did on the host is done, whatever becomes of the answer.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from fault_injectors.moments import MINUTE_MS
from fault_injectors.winrm.after_crash import HOST, OPERATIONS, First, after_crash
from fault_injectors.winrm.connections import _LastsMinutes
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Die,
    Effect,
    Falsify,
    Fault,
    Guarantees,
    LoseAnswer,
    Parameters,
    RecoverySpec,
    Refuse,
    Stall,
)

LOGON_FAILURE = "error 1069: the service did not start due to a logon failure"
_PROBED = RecoverySpec("rule", "The service is probed before anything is repeated: it runs, the order ends.", 7_200)


def _shown(**columns: Any) -> BiteSpec:
    """The message that it befell, as the host's own log has it."""
    return BiteSpec("hosts.exchanges", {"message_id": "$victim", **columns})


class _First(Fault):
    """Befalls the first calls to `entity`, a host or host/verb, after the crash of the worker there."""

    seam = "winrm"
    entity: ClassVar[str] = HOST
    recovery = _PROBED

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._first = First()

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return after_crash(guarantees, draws, cls.entity)

    def picks(self, call: Call, calls: int = 1) -> bool:
        return self._first.picks(self.binding, call, calls)


class AnswerLost(_First):
    id = "winrm.answer_lost"
    title = "A Windows host starts the worker, and its answer is lost"
    operation = "command"
    entity = f"{HOST}/start"
    imitates = (
        "A connection reset at Command is ambiguous, it may have run, and WinRM has no idempotency key (pywinrm 0.5.0,"
        " measured)."
    )
    exercises = "Repeating a command blindly, or calling a service that runs a failure, instead of probing first."
    bite = _shown(operation="Command", answered=False)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.picks(call) else None


class CreateLostParams(Parameters):
    times: int = Field(ge=1, le=5)


class CreateLost(_First):
    id = "winrm.create_lost"
    title = "A Windows host opens a shell, and does not get to say so"
    operation = "create"
    imitates = (
        "A shell whose id never arrived cannot be deleted by whoever asked for it: it counts until it has been idle for"
        " IdleTimeOut, PT7200S (captured), as do those of wsmprovhost.exe in CrowdStrike/falcon-orchestrator#20."
    )
    exercises = "Believing that whatever was opened can be closed; using up the quota by asking again at once."
    bite = _shown(operation="Create", answered=False)
    Params = CreateLostParams
    params: CreateLostParams

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.picks(call, self.params.times) else None


class ReceiveLost(_First):
    id = "winrm.receive_lost"
    title = "A Windows host has carried a command out, and what it says of it is lost"
    operation = "receive"
    imitates = (
        "A read time-out at Receive comes as a raw requests ReadTimeout, and the shell of Session.run_cmd stays behind"
        " (pywinrm 0.5.0, measured); so it went while hosts booted (ansible/ansible#50588)."
    )
    exercises = "Taking silence for failure; leaving a shell behind at each attempt, until no more may be opened."
    bite = _shown(operation="Receive", answered=False)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.picks(call) else None


class HangsParams(Parameters):
    minutes: int = Field(ge=5, le=45)
    times: int = Field(default=2, ge=1, le=5)


class Hangs(_First):
    id = "winrm.receive_times_out"
    title = "A command on a Windows host comes to no end, and Receive times out again and again"
    operation = "command"
    imitates = (
        "While there is nothing to tell, Receive is answered by w:TimedOut, 2150858793 (captured); pywinrm asks again"
        " for ever, and no overall deadline exists (diyan/pywinrm#274, #292)."
    )
    exercises = "A healing engine that waits on one host for ever, and does nothing for any other."
    recovery = RecoverySpec("rule", "The command is ended with its shell at the deadline; the next probe tells.", 7_200)
    bite = BiteSpec("hosts.exchanges", {"host": "$entity", "operation": "Receive", "fault": 2150858793})
    Params = HangsParams
    params: HangsParams

    def effect(self, call: Call) -> Effect | None:
        return Stall(self.params.minutes * MINUTE_MS) if self.picks(call, self.params.times) else None


class FalseParams(Parameters):
    operation: Literal["create", "command", "receive", "signal", "delete"] = "receive"
    times: int = Field(default=2, ge=1, le=4)


class _False(_First):
    """The first answers to one of the operations are not what they should be."""

    operation, also = "receive", tuple(one for one in OPERATIONS if one != ("winrm", "receive"))
    lie: ClassVar[str]
    Params: ClassVar[type[Parameters]] = FalseParams
    params: FalseParams

    def effect(self, call: Call) -> Effect | None:
        if call.operation != self.params.operation or not self.picks(call, self.params.times):
            return None
        return Falsify(self.lie)


class Html(_False):
    id = "winrm.html"
    title = "Something before a Windows host answers 200 with a page of HTML"
    lie = "html"
    imitates = (
        "A proxy or a sign-in page answers in the place of the service; pywinrm falls over it with a bare StopIteration"
        " (0.5.0, measured)."
    )
    exercises = "Taking 200 for an answer, and an error of no class at all for the end of the world."
    bite = _shown(status=200, soap=False)


class Unrelated(_False):
    id = "winrm.wrong_relates_to"
    title = "A Windows host's answer relates to another message than the one that was sent"
    lie = "unrelated"
    imitates = (
        "RelatesTo must echo the MessageID (WS-Addressing): pypsrp raises where it does not, pywinrm looks at it on"
        " Signal and Delete only, by an assert (0.5.0, measured)."
    )
    exercises = "Taking the answer to somebody else's command for one's own."
    bite = _shown(related=False)


class NoExitCode(_First):
    id = "winrm.no_exit_code"
    title = "A Windows host says that a command is done, and not how it ended"
    operation = "receive"
    imitates = "CommandState Done without an ExitCode is a bare StopIteration in pywinrm (0.5.0, measured)."
    exercises = "Taking a command of which nothing is known for one that succeeded."
    bite = _shown(operation="Receive", exit_code=None)

    def effect(self, call: Call) -> Effect | None:
        return Falsify("no_exit_code") if self.picks(call) else None


class ShellLost(_First):
    id = "winrm.shell_lost"
    title = "The WinRM service of a Windows host is restarted in the middle of a command"
    operation = "receive"
    imitates = (
        "Shells do not outlive the service: whoever goes on gets w:InvalidSelectors, 2150858843 (captured from a real"
        " host; ansible/ansible#50588)."
    )
    exercises = "Going on in a shell that is gone, or believing that what ran in it never did."
    bite = _shown(operation="Receive", fault=2150858843)

    def effect(self, call: Call) -> Effect | None:
        return Die(committed=False) if self.picks(call) else None


class Reboots(_First):
    id = "winrm.reboots"
    title = "A Windows host boots again in the middle of a command"
    operation = "receive"
    imitates = (
        "Windows Update restarts a host on its own; the connection is reset, then refused until it is up; the"
        " shells are gone (diyan/pywinrm#123, ansible/ansible#50588)."
    )
    exercises = "Losing the order with the connection; deleting a shell of a former life of the host for ever."
    recovery = RecoverySpec("rule", "The order is tried again until the host is up, and the service probed.", 7_200)
    bite = BiteSpec("hosts.shells", {"host": "$entity", "how": "reboot"})

    def effect(self, call: Call) -> Effect | None:
        return Die(committed=True) if self.picks(call) else None


class StartFails(_LastsMinutes):
    id = "winrm.start_fails"
    title = "A Windows host answers, and does not start its worker"
    operation = "command"
    entity = f"{HOST}/start"
    imitates = (
        "Start-Service: the service did not start due to a logon failure, error 1069, as long as the password of its"
        " account is wrong or has expired (learn.microsoft.com, service startup permissions)."
    )
    exercises = "Taking a command that ran for one that helped, or giving up a host that only needs time."
    recovery = RecoverySpec("rule", "The host is probed after each start, and the start repeated until it runs.", 7_200)
    bite = _shown(operation="Command", exit_code=1)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(0, LOGON_FAILURE) if self.befalls(call) else None
