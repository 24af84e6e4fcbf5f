"""For every criterion of the shipped policy, one way in which its evidence is taken away or spoiled.

Invariant: what is spoiled is the evidence (a run, rows of a book, a document, a file), never the criterion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.closing import SIMULATION, Copy
from tests.support.tampering import Rows

Spoil = Callable[[Copy], None]
SPOILS: dict[str, Spoil] = {}
SCHEMA = "contest_platform/store/schema.sql"
EXECUTIONS, STEPS, NOTEBOOK = "platform.runbook_executions", "platform.runbook_execution_steps", "operator.notebook"
TRAIL = "platform.audit_log"


def _tree(criterion: str, file: str, old: str, new: str) -> None:
    SPOILS[criterion] = lambda copy: copy.file(file, old, new)


def _prose(criterion: str, file: str, old: str, new: str) -> None:
    """A document that was in force during the drills."""
    SPOILS[criterion] = lambda copy: copy.text("drills", f"runbooks/{file}.md", old, new)


def _first(rows: Rows, **match: Any) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in match.items()))


def _edit(criterion: str, scenario: str, book: str, change: dict[str, Any], **match: Any) -> None:
    """The first row that matches says something else."""
    SPOILS[criterion] = lambda copy: copy.book(scenario, book, lambda rows: _first(rows, **match).update(change))


def _remove(criterion: str, scenario: str, book: str, **match: Any) -> None:
    """The rows that match are gone."""
    SPOILS[criterion] = lambda copy: copy.book(
        scenario, book, lambda rows: [row for row in rows if any(row[name] != value for name, value in match.items())]
    )


def _add(criterion: str, scenario: str, book: str, **change: Any) -> None:
    """One row more: the last once again, and changed."""
    SPOILS[criterion] = lambda copy: copy.book(
        scenario, book, lambda rows: [*rows, {**rows[-1], "n": rows[-1]["n"] + 1, **change}]
    )


def _never_completed(criterion: str, runbook: str, *scenarios: str) -> None:
    """Of these runs, no execution of the runbook came to its end."""

    def fail(rows: Rows) -> None:
        for row in rows:
            if row["runbook_name"] == runbook:
                row["status"] = "failed"
                row["error_reason"] = "a step did not answer as written"

    def spoil(copy: Copy) -> None:
        for scenario in scenarios:
            copy.book(scenario, EXECUTIONS, fail)

    SPOILS[criterion] = spoil


def _trail(criterion: str, change: dict[str, Any], **match: Any) -> None:
    """Somebody with the code has written the audit trail of the simulation anew, hashes and anchors and all."""

    def spoil(copy: Copy) -> None:
        copy.book(SIMULATION, TRAIL, lambda rows: _first(rows, **match).update(change))
        copy.rechain(SIMULATION)

    SPOILS[criterion] = spoil


def _two_contests(text: str) -> str:
    """The scenario without the contests of its second tournament."""
    before, _, rest = text.partition("  - id: links-double")
    return before + "\nfaults:" + rest.partition("\nfaults:")[2]


# --- 06A -----------------------------------------------------------------------------------------------------------

_tree("06a.table", SCHEMA, "CREATE TABLE runbook_executions (", "CREATE TABLE runbook_runs (")
_tree("06a.fields", SCHEMA, "    runbook_version TEXT NOT NULL,\n", "")
_tree("06a.indexes", SCHEMA, "idx_runbook_executions_status ON", "idx_runbook_executions_state ON")
_tree("06a.append_only", SCHEMA, "create trigger runbook_executions_refuse_delete before delete", "-- before delete")
_tree(
    "06a.step_by_step",
    SCHEMA,
    "create trigger runbook_execution_steps_follow",
    "create trigger steps_come_as_they_like",
)
_tree("06a.endpoints", "contest_platform/openapi.json", '"/api/admin/runbooks/complete"', '"/api/admin/runbooks/end"')
_add("06a.no_direct_access", "operations_tasks", "database.sessions", principal="ops:autumn", role="readonly")
_edit("06a.before_and_after", "operations_payments", EXECUTIONS, {"system_state_after": None})
_edit("06a.no_partial", "handed_on_payments", EXECUTIONS, {"error_reason": None}, status="failed")
_edit("06a.snapshot_current", SIMULATION, STEPS, {"exit_status": 1}, template="opsctl env compare",
      file="runbooks/snapshot_ritual.md", section="Steps")  # fmt: skip

# --- 06B -----------------------------------------------------------------------------------------------------------

_never_completed("06b.failure_modes", "host_clock_skew", "operations_fleet")
_never_completed("06b.tested", "settlement_backfill", "operations_contests_2")
_prose("06b.runbooks_failures", "ingestion_lag", "kind: failure", "kind: escalation")
_prose("06b.runbooks_payments", "refund_request", "kind: failure", "kind: escalation")
_prose("06b.runbooks_payouts", "payout_not_triggered", "kind: failure", "kind: escalation")
_prose("06b.runbooks_tasks", "scale_database", "kind: task", "kind: escalation")
_prose("06b.runbooks_escalation", "escalation_to_engineering", "kind: escalation", "kind: failure")
_prose("06b.executable", "payout_partial_batch", "one by one.", "as appropriate.")
_prose("06b.nobody_asked", "payout_partial_batch", "one by one.", "or else ask engineering.")
_prose("06b.roles", "payout_partial_batch", "role: ops", "role: engineering")
SPOILS["06b.as_committed"] = lambda copy: copy.file("runbooks/ingestion_lag.md", "\n# ", "\n# Once more: ")
_remove(
    "06b.steps",
    "operations_contests",
    STEPS,
    file="runbooks/contest_transition_failed.md",
    section="Recovery",
    number=4,
)
_remove("06b.rollbacks", "handed_on_payments", STEPS, file="runbooks/refund_request.md", section="Rollback", number=1)
_edit("06b.rollbacks_work", "handed_on_payments", STEPS, {"ok": False}, section="Rollback")
_edit("06b.branches", "handed_on_contests", STEPS, {"matched": "expected"}, section="Recovery", number=5,
      file="runbooks/settlement_failed_mid_run.md")  # fmt: skip
_never_completed("06b.recoveries", "score_discrepancy", "operations_ingestion")
_remove("06b.tasks_done", "drills", NOTEBOOK, runbook="restart_services")
_edit("06b.exercises", "operations_payouts", "platform.users", {"name": "Somebody Else"})
_edit("06b.handed_on", "handed_on_tasks", "platform.users", {"name": "Somebody Else"})
_edit("06b.escalated", "handed_on_tasks", "operator.escalations", {"package": None})
_never_completed("06b.transient", "payout_transfer_stuck_in_retryable", "operations_contests_2", "operations_payments",
                 "operations_payments_2", "operations_payouts", "operations_payouts_2", "processor")  # fmt: skip
_never_completed(
    "06b.terminal", "payout_destination_invalid", "operations_payouts", "operations_payouts_2", "processor"
)
_never_completed("06b.partial_batch", "payout_partial_batch", "operations_payments", "operations_payments_2",
                 "operations_payouts", "operations_payouts_2", "processor")  # fmt: skip
_never_completed(
    "06b.outage", "processor_outage", "operations_contests", "operations_contests_2", "operations_payments_2"
)
_never_completed("06b.webhook_delay", "payout_not_triggered", "operations_payouts")
_never_completed("06b.user_deleted", "user_deleted_after_settlement", "operations_payouts")
_remove("06b.alert_rules", "operations_fleet", "monitoring.alerts", alert="HostClockSkew")
SPOILS["06b.alert_links"] = lambda copy: copy.text(
    "operations_payments", "alerts/payments.yml", "runbooks/duplicate_webhook.md", "runbooks/nowhere.md"
)
_tree("06b.metrics", "contest_platform/metrics.py", '"score_audit_mismatches"', '"score_mismatches"')
_edit("06b.settlement_duration", SIMULATION, "platform.settlement_audit", {"finished_at": None})
_tree("06b.no_alert_table", SCHEMA, "CREATE TABLE access_log (", "-- operational_alerts\nCREATE TABLE access_log (")
_edit("06b.dashboards", SIMULATION, "observer.dashboards", {"status": None, "body": None, "problem": "timeout"})
SPOILS["06b.postmortem"] = lambda copy: copy.text(
    "handed_on_fleet", "postmortem.md", "### Assumptions We Purged", "### Assumptions"
)
_tree("ritual.snapshot", SCHEMA, "-- Made of", "-- Once made of")
_tree("ritual.both_stores", "contest_platform/store/postgresql.sql", "idx_runbook_executions_status", "idx_status")

# --- 06C -----------------------------------------------------------------------------------------------------------

_remove("06c.passes", SIMULATION, "platform.daemon_health", daemon="settlement")
SPOILS["06c.fourteen_days"] = lambda copy: copy.instead(SIMULATION, "--days", "13")
SPOILS["06c.contests"] = lambda copy: copy.instead(SIMULATION, scenario=_two_contests)
_tree("06c.as_committed", "scenarios/iteration06.yaml", "recovery_h: 48", "recovery_h: 47")
_edit("06c.services", SIMULATION, "preflight.checks", {"passed": False}, item="services are deployed and running")
_remove("06c.revoked", SIMULATION, "platform.access_log", principal="founder:jesse")
_add("06c.no_login", SIMULATION, "identity.events", action="login", principal="founder:jesse", allowed=True)
_add("06c.access_clean", SIMULATION, "platform.access_log", principal="founder:jesse", allowed=True)
_add("06c.no_database", SIMULATION, "database.sessions", principal="founder:jesse", role="readonly", writes=0)
_add("06c.no_dashboard", SIMULATION, "processor.requests", caller="founder:jesse")
_edit("06c.no_deploys", SIMULATION, "deployment.fingerprints", {"sha256": "0" * 64}, what="configuration")
_trail("06c.no_repairs", {"actor": "founder:jesse"}, action="contests.update")
SPOILS["06c.runbooks_succeed"] = lambda copy: copy.book(SIMULATION, "operator.escalations", lambda _: [{
    "n": 1, "at": 1780963500045, "principal": "ops:autumn", "incident": "Nothing", "runbook": "", "execution_id": "",
    "reason": "the page links to no runbook", "package": "{}",
}])  # fmt: skip
_edit("06c.on_record", SIMULATION, NOTEBOOK, {"exit_status": 3}, action="step")
_edit("06c.faults_bit", SIMULATION, "injector.bites", {"victim": "nobody"}, fault="webhooks.delayed")
SPOILS["06c.procedures"] = lambda copy: copy.book(
    SIMULATION, NOTEBOOK, lambda rows: _first(rows, runbook="weekly_maintenance", action="started").update(at=0)
)
_remove("06c.transfer_timeout", SIMULATION, "injector.bites", fault="timeouts.transfers_unanswered")
_remove("06c.duplicate_webhook", SIMULATION, "injector.bites", fault="webhooks.storm")
_remove("06c.delayed_webhook", SIMULATION, "injector.bites", fault="webhooks.delayed")
_remove("06c.alerts", SIMULATION, "pager.events", action="resolve")
_trail("06c.lifecycle", {"after": '{"status":"LIVE"}'}, action="contests.update", after='{"status":"LOCKED"}')
_trail("06c.on_time", {"at": 1780358400000}, action="contests.update", after='{"status":"LOCKED"}')
_edit("06c.no_error", SIMULATION, "platform.contests", {"error_code": "settlement_impossible"})
_edit("06c.ingestion", SIMULATION, "platform.score_audits", {"mismatches": 1})
_edit("06c.ingestion_told", SIMULATION, "platform.ingestion_receipts", {"verdict": "REJECT", "reason": None},
      verdict="DUPLICATE")  # fmt: skip
_edit("06c.settled", SIMULATION, "platform.leases", {"holder": "system:settlement:gone", "expires_at": 1800000000000})
_trail("06c.payouts_by_themselves", {"actor": "ops:autumn"}, action="transfers.insert")
_edit("06c.payouts_end", SIMULATION, "platform.transfers", {"status": "SUBMITTED"})
_edit("06c.payouts_given_up", "operations_payouts", "processor.requests", {"error_code": "rate_limit"},
      operation="transfers.create", error_code="account_invalid")  # fmt: skip
_edit("06c.winners", SIMULATION, "processor.transfers", {"destination": "acct_of_somebody_else"})
_add("06c.ledger_balances", SIMULATION, "entrants.actions", action="paid", amount_cents=1_000, result="ok")
_edit("06c.ledger_reconciles", SIMULATION, "processor.balance", {"net_cents": 1})
_edit("06c.ledger_entries", SIMULATION, "platform.ledger_transactions", {"business_key": "rake:azalea-points"},
      kind="prize")  # fmt: skip
_edit("06c.audit_gapless", SIMULATION, TRAIL, {"actor": "system:nobody"}, seq=500)
_edit("06c.audit_append_only", SIMULATION, "anchor.heads", {"head_hash": "0" * 64})
_edit("06c.audit_complete", SIMULATION, "platform.users", {"name": "Somebody Else"})
_trail("06c.audit_reasons", {"reason": ""}, seq=500)
SPOILS["06c.dashboards"] = lambda copy: copy.book(SIMULATION, "observer.dashboards", lambda rows: [
    {**row, "body": str(row["body"]).replace('"status":"SCHEDULED"', '"status":"LIVE"')} for row in rows
])  # fmt: skip
_edit("06c.self_healing", SIMULATION, "platform.webhook_inbox", {"status": "WAITING"})
