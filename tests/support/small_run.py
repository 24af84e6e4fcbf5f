"""A whole run, small enough to know by heart: every book of every party, written by hand and consistent to the cent.

One tournament of one round and two holes; contest `c1` runs (u1, u2 and u3 in time, u4 after the lock), `c2` has
too few entries and is cancelled. u1 is paid although the answer was lost, u2's account is closed, u3 is paid. The
ingestion worker crashes and is healed, and so is a host that drifts; one batch is scrambled; one hole is corrected
after the end, and one after the cut-off. Somebody forges a webhook.
"""

from __future__ import annotations

import json
import pickle
from functools import cache
from hashlib import sha256
from typing import Any

from evidence.plan import (
    Bite,
    Contest,
    Drill,
    Entrant,
    EntryPlan,
    FaultPlan,
    Golfer,
    Plan,
    Principal,
    Recovery,
    Scoring,
    Tournament,
)
from tests.support.fake_evidence import FakeEvidence
from tests.support.healed import drift, heal, rules
from tests.support.observed import observe
from tests.support.operated import begin_watching, look_around, operate
from tests.support.scribe import Scribe, encode, rechain

HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_780_358_400_000  # 2026-06-02 00:00 UTC
LOCK = T0 + 2 * DAY + 8 * HOUR
OVER = T0 + 3 * DAY + 18 * HOUR
COMPLETED = OVER + 5 * 60_000
CUTOFF = COMPLETED + DAY
SETTLED = CUTOFF + HOUR
PAID = SETTLED + HOUR
END = T0 + 14 * DAY
FEE_CENTS, STRIPE_FEE_CENTS = 1_000, 59
DAEMON = "system:settlement:d1"
PRIZES = {"u1": 1_350, "u2": 810, "u3": 540}  # 3 x 1000, rake 10 %: 2700 by 50, 30 and 20 %


def plan() -> Plan:
    contest: dict[str, Any] = {
        "tournament_id": "t1", "fee_cents": FEE_CENTS, "rake_bp": 1_000, "prize_shares_bp": [5_000, 3_000, 2_000],
        "max_entries": 9, "scoring": Scoring(kind="strokes", roster_size=1, counting=1), "opens_at": T0,
        "lock_at": LOCK, "start_at": LOCK + HOUR, "end_at": OVER + 6 * HOUR, "hold_s": DAY // 1_000,
    }  # fmt: skip
    users = [f"u{n}" for n in range(1, 5)]

    def entry(user: str, contest_id: str) -> EntryPlan:
        golfer = {"u1": "g1", "u2": "g2"}.get(user, "g3")
        return EntryPlan(
            user_id=user, contest_id=contest_id, enters_at=T0 + HOUR, pay_after_s=60, pays="pays", roster=[golfer]
        )

    return Plan(
        scenario="small", scenario_sha256="0" * 64, seed=7, root_key="0" * 32, starts_at=T0, absence_until_at=END,
        recovery_until_at=END + 4 * DAY, owner_capital_cents=100_000, operations=True,
        drills=[Drill(id="drill_1", runbook="exercise", at=PAID + 4 * DAY)],
        principals=[
            Principal(id="founder:ada", role="founder"),
            Principal(id="engineer:bob", role="engineer"),
            Principal(id="ops:kim", role="ops"),
        ],
        tournaments=[
            Tournament(
                id="t1", event_id="ev1", name="Open", par=[4, 3], rounds=1, starts_at=LOCK + HOUR, ends_at=OVER,
                golfers=[Golfer(id=f"g{n}", name=f"Golfer {n}") for n in range(1, 4)], publications=[],
                play=[(LOCK + HOUR, OVER)],
            )
        ],
        contests=[
            Contest(id="c1", name="Runs", min_entries=2, **contest),
            Contest(id="c2", name="Too small", min_entries=5, **contest),
        ],
        entrants=[Entrant(id=user, name=user, email=f"{user}@a.example", account_id=f"acct_{user}") for user in users],
        entries=[*(entry(user, "c1") for user in users), *(entry(user, "c2") for user in users[:2])],
        faults=[
            FaultPlan(
                id="f1", fault="timeouts.transfer_answer_lost", kind="fault", title="An answer is lost",
                seam="processor", operation="transfers.create", entity="c1", occurrence=1,
                bite=Bite(
                    book="processor.requests",
                    where={"operation": "transfers.create", "idempotency_key": "$victim", "answered": False},
                ),
                recovery=Recovery(by="runbook", how="sent again", within_s=7_200, runbook="payout_stuck"),
            ),
            FaultPlan(
                id="f2", fault="platform.crash", kind="fault", title="The worker dies", seam="services",
                operation="crash", entity="ingestion", from_at=LOCK + 3 * HOUR,
                bite=Bite(book="hosts.services", where={"n": "$victim", "service": "$entity", "by": "crash"}),
                recovery=Recovery(by="rule", how="healed", within_s=3_600),
            ),
            drift(),
        ],
    )  # fmt: skip


