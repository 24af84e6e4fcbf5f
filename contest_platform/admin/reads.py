"""What ops may read of the platform's tables, at any time and without a runbook."""

from __future__ import annotations

from typing import Any

import orjson

from contest_platform import audit, checkpoints
from contest_platform.admin import state
from contest_platform.admin.reading import LIMIT, LIMIT_DEFAULT, Answer, Given, Read, listing, one
from contest_platform.admin.waiting import waiting
from contest_platform.fields import Field
from contest_platform.ports import Tx
from contest_platform.services import anchoring, ingestion, reconciliation, settlement_backfill
from contest_platform.services.payout_resolutions import IS_RESOLVED
from contest_platform.statuses import (
    CONTEST_STATUSES,
    EXECUTION_STATUSES,
    INBOX_STATUSES,
    ORDER_STATUSES,
    PACK_STATUSES,
    REFUND_STATUSES,
    TRANSFER_STATUSES,
    WAITS_FOR,
)
from contest_platform.store.tables import TABLES

HOUR_S = 3_600


def _only(name: str, help: str, choices: tuple[str, ...] = ()) -> Field:
    return Field(name, help, required=False, choices=choices)


def _state(tx: Tx, given: Given) -> Answer:
    return dict(state.snapshot(tx))


def _ingestion(tx: Tx, given: Given) -> Answer:
    """Lag counts only while play is on, from the last poll that succeeded or the start of that play."""
    items = []
    for row in tx.all("select tournament_id, play, completed_at from tournaments order by tournament_id"):
        known = checkpoints.read(tx, ingestion.checkpoint_name(row["tournament_id"])) or ingestion.FRESH
        began = [from_at for from_at, until_at in ingestion.play_windows(row["play"]) if from_at <= tx.now < until_at]
        since = max(began[0], known["last_success_at"] or 0) if began else tx.now
        items.append({
            "tournament_id": row["tournament_id"],
            "in_play": bool(began),
            "lag_s": (tx.now - since) // 1000,
            "last_success_at": known["last_success_at"],
            "failing_since_at": known["failing_since"],
            "failures": known["failures"],
            "polls": known["polls"],
            "revision": known["revision"],
            "open_batches": len(known["open"]),
            "completed_at": row["completed_at"],
        })  # fmt: skip
    return {"items": items, "more": False}


def _anchor(tx: Tx, given: Given) -> Answer:
    seq, head = audit.head(tx)
    known = checkpoints.read(tx, anchoring.CHECKPOINT) or {"seq": 0, "at": None, "paged": False}
    age_ms = None if known["at"] is None else tx.now - known["at"]
    stale = age_ms is None or age_ms >= anchoring.STALE_AFTER_MS
    item = {
        "head_seq": seq, "published_seq": known["seq"], "behind": seq - known["seq"], "published_at": known["at"],
        "stale": stale, "paged": known["paged"], "head_hash": head,
    }  # fmt: skip
    return {"items": [item]}


def _reconciled(tx: Tx, given: Given) -> Answer:
    """`asked`: a pass was asked for, and none that began since has come to its end. `behind_s` counts from the
    beginning of the last good one."""
    known = checkpoints.read(tx, reconciliation.RECONCILED)
    last_at = None if known is None else known["through"]
    item = {
        "last_success_at": last_at, "behind_s": None if last_at is None else (tx.now - last_at) // 1000,
        "asked": checkpoints.read(tx, reconciliation.ASKED) is not None,
    }  # fmt: skip
    return {"items": [item]}


def _database(tx: Tx, given: Given) -> Answer:
    rows = {name: tx.tuples(f"select count(*) from {name}")[0][0] for name in ("access_log", "audit_log", "contests")}
    item: dict[str, Any] = {"answers": True, "at": tx.now, "tables": len(TABLES)}
    leases = [dict(row) for row in tx.all("select name, holder, epoch, expires_at from leases order by name")]
    daemons = [dict(row) for row in tx.all("select * from daemon_health order by started_at desc, holder limit 3")]
    counts = {f"{name}_rows": count for name, count in rows.items()}
    return {"items": [{**item, **counts}], "leases": leases, "daemons": daemons}


def _unlinked(tx: Tx, given: Given) -> Answer:
    limit, rows = given["limit"] or LIMIT_DEFAULT, settlement_backfill.found(tx)
    return {"items": rows[:limit], "more": len(rows) > limit}


