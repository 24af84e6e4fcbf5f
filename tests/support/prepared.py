"""A small platform on which something of everything stands: what each command of opsctl prints is known by heart.

Invariant: ann, bob and cyd have played c1, which is settled; ann's transfer is in doubt, bob's account is closed, cyd
is paid. c2 is still open, with an entry that was never paid for. The clock stands ten minutes after the settlement.
"""

from __future__ import annotations

from typing import Any

from contest_platform import checkpoints
from contest_platform.http import Request
from contest_platform.jobs import MINUTE_MS
from contest_platform.ports import PagerIncident
from contest_platform.services.anchoring import CHECKPOINT
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import HealingService
from contest_platform.services.ingestion import FRESH, checkpoint_name
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support.admin_world import STEP, AdminWorld
from tests.support.contest_world import CUTOFF_AT, DAY_MS, LOCK_AT, OVER_AT
from tests.support.platform_ports import START

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}
NOW = CUTOFF_AT + 10 * MINUTE_MS


def prepared() -> AdminWorld:
    world = AdminWorld()
    world.offer()
    late = {"lock_at": CUTOFF_AT + DAY_MS, "start_at": CUTOFF_AT + DAY_MS, "end_at": CUTOFF_AT + 2 * DAY_MS}
    world.offer("c2", **late)
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.enter("dan", contest_id="c2", captured_at=None)
    world.connection.execute("update payments set created_at = ? where entry_id = 'c2-dan'", (START,))
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    world.processor.script = ["lost_after", "closed"]
    world.work(world.life(PayoutsService))
    world.write(_rows)
    _host_trouble(world)
    world.pager.open = [PagerIncident("HostUnreachable:host=win-1", "acknowledged", CUTOFF_AT)]
    world.runtime.at = NOW
    return world


def an_execution(world: AdminWorld) -> str:
    """An execution of two steps that has failed; its id."""
    execution_id = world.start(system_state_before={"transfers_retryable": 1})
    world.call("POST", "runbooks/steps", {"execution_id": execution_id, **STEP})
    more = {"n": 2, "number": 3, "ok": False, "matched": None, "next": None, "output": "error: no\n", "exit_status": 1}
    world.call("POST", "runbooks/steps", {"execution_id": execution_id, **STEP, **more})
    world.runtime.at += 61_000
    end = {"execution_id": execution_id, "status": "failed", "error_reason": "one is stuck"}
    world.call("POST", "runbooks/complete", {**end, "result_json": {"recovered": 0}})
    return execution_id


def _rows(tx: Any) -> None:
    inbox = {"type": "payment_intent.succeeded", "object_id": "pi_c1-ann", "created_at": START, "deliveries": 2}
    for event_id, status, at in (("evt_1", "APPLIED", START), ("evt_2", "WAITING", START + 1_000)):
        applied = {"applied_at": at if status == "APPLIED" else None, "received_at": at, "status": status}
        tx.insert("webhook_inbox", {"event_id": event_id, "change_key": event_id, **inbox, **applied})
    refund = {"refund_id": "refund_1", "entry_id": "c1-cyd", "intent_id": "pi_c1-cyd", "amount_cents": 1_000}
    sent = {"idempotency_key": "k", "processor_refund_id": None, "attempts": 2, "next_attempt_at": CUTOFF_AT + 1_000}
    dates = {"reason": "requested", "status": "PENDING", "created_at": START, "done_at": None}
    tx.insert("refunds", {**refund, **sent, **dates})
    for n, (status, closed_at) in enumerate((("lost", OVER_AT), ("needs_response", None)), 1):
        dispute = {"dispute_id": f"dp_{n}", "entry_id": "c1-ann", "intent_id": "pi_c1-ann", "amount_cents": 1_000}
        more = {"fee_cents": 1_500, "status": status, "opened_at": LOCK_AT + n, "closed_at": closed_at}
        tx.insert("disputes", {**dispute, **more})
    batch = {"tournament_id": "t1", "event_id": "e1", "requested_at": OVER_AT, "received_at": OVER_AT, "revision": 7}
    rest = {"since_revision": 6, "published_at": OVER_AT, "full": False, "receipts_hash": "h"}
    counts = {"admitted": 0, "duplicates": 0, "corrections": 0, "quarantined": 2, "rejected": 0}
    for batch_id in (2, 3):
        tx.insert("ingestion_batches", {"batch_id": batch_id, **batch, **rest, **counts})
        for n in (1, 2):
            cell = {"golfer_id": "g1", "round": 1, "hole": n, "strokes": 9, "published_at": OVER_AT}
            told = {"tournament_id": "t1", **cell, "verdict": "QUARANTINE", "reason": "HOLE_SUM_MISMATCH"}
            tx.insert("ingestion_receipts", {"batch_id": batch_id, "n": n, **told})
    tx.insert("quarantine_resolutions", {"batch_id": 2, "resolved_by_batch_id": 3, "at": OVER_AT, "how": "ADMITTED"})
    tx.insert("score_audits", {"audit_id": 1, "tournament_id": "t1", "at": OVER_AT, "holes": 9, "mismatches": 1})
    tx.insert("score_audits", {"audit_id": 2, "tournament_id": "t1", "at": CUTOFF_AT, "holes": 9, "mismatches": 0})
    known = {**FRESH, "revision": 7, "polls": 60, "failures": 2, "last_success_at": OVER_AT, "open": [3]}
    checkpoints.save(tx, checkpoint_name("t1"), known)
    checkpoints.save(tx, CHECKPOINT, {"seq": 5, "at": CUTOFF_AT, "paged": False})


def _host_trouble(world: AdminWorld) -> None:
    healing = world.life(HealingService)
    world.hosts.stopped = {("win-1", "ingestion")}
    body = {"host": "win-1", "check": "service_running", "target": "ingestion", "observed": "stopped"}
    handle = healing.routes()["POST", "/api/agent/incidents"].handle
    world.run(handle(Request("POST", "/api/agent/incidents", {}, body), "agent:win-1"))  # type: ignore[arg-type]
