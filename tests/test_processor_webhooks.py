"""Webhooks come at least once, freshly signed each time, late or never when a fault says so.

Outside judge of every signature: Stripe's own SDK, under a frozen clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import stripe
from freezegun import freeze_time

from seams.faults import Delay, Drop, LoseAnswer, Repeat
from tests.support.processor_world import (
    DAY_MS,
    SECRET,
    STARTS_AT,
    ProcessorWorld,
    Scripted,
    every_event,
)

MINUTE_MS = 60_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessorWorld]:
    made = ProcessorWorld(tmp_path)
    yield made
    made.settle()


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def test_stripes_own_verifier_accepts_a_delivery_at_its_instant(world: ProcessorWorld) -> None:
    paid = world.paid()
    world.settle()
    ((arrived_at, request),) = world.edge.received
    assert (request.method, request.path) == ("POST", "/webhooks/processor")
    with freeze_time(at(arrived_at)):
        event = stripe.Webhook.construct_event(request.raw, request.headers["Stripe-Signature"], SECRET)
        assert (event.type, event.data.object.id) == ("payment_intent.succeeded", paid.id)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(request.raw, request.headers["Stripe-Signature"], "whsec_other")
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(request.raw + b" ", request.headers["Stripe-Signature"], SECRET)


def test_the_first_attempt_comes_after_a_latency_of_its_own(world: ProcessorWorld) -> None:
    for n in range(20):
        world.paid(f"k{n}")
    world.settle()
    delays = [arrived_at - STARTS_AT for arrived_at, _ in world.edge.received]
    assert len(set(delays)) > 10
    assert all(300 <= delay <= 4_000 for delay in delays)


def test_each_attempt_is_signed_afresh_and_an_old_signature_no_longer_verifies(world: ProcessorWorld) -> None:
    world.edge.answers = lambda n: [500, None, 302, 404][n] if n < 4 else 204
    world.paid()
    world.settle()
    received = world.edge.received
    assert len(received) == 5
    assert len({header for _, header in world.edge.headers()}) == 5
    assert len({request.raw for _, request in received}) == 1
    verify = stripe.WebhookSignature.verify_header
    for arrived_at, request in received:
        with freeze_time(at(arrived_at)):
            assert verify(request.raw.decode(), request.headers["Stripe-Signature"], SECRET, 300)
    first, last = received[0], received[-1]
    with freeze_time(at(last[0])), pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        verify(first[1].raw.decode(), first[1].headers["Stripe-Signature"], SECRET, 300)
    rows = world.rows("processor.deliveries")
    assert [(row["attempt"], row["sent"], row["status"]) for row in rows] == [
        (1, True, 500),
        (2, True, None),
        (3, True, 302),
        (4, True, 404),
        (5, True, 204),
    ]


def test_retries_back_off_exponentially_and_end_after_three_days(world: ProcessorWorld) -> None:
    world.edge.answers = lambda _: None
    world.paid()
    world.settle()
    times = [row["at"] for row in world.rows("processor.deliveries")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(later == 2 * earlier for earlier, later in pairwise(gaps))
    assert len(times) > 8
    assert 1.5 * DAY_MS < times[-1] - times[0] <= 3 * DAY_MS


def test_an_endpoint_that_takes_the_request_and_never_answers_is_tried_again(world: ProcessorWorld) -> None:
    world.edge.answers = lambda n: "never" if n == 0 else 200
    world.paid()
    world.settle()
    assert [row["status"] for row in world.rows("processor.deliveries")] == [None, 200]


def test_a_delivered_event_is_not_sent_again_and_nothing_is_left_to_happen(world: ProcessorWorld) -> None:
    world.paid()
    world.settle()
    assert len(world.edge.received) == 1
    assert world.runtime.now() < STARTS_AT + MINUTE_MS


def test_only_subscribed_types_are_delivered_but_every_event_is_listed(world: ProcessorWorld) -> None:
    listed = {body["type"] for body in every_event(world)}
    world.settle()
    delivered = {body["type"] for body in world.edge.events()}
    assert listed - delivered == {"refund.created"}
    assert delivered < listed


def test_a_webhook_carries_the_same_body_as_the_list_of_events(world: ProcessorWorld) -> None:
    world.paid()
    world.settle()
    (listed,) = world.handle("events.list", after=None, limit=10)
    assert world.edge.events() == [listed.body]
    assert [json.loads(row["body"]) for row in world.rows("processor.events")] == [listed.body]
    assert listed.body["created"] == listed.created_at // 1000
    assert listed.id == listed.body["id"]


def test_a_dropped_event_never_arrives_but_is_still_listed(tmp_path: Path) -> None:
    fault = Scripted("webhook", "deliver", Drop())
    world = ProcessorWorld(tmp_path, fault)
    world.paid()
    world.settle()
    (listed,) = world.handle("events.list", after=None, limit=10)
    assert world.edge.received == []
    assert world.victims == [listed.id]
    assert fault.calls[0].entity == "c1/u1"
    (row,) = world.rows("processor.deliveries")
    assert (row["event_id"], row["sent"], row["status"], row["note"]) == (listed.id, False, None, "lost")


def test_a_delayed_event_arrives_late_by_as_much(tmp_path: Path) -> None:
    usual, late = (
        ProcessorWorld(tmp_path / "a"),
        ProcessorWorld(tmp_path / "b", Scripted("webhook", "deliver", Delay(DAY_MS))),
    )
    for world in (usual, late):
        world.paid()
        world.settle()
    assert late.edge.received[0][0] == usual.edge.received[0][0] + DAY_MS
    (row,) = late.rows("processor.deliveries")
    assert (row["note"], row["at"] - row["due_at"], row["sent"]) == ("delayed", DAY_MS, True)


def test_a_repeated_event_arrives_again_under_the_same_id_with_new_signatures(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("webhook", "deliver", Repeat(times=3, gap_ms=2_000)))
    world.paid()
    world.settle()
    assert len({body["id"] for body in world.edge.events()}) == 1
    times = [arrived_at for arrived_at, _ in world.edge.received]
    assert [later - earlier for earlier, later in pairwise(times)] == [2_000] * 3
    assert len({header for _, header in world.edge.headers()}) == 4
    rows = world.rows("processor.deliveries")
    assert [(row["attempt"], row["note"]) for row in rows] == [(1, None), (2, "repeat"), (3, "repeat"), (4, "repeat")]


def test_a_storm_of_repeats_does_not_wait_for_answers(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("webhook", "deliver", Repeat(times=50, gap_ms=10)))
    world.edge.answers = lambda n: 200 if n == 0 else "never"
    world.paid()
    world.settle()
    times = [arrived_at for arrived_at, _ in world.edge.received]
    assert len(times) == 51
    assert times[-1] - times[0] == 500


def test_an_effect_that_the_webhook_seam_cannot_carry_out_stops_the_run(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path, Scripted("webhook", "deliver", LoseAnswer()))
    world.paid()
    with pytest.raises(TypeError, match="LoseAnswer"):
        world.settle()


def test_every_attempt_traces_back_through_the_event_to_the_request(world: ProcessorWorld) -> None:
    world.edge.answers = lambda n: 500 if n == 0 else 200
    world.paid()
    world.settle()
    events = {e["id"]: e for e in world.events()}
    attempts = [e for e in events.values() if e["kind"] == "webhook.attempt"]
    assert len(attempts) == 2
    chain, at_hand = [], attempts[-1]
    while True:
        chain.append(at_hand["kind"])
        if at_hand["kind"] == "intents.confirm":
            break
        at_hand = events[at_hand["cause"]]
    assert chain == ["webhook.attempt", "webhook.attempt", "event.created", "intents.confirm"]