def small_run() -> FakeEvidence:
    """A fresh copy, to break."""
    fresh: FakeEvidence = pickle.loads(_small_run())
    return fresh


@cache
def _small_run() -> bytes:
    scribe = Scribe(plan())
    _begin(scribe)
    contests = {item.id: _open(scribe, item) for item in scribe.evidence.plan.contests}
    observe(scribe, T0 + HOUR)
    payments = {
        (user, contest): _enter(scribe, user, contest)
        for user, contest in (("u1", "c1"), ("u2", "c1"), ("u3", "c1"), ("u1", "c2"), ("u2", "c2"))
    }
    _forge(scribe)
    observe(scribe, LOCK)
    scribe.now = LOCK
    _cancel(scribe, contests["c2"], {key: row for key, row in payments.items() if key[1] == "c2"})
    _lock(scribe, contests["c1"])
    _too_late(scribe)
    _play(scribe, contests["c1"])
    observe(scribe, SETTLED)
    scribe.now = SETTLED
    _settle(scribe, contests["c1"])
    scribe.now = PAID
    _pay_out(scribe)
    scribe.update("contests", "system:contests", contests["c1"], status="PAID_OUT", closed_at=PAID)
    operate(scribe)
    _correct_late(scribe)
    look_around(scribe)
    _accept(scribe)
    observe(scribe, END)
    _end(scribe)
    rechain(scribe.evidence)
    return pickle.dumps(scribe.evidence)


def _begin(scribe: Scribe) -> None:
    for principal in ("founder:ada", "engineer:bob", "ops:kim"):
        scribe.note("identity.events", at=T0, action="issued", principal=principal, token_id=principal, allowed=True)
    for principal in ("founder:ada", "engineer:bob"):
        scribe.note("identity.events", at=T0, action="revoked", principal=principal, token_id=principal, allowed=False)
        scribe.note(
            "identity.events", at=T0, action="introspected", principal=principal, token_id=principal, allowed=False
        )
        scribe.note("identity.events", at=T0, action="denied", principal=principal, token_id=principal, allowed=False)
        scribe.note(
            "platform.access_log", at=T0, principal=principal, action="GET", resource="/api/admin/status", allowed=False
        )
    scribe.note(
        "platform.access_log",
        at=T0 + HOUR,
        principal="ops:kim",
        action="GET",
        resource="/api/admin/status",
        allowed=True,
    )
    scribe.note(
        "database.sessions", at=T0, principal="system:contests", role="app", purpose="serve", statements=9, writes=9
    )
    scribe.note("hosts.services", at=T0, host="lin", service="app", state="running", by="boot")
    begin_watching(scribe)
    for at in (T0, END):
        for what in ("code", "configuration", "schema"):
            scribe.note("deployment.fingerprints", at=at, what=what, sha256=sha256(what.encode()).hexdigest())
    topup = scribe.balance("topup", "tu_1", 100_000)
    scribe.move("assets:stripe_available", "equity:owner_capital", 100_000, f"topup:{topup}")
    scribe.insert("tournaments", "system:ingestion", tournament_id="t1", provider_event_id="ev1", par=encode([4, 3]))
    golfers = [golfer.id for golfer in scribe.evidence.plan.tournaments[0].golfers]
    scribe.audit("system:ingestion", "field.ingest", "tournaments/t1", {"golfers": golfers})
    for golfer in golfers:
        scribe.note("platform.golfers", tournament_id="t1", golfer_id=golfer, name=golfer, status="active")
    for user in ("u1", "u2", "u3", "u4"):
        scribe.insert("users", "system:entries", user_id=user, name=user, account_id=f"acct_{user}", created_at=T0)


