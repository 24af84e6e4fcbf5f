"""The commands of `opsctl` that a runbook may send, as the check of runbooks needs them.

Invariant: a runbook that passes the check sends nothing that is not in this table.
"""

from __future__ import annotations

from contest_platform.statuses import (
    CONTEST_STATUSES,
    INBOX_STATUSES,
    ORDER_STATUSES,
    REFUND_STATUSES,
    TRANSFER_STATUSES,
)
from operations.runbooks.commands import Commands, CommandSpec


def known_commands() -> Commands:
    """Path of a command -> what it takes, and whether it changes anything."""
    return _COMMANDS


_Choices = dict[str, tuple[str, ...]]


def _reads(*arguments: str, options: tuple[str, ...] = (), choices: _Choices | None = None) -> CommandSpec:
    return CommandSpec("reads", arguments, (*options, *(choices or {})), choices=choices or {})


def _nudges(*arguments: str, required: tuple[str, ...] = ()) -> CommandSpec:
    return CommandSpec("nudges", arguments, required, required=required)


def _acts(
    *arguments: str, options: tuple[str, ...] = (), flags: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> CommandSpec:
    return CommandSpec("acts", arguments, (*required, *options), flags, required)


_LIMIT, _REASON = ("--limit",), ("--reason",)

_COMMANDS: Commands = {
    ("state",): _reads(),
    ("status",): _reads(),
    ("contests", "list"): _reads(options=_LIMIT, choices={"--status": CONTEST_STATUSES}),
    ("contests", "show"): _reads("CONTEST"),
    ("contests", "lock"): _acts("CONTEST", required=_REASON),
    ("ingestion", "status"): _reads(),
    ("ingestion", "poll"): _nudges("TOURNAMENT"),
    ("settlement", "status"): _reads(options=("--contest", *_LIMIT)),
    ("settlement", "rerun"): _nudges("CONTEST", required=_REASON),
    ("transfers", "list"): _reads(options=("--contest", *_LIMIT), choices={"--status": TRANSFER_STATUSES}),
    ("transfers", "show"): _reads("TRANSFER"),
    ("transfers", "retry"): _nudges("TRANSFER"),
    ("transfers", "fail"): _acts("TRANSFER", required=_REASON),
    ("webhooks", "list"): _reads(options=_LIMIT, choices={"--status": INBOX_STATUSES}),
    ("webhooks", "replay"): _nudges("EVENT"),
    ("refunds", "list"): _reads(options=("--entry", *_LIMIT), choices={"--status": REFUND_STATUSES}),
    ("refunds", "request"): _acts("ENTRY", required=_REASON),
    ("disputes", "list"): _reads(options=_LIMIT, choices={"--open": ("yes", "no")}),
    ("disputes", "show"): _reads("DISPUTE"),
    ("payments", "orphaned"): _reads(options=("--age", *_LIMIT)),
    ("payments", "show"): _reads("ENTRY"),
    ("scores", "audit"): _reads(),
    ("scores", "replay"): _nudges("TOURNAMENT"),
    ("quarantine", "list"): _reads(options=_LIMIT, choices={"--resolved": ("yes", "no")}),
    ("quarantine", "resolve"): _acts("BATCH", required=_REASON),
    ("hosts", "list"): _reads(),
    ("hosts", "services"): _reads("HOST"),
    ("orders", "list"): _reads(options=_LIMIT, choices={"--status": ORDER_STATUSES}),
    ("orders", "issue"): _nudges("INCIDENT"),
    ("audit", "tail"): _reads(options=("--subject", "--actor", "--action", *_LIMIT)),
    ("audit", "verify"): _reads(),
    ("anchor", "status"): _reads(),
    ("config", "show"): _reads(),
    ("config", "diff"): _reads("VERSION"),
    ("config", "apply"): _acts("VERSION", required=_REASON, flags=("--dry-run",)),
    ("config", "revert"): _acts(options=("--steps", "--hash"), required=_REASON),
    ("backup", "list"): _reads(),
    ("backup", "create"): _nudges(required=_REASON),
    ("backup", "verify"): _reads("BACKUP"),
    ("backup", "restore"): _acts("BACKUP", required=_REASON),
    ("env", "compare"): _reads(options=("--profile", "--schema", "--openapi")),
    ("db", "health"): _reads(),
    ("auth", "health"): _reads(),
}
