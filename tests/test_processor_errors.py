"""The processor's errors as its documentation has them: what a key remembers, what was done, and what stays refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ProcessorError
from seams.faults import Action, Effect, Refuse, Stall
from simulator.actors.processor_levers import ProcessorLevers
from simulator.wires.processor import CustomerWire
from tests.support.processor_world import DAY_MS, ProcessorWorld, Scripted, send_transfer, wire_of

MINUTE_MS = 60_000


def a_world(tmp_path: Path, *effects: Effect | None) -> ProcessorWorld:
    return ProcessorWorld(tmp_path, Scripted("processor", "transfers.create", *effects))


def told(world: ProcessorWorld, key: str = "k", destination: str = "acct_1") -> tuple[int, str, str | None] | str:
    """How a request for a transfer through the wire ends: the error, or the transfer's id."""
    wire = wire_of(world)
    call = wire.create_transfer(
        amount_cents=1_000, destination=destination, transfer_group="c1", idempotency_key=key,
        metadata={"contest_id": "c1", "entry_id": "entry-1", "user_id": "u1"},
    )  # fmt: skip
    try:
        return str(world.do(lambda: call).id)
    except ProcessorError as error:
        return error.status, error.type, error.error_code


def columns(world: ProcessorWorld, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in world.rows("processor.requests")]


def test_a_500_after_the_work_was_done_is_replayed_and_the_money_has_moved(tmp_path: Path) -> None:
    world = a_world(tmp_path, Refuse(500, done=True))
    assert told(world) == told(world) == (500, "api_error", None)
    [made] = world.do(lambda: wire_of(world).list_transfers(transfer_group="c1"))
    world.wait(DAY_MS)
    assert told(world) not in (made.id, (500, "api_error", None)), "a pruned key is a new request, and pays again"
    assert columns(world, "status", "replayed")[:2] == [(500, False), (500, True)]


def test_a_500_without_the_work_moves_nothing_under_its_key(tmp_path: Path) -> None:
    world = a_world(tmp_path, Refuse(500))
    assert told(world) == told(world) == (500, "api_error", None)
    assert world.rows("processor.transfers") == []


def test_a_key_at_work_is_in_use_until_the_first_request_has_ended_and_then_replayed(tmp_path: Path) -> None:
    world = a_world(tmp_path, Stall(10 * MINUTE_MS))
    with pytest.raises(DeadlineExceeded):
        world.do(lambda: world.runtime.deadline(send_transfer(wire_of(world), "k"), 80_000))
    assert told(world) == (409, "invalid_request_error", "idempotency_key_in_use")
    world.wait(10 * MINUTE_MS)
    done = told(world)
    assert isinstance(done, str)
    assert columns(world, "idempotency_key", "status", "object_id", "replayed") == [
        ("k", 409, None, False), ("k", 200, done, False), ("k", 200, done, True),
    ]  # fmt: skip
    assert columns(world, "answered") == [(True,), (False,), (True,)], "who asked first has hung up"


def test_another_key_is_free_while_one_is_at_work(tmp_path: Path) -> None:
    world = a_world(tmp_path, Stall(10 * MINUTE_MS))
    with pytest.raises(DeadlineExceeded):
        world.do(lambda: world.runtime.deadline(send_transfer(wire_of(world), "k"), 80_000))
    assert isinstance(told(world, "other"), str)


def test_a_key_known_from_another_request_is_refused_until_it_is_pruned(tmp_path: Path) -> None:
    world = a_world(tmp_path, Refuse(400, "idempotency_error"))
    assert told(world) == told(world) == (400, "idempotency_error", None)
    assert isinstance(told(world, "new"), str)
    world.wait(DAY_MS)
    assert isinstance(told(world), str)
    assert columns(world, "status", "error_code")[:2] == [(400, "idempotency_error")] * 2


