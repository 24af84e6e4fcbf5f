"""The commands of `opsctl` that a runbook may send, as the check of runbooks needs them.

Invariant: a runbook that passes the check sends nothing that is not in this table.
"""

from __future__ import annotations

from operations.runbooks.commands import Commands, CommandSpec


def known_commands() -> Commands:
    """Path of a command -> what it takes, and whether it changes anything."""
    return _COMMANDS


def _reads(
    *arguments: str, options: tuple[str, ...] = (), flags: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> CommandSpec:
    return CommandSpec("reads", arguments, (*required, *options), flags, required)


def _nudges(*arguments: str, options: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> CommandSpec:
    return CommandSpec("nudges", arguments, (*required, *options), (), required)


def _acts(
    *arguments: str, options: tuple[str, ...] = (), flags: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> CommandSpec:
    return CommandSpec("acts", arguments, (*required, *options), flags, required)


_COMMANDS: Commands = {
    ("state",): _reads(),
    ("status",): _reads(),
    ("contests", "list"): _reads(options=("--status",)),
    ("contests", "show"): _reads("CONTEST"),
    ("contests", "lock"): _acts("CONTEST", required=("--reason",)),
    ("ingestion", "status"): _reads(options=("--contest", "--tournament")),
    ("ingestion", "poll"): _nudges(options=("--contest", "--tournament")),
    ("settlement", "status"): _reads("CONTEST"),
    ("settlement", "rerun"): _nudges("CONTEST", required=("--reason",)),
    ("transfers", "list"): _reads(options=("--contest", "--status")),
    ("transfers", "show"): _reads("TRANSFER"),
    ("transfers", "retry"): _nudges("TRANSFER"),
    ("transfers", "fail"): _acts("TRANSFER", required=("--reason",)),
    ("webhooks", "list"): _reads(options=("--status", "--since")),
    ("webhooks", "replay"): _nudges("EVENT"),
    ("refunds", "list"): _reads(options=("--status",)),
    ("refunds", "request"): _acts("PAYMENT", options=("--cents",), required=("--reason",)),
    ("disputes", "list"): _reads(options=("--status",)),
    ("disputes", "show"): _reads("DISPUTE"),
    ("payments", "orphaned"): _reads(),
    ("payments", "show"): _reads("PAYMENT"),
    ("scores", "audit"): _reads(options=("--contest",)),
    ("scores", "replay"): _nudges("CONTEST"),
    ("quarantine", "list"): _reads(options=("--contest",)),
    ("quarantine", "resolve"): _acts("RECEIPT", required=("--reason",)),
    ("hosts", "list"): _reads(),
    ("hosts", "services"): _reads("HOST"),
    ("orders", "list"): _reads(options=("--host", "--status")),
    ("orders", "issue"): _acts("HOST", required=("--action",)),
    ("audit", "tail"): _reads(options=("--count",)),
    ("audit", "verify"): _reads(),
    ("anchor", "status"): _reads(),
    ("config", "show"): _reads(),
    ("config", "diff"): _reads("VERSION"),
    ("config", "apply"): _acts("VERSION", required=("--reason",), flags=("--dry-run",)),
    ("config", "revert"): _acts(options=("--steps", "--hash"), required=("--reason",)),
    ("backup", "list"): _reads(),
    ("backup", "create"): _nudges(required=("--reason",)),
    ("backup", "verify"): _reads("BACKUP"),
    ("backup", "restore"): _acts("BACKUP", required=("--reason",)),
    ("env", "compare"): _reads(options=("--profile", "--schema", "--openapi")),
    ("db", "health"): _reads(),
    ("auth", "health"): _reads(),
}
