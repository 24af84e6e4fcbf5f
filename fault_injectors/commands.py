"""What befalls ops between a runbook and the platform: a command is lost, or its answer, or nobody is there to send it.

Invariant: a command is named by the runbook and the step that it stands in, and by which time it is sent; one that no
run ever sends shows as a fault that has not bitten.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fault_injectors.moments import DAY_MS, MINUTE_MS
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Delay,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    LoseRequest,
    Parameters,
    RecoverySpec,
)


class CommandParams(Parameters):
    runbook: str = ""
    """With `step`: whose command it is. None given: that of a procedure that is due daily."""
    step: str = Field(default="", pattern=r"^$|^[A-Z][a-z]+/[1-9]\d*$")
    sending: int = Field(default=0, ge=0, le=1_000)
    """Which sending of this step in the run, counted from 1; 0: the first, or of what is due daily any."""
    times: int = Field(default=1, ge=1, le=1_000)
    """So many sendings from then on."""


class _OnCommand(Fault):
    seam = "control"
    operation = "command"
    daily: ClassVar[tuple[str, str]]
    """A step that comes up once every day."""
    Params: ClassVar[type[Parameters]] = CommandParams
    params: CommandParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CommandParams)
        days = (guarantees.absence_until_at - guarantees.starts_at) // DAY_MS - 1
        if not guarantees.on_call() or days < 1:
            return None
        runbook, step, sending = params.runbook, params.step, params.sending or 1
        if not (runbook and step):
            (runbook, step), sending = cls.daily, params.sending or draws.between(1, days, "day")
        settled = {"runbook": runbook, "step": step, "sending": sending}
        return Binding(entity=f"{runbook}/{step}", occurrence=sending, params=settled)

    def befalls(self, call: Call) -> bool:
        first = self.params.sending
        return self.binding.entity == call.entity and first <= call.occurrence < first + self.params.times


class CommandRequestLost(_OnCommand):
    id = "commands.request_lost"
    title = "A command of a runbook is lost on its way to the platform"
    daily = "backup_contest_data", "Steps/1"
    imitates = (
        "A client whose connection ends before an answer cannot tell a request that never arrived from one that was"
        " served (RFC 9110, section 9.2.2)."
    )
    exercises = "A runbook that knows only success and failure, and not that one cannot know."
    recovery = RecoverySpec("itself", "The runbook says how to see whether it was done, and goes on.", within_s=86_400)
    bite = BiteSpec("operator.unanswered", {
        "execution_id": "$victim", "resource": "$entity", "error": "deadline_exceeded",
    })  # fmt: skip

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.befalls(call) else None


class CommandAnswerLost(_OnCommand):
    id = "commands.answer_lost"
    title = "The platform does what a command of a runbook says, and its answer is lost"
    daily = CommandRequestLost.daily
    imitates = CommandRequestLost.imitates
    exercises = "Doing twice what was done, or handing on as failed what has succeeded."
    recovery = CommandRequestLost.recovery
    bite = CommandRequestLost.bite

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.befalls(call) else None


class CalledAwayParams(CommandParams):
    away_min: int = Field(ge=10, le=240)


class CalledAway(_OnCommand):
    id = "commands.called_away"
    title = "Whoever carries a runbook out is called away before a step of it"
    daily = "daily_check", "Steps/7"
    imitates = (
        "Interruptions are the rule on call, and what was seen before one is not so after it: time of check to time of"
        " use (CWE-367; Site Reliability Engineering, O'Reilly 2016, chapter 29)."
    )
    exercises = "Acting on what was true when it was looked at, hours ago."
    recovery = RecoverySpec(
        "itself", "The platform refuses what no longer holds; the runbook goes on.", within_s=86_400
    )
    bite = BiteSpec("operator.notebook", {"action": "called_away", "execution_id": "$victim", "detail": "$entity"})
    Params = CalledAwayParams
    params: CalledAwayParams

    def effect(self, call: Call) -> Effect | None:
        return Delay(self.params.away_min * MINUTE_MS) if self.befalls(call) else None
