"""Runbooks: the language they are written in, and the executor that carries them out to the letter."""

from operations.runbooks.check import check
from operations.runbooks.commands import Commands, CommandSpec
from operations.runbooks.document import Runbook, Step
from operations.runbooks.execute import Alert, Control, Escalation, Outcome, StepRecord, Unrecorded, execute
from operations.runbooks.library import Library, load
from operations.runbooks.match import Output
from operations.runbooks.parse import parse, read
from operations.runbooks.problems import Problem, RunbooksInvalid

__all__ = [
    "Alert",
    "CommandSpec",
    "Commands",
    "Control",
    "Escalation",
    "Library",
    "Outcome",
    "Output",
    "Problem",
    "Runbook",
    "RunbooksInvalid",
    "Step",
    "StepRecord",
    "Unrecorded",
    "check",
    "execute",
    "load",
    "parse",
    "read",
]
