"""The commands of opsctl: what is typed, which endpoint it calls, how its answer is printed.

Invariant: one command for each admin endpoint that ops may call, and none without one. Starting, recording and
completing an execution is no command: whoever executes a runbook does that around its commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contest_platform.opsctl_printing import Outcome, Pairs, Printer, Records
from contest_platform.services.backups import TARGETS
from contest_platform.services.configuration import SUBJECTS
from contest_platform.statuses import (
    CONTEST_STATUSES,
    EXECUTION_STATUSES,
    INBOX_STATUSES,
    INCIDENT_STATUSES,
    LEVELS,
    ORDER_STATUSES,
    PACK_STATUSES,
    REFUND_STATUSES,
    TRANSFER_STATUSES,
    WAITS_FOR,
)

ADMIN = "/api/admin/"


@dataclass(frozen=True, slots=True)
class Option:
    """`--name VALUE`, or an argument in its place when the name has no dashes. `field` is the endpoint's.
    A `boolean` one takes no value: it is there or not."""

    name: str
    field: str
    help: str
    kind: Literal["text", "integer", "boolean"] = "text"
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        words = [
            self.help,
            f"one of {', '.join(self.choices)}" if self.choices else "",
            "" if self.required else "optional",
        ]
        return "; ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]
    path: str
    acting: bool
    help: str
    options: tuple[Option, ...]
    printer: Printer
    example: str

    @property
    def usage(self) -> str:
        parts = []
        for option in self.options:
            takes_value = option.name.startswith("--") and option.kind != "boolean"
            shown = f"{option.name} VALUE" if takes_value else option.name
            parts.append(shown if option.required else f"[{shown}]")
        return " ".join(("opsctl", *self.words, *parts))


def _argument(field: str, help: str, name: str = "", kind: Literal["text", "integer"] = "text") -> Option:
    return Option(name or field.removesuffix("_id").upper(), field, help, kind, required=True)


def _one_of(field: str, choices: tuple[str, ...], name: str = "") -> Option:
    return Option(name or f"--{field}", field, "only these", choices=choices)


LIMIT = Option("--limit", "limit", "the most records to print (100)", "integer")
REASON = Option("--reason", "reason", "why, for the record", required=True)
CONTEST = _argument("contest_id", "the contest")
TOURNAMENT = _argument("tournament_id", "the tournament")
TRANSFER = _argument("transfer_id", "the transfer")
ENTRY = _argument("entry_id", "the entry")
DRY_RUN = Option("--dry-run", "dry_run", "say what would be done, and do nothing", "boolean")
DONE, ACCEPTED = Outcome("done"), Outcome("accepted")

_TRANSFERS = "transfer_id status contest_id entry_id cents:amount_cents attempts reason next_attempt_at done_at"
_EXECUTIONS = "execution_id:id runbook_name runbook_version executed_by status start_at end_at duration_s error_reason"


def _read(words: str, path: str, help: str, printer: Printer, *options: Option, example: str = "") -> Command:
    return Command(tuple(words.split()), ADMIN + path, False, help, options, printer, f"opsctl {example or words}")


def _act(words: str, path: str, help: str, printer: Outcome, *options: Option, example: str) -> Command:
    typed = f"opsctl {words} {example}".rstrip()
    return Command(tuple(words.split()), ADMIN + path, True, help, options, printer, typed)


def _list(columns: str, **more: str) -> Records:
    return Records({"items": columns, **more})


_ALL = (
    _read("state", "state", "The state of the system in numbers", Pairs()),
    _read("status", "status", "How many contests stand where", Pairs("contests")),
    _read(
        "contests list", "contests", "Contests",
        _list("contest_id status tournament_id lock_at start_at cutoff_at error_code"),
        _one_of("status", CONTEST_STATUSES), LIMIT, example="contests list --status SCHEDULED",
    ),
    _read(
        "contests show", "contests/show", "One contest",
        _list("contest_id status fee_cents entries_valid entries_unpaid packs_pending transfers_unended "
              "transfers_failed escrow_cents lock_at start_at end_at completed_at cutoff_at settled_at closed_at "
              "error_code tournament_id"),
        CONTEST, example="contests show c1",
    ),
    _read(
        "contests waiting", "contests/waiting", "Contests that should have gone on by now, and what each waits for",
        _list("contest_id status waits_for waited_s since_at tournament_id"),
        _one_of("waits_for", WAITS_FOR, "--for"),
        Option("--age", "age_s", "for at least so many seconds (900)", "integer"),
        example="contests waiting --for lock",
    ),
    _act(
        "contests lock", "contests/lock", "Lock a contest whose lock time has passed", DONE, CONTEST, REASON,
        example='c1 --reason "lock transition failed"',
    ),
    _read(
        "ingestion status", "ingestion/status", "How ingestion stands with each tournament",
        _list("tournament_id in_play lag_s last_success_at failing_since_at failures open_batches revision "
              "completed_at"),
    ),
    _act("ingestion poll", "ingestion/poll", "Poll the score provider out of turn", ACCEPTED, TOURNAMENT, example="t1"),
    _read(
        "settlement status", "settlement/status", "How the last settlement of each contest stands",
        _list("contest_id status run_status packs_executed packs_pending packs_failed cutoff_at started_at finished_at "
              "error_code error:error_json"),
        Option("--contest", "contest_id", "only this"), LIMIT, example="settlement status --contest c1",
    ),
    _act(
        "settlement rerun", "settlement/rerun", "Settle again what failed or has not ended", ACCEPTED, CONTEST, REASON,
        example='c1 --reason "failed mid-run"',
    ),
    _read(
        "packs list", "packs", "Packs of settlements, one for each entry",
        _list("pack_id status contest_id entry_id prize_cents code ended_at detail"),
        Option("--contest", "contest_id", "only of this"), _one_of("status", PACK_STATUSES),
        _one_of("prize", ("yes", "no")), LIMIT, example="packs list --contest c1 --status FAILED",
    ),
    _read(
        "transfers list", "transfers", "Transfers to winners", _list(_TRANSFERS),
        _one_of("status", TRANSFER_STATUSES), Option("--contest", "contest_id", "only of this"),
        Option("--reason", "reason", "only for this"), _one_of("resolved", ("yes", "no")), LIMIT,
        example="transfers list --status RETRYABLE",
    ),
    _read(
        "transfers show", "transfers/show", "One transfer and its attempts",
        _list(f"{_TRANSFERS} user_id destination idempotency_key processor_transfer_id created_at resolved",
              attempts="attempt:n outcome code idempotency_key sent_at finished_at"),
        TRANSFER, example="transfers show payout_1",
    ),
    _act("transfers retry", "transfers/retry", "Make the next attempt now, by the same rules", ACCEPTED, TRANSFER,
         example="payout_1"),
    _act("transfers fail", "transfers/fail", "Give up a transfer refused for good", DONE, TRANSFER, REASON,
         example='payout_1 --reason "account closed"'),
    _act("transfers resolve", "transfers/resolve", "Note that a transfer that failed or was reversed is looked into",
         DONE, TRANSFER, REASON, example='payout_1 --reason "the account is closed"'),
    _act("transfers unresolve", "transfers/unresolve", "Take back every such note of this execution", DONE, REASON,
         example='--reason "not looked into after all"'),
    _act("payouts start", "payouts/start", "Have the payout of a settled contest begin", ACCEPTED, CONTEST,
         example="c1"),
    _read(
        "webhooks list", "webhooks", "Events of the processor, newest first",
        _list("event_id status type object_id deliveries received_at applied_at"),
        _one_of("status", INBOX_STATUSES), LIMIT, example="webhooks list --status WAITING",
    ),
    _act("webhooks replay", "webhooks/replay", "Apply an event that waits for our own row", DONE,
         _argument("event_id", "the event"), example="evt_1"),
    _read(
        "refunds list", "refunds", "Refunds",
        _list("refund_id status entry_id intent_id cents:amount_cents reason attempts next_attempt_at done_at"),
        _one_of("status", REFUND_STATUSES), Option("--entry", "entry_id", "only of this"), LIMIT,
        example="refunds list --status PENDING",
    ),
    _act("refunds request", "refunds/request", "Take an entry out before the lock, and owe its fee back", ACCEPTED,
         ENTRY, REASON, example='entry_1 --reason "asked for by the customer"'),
    _act("refunds retry", "refunds/retry", "Make the next attempt of a refund now, by the same rules", ACCEPTED,
         _argument("refund_id", "the refund"), example="refund_1"),
    _read(
        "disputes list", "disputes", "Disputes",
        _list("dispute_id status entry_id cents:amount_cents opened_at closed_at"),
        _one_of("open", ("yes", "no")), _one_of("known", ("yes", "no")), LIMIT, example="disputes list --open yes",
    ),
    _read(
        "disputes show", "disputes/show", "One dispute",
        _list("dispute_id status entry_id intent_id cents:amount_cents fee_cents opened_at closed_at"),
        _argument("dispute_id", "the dispute"), example="disputes show dp_1",
    ),
    _read(
        "payments orphaned", "payments/orphaned", "Intents of which nothing has been heard",
        _list("entry_id intent_id status entry_status contest_id cents:amount_cents age_s created_at lock_at"),
        Option("--age", "age_s", "for at least so many seconds (3600)", "integer"),
        _one_of("entry_status", ("PENDING_PAYMENT", "ABANDONED"), "--entry-status"), LIMIT,
        example="payments orphaned --age 7200",
    ),
    _read(
        "payments show", "payments/show", "One payment and the events about its intent",
        _list("entry_id intent_id status entry_status contest_id user_id cents:amount_cents refunded_cents created_at "
              "captured_at", events="event_id type status deliveries received_at"),
        ENTRY, example="payments show entry_1",
    ),
    _read("payments status", "payments/status", "When the processor's books were last read to their end",
          _list("last_success_at behind_s asked")),
    _act("payments reconcile", "payments/reconcile", "Read at the processor now what happened there", ACCEPTED,
         example=""),
    _read("scores audit", "scores/audit", "The last score audit of each tournament",
          _list("tournament_id at holes mismatches")),
    _act("scores replay", "scores/replay", "Show all scores anew if one is not what its receipts say", DONE, TOURNAMENT,
         example="t1"),
    _read(
        "quarantine list", "quarantine", "Batches with holes in quarantine",
        _list("batch_id tournament_id holes received_at how resolved_by_batch_id resolved_at"),
        Option("--resolved", "resolved", "also those resolved", choices=("yes", "no")), LIMIT,
    ),
    _act(
        "quarantine resolve", "quarantine/resolve", "Resolve a batch whose holes have all been told again", DONE,
        _argument("batch_id", "the batch", kind="integer"), REASON, example='7 --reason "told again by batch 9"',
    ),
    _read("hosts list", "hosts", "The fleet", _list("host os incidents_open orders_open")),
    _read("hosts services", "hosts/services", "The services of a host, asked of the host itself",
          _list("host service state detail"), _argument("host", "the host"), example="hosts services win-ingest-1"),
    _read("hosts clocks", "hosts/clocks", "How far the clock of each host is ahead of the database's",
          _list("host ahead_s problem"),
          Option("--off", "off_s", "only those so many seconds off, and those not known", "integer")),
    _act("hosts sync", "hosts/sync", "Have a host take the time from its source", DONE,
         _argument("host", "the host"), REASON, example='lin-app-1 --reason "two minutes behind"'),
    _read(
        "incidents list", "incidents", "What the agents of the hosts reported",
        _list("incident_id status level host check:check_name target orders reported_at resolved_at resolved_s "
              "observed"),
        _one_of("status", INCIDENT_STATUSES), _one_of("level", LEVELS), Option("--host", "host", "only of this"),
        Option("--check", "check", "only of this"), Option("--target", "target", "only of this"), LIMIT,
        example="incidents list --status OPEN",
    ),
    _act("incidents resolve", "incidents/resolve", "End an incident that no rule heals", DONE,
         _argument("incident_id", "the incident"), REASON, example='incident_1 --reason "looked into"'),
    _act("incidents remedy", "incidents/remedy", "Try on its host what is known to help", DONE,
         _argument("incident_id", "the incident"), REASON, example='incident_1 --reason "it has helped before"'),
    _act("incidents reopen", "incidents/reopen", "Take that back", DONE,
         _argument("incident_id", "the incident"), REASON, example='incident_1 --reason "it goes on"'),
    _read("rules list", "rules", "The rules by which hosts are healed",
          _list("rule_id source status os check:check_name runbook_id helped healed in_vain created_at promoted_at "
                "withdrawn_at"),
          Option("--rule", "rule_id", "only this"), LIMIT, example="rules list --rule L1-WIN-SERVICE-STOPPED"),
    _read(
        "orders list", "orders", "Remediation orders",
        _list("order_id status host check:check_name target rule_id runbook_id attempts issued_at expires_at "
              "finished_at detail incident_id incident_status"),
        _one_of("status", ORDER_STATUSES), LIMIT, example="orders list --status EXPIRED",
    ),
    _act("orders issue", "orders/issue", "Issue another order for an open incident", ACCEPTED,
         _argument("incident_id", "the incident"), example="incident_1"),
    _read(
        "audit tail", "audit/tail", "The last rows of the audit log, newest first",
        _list("seq at actor action subject reason correlation before after"),
        Option("--subject", "subject", "only of this"), Option("--actor", "actor", "only by this"),
        Option("--action", "action", "only this"), LIMIT, example="audit tail --subject contests/c1 --limit 5",
    ),
    _read("audit verify", "audit/verify", "Recompute the chain of the audit log",
          _list("intact rows head_hash problem")),
    _read("anchor status", "anchor", "How far the audit log is anchored outside",
          _list("stale head_seq published_seq behind published_at paged head_hash")),
    _read(
        "db health", "db/health", "Whether the database serves, and who holds its leases",
        _list("answers at tables audit_log_rows access_log_rows contests_rows",
              leases="lease:name holder epoch expires_at"),
    ),
    _read("budget status", "budget", "How many requests of this month were not served",
          _list("month requests failures allowed quiet_s last_failed_at last_code counted_s")),
    _read("auth health", "auth/health", "Whether the identity provider answers",
          _list("answers code attempts_1h denied_1h unanswered_1h")),
    _read(
        "runbooks list", "runbooks", "Runbook executions, newest first", _list(_EXECUTIONS),
        _one_of("status", EXECUTION_STATUSES), Option("--name", "runbook_name", "only of this"), LIMIT,
        example="runbooks list --status failed",
    ),
    _read(
        "runbooks show", "runbooks/show", "One execution and its steps",
        _list(f"{_EXECUTIONS} execution_phase phase_step result:result_json before:system_state_before "
              "after:system_state_after",
              steps="step:n section number exit_status ok matched next at file line sent output"),
        _argument("execution_id", "the execution"), example="runbooks show execution_1",
    ),
    _act("services restart", "services/restart", "Restart a service wherever it runs", DONE,
         Option("SERVICE", "service", "the service", required=True, choices=("app", "ingestion", "settlement")), REASON,
         example='app --reason "new configuration"'),
    _read("config show", "config", "The configuration, and what the platform runs with",
          _list("version hash running_hash restart_needed created_at created_by reason",
                settings="setting value running")),
    _read("config list", "config/versions", "Versions of the configuration, newest first",
          _list("version hash created_at created_by reason"), LIMIT),
    _read("config pending", "config/pending", "What the committed profile has otherwise", _list("setting from to"),
          Option("--of", "of", "only settings of this", choices=SUBJECTS), example="config pending --of database"),
    _read("config diff", "config/diff", "The settings in which two versions differ", _list("setting from to"),
          _argument("from_version", "the one version", "FROM", "integer"),
          _argument("to_version", "the other version", "TO", "integer"), example="config diff 1 2"),
    _act("config apply", "config/apply", "Make a version of the configuration with one setting changed", DONE,
         _argument("setting", "the setting"), _argument("value", "what it shall be", kind="integer"), REASON, DRY_RUN,
         example='auth_timeout_ms 8000 --reason "slow at night"'),
    _act("config revert", "config/revert", "Make a version of the configuration that is as an earlier one", DONE,
         Option("--steps", "steps", "so many versions back", "integer"), Option("--hash", "hash", "the one with this"),
         REASON, DRY_RUN, example='--steps 1 --reason "no better"'),
    _read("backup list", "backups", "Backups that were taken, newest first",
          _list("backup_id taken_at taken_by size_bytes audit_seq sha256 reason"), LIMIT),
    _act("backup create", "backups/create", "Take a backup of the whole database", DONE, REASON,
         example='--reason "daily"'),
    _read("backup verify", "backups/verify", "Open a backup and read through it",
          _list("backup_id intact tables rows audit_seq problem"), _argument("backup_id", "the backup"),
          example="backup verify backup_1"),
    _act("backup restore", "backups/restore", "Restore a backup to a scratch database, and compare the two", DONE,
         _argument("backup_id", "the backup"),
         Option("--to", "target", "which database", required=True, choices=TARGETS), REASON,
         example='backup_1 --to scratch --reason "weekly trial"'),
    _read("dashboards show operational", "dashboards/operational", "How things stand, open alerts, recent escalations",
          _list("at audit_seq pager_answers contests_live contests_error incidents_open orders_open quarantine_open "
                "settlements_failed transfers_retryable refunds_failed disputes_open ledger_out_of_balance",
                alerts="alert:dedup_key status since_at",
                escalations="escalation:id runbook_name executed_by status end_at error_reason")),
    _read("dashboards show contests", "dashboards/contests", "Every contest that is not over, and how its scores come",
          _list("at audit_seq", contests="contest_id status tournament_id lock_at start_at error_code waits_for "
                "in_play lag_s last_success_at")),
    _read("dashboards show audit", "dashboards/audit", "Recent operations, runbook executions, changes of state",
          _list("at audit_seq", operations="operation:seq at actor action subject",
                executions="execution:id runbook_name executed_by status start_at end_at",
                state_changes="change:seq at actor action subject after")),
    _read("dashboards show errors", "dashboards/errors", "How many requests failed, and of what",
          _list("at audit_seq month since_at requests failures error_rate_bp burn_rate_bp budget_remaining_bp",
                errors="source code errors")),
    _read("env compare", "env/compare", "What runs, beside what is committed",
          _list("check equal differences first")),
    _read("env promotion", "env/promotion", "What has to hold for a promotion",
          _list("check equal differences first")),
    _read("env pending", "env/pending", "What staging has otherwise", _list("setting from to")),
    _act("env promote", "env/promote", "Make a version of the configuration that is as staging's", DONE, REASON,
         DRY_RUN, example='--reason "release 2.3.0"'),
)  # fmt: skip

COMMANDS: dict[tuple[str, ...], Command] = {command.words: command for command in _ALL}