def _open(scribe: Scribe, contest: Any) -> dict[str, Any]:
    return scribe.insert(
        "contests", "system:contests", contest_id=contest.id, tournament_id="t1", name=contest.name, status="SCHEDULED",
        fee_cents=contest.fee_cents, prize_shares_bp=encode(contest.prize_shares_bp), lock_at=contest.lock_at,
    )  # fmt: skip


def _enter(scribe: Scribe, user: str, contest: str) -> dict[str, Any]:
    scribe.now += HOUR
    name = f"{contest}-{user}"
    entry = scribe.insert(
        "entries", f"customer:{user}", entry_id=f"en-{name}", contest_id=contest, user_id=user,
        status="PENDING_PAYMENT", roster=encode(["g1"]), created_at=scribe.now,
    )  # fmt: skip
    payment = scribe.insert(
        "payments", "system:payments", entry_id=f"en-{name}", amount_cents=FEE_CENTS, status="CREATED",
        refunded_cents=0, created_at=scribe.now,
    )  # fmt: skip
    intent = f"pi_{name}"
    scribe.request("intents.create", f"en-{name}", intent, f"{contest}/{user}")
    scribe.update("payments", "system:payments", payment, intent_id=intent)
    scribe.request("intents.confirm", "", intent, f"{contest}/{user}", caller=f"customer:{user}")
    scribe.note(
        "processor.intents", intent_id=intent, amount_cents=FEE_CENTS, refunded_cents=0, status="succeeded",
        contest_id=contest, entry_id=f"en-{name}", user_id=user, created_at=scribe.now, captured_at=scribe.now,
    )  # fmt: skip
    scribe.note(
        "entrants.actions", at=scribe.now, user_id=user, contest_id=contest, action="paid", amount_cents=FEE_CENTS,
        entry_id=f"en-{name}", intent_id=intent, result="ok",
    )  # fmt: skip
    txn = scribe.balance("charge", intent, FEE_CENTS, STRIPE_FEE_CENTS, scribe.now + 2 * DAY)
    paid = {"event_id": f"evt_{name}", "type": "payment_intent.succeeded", "object_id": intent}
    scribe.note("processor.events", **paid, created_at=scribe.now)
    scribe.note(
        "processor.deliveries", event_id=f"evt_{name}", attempt=1, due_at=scribe.now, at=scribe.now, sent=True,
        status=200, entity=f"{contest}/{user}",
    )  # fmt: skip
    scribe.insert(
        "webhook_inbox", "system:payments", **paid, status="APPLIED", received_at=scribe.now, applied_at=scribe.now
    )
    scribe.move("assets:stripe_pending", f"liabilities:user_wallet:{user}", FEE_CENTS, f"capture:{intent}")
    scribe.move("expenses:stripe_fees", "assets:stripe_pending", STRIPE_FEE_CENTS, f"fee:{txn}")
    net = FEE_CENTS - STRIPE_FEE_CENTS
    scribe.move("assets:stripe_available", "assets:stripe_pending", net, f"available:{txn}")
    late = scribe.now >= LOCK
    scribe.update("payments", "system:payments", payment, status="CAPTURED", captured_at=scribe.now)
    scribe.update("entries", "system:payments", entry, status="ABANDONED" if late else "VALID")
    return payment


