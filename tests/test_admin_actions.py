"""What ops may have done: only in a step of a runbook, by the rules of the service that owns it, on record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contest_platform import checkpoints, ledger
from contest_platform.http import Request
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import HealingService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support.admin_world import KIM, LEE, STEP, AdminWorld
from tests.support.contest_world import CUTOFF_AT, LOCK_AT, OVER_AT, STROKES
from tests.support.platform_ports import START

BODIES: dict[str, dict[str, Any]] = {
    "contests/lock": {"contest_id": "c9", "reason": "late"},
    "ingestion/poll": {"tournament_id": "t9"},
    "settlement/rerun": {"contest_id": "c9", "reason": "failed"},
    "settlement/backfill": {"reason": "links lost"},
    "transfers/retry": {"transfer_id": "payout_9"},
    "transfers/fail": {"transfer_id": "payout_9", "reason": "closed"},
    "transfers/resolve": {"transfer_id": "payout_9", "reason": "closed"},
    "transfers/unresolve": {"reason": "not so"},
    "payouts/start": {"contest_id": "c9"},
    "refunds/retry": {"refund_id": "refund_9"},
    "webhooks/replay": {"event_id": "evt_9"},
    "payments/reconcile": {},
    "refunds/request": {"entry_id": "entry_9", "reason": "asked"},
    "scores/replay": {"tournament_id": "t9"},
    "quarantine/resolve": {"batch_id": 9, "reason": "told again"},
    "orders/issue": {"incident_id": "incident_9"},
    "incidents/resolve": {"incident_id": "incident_9", "reason": "looked into"},
    "incidents/remedy": {"incident_id": "incident_9", "reason": "it has helped before"},
    "incidents/reopen": {"incident_id": "incident_9", "reason": "it goes on"},
    "hosts/sync": {"host": "host-9", "reason": "a minute behind"},
    "config/apply": {"setting": "colour", "value": 9, "reason": "slow"},
    "config/revert": {"hash": "h9", "reason": "no better"},
    "env/promote": {"reason": "release"},
    "services/restart": {"service": "settlement", "reason": "stuck"},
    "backups/create": {"reason": "daily"},
    "backups/restore": {"backup_id": "backup_9", "target": "scratch", "reason": "trial"},
}
"""Every acting endpoint, with a request for something that is not there."""
OPTIONAL = ("config/revert", "hash")
ABOUT_NOTHING = ("backups/create", "env/promote", "settlement/backfill", "transfers/unresolve")
"""They name nothing that could be missing."""
CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}


@pytest.fixture
def world() -> AdminWorld:
    return AdminWorld()


def last_audited(world: AdminWorld) -> dict[str, Any]:
    return world.rows("select * from audit_log order by seq desc limit 1")[0]


# --- who may act, and when --------------------------------------------------------------------------------------------


def test_these_are_all_acting_endpoints_and_the_runbooks_own_are_none(world: AdminWorld) -> None:
    acting = {path for path, methods in world.app.routes.items() for route in methods.values() if route.acting}
    assert acting == {f"/api/admin/{path}" for path in BODIES}
    posted = {path for path, methods in world.app.routes.items() if "POST" in methods}
    assert posted - acting == {f"/api/admin/runbooks/{word}" for word in ("start", "steps", "complete")}


@pytest.mark.parametrize("path", BODIES)
def test_nobody_acts_outside_a_step_of_an_execution_of_his_own_that_is_in_progress(
    world: AdminWorld, path: str
) -> None:
    mine, his, over = world.start(), world.start(LEE), world.start()
    world.call("POST", "runbooks/complete", {"execution_id": over, "status": "completed"})
    before = world.whole()
    for headers, reason in (
        ({}, "no runbook-execution header: ops acts only in a step of a runbook"),
        ({"runbook_step": "Recovery/2"}, "no runbook-execution header: ops acts only in a step of a runbook"),
        ({"runbook_execution": mine}, "no runbook-step header like Recovery/2"),
        *((world.within(mine, step), "no runbook-step header like Recovery/2")
          for step in ("2", "Recovery", "Recovery/0", "Recovery/2/3", "/2", "Recovery/2 and more")),
        (world.within("execution_9"), "no runbook execution execution_9"),
        (world.within(his), f"runbook execution {his} is not {KIM}'s"),
        (world.within(over), f"runbook execution {over} is completed"),
    ):  # fmt: skip
        response = world.call("POST", path, BODIES[path], **headers)
        assert (response.status, response.body) == (409, {"error": reason})
        told = last_audited(world)
        assert (told["action"], told["actor"], told["reason"]) == (f"refuse.{path.replace('/', '_')}", KIM, reason)
    assert world.whole() == before


@pytest.mark.parametrize("path", [path for path, body in BODIES.items() if body and path not in ABOUT_NOTHING])
def test_what_is_not_there_is_not_found_and_the_attempt_is_on_record(world: AdminWorld, path: str) -> None:
    world.hosts.stopped = {(host, "settlement") for host in ("win-1", "lin-1")}
    execution_id = world.start()
    before = world.whole()
    response = world.act(path, execution_id, **BODIES[path])
    assert response.status == 404
    name = path.replace("/", "_")
    asked, refused = world.rows("select * from audit_log order by seq desc limit 2")[::-1]
    assert (asked["action"], asked["actor"], asked["correlation"]) == (f"ops.{name}", KIM, execution_id)
    assert asked["subject"] == f"admin/api/admin/{path}"
    assert {name: value for name, value in json.loads(asked["after"]).items() if value is not None} == BODIES[path]
    assert asked["reason"].startswith("runbook step Recovery/2")
    assert (refused["action"], refused["reason"]) == (f"refuse.{name}", response.body["error"])
    assert world.whole() == before


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path, body in BODIES.items() for field in body if (path, field) != OPTIONAL],
)
def test_a_field_that_is_missing_or_not_what_it_has_to_be_is_named(world: AdminWorld, path: str, field: str) -> None:
    execution_id = world.start()
    for wrong in (None, "", ["x"], {"batch_id": 0, "value": "7"}.get(field, 7)):
        response = world.act(path, execution_id, **{**BODIES[path], field: wrong})
        assert (response.status, response.body["field"]) == (400, field)
    response = world.act(path, execution_id, **BODIES[path], colour="red")
    assert (response.status, response.body["field"]) == (400, "colour")
    assert len(world.refusals()) == 5
    assert not world.rows("select 1 from audit_log where action like 'ops.%'")


def test_a_step_that_has_acted_is_on_record_before_the_next_acts(world: AdminWorld) -> None:
    execution_id, other = world.start(), world.start()

    def poll(step: str, within: str = execution_id) -> tuple[int, str | None]:
        response = world.call("POST", "ingestion/poll", {"tournament_id": "t1"}, **world.within(within, step))
        return response.status, response.body.get("error")

    unrecorded = (409, "runbook step Recovery/2 has acted and is not on record")
    assert poll("Recovery/2") == (200, None)
    assert poll("Recovery/2") == (200, None), "its answer may have been lost"
    assert poll("Recovery/3") == unrecorded
    assert poll("Rollback/1", other) == (200, None), "of another execution"
    assert world.call("GET", "state", **world.within(execution_id, "Recovery/3")).status == 200, "reading is no acting"
    world.call("POST", "runbooks/steps", {"execution_id": execution_id, **STEP})
    assert poll("Recovery/3") == (200, None)
    world.act("contests/lock", execution_id, contest_id="c9", reason="late")
    assert poll("Recovery/4") == (409, "runbook step Recovery/3 has acted and is not on record")
    world.call("POST", "runbooks/complete", {"execution_id": execution_id, "status": "failed"})
    assert [row["name"] for row in world.rows("select name from checkpoints where name like 'runbooks.acted:%'")] == [
        f"runbooks.acted:{other}"
    ]


def test_what_cannot_be_committed_is_not_done_and_is_answered_as_such(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.runtime.at = LOCK_AT
    world.store.fails = lambda operation: operation == "admin.contests_lock"
    assert world.act("contests/lock", execution_id, contest_id="c1", reason="late").status == 503
    assert world.status() == "SCHEDULED"


# --- contests ---------------------------------------------------------------------------------------------------------


def test_an_overdue_contest_is_locked_as_the_job_would_have_and_by_whom_is_on_record(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.enter("ann")
    world.runtime.at = LOCK_AT
    response = world.act("contests/lock", execution_id, contest_id="c1", reason="the transition failed")
    assert (response.status, response.body) == (200, {"contest_id": "c1", "status": "LOCKED", "changed": True})
    assert world.status() == "LOCKED"
    assert world.balances()[ledger.escrow("c1")] == -1_000
    [change] = world.audited("contests.update")
    assert (change["actor"], change["correlation"]) == (KIM, execution_id)
    assert change["reason"] == "runbook step Recovery/2: the transition failed"
    assert [world.signals.seen(topic) > 0 for topic in ("contests", "payments", "ingestion")] == [True] * 3
    again = world.act("contests/lock", execution_id, contest_id="c1", reason="answer lost")
    assert again.body == {"contest_id": "c1", "status": "LOCKED", "changed": False}
    world.work(world.life(ContestsService))
    assert len(world.rows("select 1 from ledger_transactions where kind = 'lock'")) == 1


def test_no_contest_is_locked_before_its_time_or_after_it_has_begun(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.runtime.at = LOCK_AT - 1
    refused = world.act("contests/lock", execution_id, contest_id="c1", reason="to be sure")
    assert (refused.status, world.status()) == (409, "SCHEDULED")
    assert refused.body["error"] == "contest c1 locks at 2026-01-07T00:00:00Z, which has not come"
    world.connection.execute("update contests set status = 'LIVE'")
    world.runtime.at = LOCK_AT
    assert (
        world.act("contests/lock", execution_id, contest_id="c1", reason="late").body["error"] == "contest c1 is LIVE"
    )


# --- settlement -------------------------------------------------------------------------------------------------------


def at_its_cutoff(world: AdminWorld) -> SettlementService:
    world.offer()
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    return world.life(SettlementService)


def rerun(world: AdminWorld, execution_id: str) -> Any:
    return world.act("settlement/rerun", execution_id, contest_id="c1", reason="failed mid-run")


def test_a_settlement_that_failed_is_made_due_again_and_the_daemon_settles_it(world: AdminWorld) -> None:
    execution_id = world.start()
    daemon = at_its_cutoff(world)
    world.connection.execute('update contests set scoring = \'{"kind":"matchplay"}\'')
    world.work(daemon)
    assert (world.status(), world.due(daemon)) == ("ERROR", None)
    world.connection.execute("update contests set scoring = ?", (json.dumps(STROKES),))
    world.runtime.at += 5 * MINUTE_MS
    assert rerun(world, execution_id).body == {"contest_id": "c1", "changed": True}
    row = world.row("contests", contest_id="c1")
    assert (row["status"], row["error_code"], world.due(daemon)) == ("COMPLETE", None, world.runtime.at)
    assert [change["actor"] for change in world.audited("contests.update")][-1] == KIM
    assert rerun(world, execution_id).body == {"contest_id": "c1", "changed": False}
    world.work(daemon)
    assert world.status() == "SETTLED"
    runs = world.rows("select status from settlement_audit order by started_at")
    assert [run["status"] for run in runs] == ["FAILED", "SUCCEEDED"]
    assert world.prize_payable("ann") == 1_350
    assert rerun(world, execution_id).status == 409


def test_a_settlement_that_has_not_ended_is_only_woken_and_one_on_hold_is_left_alone(world: AdminWorld) -> None:
    execution_id = world.start()
    daemon = at_its_cutoff(world)
    world.runtime.at = CUTOFF_AT - 1
    assert rerun(world, execution_id).body["error"] == "contest c1 is on hold until 2026-01-08T10:00:00Z"
    world.runtime.at = CUTOFF_AT
    before, woken = world.whole(), world.signals.seen("settlement")
    assert rerun(world, execution_id).body == {"contest_id": "c1", "changed": False}
    assert (world.whole(), world.signals.seen("settlement")) == (before, woken + 1)
    assert world.due(daemon) == CUTOFF_AT


def test_a_contest_that_failed_otherwise_is_not_settled_again(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.connection.execute("update contests set status = 'ERROR', error_code = 'something_else'")
    refused = rerun(world, execution_id)
    assert refused.status == 409
    assert refused.body["error"] == "contest c1 is ERROR: no settlement of it failed or is unfinished"


# --- transfers --------------------------------------------------------------------------------------------------------


def paying(world: AdminWorld, *script: str) -> tuple[PayoutsService, str]:
    """Payouts that have worked once, with ann's whole prize to pay, and the id of her transfer."""
    world.offer(prize_shares_bp=[10_000])
    for user, golfer in (("ann", "g1"), ("bob", "g2")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    world.processor.script = list(script)
    payouts = world.life(PayoutsService)
    world.work(payouts)
    [row] = world.rows("select transfer_id from transfers")
    return payouts, row["transfer_id"]


def transfer(world: AdminWorld) -> dict[str, Any]:
    [row] = world.rows("select * from transfers")
    return row


@pytest.mark.parametrize("script", ["lost_after", "lost_before", "500_done", "500_not_done", "unheard_of"])
def test_a_retry_after_an_unknown_outcome_keeps_the_key_and_pays_once(world: AdminWorld, script: str) -> None:
    execution_id = world.start()
    payouts, transfer_id = paying(world, script)
    key = transfer(world)["idempotency_key"]
    assert transfer(world)["next_attempt_at"] > world.runtime.at
    response = world.act("transfers/retry", execution_id, transfer_id=transfer_id)
    assert response.body == {"transfer_id": transfer_id, "changed": True}
    assert (transfer(world)["next_attempt_at"], transfer(world)["idempotency_key"]) == (world.runtime.at, key)
    assert world.signals.seen("payouts") > 0
    assert world.act("transfers/retry", execution_id, transfer_id=transfer_id).body["changed"] is False
    world.step(payouts)
    assert set(world.processor.sent()) == {key}
    assert len(world.processor.transfers) <= 1


def test_a_retry_past_the_life_of_the_key_looks_up_first(world: AdminWorld) -> None:
    execution_id = world.start()
    payouts, transfer_id = paying(world, "lost_after")
    world.runtime.at += 24 * HOUR_MS
    world.act("transfers/retry", execution_id, transfer_id=transfer_id)
    world.step(payouts)
    assert (transfer(world)["status"], len(world.processor.transfers)) == ("PAID", 1)
    assert world.processor.sent("list") == ["c1"]


def test_what_is_under_way_or_has_ended_is_not_retried(world: AdminWorld) -> None:
    execution_id = world.start()
    _, transfer_id = paying(world)
    assert transfer(world)["status"] == "PAID"
    refused = world.act("transfers/retry", execution_id, transfer_id=transfer_id)
    assert (refused.status, refused.body["error"]) == (409, f"transfer {transfer_id} is PAID, which is final")
    world.connection.execute("update transfers set status = 'SUBMITTED'")
    refused = world.act("transfers/retry", execution_id, transfer_id=transfer_id)
    assert refused.body["error"] == f"transfer {transfer_id} is SUBMITTED: an attempt is under way"


def fail(world: AdminWorld, execution_id: str, transfer_id: str) -> Any:
    return world.act("transfers/fail", execution_id, transfer_id=transfer_id, reason="the account is closed")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("lost_after", "is in doubt: the outcome of an attempt under its key is unknown"),
        ("500_not_done", "is in doubt: the outcome of an attempt under its key is unknown"),
        ("unheard_of", "is in doubt: the outcome of an attempt under its key is unknown"),
        ("insufficient", "has not been refused for good"),
        ("429", "has not been refused for good"),
        ("ok", "is PAID"),
    ],
)
def test_a_transfer_that_may_yet_be_or_has_been_made_is_not_given_up(world: AdminWorld, script: str, why: str) -> None:
    execution_id = world.start()
    _, transfer_id = paying(world, script)
    before = world.whole()
    refused = fail(world, execution_id, transfer_id)
    assert (refused.status, refused.body["error"]) == (409, f"transfer {transfer_id} {why}")
    assert world.whole() == before


