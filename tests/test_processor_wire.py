"""The wire to the payment processor: lost requests and answers, refusals, dead callers, and what is on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ProcessorError
from seams.faults import Delay, LoseAnswer, LoseRequest, Refuse, Repeat
from simulator.wires.processor import CustomerWire, ProcessorWire
from tests.support.processor_world import (
    STARTS_AT,
    ProcessorWorld,
    Scripted,
    send_transfer,
    wire_of,
)

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessorWorld]:
    made = ProcessorWorld(tmp_path)
    yield made
    made.settle()


def test_a_call_takes_its_latency_out_and_back(world: ProcessorWorld) -> None:
    wire = wire_of(world)
    took = []
    for n in range(20):
        began_at = world.runtime.now()
        world.do(lambda n=n: send_transfer(wire, f"k{n}"))
        took.append(world.runtime.now() - began_at)
    assert all(80 <= ms <= 400 for ms in took)
    assert len(set(took)) > 10


def test_the_same_call_made_again_has_a_latency_of_its_own(world: ProcessorWorld) -> None:
    wire, took = wire_of(world), []
    for _ in range(20):
        began_at = world.runtime.now()
        world.do(lambda: wire.list_intents(after=None, limit=1))
        took.append(world.runtime.now() - began_at)
    assert len(set(took)) > 10


def test_a_lost_answer_leaves_the_transfer_made_and_the_same_key_finds_it(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", LoseAnswer()))
    wire = wire_of(world)
    with pytest.raises(DeadlineExceeded):
        world.do(lambda: world.runtime.deadline(send_transfer(wire, "k"), 30_000))
    (made,) = world.do(lambda: wire.list_transfers(transfer_group="c1"))
    assert world.do(lambda: send_transfer(wire, "k")).id == made.id
    world.settle()
    assert [body["type"] for body in world.edge.events()] == ["transfer.created"]
    rows = [row for row in world.rows("processor.requests") if row["idempotency_key"] == "k"]
    assert [(row["answered"], row["replayed"], row["object_id"]) for row in rows] == [
        (False, False, made.id),
        (True, True, made.id),
    ]
    assert world.victims == ["k"]
    assert len(world.rows("processor.transfers")) == 1


def test_a_lost_request_never_reaches_the_processor(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", LoseRequest()))
    wire = wire_of(world)
    with pytest.raises(DeadlineExceeded):
        world.do(lambda: world.runtime.deadline(send_transfer(wire), 30_000))
    assert world.do(lambda: wire.list_transfers(transfer_group="c1")) == []
    assert [row["operation"] for row in world.rows("processor.requests")] == ["transfers.list"]


def test_a_caller_that_gives_up_early_does_not_stop_the_request(world: ProcessorWorld) -> None:
    with pytest.raises(DeadlineExceeded):
        world.do(lambda: world.runtime.deadline(send_transfer(wire_of(world)), 10))
    world.settle()
    assert len(world.rows("processor.transfers")) == 1


def test_a_refused_connection_is_no_request_at_the_processor(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", Refuse(0)))
    with pytest.raises(ConnectionFailed):
        world.do(lambda: send_transfer(wire_of(world)))
    assert world.rows("processor.requests") == []


def test_a_refusal_with_a_status_is_on_record_and_moves_nothing(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", Refuse(429, "rate_limit")))
    with pytest.raises(ProcessorError):
        world.do(lambda: send_transfer(wire_of(world), "k"))
    (row,) = world.rows("processor.requests")
    assert (row["idempotency_key"], row["status"], row["error_code"], row["entity"]) == ("k", 429, "rate_limit", "c1")
    assert world.rows("processor.transfers") == []


def test_a_delayed_request_is_made_later(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", Delay(HOUR_MS)))
    made = world.do(lambda: send_transfer(wire_of(world)))
    assert made.created_at >= STARTS_AT + HOUR_MS


def test_each_request_crosses_the_seam_in_the_name_of_whom_it_is_about(tmp_path: Path) -> None:
    operations = ("intents.create", "intents.cancel", "transfers.create", "refunds.create")
    faults = [Scripted("processor", operation) for operation in operations]
    reads = [Scripted("processor.read", verb) for verb in ("list", "retrieve")]
    world = ProcessorWorld(tmp_path, *faults, *reads)
    wire, about = wire_of(world), {"contest_id": "c7", "user_id": "u7"}

    async def all_calls() -> None:
        one = await wire.create_intent(amount_cents=500, metadata=about, idempotency_key="a")
        two = await wire.create_intent(amount_cents=500, metadata=about, idempotency_key="b")
        await wire.cancel_intent(intent_id=one.id, idempotency_key="c")
        await CustomerWire(world, world.actor).confirm(two.id, "u7")
        await wire.create_refund(intent_id=two.id, amount_cents=500, metadata={}, idempotency_key="d")
        await send_transfer(wire, "e")
        await wire.list_events(after=None, limit=10)
        await wire.list_intents(after=None, limit=10)
        await wire.list_refunds(intent_id=two.id)
        await wire.list_transfers(transfer_group="c1")
        await wire.list_balance_transactions(after=None, limit=10)
        await wire.retrieve_intent(intent_id=one.id)

    world.do(all_calls)
    assert [[call.entity for call in fault.calls] for fault in faults] == [["c7/u7"] * 2, ["c7/u7"], ["c1"], ["c7/u7"]]
    assert [[call.entity for call in fault.calls] for fault in reads] == [
        ["events", "intents", "refunds", "transfers", "balance"],
        ["intents"],
    ]


def test_a_dead_process_sends_nothing(world: ProcessorWorld) -> None:
    class DeadError(BaseException):
        pass

    def guard() -> None:
        raise DeadError

    wire = ProcessorWire(world, world.actor, "platform", guard)
    calls = [
        lambda: wire.create_intent(amount_cents=500, metadata={}, idempotency_key="a"),
        lambda: wire.cancel_intent(intent_id="pi_1", idempotency_key="a"),
        lambda: send_transfer(wire),
        lambda: wire.create_refund(intent_id="pi_1", amount_cents=1, metadata={}, idempotency_key="a"),
        lambda: wire.list_transfers(transfer_group="c1"),
        lambda: wire.list_refunds(intent_id="pi_1"),
        lambda: wire.list_intents(after=None, limit=1),
        lambda: wire.retrieve_intent(intent_id="pi_1"),
        lambda: wire.list_events(after=None, limit=1),
        lambda: wire.list_balance_transactions(after=None, limit=1),
    ]
    for call in calls:
        with pytest.raises(DeadError):
            call()
    world.settle()
    assert world.rows("processor.requests") == []


def test_reads_are_journaled_only_when_they_fail_and_writes_always(world: ProcessorWorld) -> None:
    wire = wire_of(world)
    world.do(lambda: wire.list_intents(after=None, limit=10))
    assert world.events() == []
    with pytest.raises(ProcessorError):
        world.do(lambda: wire.retrieve_intent(intent_id="pi_none"))
    world.do(lambda: wire.create_intent(amount_cents=500, metadata={}, idempotency_key="a"))
    assert [e["kind"] for e in world.events()] == ["intents.retrieve", "intents.create"]
    assert len(world.rows("processor.requests")) == 3


def test_the_same_world_gives_the_same_journal_and_books(tmp_path: Path) -> None:
    heads, deliveries = [], []
    for n in range(2):
        world = ProcessorWorld(tmp_path / str(n), Scripted("webhook", "deliver", Delay(MINUTE_MS), Repeat(2, 500)))
        wire = wire_of(world)
        for k in range(5):
            world.paid(f"k{k}")
            world.do(lambda k=k, wire=wire: send_transfer(wire, f"t{k}"))
        world.settle()
        heads.append(world.writer.head)
        deliveries.append(world.rows("processor.deliveries"))
    assert heads[0] == heads[1]
    assert deliveries[0] == deliveries[1]
    assert len(deliveries[0]) == 12