def _forge(scribe: Scribe) -> None:
    scribe.note(
        "attacker.posts", at=scribe.now, kind="forged", how="unsigned", event_id="evt_forged", entity="c1/u4",
        status=400,
    )  # fmt: skip
    scribe.audit("system:payments", "refuse.webhook", "webhooks/processor", reason="no signature")


def _refund(scribe: Scribe, user: str, payment: dict[str, Any], reason: str) -> None:
    intent, name = payment["intent_id"], payment["entry_id"][3:]
    row = scribe.insert(
        "refunds", "system:payments", refund_id=f"rf-{name}", entry_id=payment["entry_id"], intent_id=intent,
        amount_cents=FEE_CENTS, reason=reason, status="PENDING", attempts=1, created_at=scribe.now,
    )  # fmt: skip
    scribe.move(
        f"liabilities:user_wallet:{user}", f"liabilities:refund_payable:{user}", FEE_CENTS, f"refund_due:rf-{name}"
    )
    scribe.request("refunds.create", f"rf-{name}", f"re_{name}", name)
    scribe.note(
        "processor.refunds", refund_id=f"re_{name}", intent_id=intent, amount_cents=FEE_CENTS, status="succeeded",
        entry_id=payment["entry_id"], caller="platform", created_at=scribe.now,
    )  # fmt: skip
    next(item for item in scribe.books["processor.intents"] if item["intent_id"] == intent)["refunded_cents"] = (
        FEE_CENTS
    )
    scribe.balance("refund", f"re_{name}", -FEE_CENTS)
    scribe.move(f"liabilities:refund_payable:{user}", "assets:stripe_available", FEE_CENTS, f"refund:rf-{name}")
    scribe.update("refunds", "system:payments", row, status="DONE", processor_refund_id=f"re_{name}")


def _cancel(scribe: Scribe, contest: dict[str, Any], payments: dict[tuple[str, str], dict[str, Any]]) -> None:
    scribe.update("contests", "system:contests", contest, status="CANCELLED", closed_at=scribe.now)
    for (user, _), payment in payments.items():
        _refund(scribe, user, payment, "contest cancelled")


def _lock(scribe: Scribe, contest: dict[str, Any]) -> None:
    scribe.update("contests", "system:contests", contest, status="LOCKED")
    scribe.post(
        "lock:c1", *((f"liabilities:user_wallet:{user}", FEE_CENTS) for user in PRIZES),
        ("liabilities:contest_escrow:c1", -3 * FEE_CENTS),
    )  # fmt: skip


def _too_late(scribe: Scribe) -> None:
    payment = _enter(scribe, "u4", "c1")
    _refund(scribe, "u4", payment, "paid after the lock")


SCORES = {("g1", 1): 3, ("g1", 2): 3, ("g2", 1): 4, ("g2", 2): 3, ("g3", 1): 6, ("g3", 2): 4}