def test_a_transfer_refused_for_good_is_given_up_and_its_prize_stays_owed(world: AdminWorld) -> None:
    execution_id = world.start()
    _, transfer_id = paying(world, "429")
    world.connection.execute("update transfer_attempts set code = 'account_closed'")
    response = fail(world, execution_id, transfer_id)
    assert response.body == {"transfer_id": transfer_id, "status": "FAILED_TERMINAL", "changed": True}
    assert (transfer(world)["status"], transfer(world)["reason"]) == ("FAILED_TERMINAL", "account_closed")
    assert world.prize_payable("ann") == 1_800
    assert world.audited("transfers.update")[-1]["actor"] == KIM
    assert fail(world, execution_id, transfer_id).body["changed"] is False


def test_a_transfer_that_the_platform_gave_up_itself_is_as_good_as_given_up(world: AdminWorld) -> None:
    execution_id = world.start()
    _, transfer_id = paying(world, "closed")
    before = world.whole()
    assert fail(world, execution_id, transfer_id).body["changed"] is False
    assert world.whole() == before


# --- webhooks and refunds ---------------------------------------------------------------------------------------------


def test_an_event_that_waits_is_applied_once_its_row_is_there(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    intent = {"id": "pi_c1-ann", "amount_received": 1_000, "metadata": {}}
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "created_at": START, "object": intent}

    def wait(tx: Any) -> None:
        inbox = {"event_id": "evt_1", "type": event["type"], "object_id": "pi_c1-ann", "change_key": "k"}
        more = {"created_at": START, "received_at": START, "deliveries": 1, "status": "WAITING", "applied_at": None}
        tx.insert("webhook_inbox", {**inbox, **more})
        checkpoints.save(tx, "webhook:evt_1", event)

    world.write(wait)
    waiting = world.act("webhooks/replay", execution_id, event_id="evt_1")
    assert waiting.body == {"event_id": "evt_1", "status": "WAITING", "changed": False}
    world.enter("ann", captured_at=None)
    applied = world.act("webhooks/replay", execution_id, event_id="evt_1")
    assert applied.body == {"event_id": "evt_1", "status": "APPLIED", "changed": True}
    assert world.row("entries", entry_id="c1-ann")["status"] == "VALID"
    before = world.whole()
    again = world.act("webhooks/replay", execution_id, event_id="evt_1")
    assert again.body == {"event_id": "evt_1", "status": "APPLIED", "changed": False}
    assert world.whole() == before
    assert ledger.wallet("ann") in world.balances()


