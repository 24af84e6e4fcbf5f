"""What ops may have done in a step of a runbook. Each action is asked of the service that owns the rows, by its rules.

Invariant: asking again, because an answer was lost, changes nothing more: `changed` says whether this call did.
"""

from __future__ import annotations

from typing import Any

from contest_platform.admin.acting import Act, Action
from contest_platform.fields import Field
from contest_platform.ports import Tx
from contest_platform.service import Refusal
from contest_platform.services import (
    contests,
    entries,
    ingestion,
    ingestion_batches,
    payout_resolutions,
    payouts,
    reconciliation,
    refunds,
    score_audit,
    settlement_backfill,
    settlement_runs,
    webhooks,
    withdrawals,
)
from contest_platform.services.healing import HealingService

REASON = Field("reason", "why, for the record")
DRY_RUN = Field("dry_run", "say what would be done, and do nothing", "boolean", required=False)


def _changed(changed: bool | Refusal, **more: Any) -> dict[str, Any] | Refusal:
    return changed if isinstance(changed, Refusal) else {**more, "changed": changed}


def _lock(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    contest_id = act.given["contest_id"]
    return _changed(contests.force_lock(tx, act.ctx, contest_id, act.why), contest_id=contest_id, status="LOCKED")


def _poll(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    tournament_id = act.given["tournament_id"]
    return _changed(ingestion.ask(tx, tournament_id), tournament_id=tournament_id)


def _rerun(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    contest_id = act.given["contest_id"]
    return _changed(settlement_runs.again(tx, act.ctx, contest_id, act.why), contest_id=contest_id)


def _backfill(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    dry_run = bool(act.given["dry_run"])
    evidence = settlement_backfill.run(tx, act.ctx, act.why, dry_run)
    totals = {name.lower(): count for name, count in evidence["totals"].items()}
    made = not dry_run and totals["linked"] + totals["post_mortem"] > 0
    return {"dry_run": dry_run, **totals, "sha256": evidence["sha256"], "changed": made}


def _retry(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    transfer_id = act.given["transfer_id"]
    return _changed(payouts.retry_now(tx, act.ctx, transfer_id, act.why), transfer_id=transfer_id)


def _fail(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    transfer_id = act.given["transfer_id"]
    changed = payouts.fail_refused(tx, act.ctx, transfer_id)
    return _changed(changed, transfer_id=transfer_id, status="FAILED_TERMINAL")


def _start_payout(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    contest_id = act.given["contest_id"]
    return _changed(payouts.start_now(tx, contest_id), contest_id=contest_id)


def _resolve_transfer(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    transfer_id = act.given["transfer_id"]
    return _changed(
        payout_resolutions.resolve(tx, act.ctx, transfer_id, act.why), transfer_id=transfer_id, resolved=True
    )


def _unresolve_transfers(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    transfers = payout_resolutions.unresolve(tx, act.ctx, act.why)
    return {"transfers": transfers, "resolved": False, "changed": transfers > 0}


def _retry_refund(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    refund_id = act.given["refund_id"]
    return _changed(refunds.retry_now(tx, act.ctx, refund_id, act.why), refund_id=refund_id)


def _replay_webhook(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    event_id = act.given["event_id"]
    replayed = webhooks.replay(tx, event_id)
    if isinstance(replayed, Refusal):
        return replayed
    changed, status = replayed
    return {"event_id": event_id, "status": status, "changed": changed}


def _reconcile(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    return {"changed": reconciliation.ask(tx)}


def _refund(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    entry_id = act.given["entry_id"]
    entry = tx.one("select user_id, status from entries where entry_id = :e", {"e": entry_id})
    if entry is None:
        return Refusal(404, f"no entry {entry_id}")
    status, body = withdrawals.withdraw(tx, entries.ACTOR, entry["user_id"], entry_id)
    if "error" in body:
        return Refusal(status, f"entry {entry_id}: {body['error']}")
    return {"entry_id": entry_id, "status": body["status"], "changed": body["status"] != entry["status"]}


def _replay_scores(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    tournament_id = act.given["tournament_id"]
    wrong = score_audit.replay_now(tx, tournament_id)
    if isinstance(wrong, Refusal):
        return wrong
    return {"tournament_id": tournament_id, "mismatches": wrong, "changed": wrong > 0}


def _resolve(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
    batch_id = act.given["batch_id"]
    how = ingestion_batches.resolve_told_again(tx, act.ctx, batch_id, act.why)
    if isinstance(how, Refusal):
        return how
    return {"batch_id": batch_id, "changed": how is not None}


def actions(healing: HealingService) -> tuple[Action, ...]:
    """Every acting endpoint but those of runbook executions themselves."""

    def issue(tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        incident_id = act.given["incident_id"]
        order_id = healing.issue_again(tx, act.ctx, incident_id, act.why)
        if isinstance(order_id, Refusal):
            return order_id
        return {"incident_id": incident_id, "order_id": order_id, "changed": True}

    contest, tournament = Field("contest_id", "the contest"), Field("tournament_id", "the tournament")
    transfer = Field("transfer_id", "the transfer")
    return (
        Action("/api/admin/contests/lock", "Lock a contest whose lock time has passed", (contest, REASON), _lock),
        Action("/api/admin/ingestion/poll", "Poll the score provider out of turn", (tournament,), _poll),
        Action(
            "/api/admin/settlement/rerun", "Settle again what failed or has not ended", (contest, REASON), _rerun
        ),
        Action(
            "/api/admin/settlement/backfill", "Link packs to the outcomes of their entries, and explain what failed",
            (REASON, DRY_RUN), _backfill,
        ),
        Action("/api/admin/transfers/retry", "Make the next attempt now, by the same rules", (transfer,), _retry),
        Action("/api/admin/transfers/fail", "Give up a transfer refused for good", (transfer, REASON), _fail),
        Action("/api/admin/transfers/resolve", "Note that a transfer that failed or was reversed is looked into",
               (transfer, REASON), _resolve_transfer),
        Action("/api/admin/transfers/unresolve", "Take back every such note of this execution", (REASON,),
               _unresolve_transfers),
        Action("/api/admin/payouts/start", "Have the payout of a settled contest begin", (contest,), _start_payout),
        Action("/api/admin/refunds/retry", "Make the next attempt of a refund now, by the same rules",
               (Field("refund_id", "the refund"),), _retry_refund),
        Action(
            "/api/admin/webhooks/replay", "Apply an event that waits for our own row",
            (Field("event_id", "the event"),), _replay_webhook,
        ),
        Action("/api/admin/payments/reconcile", "Read at the processor now what happened there", (), _reconcile),
        Action(
            "/api/admin/refunds/request", "Take an entry out before the lock, and owe its fee back",
            (Field("entry_id", "the entry"), REASON), _refund,
        ),
        Action("/api/admin/scores/replay", "Show all scores anew if one is not what its receipts say", (tournament,),
               _replay_scores),
        Action(
            "/api/admin/quarantine/resolve", "Resolve a batch whose holes have all been told again",
            (Field("batch_id", "the batch", "integer", least=1), REASON), _resolve,
        ),
        Action(
            "/api/admin/orders/issue", "Issue another order for an open incident",
            (Field("incident_id", "the incident"),), issue,
        ),
    )  # fmt: skip
