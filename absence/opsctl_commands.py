"""The commands of `opsctl` that a runbook may send, out of the platform's own table.

Invariant: a runbook that passes the check sends nothing that the platform does not take.
"""

from __future__ import annotations

from contest_platform.opsctl_commands import COMMANDS, Command
from operations.runbooks.commands import Commands, CommandSpec

NUDGES = frozenset({
    "ingestion poll", "settlement rerun", "transfers retry", "webhooks replay", "scores replay", "quarantine resolve",
    "orders issue", "payments reconcile", "payouts start", "refunds retry", "backup create", "backup restore",
    "services restart", "hosts sync", "incidents remedy",
})  # fmt: skip
"""Acting commands that have the platform do now what it would do by itself: they leave nothing to undo.
A backup, and a trial of one outside the platform, leave nothing either. A host's time service sets its
clock by itself. A remedy makes of a host what it should be, and an agent that reports it again takes that back."""


def known_commands() -> Commands:
    """Words of a command -> what it takes, and whether it changes anything."""
    return {words: _spec(command) for words, command in COMMANDS.items()}


def _spec(command: Command) -> CommandSpec:
    named = [option for option in command.options if option.name.startswith("--")]
    return CommandSpec(
        "reads" if not command.acting else "nudges" if " ".join(command.words) in NUDGES else "acts",
        tuple(option.name for option in command.options if option not in named),
        tuple(option.name for option in named if option.kind != "boolean"),
        tuple(option.name for option in named if option.kind == "boolean"),
        tuple(option.name for option in named if option.required),
    )