def test_a_pass_over_the_processors_books_is_asked_for_once_until_it_has_come(world: AdminWorld) -> None:
    execution_id = world.start()
    assert world.act("payments/reconcile", execution_id).body == {"changed": True}
    assert world.act("payments/reconcile", execution_id).body == {"changed": False}
    assert world.signals.seen("payments") == 2
    assert world.act("payments/reconcile", execution_id, reason="x").body["field"] == "reason"


def test_a_fee_is_given_back_before_the_lock_and_once(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.enter("ann")
    ask = {"entry_id": "c1-ann", "reason": "the customer asked"}
    assert world.act("refunds/request", execution_id, **ask).body == {
        "entry_id": "c1-ann", "status": "WITHDRAWN", "changed": True,
    }  # fmt: skip
    assert world.act("refunds/request", execution_id, **ask).body["changed"] is False
    [refund] = world.rows("select * from refunds")
    assert (refund["status"], refund["amount_cents"], refund["reason"]) == ("PENDING", 1_000, "requested")
    assert world.balances()[ledger.refund_payable("ann")] == -1_000
    [asked, _] = world.audited("ops.refunds_request")
    assert asked["reason"] == "runbook step Recovery/2: the customer asked"


def test_no_fee_is_given_back_after_the_lock_or_while_the_bank_has_it(world: AdminWorld) -> None:
    execution_id = world.start()
    world.offer()
    world.enter("ann")
    ask = {"entry_id": "c1-ann", "reason": "the customer asked"}
    dispute = {"dispute_id": "dp_1", "entry_id": "c1-ann", "intent_id": "pi_c1-ann", "amount_cents": 1_000}
    more = {"fee_cents": 0, "status": "needs_response", "opened_at": START, "closed_at": None}
    world.write(lambda tx: tx.insert("disputes", {**dispute, **more}))
    assert world.act("refunds/request", execution_id, **ask).body["error"] == "entry c1-ann: payment_disputed"
    world.connection.execute("delete from disputes")
    world.runtime.at = LOCK_AT
    assert world.act("refunds/request", execution_id, **ask).body["error"] == "entry c1-ann: too_late"
    assert world.rows("select * from refunds") == []


# --- scores and quarantine --------------------------------------------------------------------------------------------


def test_scores_are_shown_anew_from_their_receipts_when_one_is_wrong(world: AdminWorld) -> None:
    execution_id = world.start()
    world.scored({"g1": (4, 3, 5), "g2": (4, 4, 4)}, START)
    world.scored({"g2": (4, 4, 6)}, START + 1, "CORRECTION")
    world.scored({"g3": (1, 1, 1)}, START + 2, "QUARANTINE")
    replay = lambda: world.act("scores/replay", execution_id, tournament_id="t1").body  # noqa: E731
    assert replay() == {"tournament_id": "t1", "mismatches": 6, "changed": True}, "nothing was shown at all"
    shown = world.rows("select golfer_id, hole, strokes from hole_scores order by 1, 2")
    assert [(row["golfer_id"], row["strokes"]) for row in shown] == [
        ("g1", 4), ("g1", 3), ("g1", 5), ("g2", 4), ("g2", 4), ("g2", 6),
    ]  # fmt: skip
    assert replay() == {"tournament_id": "t1", "mismatches": 0, "changed": False}
    world.connection.execute("update hole_scores set strokes = 1 where golfer_id = 'g1' and hole = 3")
    world.connection.execute("insert into hole_scores values ('t1', 'g9', 1, 1, 1, 1, 1)")
    assert replay()["mismatches"] == 2
    assert world.rows("select golfer_id, hole, strokes from hole_scores order by 1, 2") == shown
    audits = world.rows("select mismatches from score_audits order by audit_id")
    assert [row["mismatches"] for row in audits] == [6, 0, 0, 2, 0]


def test_a_quarantined_batch_is_resolved_when_every_hole_of_it_has_been_told_again(world: AdminWorld) -> None:
    execution_id = world.start()
    resolve = lambda: world.act("quarantine/resolve", execution_id, batch_id=1, reason="told again")  # noqa: E731
    world.scored({"g1": (4, 9, 5)}, START, "QUARANTINE")
    refused = resolve()
    assert (refused.status, refused.body["error"]) == (409, "3 of 3 holes in quarantine have not been told again")
    world.scored({"g1": (4, 3)}, START + 1)
    assert resolve().body["error"] == "1 of 3 holes in quarantine have not been told again"
    world.scored({"g2": (5, 5, 5)}, START + 2)
    world.scored({"g1": (4, 9, 9)}, START + 2, "QUARANTINE")
    assert resolve().status == 409, "what is quarantined again or told of another golfer is not told again"
    world.scored({"g1": (4, 3, 5)}, START + 3, "DUPLICATE")
    assert resolve().body == {"batch_id": 1, "changed": True}
    [resolution] = world.rows("select * from quarantine_resolutions")
    assert (resolution["batch_id"], resolution["resolved_by_batch_id"], resolution["at"]) == (1, 5, world.runtime.at)
    [audited] = world.audited("quarantine_resolutions.insert")
    assert (audited["actor"], audited["reason"]) == (KIM, "runbook step Recovery/2: told again")
    assert resolve().body == {"batch_id": 1, "changed": False}
    assert world.act("quarantine/resolve", execution_id, batch_id=2, reason="x").status == 404, "nothing is held there"


# --- hosts ------------------------------------------------------------------------------------------------------------


def reported(world: AdminWorld, **more: str) -> tuple[HealingService, str]:
    healing = world.life(HealingService)
    body = {"host": "win-1", "check": "service_running", "target": "ingestion", "observed": "stopped", **more}
    route = healing.routes()["POST", "/api/agent/incidents"]
    response = world.run(route.handle(Request("POST", "/api/agent/incidents", {}, body), "agent:win-1"))  # type: ignore[arg-type]
    return healing, response.body["incident_id"]


def test_another_order_is_issued_for_an_incident_whose_orders_have_ended_in_vain(world: AdminWorld) -> None:
    execution_id = world.start()
    healing, incident_id = reported(world)
    refused = world.act("orders/issue", execution_id, incident_id=incident_id)
    [first] = world.rows("select order_id from remediation_orders")
    assert (refused.status, refused.body["error"]) == (409, f"order {first['order_id']} is ISSUED")
    world.runtime.at += 3 * HOUR_MS
    world.work(healing)
    response = world.act("orders/issue", execution_id, incident_id=incident_id)
    assert (response.status, response.body["changed"]) == (200, True)
    orders = world.rows("select order_id, status, issued_at from remediation_orders order by issued_at")
    assert [(row["status"], row["issued_at"]) for row in orders] == [("EXPIRED", START), ("ISSUED", world.runtime.at)]
    assert response.body["order_id"] == orders[1]["order_id"]
    assert world.audited("remediation_orders.insert")[-1]["actor"] == KIM
    world.runtime.at += MINUTE_MS
    world.work(healing)
    assert world.row("incidents", incident_id=incident_id)["status"] == "RESOLVED"
    done = world.act("orders/issue", execution_id, incident_id=incident_id)
    assert (done.status, done.body["error"]) == (409, f"incident {incident_id} is RESOLVED")


def test_no_order_is_issued_that_no_rule_would_answer(world: AdminWorld) -> None:
    execution_id = world.start()
    _, incident_id = reported(world, check="disk_full")
    refused = world.act("orders/issue", execution_id, incident_id=incident_id)
    assert refused.body["error"] == "no rule answers disk_full on win-1"


def test_a_poll_is_asked_for_once_until_it_has_come(world: AdminWorld) -> None:
    execution_id = world.start()
    assert world.runtime.at < OVER_AT
    asked = world.act("ingestion/poll", execution_id, tournament_id="t1")
    assert asked.body == {"tournament_id": "t1", "changed": True}
    assert world.act("ingestion/poll", execution_id, tournament_id="t1").body["changed"] is False
    assert world.signals.seen("ingestion") == 2


def test_an_incident_that_no_rule_heals_is_ended_and_opened_again_once(world: AdminWorld) -> None:
    execution_id = world.start()
    _, incident_id = reported(world, check="disk_full")
    about = {"incident_id": incident_id, "reason": "looked into"}
    for verb, status in (("resolve", "RESOLVED"), ("reopen", "OPEN"), ("resolve", "RESOLVED")):
        for changed in (True, False):
            response = world.act(f"incidents/{verb}", execution_id, **about)
            assert (response.status, response.body) == (
                200, {"incident_id": incident_id, "status": status, "changed": changed},
            )  # fmt: skip
            row = world.row("incidents", incident_id=incident_id)
            assert (row["status"], row["resolved_at"]) == (status, world.runtime.at if status == "RESOLVED" else None)
    world.runtime.at += MINUTE_MS
    _, again = reported(world, check="disk_full")
    assert again != incident_id, "what goes on is another incident"
    assert world.act("incidents/reopen", execution_id, **about).body["changed"] is False
    assert world.row("incidents", incident_id=incident_id)["status"] == "RESOLVED"


def test_a_host_whose_time_service_is_broken_or_that_does_not_answer_is_told_so(world: AdminWorld) -> None:
    execution_id = world.start()
    world.hosts.ahead_s = {"win-1": 90, "lin-1": -30}
    world.hosts.broken_clocks = {"win-1"}
    answer = world.act("hosts/sync", execution_id, host="win-1", reason="ahead")
    assert (answer.status, answer.body["error"]) == (409, "win-1 did not take the time: exit 1")
    assert world.refusals()[-1][2] == answer.body["error"]
    assert world.opsctl("hosts clocks --off 30").text == (
        "host=lin-1 ahead_s=-30 problem=-\nhost=win-1 ahead_s=90 problem=-\n"
    )
    assert world.opsctl("hosts clocks --off 31").text == "host=win-1 ahead_s=90 problem=-\n"
    world.hosts.down = {"lin-1": ConnectionFailed("down")}
    assert world.act("hosts/sync", execution_id, host="lin-1", reason="behind").status == 503
    assert world.opsctl("hosts clocks --off 91").text == "host=lin-1 ahead_s=- problem=connection_failed\n"