@pytest.mark.parametrize(
    ("refusal", "comes_first"),
    [(Refuse(400, "balance_insufficient"), False), (Refuse(403, "account_invalid"), False),
     (Refuse(429, "rate_limit"), True), (Refuse(0), True)],
)  # fmt: skip
def test_a_key_that_has_an_outcome_gives_it_again_before_anything_is_executed(
    refusal: Refuse, comes_first: bool, tmp_path: Path
) -> None:
    world = a_world(tmp_path, None, refusal)
    made = told(world)
    if refusal.status == 0:
        with pytest.raises(ConnectionFailed):
            told(world)
    else:
        assert (told(world) != made) is comes_first
    assert told(world) == made
    assert isinstance(told(world, "new"), str), "and no account is closed by what was not said"


@pytest.mark.parametrize(
    ("status", "code"), [(403, "account_invalid"), (400, "transfers_not_allowed"), (400, "account_closed")]
)
def test_an_account_that_cannot_be_paid_stays_so_under_every_key(tmp_path: Path, status: int, code: str) -> None:
    world = a_world(tmp_path, Refuse(status, code))
    assert told(world) == told(world, "new") == (status, "invalid_request_error", code)
    assert isinstance(told(world, "other", "acct_2"), str)


@pytest.mark.parametrize(("status", "code"), [(400, "balance_insufficient"), (429, "rate_limit")])
def test_what_is_wrong_with_a_request_says_nothing_about_the_account(tmp_path: Path, status: int, code: str) -> None:
    world = a_world(tmp_path, Refuse(status, code))
    assert told(world) == (status, "invalid_request_error", code)
    assert isinstance(told(world, "new"), str)


def test_a_customer_meets_an_outage_at_the_payment_page(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("processor", "intents.confirm", Refuse(503)))
    intent, browser = world.intent(), CustomerWire(world, world.actor)
    with pytest.raises(ProcessorError):
        world.do(lambda: browser.confirm(intent.id, "u1"))
    assert world.do(lambda: browser.confirm(intent.id, "u1")).status == "succeeded"


def test_a_reversed_transfer_brings_its_money_back_and_is_told_of(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    first, second = told(world, "a"), told(world, "b")
    before = world.actor.balance.available_cents(world.runtime.now())
    row = world.actor.reverse_transfer("c1", 2)
    assert world.actor.balance.available_cents(world.runtime.now()) == before + 1_000
    for n in (2, 3):
        with pytest.raises(LookupError):
            world.actor.reverse_transfer("c1", n)
    [_, listed] = world.do(lambda: wire_of(world).list_transfers(transfer_group="c1"))
    assert (listed.id, listed.amount_reversed_cents) == (second, 1_000)
    world.settle()
    [event] = [body for body in world.edge.events() if body["type"] == "transfer.reversed"]
    assert event["data"]["object"]["id"] == second
    assert event["data"]["object"]["reversed"]
    assert world.rows("processor.balance")[row - 1]["kind"] == "transfer_reversal"
    assert {row["transfer_id"]: row["reversed_cents"] for row in world.rows("processor.transfers")} == {
        first: 0,
        second: 1_000,
    }


def test_a_transfer_that_is_made_late_is_taken_back_once_it_is_there(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    noted: list[str] = []
    levers, action = ProcessorLevers(world.actor, world.runtime), Action(0, "processor.reverse", "c1", {"transfer": 2})
    world.kernel.start(levers.pull_reverse(action, lambda _, victim: noted.append(victim)), "lever")
    told(world, "a")
    world.wait(DAY_MS)
    assert noted == []
    second = told(world, "b")
    world.wait(60 * MINUTE_MS)
    [_, listed] = world.do(lambda: wire_of(world).list_transfers(transfer_group="c1"))
    assert (listed.id, listed.amount_reversed_cents) == (second, 1_000)
    [row] = [row for row in world.rows("processor.balance") if row["kind"] == "transfer_reversal"]
    assert noted == [str(row["n"])]