def _play(scribe: Scribe, contest: dict[str, Any]) -> None:
    scribe.now = LOCK + HOUR
    scribe.update("contests", "system:contests", contest, status="LIVE")
    published = scribe.now + HOUR
    for (golfer, hole), strokes in SCORES.items():
        scribe.note(
            "provider.publications", event_id="ev1", revision=1, published_at=published, golfer_id=golfer, round=1,
            hole=hole, strokes=strokes, correction=False,
        )  # fmt: skip
    scribe.now = published + 60_000
    cells = [(golfer, hole, strokes) for (golfer, hole), strokes in SCORES.items()]
    scribe.note("provider.requests", at=scribe.now, event_id="ev1", status=200, revision=1, cells=2, glitch="scrambled")
    scribe.batch(1, published, ("g1", 1, 9, "QUARANTINE"), ("g1", 2, 9, "QUARANTINE"))
    scribe.now += 600_000
    scribe.note("provider.requests", at=scribe.now, event_id="ev1", status=200, revision=1, cells=6)
    scribe.batch(2, published, *((*cell, "ADMIT") for cell in cells))
    scribe.insert("quarantine_resolutions", "system:ingestion", batch_id=1, resolved_by_batch_id=2, at=scribe.now)
    for golfer, hole, strokes in cells:
        scribe.books["platform.hole_scores"].append(
            {
                "tournament_id": "t1", "golfer_id": golfer, "round": 1, "hole": hole, "strokes": strokes, "batch_id": 2,
                "published_at": published,
            }
        )  # fmt: skip
    _crash(scribe)
    observe(scribe, COMPLETED)
    scribe.now = COMPLETED
    scribe.note("provider.completions", event_id="ev1", revision=2, published_at=OVER)
    scribe.update("contests", "system:contests", contest, status="COMPLETE", completed_at=COMPLETED, cutoff_at=CUTOFF)
    scribe.now = COMPLETED + 2 * HOUR
    scribe.note(
        "provider.publications", event_id="ev1", revision=3, published_at=scribe.now, golfer_id="g2", round=1, hole=1,
        strokes=5, correction=True,
    )  # fmt: skip
    scribe.note("provider.requests", at=scribe.now, event_id="ev1", since_revision=1, status=200, revision=3, cells=1)
    scribe.batch(3, scribe.now, ("g2", 1, 5, "CORRECTION"), ("g1", 1, 3, "DUPLICATE"))
    row = next(r for r in scribe.books["platform.hole_scores"] if (r["golfer_id"], r["hole"]) == ("g2", 1))
    row.update(strokes=5, batch_id=3)


def _crash(scribe: Scribe) -> None:
    scribe.now = LOCK + 3 * HOUR
    bite = scribe.note("hosts.services", at=scribe.now, host="win", service="ingestion", state="stopped", by="crash")
    scribe.note(
        "injector.bites", at=scribe.now, fault="platform.crash", fault_id="f2", entity="ingestion", victim=str(bite)
    )
    for later, operation in enumerate(("Create", "Command", "Receive", "Signal", "Delete")):
        scribe.note(
            "hosts.exchanges", at=scribe.now + 1_000 * later, host="win", operation=operation, shell_id="s-1",
            status=200, soap=True, related=True, answered=True,
        )  # fmt: skip
    scribe.note(
        "hosts.shells", opened_at=scribe.now, host="win", user="svc-healing", shell_id="s-1", commands=1,
        used_at=scribe.now + 4_000, closed_at=scribe.now + 4_000, how="deleted",
    )  # fmt: skip
    rules(scribe)
    heal(scribe)