def _last_score_audits(tx: Tx, given: Given) -> Answer:
    rows = tx.all(
        "select tournament_id, at, holes, mismatches from score_audits a where audit_id ="
        " (select max(audit_id) from score_audits b where b.tournament_id = a.tournament_id) order by tournament_id"
    )
    return {"items": [dict(row) for row in rows], "more": False}


def _waiting(tx: Tx, given: Given) -> Answer:
    """Without an intent there is nothing to be orphaned; `age_s` is counted from the entry."""
    answer = listing(_ORPHANED)(tx, {**given, "age_s": given["age_s"] or HOUR_S})
    if isinstance(answer, dict):
        for item in answer["items"]:
            item["age_s"] = (tx.now - item["created_at"]) // 1000
    return answer


def _runbook(tx: Tx, given: Given) -> Answer:
    answer = one(f"{_EXECUTION} where id = :execution_id", "runbook execution", steps=_STEPS)(tx, given)
    if isinstance(answer, dict):
        for item in answer["items"]:
            for name in ("result_json", "system_state_before", "system_state_after"):
                item[name] = None if item[name] is None else orjson.loads(item[name])
    return answer


_CONTEST = """
    select c.contest_id, c.status, c.fee_cents, c.lock_at, c.start_at, c.end_at, c.completed_at, c.cutoff_at,
           c.settled_at, c.closed_at, c.error_code, c.tournament_id,
           (select count(*) from entries e where e.contest_id = c.contest_id and e.status = 'VALID') as entries_valid,
           (select count(*) from entries e where e.contest_id = c.contest_id and e.status = 'PENDING_PAYMENT')
             as entries_unpaid,
           (select count(*) from settlement_packs p where p.contest_id = c.contest_id and p.status = 'PENDING')
             as packs_pending,
           (select count(*) from transfers t where t.contest_id = c.contest_id
             and t.status in ('PENDING', 'SUBMITTED', 'RETRYABLE')) as transfers_unended,
           (select count(*) from transfers t where t.contest_id = c.contest_id and t.status = 'FAILED_TERMINAL')
             as transfers_failed,
           (select coalesce(-sum(amount_cents), 0) from ledger_postings
             where account = 'liabilities:contest_escrow:' || c.contest_id) as escrow_cents
    from contests c where c.contest_id = :contest_id
"""
_SETTLEMENTS = """
    select c.contest_id, c.status, c.cutoff_at, c.error_code, r.status as run_status, r.started_at, r.finished_at,
           (select count(*) from settlement_packs p where p.contest_id = c.contest_id and p.status = 'EXECUTED')
             as packs_executed,
           (select count(*) from settlement_packs p where p.contest_id = c.contest_id and p.status = 'PENDING')
             as packs_pending,
           (select count(*) from settlement_packs p where p.contest_id = c.contest_id
             and p.status in ('FAILED', 'ORPHANED_OUTCOME_MISSING')) as packs_failed, r.error_json
    from contests c left join settlement_audit r on r.run_id = (select run_id from settlement_audit l
        where l.contest_id = c.contest_id order by l.started_at desc, l.run_id desc limit 1)
    where c.status in ('COMPLETE', 'SETTLED', 'PAID_OUT', 'ERROR')
      and (:contest_id is null or c.contest_id = :contest_id)
    order by c.contest_id
"""
_PACKS = """
    select p.pack_id, p.status, p.contest_id, p.entry_id, coalesce(o.prize_cents, 0) as prize_cents,
           p.fail_reason_code as code, p.terminalized_at as ended_at, p.fail_reason_detail as detail
    from settlement_packs p left join outcomes o on o.entry_id = p.entry_id
    where (:contest_id is null or p.contest_id = :contest_id) and (:status is null or p.status = :status)
      and (:prize is null or (coalesce(o.prize_cents, 0) > 0) = (:prize = 'yes'))
    order by p.contest_id, p.entry_id
"""
_TRANSFER = f"""
    select transfer_id, status, contest_id, entry_id, user_id, amount_cents, destination, reason, attempts,
           idempotency_key, next_attempt_at, processor_transfer_id, created_at, done_at,
           case when {IS_RESOLVED} then 'yes' else 'no' end as resolved
    from transfers
"""
_ATTEMPTS = """
    select n, outcome, code, idempotency_key, sent_at, finished_at from transfer_attempts
    where transfer_id = :transfer_id order by n
"""
_ORPHANED = """
    select p.entry_id, p.intent_id, p.status, e.status as entry_status, e.contest_id, p.amount_cents, p.created_at,
           c.lock_at
    from payments p join entries e on e.entry_id = p.entry_id join contests c on c.contest_id = e.contest_id
    where p.status = 'CREATED' and p.intent_id is not null and p.created_at <= :now - :age_s * 1000
      and (:entry_status is null or e.status = :entry_status)
    order by p.created_at, p.entry_id
"""
_PAYMENT = """
    select p.entry_id, p.intent_id, p.status, e.status as entry_status, e.contest_id, e.user_id, p.amount_cents,
           p.refunded_cents, p.created_at, p.captured_at
    from payments p join entries e on e.entry_id = p.entry_id where p.entry_id = :entry_id
"""
_EVENTS_OF_PAYMENT = """
    select event_id, type, status, deliveries, received_at from webhook_inbox
    where object_id = (select intent_id from payments where entry_id = :entry_id) order by received_at, event_id
"""
_REFUND = """
    select refund_id, status, entry_id, intent_id, amount_cents, reason, attempts, next_attempt_at,
           processor_refund_id, created_at, done_at from refunds
"""
_DISPUTE = """
    select dispute_id, status, entry_id, intent_id, amount_cents, fee_cents, opened_at, closed_at from disputes
"""
_QUARANTINE = """
    select b.batch_id, b.tournament_id, b.received_at, b.quarantined as holes, q.how, q.resolved_by_batch_id,
           q.at as resolved_at
    from ingestion_batches b left join quarantine_resolutions q on q.batch_id = b.batch_id
    where b.quarantined > 0 and (q.batch_id is null or :resolved = 'yes') order by b.batch_id
"""
_ORDERS = """
    select o.order_id, o.status, o.host, i.check_name, i.target, o.rule_id, o.runbook_id, o.attempts, o.issued_at,
           o.expires_at, o.finished_at, o.detail, o.incident_id, i.status as incident_status
    from remediation_orders o join incidents i on i.incident_id = o.incident_id
    where :status is null or o.status = :status order by o.issued_at, o.order_id
"""
_EXECUTION = """
    select id, runbook_name, runbook_version, executed_by, status, execution_phase, phase_step, start_time as start_at,
           end_time as end_at, duration_seconds as duration_s, error_reason, result_json, system_state_before,
           system_state_after
    from runbook_executions
"""
_STEPS = """
    select n, section, number, exit_status, ok, matched, next, at, file, line, sent, output from runbook_execution_steps
    where execution_id = :execution_id order by n
"""
_AUDIT = """
    select seq, at, actor, action, subject, reason, correlation, before, after from audit_log
    where (:subject is null or subject = :subject) and (:actor is null or actor = :actor)
      and (:action is null or action = :action) order by seq desc
"""

