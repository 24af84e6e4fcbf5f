"""Disputes at the processor: what the bank takes and gives back, what is told of it, and what is refused meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contest_platform.ports import Dispute, ProcessorError
from contest_platform.services import disputes
from seams.faults import Drop
from simulator.actors.processor_holdings import fee_cents
from tests.support.processor_world import STARTS_AT, ProcessorWorld, Scripted, wire_of

AMOUNT, FEE = 2_500, 1_500


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessorWorld]:
    made = ProcessorWorld(tmp_path)
    yield made
    made.settle()


def told(world: ProcessorWorld) -> list[tuple[str, dict[str, Any]]]:
    """(type without its prefix, object) of each event of a dispute, as listed."""
    events = world.handle("events.list", after=None, limit=100)
    return [
        (event.type.rpartition(".")[2], event.body["data"]["object"])
        for event in events
        if event.type.startswith("charge.dispute.")
    ]


def adjustments(world: ProcessorWorld) -> list[tuple[str, int, int, int]]:
    moved = world.handle("balance.list", after=None, limit=100)
    return [(m.source_id, m.amount_cents, m.fee_cents, m.net_cents) for m in moved if m.kind == "adjustment"]


def test_a_dispute_takes_amount_and_fee_at_once(world: ProcessorWorld) -> None:
    paid = world.paid()
    before = world.actor.balance.available_cents(STARTS_AT)
    dispute_id = world.actor.open_dispute(paid.id)
    assert dispute_id.startswith("dp_")
    assert adjustments(world) == [(dispute_id, -AMOUNT, FEE, -AMOUNT - FEE)]
    assert world.actor.balance.available_cents(STARTS_AT) == before - AMOUNT - FEE
    (created, first), (withdrawn, second) = told(world)
    assert (created, withdrawn) == ("created", "funds_withdrawn")
    assert (first["balance_transactions"], first["status"], first["payment_intent"]) == ([], "needs_response", paid.id)
    [moved] = second["balance_transactions"]
    assert (moved["amount"], moved["fee"], moved["type"], moved["source"]) == (-AMOUNT, FEE, "adjustment", dispute_id)
    assert moved["reporting_category"] == "dispute"


def test_a_won_dispute_gives_the_amount_back_and_keeps_the_fee(world: ProcessorWorld) -> None:
    dispute_id = world.actor.open_dispute(world.paid().id)
    before = world.actor.balance.available_cents(STARTS_AT)
    world.actor.close_dispute(dispute_id, won=True)
    assert world.actor.balance.available_cents(STARTS_AT) == before + AMOUNT
    assert adjustments(world)[1] == (dispute_id, AMOUNT, 0, AMOUNT)
    (reinstated, back), (closed, last) = told(world)[2:]
    assert (reinstated, closed) == ("funds_reinstated", "closed")
    assert back["status"] == last["status"] == "won"
    assert [m["reporting_category"] for m in last["balance_transactions"]] == ["dispute", "dispute_reversal"]
    assert len({m["id"] for m in last["balance_transactions"]}) == 2


def test_a_lost_dispute_moves_no_more_money(world: ProcessorWorld) -> None:
    dispute_id = world.actor.open_dispute(world.paid().id)
    world.actor.close_dispute(dispute_id, won=False)
    assert len(adjustments(world)) == 1
    assert [(what, shown["status"]) for what, shown in told(world)] == [
        ("created", "needs_response"), ("funds_withdrawn", "needs_response"), ("closed", "lost"),
    ]  # fmt: skip


def test_what_is_disputed_is_what_was_not_refunded(world: ProcessorWorld) -> None:
    paid = world.paid()
    world.refund(paid.id, 1_000)
    world.actor.open_dispute(paid.id)
    assert adjustments(world)[0][1] == -(AMOUNT - 1_000)


def test_only_a_charge_with_something_left_is_disputed_and_only_once(world: ProcessorWorld) -> None:
    unpaid, paid, refunded = world.intent("a"), world.paid("b"), world.paid("c")
    world.refund(refunded.id, AMOUNT)
    world.actor.open_dispute(paid.id)
    for intent in (unpaid, paid, refunded):
        with pytest.raises(ValueError, match="nothing left to dispute"):
            world.actor.open_dispute(intent.id)
    assert len(adjustments(world)) == 1
    with pytest.raises(ProcessorError):
        world.actor.open_dispute("pi_none")


def test_the_bank_decides_once(world: ProcessorWorld) -> None:
    dispute_id = world.actor.open_dispute(world.paid().id)
    world.actor.close_dispute(dispute_id, won=False)
    with pytest.raises(ValueError, match="lost already"):
        world.actor.close_dispute(dispute_id, won=True)
    assert len(adjustments(world)) == 1


def test_a_charge_in_the_banks_hands_is_not_refunded_until_it_is_won(world: ProcessorWorld) -> None:
    paid = world.paid()
    dispute_id = world.actor.open_dispute(paid.id)
    refused = (400, "invalid_request_error", "charge_disputed")
    assert world.error(lambda: world.refund(paid.id, AMOUNT, "r1")) == refused
    world.actor.close_dispute(dispute_id, won=True)
    assert world.refund(paid.id, AMOUNT, "r2").status == "succeeded"


def test_a_lost_charge_is_never_refunded(world: ProcessorWorld) -> None:
    paid = world.paid()
    world.actor.close_dispute(world.actor.open_dispute(paid.id), won=False)
    assert world.error(lambda: world.refund(paid.id, AMOUNT))[2] == "charge_disputed"


def test_a_dispute_is_retrieved_as_its_latest_event_shows_it(world: ProcessorWorld) -> None:
    dispute_id = world.actor.open_dispute(world.paid().id)
    world.actor.close_dispute(dispute_id, won=True)
    wire = wire_of(world)
    found: Dispute = world.do(lambda: wire.retrieve_dispute(dispute_id=dispute_id))
    assert disputes.of_object(told(world)[-1][1]) == found
    assert (found.status, len(found.movements)) == ("won", 2)
    with pytest.raises(ProcessorError) as refused:
        world.do(lambda: wire.retrieve_dispute(dispute_id="dp_none"))
    assert refused.value.error_code == "resource_missing"


def test_its_events_are_delivered_and_a_fault_finds_them_by_contest_and_customer(tmp_path: Path) -> None:
    fault = Scripted("webhook", "deliver", None, Drop())
    world = ProcessorWorld(tmp_path, fault)
    dispute_id = world.actor.open_dispute(world.paid().id)
    world.settle()
    assert [call.entity for call in fault.calls] == ["c1/u1"] * 3
    delivered = [event["type"] for event in world.edge.events()]
    assert len(delivered) == 2
    assert "payment_intent.succeeded" in delivered or delivered == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn",
    ]  # fmt: skip
    assert next(event["data"]["object"]["id"] for event in world.edge.events() if "dispute" in event["type"]) == (
        dispute_id
    )


def test_the_book_of_disputes_holds_them_as_they_stand_at_the_end(world: ProcessorWorld) -> None:
    ids = []
    for key in ("a", "b", "c"):
        ids.append(world.actor.open_dispute(world.paid(key).id))
    world.wait(86_400_000)
    world.actor.close_dispute(ids[0], won=True)
    world.actor.close_dispute(ids[1], won=False)
    rows = {row["dispute_id"]: row for row in world.rows("processor.disputes")}
    assert [rows[one]["status"] for one in ids] == ["won", "lost", "needs_response"]
    closed_at = STARTS_AT + 86_400_000
    assert [rows[one]["closed_at"] for one in ids] == [closed_at, closed_at, None]
    first = rows[ids[0]]
    assert (first["amount_cents"], first["fee_cents"], first["created_at"]) == (AMOUNT, FEE, STARTS_AT)
    assert (first["contest_id"], first["entry_id"], first["user_id"]) == ("c1", "entry-a", "u1")
    by_kind = [row["net_cents"] for row in world.rows("processor.balance") if row["kind"] != "topup"]
    assert sum(by_kind) == 3 * (AMOUNT - fee_cents(AMOUNT) - FEE) - 2 * AMOUNT


def test_ids_of_disputes_do_not_depend_on_other_disputes(tmp_path: Path) -> None:
    one, two = ProcessorWorld(tmp_path / "1"), ProcessorWorld(tmp_path / "2")
    two.actor.open_dispute(two.paid("another").id)
    assert one.actor.open_dispute(one.paid("a").id) == two.actor.open_dispute(two.paid("a").id)
    one.settle()
    two.settle()