def _settle(scribe: Scribe, contest: dict[str, Any]) -> None:
    actor, scores_hash = "system:settlement", _scores_hash()
    scribe.note("provider.requests", at=CUTOFF + 60_000, event_id="ev1", status=200, revision=3, cells=6)
    run = scribe.insert(
        "settlement_audit", actor, run_id="run-c1", contest_id="c1", started_at=scribe.now, status="RUNNING", packs=3
    )
    scribe.move("liabilities:contest_escrow:c1", "income:rake:c1", 300, "rake:c1")
    for place, (user, prize) in enumerate(PRIZES.items(), 1):
        pack, outcome, entry, score = f"pk-{user}", f"oc-{user}", f"en-c1-{user}", (-1, 1, 3)[place - 1]
        row = scribe.insert(
            "settlement_packs", actor, pack_id=pack, contest_id="c1", entry_id=entry, status="PENDING",
            created_at=scribe.now,
        )  # fmt: skip
        scribe.insert(
            "outcomes", actor, outcome_id=outcome, contest_id="c1", entry_id=entry, score=score, place=place,
            prize_cents=prize, scores_hash=scores_hash, created_at=scribe.now,
        )  # fmt: skip
        scribe.insert("outcome_pack_links", actor, pack_id=pack, outcome_id=outcome, linked_at=scribe.now)
        payable = f"liabilities:prize_payable:c1:{user}"
        scribe.move("liabilities:contest_escrow:c1", payable, prize, f"prize:{pack}")
        body = {
            "pack_id": pack, "contest_id": "c1", "entry_id": entry, "outcome_id": outcome, "score": score,
            "place": place, "prize_cents": prize, "scores_hash": scores_hash,
        }  # fmt: skip
        scribe.insert(
            "outcome_settlement_log", actor, settlement_id=f"st-{user}", pack_id=pack, prior_status="PENDING",
            new_status="EXECUTED", outcome_id=outcome, settled_at=scribe.now, settled_by=DAEMON,
            settlement_evidence_hash=sha256(encode(body).encode()).hexdigest(),
        )  # fmt: skip
        scribe.update("settlement_packs", actor, row, status="EXECUTED", terminalized_at=scribe.now, settled_by=DAEMON)
    scribe.update("settlement_audit", actor, run, status="SUCCEEDED", finished_at=scribe.now)
    scribe.update("contests", actor, contest, status="SETTLED", settled_at=scribe.now)
    scribe.books["platform.leases"].append(
        {"name": "settlement", "holder": DAEMON, "epoch": 1, "acquired_at": SETTLED, "expires_at": SETTLED + 600_000}
    )
    scribe.books["platform.daemon_health"].append(
        {"holder": DAEMON, "daemon": "settlement", "status": "ACTIVE", "started_at": T0, "beat_at": SETTLED}
    )
    scribe.note(
        "database.sessions", at=T0, principal="system:settlement", role="settlement", purpose="serve", statements=9,
        writes=9,
    )  # fmt: skip


def _scores_hash() -> str:
    scores = {**SCORES, ("g2", 1): 5}
    return sha256(encode([[golfer, 1, hole, s] for (golfer, hole), s in sorted(scores.items())]).encode()).hexdigest()


def _pay_out(scribe: Scribe) -> None:
    for user, prize in PRIZES.items():
        row = scribe.insert(
            "transfers", "system:payouts", transfer_id=f"tf-{user}", contest_id="c1", entry_id=f"en-c1-{user}",
            user_id=user, amount_cents=prize, destination=f"acct_{user}", status="PENDING", attempts=0,
            created_at=scribe.now,
        )  # fmt: skip
        payable, transit = f"liabilities:prize_payable:c1:{user}", f"liabilities:payout_in_transit:{user}"
        scribe.move(payable, transit, prize, f"payout:tf-{user}")
        if user == "u2":
            _attempt(scribe, user, 1, "REJECTED", None, status=403, error_code="account_closed")
            scribe.move(transit, payable, prize, f"void:tf-{user}")
            scribe.update(
                "transfers",
                "system:payouts",
                row,
                status="FAILED_TERMINAL",
                reason="account_closed",
                done_at=scribe.now,
            )
            continue
        if user == "u1":
            _attempt(scribe, user, 1, "UNKNOWN", f"tr_{user}", answered=False)
            scribe.note(
                "injector.bites", at=scribe.now, fault="timeouts.transfer_answer_lost", fault_id="f1", entity="c1",
                victim=f"key-{user}",
            )  # fmt: skip
            _attempt(scribe, user, 2, "SUCCEEDED", f"tr_{user}", replayed=True)
        else:
            _attempt(scribe, user, 1, "SUCCEEDED", f"tr_{user}")
        scribe.note(
            "processor.transfers", transfer_id=f"tr_{user}", amount_cents=prize, reversed_cents=0,
            destination=f"acct_{user}", transfer_group="c1", contest_id="c1", entry_id=f"en-c1-{user}", user_id=user,
            caller="platform", created_at=scribe.now,
        )  # fmt: skip
        scribe.balance("transfer", f"tr_{user}", -prize)
        scribe.move(transit, "assets:stripe_available", prize, f"paid:tf-{user}")
        scribe.update(
            "transfers", "system:payouts", row, status="PAID", processor_transfer_id=f"tr_{user}", done_at=scribe.now
        )