READS = (
    Read("/api/admin/state", "The state of the system in numbers", (), _state),
    Read(
        "/api/admin/contests", "Contests", (_only("status", "only these", CONTEST_STATUSES), LIMIT),
        listing("select contest_id, status, tournament_id, lock_at, start_at, end_at, cutoff_at, error_code"
                " from contests where :status is null or status = :status order by contest_id"),
    ),
    Read("/api/admin/contests/show", "One contest", (Field("contest_id", "the contest"),), one(_CONTEST, "contest")),
    Read(
        "/api/admin/contests/waiting", "Contests that should have gone on by now",
        (_only("waits_for", "only those that wait for this", WAITS_FOR),
         Field("age_s", "for at least so many seconds (900)", "integer", required=False)),
        waiting,
    ),
    Read("/api/admin/ingestion/status", "How ingestion stands with each tournament", (), _ingestion),
    Read(
        "/api/admin/settlement/status", "How the last settlement of each contest stands",
        (_only("contest_id", "only this"), LIMIT), listing(_SETTLEMENTS),
    ),
    Read(
        "/api/admin/settlement/acceptance", "The acceptance tests of settlement, newest day first", (LIMIT,),
        listing("select day_at, link_growth, executed, log_growth, lvi, lvi_executed, lvi_due, log_rows, at"
                " from settlement_acceptance order by day_at desc"),
    ),
    Read(
        "/api/admin/settlement/unlinked", "Packs without a link, a post-mortem or a row in the log, and what a backfill"
        " would make of each", (LIMIT,), _unlinked,
    ),
    Read(
        "/api/admin/packs", "Packs of settlements, one for each entry",
        (_only("contest_id", "only of this"), _only("status", "only these", PACK_STATUSES),
         _only("prize", "yes: only those of entries that have won something", ("yes", "no")), LIMIT),
        listing(_PACKS),
    ),
    Read(
        "/api/admin/transfers", "Transfers to winners",
        (_only("status", "only these", TRANSFER_STATUSES), _only("contest_id", "only of this"),
         _only("reason", "only for this"), _only("resolved", "only those looked into, or not", ("yes", "no")), LIMIT),
        listing(f"{_TRANSFER} where (:status is null or status = :status)"
                " and (:contest_id is null or contest_id = :contest_id) and (:reason is null or reason = :reason)"
                f" and (:resolved is null or {IS_RESOLVED} = (:resolved = 'yes'))"
                " order by contest_id, entry_id"),
    ),
    Read(
        "/api/admin/transfers/show", "One transfer and its attempts", (Field("transfer_id", "the transfer"),),
        one(f"{_TRANSFER} where transfer_id = :transfer_id", "transfer", attempts=_ATTEMPTS),
    ),
    Read(
        "/api/admin/webhooks", "Events of the processor", (_only("status", "only these", INBOX_STATUSES), LIMIT),
        listing("select event_id, type, object_id, status, deliveries, received_at, applied_at from webhook_inbox"
                " where :status is null or status = :status order by received_at desc, event_id"),
    ),
    Read(
        "/api/admin/refunds", "Refunds",
        (_only("status", "only these", REFUND_STATUSES), _only("entry_id", "only of this"), LIMIT),
        listing(f"{_REFUND} where (:status is null or status = :status)"
                " and (:entry_id is null or entry_id = :entry_id) order by created_at, refund_id"),
    ),
    Read(
        "/api/admin/disputes", "Disputes",
        (_only("open", "yes: only those not decided", ("yes", "no")),
         _only("known", "no: only those whose entry is not known", ("yes", "no")), LIMIT),
        listing(f"{_DISPUTE} where (:open is null or (closed_at is null) = (:open = 'yes'))"
                " and (:known is null or (entry_id is not null) = (:known = 'yes')) order by opened_at, dispute_id"),
    ),
    Read(
        "/api/admin/disputes/show", "One dispute", (Field("dispute_id", "the dispute"),),
        one(f"{_DISPUTE} where dispute_id = :dispute_id", "dispute"),
    ),
    Read(
        "/api/admin/payments/orphaned", "Intents of which nothing has been heard",
        (Field("age_s", "for at least so many seconds (3600)", "integer", required=False),
         _only("entry_status", "only those of entries that are", ("PENDING_PAYMENT", "ABANDONED")), LIMIT), _waiting,
    ),
    Read("/api/admin/payments/status", "When the processor's books were last read to their end", (), _reconciled),
    Read(
        "/api/admin/payments/show", "One payment and the events about its intent", (Field("entry_id", "the entry"),),
        one(_PAYMENT, "payment", events=_EVENTS_OF_PAYMENT),
    ),
    Read("/api/admin/scores/audit", "The last score audit of each tournament", (), _last_score_audits),
    Read(
        "/api/admin/quarantine", "Batches with holes in quarantine",
        (_only("resolved", "yes: also those resolved", ("yes", "no")), LIMIT), listing(_QUARANTINE),
    ),
    Read("/api/admin/orders", "Remediation orders", (_only("status", "only these", ORDER_STATUSES), LIMIT),
         listing(_ORDERS)),
    Read(
        "/api/admin/audit/tail", "The last rows of the audit log, newest first",
        (_only("subject", "only of this"), _only("actor", "only by this"), _only("action", "only this"), LIMIT),
        listing(_AUDIT),
    ),
    Read("/api/admin/anchor", "How far the audit log is anchored outside", (), _anchor),
    Read("/api/admin/db/health", "Whether the database serves, and who holds its leases", (), _database),
    Read(
        "/api/admin/runbooks", "Runbook executions, newest first",
        (_only("status", "only these", EXECUTION_STATUSES), _only("runbook_name", "only of this"), LIMIT),
        listing(f"{_EXECUTION} where (:status is null or status = :status)"
                " and (:runbook_name is null or runbook_name = :runbook_name) order by start_time desc, id"),
    ),
    Read("/api/admin/runbooks/show", "One execution and its steps", (Field("execution_id", "the execution"),),
         _runbook),
)  # fmt: skip
