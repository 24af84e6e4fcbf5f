"""What the payment processor shows: objects of Stripe's own shape, stable ids, lists, frozen snapshots.

Outside judge: Stripe's OpenAPI description and fixtures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from simulator.actors.processor_objects import balance_transaction
from tests.support.data import data_dir
from tests.support.processor_world import (
    DAY_MS,
    STARTS_AT,
    ProcessorWorld,
    every_event,
    wire_of,
)

HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessorWorld]:
    made = ProcessorWorld(tmp_path)
    yield made
    made.settle()


def spec() -> dict[str, Any]:
    """Stripe's description as a JSON schema: `nullable` is OpenAPI's word, unknown to JSON Schema."""

    def convert(node: Any) -> Any:
        if isinstance(node, list):
            return [convert(item) for item in node]
        if not isinstance(node, dict):
            return node
        made = {name: convert(value) for name, value in node.items()}
        if made.get("nullable") is True:
            made.pop("nullable")
            return {"anyOf": [made, {"type": "null"}]}
        return made

    text = (data_dir() / "stripe" / "spec3_2023-08-16_subset.json").read_text()
    converted: dict[str, Any] = convert(json.loads(text))
    return converted


@pytest.fixture(scope="module")
def validate() -> Any:
    components = spec()["components"]

    def check(body: dict[str, Any]) -> None:
        schema = {"$ref": f"#/components/schemas/{body['object']}", "components": components}
        jsonschema.Draft202012Validator(schema).validate(body)

    return check


@pytest.fixture(scope="module")
def fixtures() -> dict[str, Any]:
    text = (data_dir() / "stripe" / "fixtures3-2023-09-12.json").read_text()
    resources: dict[str, Any] = json.loads(text)["resources"]
    return resources


def test_every_event_and_its_object_validate_against_stripes_description(world: ProcessorWorld, validate: Any) -> None:
    bodies = every_event(world)
    assert sorted({body["type"] for body in bodies}) == [
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.refunded",
        "payment_intent.canceled",
        "payment_intent.succeeded",
        "refund.created",
        "transfer.created",
    ]
    for body in bodies:
        validate(body)
        validate(body["data"]["object"])
    for entry in world.handle("balance.list", after=None, limit=100):
        validate(balance_transaction(entry, world.runtime.now()))


def test_the_validator_refuses_what_stripe_never_sends(world: ProcessorWorld, validate: Any) -> None:
    bodies = {body["type"]: body["data"]["object"] for body in reversed(every_event(world))}
    bad_status = {**bodies["payment_intent.succeeded"], "status": "paid"}
    bad_amount = {**bodies["refund.created"], "amount": "400"}
    no_reversals = {k: v for k, v in bodies["transfer.created"].items() if k != "reversals"}
    undecided = {**bodies["charge.dispute.closed"], "status": "settled"}
    for body in (bad_status, bad_amount, no_reversals, undecided):
        with pytest.raises(jsonschema.ValidationError):
            validate(body)


def test_every_object_has_exactly_the_fields_of_stripes_own_fixture(
    world: ProcessorWorld, fixtures: dict[str, Any]
) -> None:
    bodies = every_event(world)
    objects = [body["data"]["object"] for body in bodies]
    objects += [
        balance_transaction(entry, world.runtime.now()) for entry in world.handle("balance.list", after=None, limit=100)
    ]
    for body in [*objects, *bodies]:
        # Since API version 2022-11-15 a charge carries its refunds only when asked to expand them.
        assert set(body) == set(fixtures[body["object"]]) - {"refunds"}, body["object"]


def test_the_event_of_a_change_shows_the_object_after_it(world: ProcessorWorld) -> None:
    shown = {body["type"]: body["data"]["object"] for body in reversed(every_event(world))}
    assert shown["payment_intent.canceled"]["status"] == "canceled"
    assert shown["payment_intent.canceled"]["canceled_at"] == STARTS_AT // 1000
    assert shown["payment_intent.succeeded"]["status"] == "succeeded"
    assert shown["payment_intent.succeeded"]["amount_received"] == 2_500
    assert shown["charge.refunded"]["payment_intent"] == shown["payment_intent.succeeded"]["id"]
    assert (shown["charge.refunded"]["amount_refunded"], shown["charge.refunded"]["refunded"]) == (400, False)


def test_a_transfer_has_no_status(world: ProcessorWorld) -> None:
    transfers = [b["data"]["object"] for b in every_event(world) if b["type"] == "transfer.created"]
    assert len(transfers) == 1
    assert "status" not in transfers[0]


def test_an_event_shows_its_object_as_it_was_when_the_event_was_created(world: ProcessorWorld) -> None:
    paid = world.paid(amount=2_500)
    world.wait(HOUR_MS)
    world.refund(paid.id, 1_000, "r1")
    world.refund(paid.id, 500, "r2")
    events = world.handle("events.list", after=None, limit=100)
    by_type = [(e.type, e.body["data"]) for e in events]
    refunded = [data for kind, data in by_type if kind == "charge.refunded"]
    assert [data["object"]["amount_refunded"] for data in refunded] == [1_000, 1_500]
    assert [data["previous_attributes"] for data in refunded] == [{"amount_refunded": 0}, {"amount_refunded": 1_000}]
    assert len({data["object"]["id"] for data in refunded}) == 1
    assert len({e.id for e in events}) == len(events) == 5


def test_ids_are_long_and_a_new_object_moves_no_other_id(tmp_path: Path) -> None:
    one, two = ProcessorWorld(tmp_path / "1"), ProcessorWorld(tmp_path / "2")
    two.intent("another")
    two.transfer("another transfer")
    ids = []
    for world in (one, two):
        paid = world.paid("a")
        ids.append([paid.id, world.transfer("t").id, world.refund(paid.id, 10, "r").id])
    assert ids[0] == ids[1]
    assert [one_id[:3] for one_id in ids[0]] == ["pi_", "tr_", "re_"]
    assert all(len(one_id) >= 27 for one_id in ids[0])
    assert [e["subject"] for e in one.events() if e["kind"] == "event.created"] == [
        e["subject"] for e in two.events() if e["kind"] == "event.created"
    ][1:]
    one.settle()
    two.settle()


def test_lists_go_on_after_the_cursor_oldest_first_and_end_empty(world: ProcessorWorld) -> None:
    made = [world.intent(f"k{n}").id for n in range(5)]
    wire, seen, after = wire_of(world), [], None
    for size in (2, 2, 1, 0):
        page = world.do(lambda after=after: wire.list_intents(after=after, limit=2))
        assert len(page) == size
        seen += [intent.id for intent in page]
        after = seen[-1]
    assert seen == made


def test_a_page_has_at_most_a_hundred_objects_and_an_unknown_cursor_is_refused(world: ProcessorWorld) -> None:
    assert world.error(lambda: world.handle("intents.list", after=None, limit=101))[2] == "parameter_invalid_integer"
    assert world.error(lambda: world.handle("intents.list", after="pi_none", limit=1))[0] == 404


def test_events_are_listed_for_thirty_days(world: ProcessorWorld) -> None:
    world.paid("old")
    world.wait(DAY_MS)
    young = world.paid("young")
    assert len(world.handle("events.list", after=None, limit=100)) == 2
    world.wait(29 * DAY_MS + 1)
    listed = world.handle("events.list", after=None, limit=100)
    assert [e.body["data"]["object"]["id"] for e in listed] == [young.id]
