"""The payment processor keeps Stripe's promises, and Stripe's traps: idempotency keys, balances, refunds, accounts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contest_platform.ports import ProcessorError
from seams.faults import Action, Refuse
from simulator.actors.processor_holdings import fee_cents
from simulator.wires.processor import CustomerWire
from tests.support.processor_world import (
    DAY_MS,
    STARTS_AT,
    ProcessorWorld,
    Scripted,
    send_transfer,
    wire_of,
)

HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessorWorld]:
    made = ProcessorWorld(tmp_path)
    yield made
    made.settle()


# --- idempotency keys ---------------------------------------------------------------------------------------------


def test_the_same_key_replays_the_answer_and_moves_the_money_once(world: ProcessorWorld) -> None:
    first = world.transfer("k")
    world.wait(5 * HOUR_MS)
    assert world.transfer("k") == first
    world.settle()
    assert [row["replayed"] for row in world.rows("processor.requests")] == [False, True]
    assert [row["transfer_id"] for row in world.rows("processor.transfers")] == [first.id]
    assert [row["kind"] for row in world.rows("processor.balance")] == ["topup", "transfer"]
    assert len(world.rows("processor.events")) == 1


def test_a_replay_gives_the_object_as_it_was_when_first_answered(world: ProcessorWorld) -> None:
    made = world.intent("k")
    world.handle("intents.confirm", intent=made.id)
    assert world.intent("k").status == "requires_payment_method"
    assert world.handle("intents.retrieve", intent=made.id).status == "succeeded"


def test_a_key_is_kept_until_it_is_24_hours_old_and_is_a_new_request_then(world: ProcessorWorld) -> None:
    first = world.transfer("k")
    world.wait(24 * HOUR_MS - 1)
    assert world.transfer("k").id == first.id
    world.wait(1)
    second = world.transfer("k")
    assert second.id != first.id
    assert len(world.rows("processor.transfers")) == 2


def test_every_key_older_than_24_hours_is_pruned_however_many_there_are(world: ProcessorWorld) -> None:
    keys = [f"k{n}" for n in range(5)]
    first = [world.transfer(key).id for key in keys]
    world.wait(24 * HOUR_MS)
    again = [world.transfer(key).id for key in reversed(keys)]
    assert len({*first, *again}) == 10


def test_a_pruned_key_may_come_back_with_other_parameters(world: ProcessorWorld) -> None:
    world.transfer("k", amount=1_000)
    world.wait(24 * HOUR_MS)
    assert world.transfer("k", amount=2_000).amount_cents == 2_000


def test_a_key_poisoned_by_an_empty_balance_refuses_even_when_the_money_is_there(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, opening_cents=0)
    world.paid(amount=10_000)
    refused = (400, "invalid_request_error", "balance_insufficient")
    assert world.error(lambda: world.transfer("k", amount=9_000)) == refused
    world.wait(2 * DAY_MS - HOUR_MS * 12)
    assert world.error(lambda: world.transfer("k2", amount=9_000)) == refused
    world.wait(12 * HOUR_MS)
    assert world.error(lambda: world.transfer("k2", amount=9_000)) == refused
    assert world.transfer("k3", amount=9_000).amount_cents == 9_000
    rows = [row for row in world.rows("processor.requests") if row["operation"] == "transfers.create"]
    assert [(row["status"], row["error_code"], row["replayed"]) for row in rows] == [
        (400, "balance_insufficient", False),
        (400, "balance_insufficient", False),
        (400, "balance_insufficient", True),
        (200, None, False),
    ]


@pytest.mark.parametrize("change", [{"amount": 1_001}, {"destination": "acct_2"}])
def test_the_same_key_with_other_parameters_is_refused_and_does_nothing(
    world: ProcessorWorld, change: dict[str, Any]
) -> None:
    first = world.transfer("k")
    assert world.error(lambda: world.transfer("k", **change)) == (400, "idempotency_error", None)
    assert world.transfer("k") == first
    assert len(world.rows("processor.transfers")) == 1
    assert world.rows("processor.requests")[1]["error_code"] == "idempotency_error"


def test_the_same_key_for_another_operation_is_refused(world: ProcessorWorld) -> None:
    intent = world.paid("k")
    assert world.error(lambda: world.refund(intent.id, 100, "k")) == (400, "idempotency_error", None)


def test_the_same_key_and_parameters_for_another_operation_are_refused(world: ProcessorWorld) -> None:
    intent = world.intent()
    world.handle("intents.cancel", "k", intent=intent.id)
    refused = world.error(lambda: world.handle("intents.confirm", "k", intent=intent.id))
    assert refused == (400, "idempotency_error", None)


def test_parameters_that_do_not_validate_leave_the_key_free(world: ProcessorWorld) -> None:
    assert world.error(lambda: world.transfer("k", amount=0))[0] == 400
    assert world.transfer("k", amount=700).amount_cents == 700


def test_a_key_has_at_most_255_characters(world: ProcessorWorld) -> None:
    assert world.transfer("k" * 255)
    assert world.error(lambda: world.transfer("k" * 256))[0] == 400


@pytest.mark.parametrize(
    ("status", "code"), [(401, ""), (409, "idempotency_key_in_use"), (429, "rate_limit"), (503, "")]
)
def test_an_answer_given_before_execution_is_not_saved_under_the_key(tmp_path: Path, status: int, code: str) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", Refuse(status, code)))
    wire = wire_of(world)
    with pytest.raises(ProcessorError) as refused:
        world.do(lambda: send_transfer(wire))
    assert (refused.value.status, refused.value.error_code) == (status, code or None)
    assert world.do(lambda: send_transfer(wire)).amount_cents == 1_000
    assert len(world.rows("processor.transfers")) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(500, "", "api_error"), (400, "balance_insufficient", "invalid_request_error")],
)
def test_an_error_of_execution_is_replayed_under_its_key_and_not_under_a_new_one(
    tmp_path: Path, status: int, code: str, kind: str
) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", Refuse(status, code)))
    wire = wire_of(world)
    for _ in range(2):
        with pytest.raises(ProcessorError) as refused:
            world.do(lambda: send_transfer(wire, "k"))
        assert (refused.value.status, refused.value.type, refused.value.error_code) == (status, kind, code or None)
    assert world.do(lambda: send_transfer(wire, "k2")).amount_cents == 1_000
    rows = world.rows("processor.requests")
    assert [(row["status"], row["replayed"]) for row in rows] == [(status, False), (status, True), (200, False)]
    assert world.victims == ["k"]


# --- money at the processor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "fee"), [(50, 31), (500, 45), (1_000, 59), (2_500, 103), (10_000, 320), (517, 45)])
def test_the_fee_is_two_point_nine_percent_half_up_plus_thirty_cents(amount: int, fee: int) -> None:
    assert fee_cents(amount) == fee


def test_a_charge_becomes_available_at_midnight_utc_of_the_second_day(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, opening_cents=0)
    world.wait(15 * HOUR_MS)
    world.paid(amount=10_000)
    net = 10_000 - 320
    world.wait(2 * DAY_MS - 15 * HOUR_MS - 1)
    assert world.error(lambda: world.transfer("early", amount=net))[2] == "balance_insufficient"
    world.wait(1)
    assert world.error(lambda: world.transfer("more", amount=net + 1))[2] == "balance_insufficient"
    assert world.transfer("all", amount=net).amount_cents == net
    charge = world.rows("processor.balance")[0]
    assert (charge["kind"], charge["fee_cents"], charge["net_cents"]) == ("charge", 320, net)
    assert charge["available_at"] == STARTS_AT + 2 * DAY_MS


def test_the_opening_top_up_can_be_transferred_at_once(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, opening_cents=5_000)
    assert world.transfer("a", amount=5_000)
    assert world.error(lambda: world.transfer("b", amount=1))[2] == "balance_insufficient"
    assert [(row["kind"], row["net_cents"]) for row in world.rows("processor.balance")] == [
        ("topup", 5_000),
        ("transfer", -5_000),
    ]


def test_a_refund_lowers_the_balance_and_the_fee_is_kept(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, opening_cents=10_000)
    intent = world.paid(amount=2_500)
    world.refund(intent.id, 2_500)
    assert world.error(lambda: world.transfer("a", amount=7_501))[2] == "balance_insufficient"
    assert world.transfer("b", amount=7_500)
    world.wait(2 * DAY_MS)
    movements = world.do(lambda: wire_of(world).list_balance_transactions(after=None, limit=10))
    assert sum(entry.net_cents for entry in movements) == 10_000 - 103 - 7_500
    assert world.transfer("c", amount=10_000 - 103 - 7_500)
    world.settle()


def test_refunds_never_exceed_the_charge_and_an_unpaid_intent_has_nothing_to_refund(world: ProcessorWorld) -> None:
    unpaid, paid = world.intent("unpaid"), world.paid("paid", 2_500)
    assert world.error(lambda: world.refund(unpaid.id, 100, "r0")) == (400, "invalid_request_error", None)
    assert world.refund(paid.id, 1_000, "r1").status == "succeeded"
    assert world.error(lambda: world.refund(paid.id, 1_501, "r2")) == (400, "invalid_request_error", None)
    assert world.refund(paid.id, 1_500, "r3").amount_cents == 1_500
    assert world.error(lambda: world.refund(paid.id, 1, "r4"))[2] == "charge_already_refunded"
    assert [r.amount_cents for r in world.handle("refunds.list", intent=paid.id)] == [1_000, 1_500]
    refunded = {row["intent_id"]: row["refunded_cents"] for row in world.rows("processor.intents")}
    assert refunded == {unpaid.id: 0, paid.id: 2_500}


@pytest.mark.parametrize(
    ("code", "status"), [("account_invalid", 403), ("account_closed", 400), ("resource_missing", 404)]
)
def test_a_transfer_to_an_account_with_a_problem_is_refused_with_its_code(
    world: ProcessorWorld, code: str, status: int
) -> None:
    world.actor.destination_problems["acct_bad"] = code
    assert world.error(lambda: world.transfer("k", destination="acct_bad")) == (status, "invalid_request_error", code)
    assert world.transfer("k2", destination="acct_good")
    assert [row["destination"] for row in world.rows("processor.transfers")] == ["acct_good"]


def test_a_canceled_intent_cannot_be_paid_and_a_paid_one_cannot_be_canceled(world: ProcessorWorld) -> None:
    canceled, paid = world.intent("a"), world.paid("b")
    assert world.handle("intents.cancel", "cancel-a", intent=canceled.id).status == "canceled"
    unexpected = (400, "invalid_request_error", "payment_intent_unexpected_state")
    assert world.error(lambda: world.handle("intents.confirm", intent=canceled.id)) == unexpected
    assert world.error(lambda: world.handle("intents.cancel", "cancel-b", intent=paid.id)) == unexpected
    assert world.error(lambda: world.handle("intents.confirm", intent=paid.id)) == unexpected
    assert [row["kind"] for row in world.rows("processor.balance")] == ["topup", "charge"]


def test_a_customer_may_pay_days_late(world: ProcessorWorld) -> None:
    intent = world.intent()
    world.wait(9 * DAY_MS)
    paid = world.do(lambda: CustomerWire(world, world.actor).confirm(intent.id, "u1"))
    assert paid.status == "succeeded"
    assert STARTS_AT + 9 * DAY_MS < paid.captured_at <= world.runtime.now()
    assert world.rows("processor.requests")[-1]["caller"] == "customer:u1"
    assert world.rows("processor.requests")[-1]["entity"] == "c1/u1"


def test_a_transfer_from_the_dashboard_is_on_record_with_the_login_that_made_it(world: ProcessorWorld) -> None:
    ours = world.transfer()
    params = {"contest_id": "c1", "user_id": "u1", "amount_cents": 1_500}
    action = Action(world.runtime.now(), "dashboard.transfer", "founder:ada", params)
    noted: list[tuple[Action, str]] = []
    world.do(lambda: world.actor.dashboard.pull_transfer(action, lambda *bite: noted.append(bite), "acct_9"))
    first, theirs = world.handle("transfers.list", transfer_group="c1")
    assert first == ours
    assert (theirs.amount_cents, theirs.destination) == (1_500, "acct_9")
    callers = {row["transfer_id"]: row["caller"] for row in world.rows("processor.transfers")}
    assert callers == {ours.id: "platform", theirs.id: "founder:ada"}
    (request,) = [row for row in world.rows("processor.requests") if row["caller"] == "founder:ada"]
    assert noted == [(action, str(request["n"]))]
    assert (request["operation"], request["object_id"], request["status"]) == ("transfers.create", theirs.id, 200)


def test_a_dashboard_transfer_that_is_refused_is_on_record_too(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, opening_cents=0)
    asked = {"amount_cents": 1_500, "destination": "acct_9", "transfer_group": "c1", "metadata": {}}
    number = world.actor.dashboard.request("founder:ada", "transfers.create", asked, "c1")
    (request,) = world.rows("processor.requests")
    assert (request["n"], request["status"], request["error_code"]) == (number, 400, "balance_insufficient")
    assert world.rows("processor.transfers") == []


def test_a_request_hash_is_one_that_the_caller_can_compute(world: ProcessorWorld) -> None:
    world.transfer(amount=1_000, destination="acct_1")
    metadata = {"contest_id": "c1", "entry_id": "entry-1", "user_id": "u1"}
    sent = {"amount_cents": 1_000, "destination": "acct_1", "transfer_group": "c1", "metadata": metadata}
    text = json.dumps(sent, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (row,) = world.rows("processor.requests")
    assert row["request_hash"] == hashlib.sha256(text.encode()).hexdigest()