def _attempt(scribe: Scribe, user: str, n: int, outcome: str, object_id: str | None, **request: Any) -> None:
    scribe.now += 60_000
    scribe.insert(
        "transfer_attempts", "system:payouts", transfer_id=f"tf-{user}", n=n, idempotency_key=f"key-{user}",
        request_hash=f"hash-{user}", sent_at=scribe.now, finished_at=scribe.now, outcome=outcome,
        code=request.get("error_code"),
    )  # fmt: skip
    scribe.request("transfers.create", f"key-{user}", object_id, "c1", **request)


def _correct_late(scribe: Scribe) -> None:
    scribe.now += HOUR
    scribe.note(
        "provider.publications", event_id="ev1", revision=4, published_at=scribe.now, golfer_id="g3", round=1, hole=2,
        strokes=5, correction=True,
    )  # fmt: skip
    published = scribe.now
    scribe.now += HOUR
    scribe.note("provider.requests", at=scribe.now, event_id="ev1", since_revision=3, status=200, revision=4, cells=1)
    scribe.batch(4, published, ("g3", 2, 5, "CORRECTION"), because="AFTER_CUTOFF:c1")
    row = next(r for r in scribe.books["platform.hole_scores"] if (r["golfer_id"], r["hole"]) == ("g3", 2))
    row.update(strokes=5, batch_id=4, published_at=published)
    scribe.note(
        "pager.events",
        at=scribe.now,
        action="trigger",
        dedup_key="late_correction:c1",
        severity="warning",
        details="{}",
    )
    scribe.audit("system:ingestion", "call.page", "pager/late_correction:c1")


def _accept(scribe: Scribe) -> None:
    """Each noon for a week: on the first all has grown, and then there is nothing more to grow."""
    first = T0 + 5 * DAY + 12 * HOUR
    log = sorted(scribe.books["platform.outcome_settlement_log"], key=lambda row: row["settlement_id"])
    told = "".join(f"{json.dumps(list(row.values()), separators=(',', ':'))}\n" for row in log)
    for day_at in range(first, first + 7 * DAY, DAY):
        fresh, left = ("PASS", 3) if day_at == first else ("NOT_APPLICABLE", 0)
        counts = {
            "due": 3, "to_link": left, "linked": left, "to_execute": left, "executed": left, "to_log": left,
            "logged": left, "executed_linked": 3,
        }  # fmt: skip
        evidence = {"contests": [{"contest_id": "c1", "ended": 3, **counts}], "totals": counts, "log_problem": None}
        scribe.now = day_at
        scribe.insert(
            "settlement_acceptance", "system:acceptance", day_at=day_at, at=day_at, link_growth=fresh, executed=fresh,
            log_growth=fresh, lvi="PASS", lvi_executed=3, lvi_due=3, log_rows=3,
            log_hash=sha256(told.encode()).hexdigest(), evidence=encode({**evidence, "blocked": {}}),
        )  # fmt: skip


def _end(scribe: Scribe) -> None:
    scribe.now = END
    for number, day in enumerate((2, 3), 1):
        night_at = T0 + (day + 1) * DAY + 3 * HOUR
        scribe.insert(
            "score_audits", "system:ingestion", audit_id=number, tournament_id="t1", at=night_at, holes=6, mismatches=0
        )
    observe(scribe, END + DAY)
    scribe.now = END + DAY
    scribe.event()
