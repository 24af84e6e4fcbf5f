"""Webhooks that are twins, late behind the next, signed under two secrets, refused on the way, copied or forged.

Outside judge of every signature: Stripe's own SDK, under a frozen clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import stripe
from freezegun import freeze_time

from seams.faults import Action, Behind, Copy, Effect, Refuse, Twin
from simulator.actors.attacker import FORGERIES
from simulator.actors.processor_levers import ProcessorLevers
from tests.support.processor_world import SECRET, ProcessorWorld, Scripted

HOUR_MS = 3_600_000
NEW = "whsec_new"


def with_effect(
    folder: Path, effect: Effect | None, operation: str = "deliver", *more: Effect | None
) -> ProcessorWorld:
    return ProcessorWorld(folder, Scripted("webhook", operation, effect, *more))


def is_genuine(world: ProcessorWorld, n: int, secret: str, after_s: int = 0) -> bool:
    """What Stripe's SDK says of the n-th delivery, `after_s` after it arrived."""
    at, request = world.edge.received[n]
    header = request.headers.get("Stripe-Signature", "")
    with freeze_time(datetime.fromtimestamp(at / 1000 + after_s, UTC)):
        try:
            stripe.WebhookSignature.verify_header(request.raw.decode(), header, secret, tolerance=300)
        except stripe.SignatureVerificationError:
            return False
    return True


def test_a_twin_tells_of_the_same_change_under_an_id_of_its_own(tmp_path: Path) -> None:
    world = with_effect(tmp_path, Twin(gap_ms=60_000))
    paid = world.paid()
    world.settle()
    first, second = world.edge.events()
    assert first["id"] != second["id"]
    assert {**first, "id": ""} == {**second, "id": ""}
    assert [e.id for e in world.handle("events.list", after=None, limit=10)] == [first["id"], second["id"]]
    assert all(is_genuine(world, n, SECRET) for n in (0, 1))
    assert [(row["event_id"], row["note"]) for row in world.rows("processor.deliveries")] == [
        (first["id"], "twin"), (second["id"], "twin"),
    ]  # fmt: skip
    assert [row["object_id"] for row in world.rows("processor.events")] == [paid.id, paid.id]


def test_a_delivery_waits_until_the_next_one_about_the_same_entity_was_accepted(tmp_path: Path) -> None:
    world = with_effect(tmp_path, Behind())
    world.edge.answers = lambda n: 500 if n == 0 else 200
    paid = world.paid()
    world.wait(HOUR_MS)
    assert world.edge.received == []
    world.refund(paid.id, 2_500)
    world.settle()
    assert [event["type"] for event in world.edge.events()] == [
        "charge.refunded", "charge.refunded", "payment_intent.succeeded",
    ]  # fmt: skip
    assert [row["note"] for row in world.rows("processor.deliveries")] == [None, None, "overtaken"]


def test_what_is_refused_on_the_way_is_tried_again_and_never_reached_the_endpoint(tmp_path: Path) -> None:
    world = with_effect(tmp_path, Refuse(503), "attempt", Refuse(0))
    world.paid()
    world.settle()
    assert len(world.edge.received) == 1
    rows = world.rows("processor.deliveries")
    assert [(row["attempt"], row["status"], row["note"]) for row in rows] == [
        (1, 503, "refused"), (2, None, "refused"), (3, 200, None),
    ]  # fmt: skip
    assert rows[2]["due_at"] - rows[1]["at"] == 2 * (rows[1]["due_at"] - rows[0]["at"])


def test_both_secrets_sign_for_a_day_and_then_only_the_new_one(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path)
    world.paid("before")
    world.settle()
    world.actor.roll_secret("c1/u1", NEW)
    world.paid("soon")
    world.wait(23 * HOUR_MS)
    world.paid("in a day")
    world.wait(2 * HOUR_MS)
    world.paid("later")
    world.settle()
    assert [(is_genuine(world, n, SECRET), is_genuine(world, n, NEW)) for n in range(4)] == [
        (True, False), (True, True), (True, True), (False, True),
    ]  # fmt: skip
    notes = [row["note"] for row in world.rows("processor.deliveries")]
    assert notes == [None, "both secrets", "both secrets", "new secret"]


def test_a_copy_is_the_same_to_the_last_byte_and_too_old(tmp_path: Path) -> None:
    world = with_effect(tmp_path, Copy(after_ms=HOUR_MS))
    world.edge.answers = lambda n: 200 if n == 0 else 400
    world.paid()
    world.settle()
    (_, sent), (_, copy) = world.edge.received
    assert (copy.raw, copy.headers) == (sent.raw, sent.headers)
    assert is_genuine(world, 0, SECRET)
    assert is_genuine(world, 1, SECRET, after_s=-3_600)
    assert not is_genuine(world, 1, SECRET)
    [post] = world.rows("attacker.posts")
    assert (post["kind"], post["entity"], post["status"]) == ("replayed", "c1/u1", 400)
    assert [row["event_id"] for row in world.rows("processor.deliveries")] == [post["event_id"]]


def test_no_forgery_is_genuine_and_each_says_that_the_entry_is_paid(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path)
    world.edge.answers = lambda _: 400
    intent = world.intent()
    noted: list[str] = []
    levers = ProcessorLevers(world.actor, world.runtime)
    action = Action(0, "attacker.forge", "c1/u1")
    world.do(lambda: levers.pull_forge(action, lambda _, victim: noted.append(victim)))
    assert not any(is_genuine(world, n, SECRET) for n in range(len(FORGERIES)))
    for event in world.edge.events():
        told = event["data"]["object"]
        assert (event["type"], told["id"], told["status"]) == ("payment_intent.succeeded", intent.id, "succeeded")
        assert (told["amount_received"], told["metadata"]) == (intent.amount_cents, dict(intent.metadata))
    posts = world.rows("attacker.posts")
    assert [str(post["n"]) for post in posts] == noted
    assert [post["how"] for post in posts] == list(FORGERIES)
    assert world.rows("processor.deliveries") == []
    assert world.rows("processor.intents")[0]["captured_at"] is None


def test_where_another_fault_kept_a_payment_away_there_is_nothing_to_forge_or_to_dispute(tmp_path: Path) -> None:
    world = ProcessorWorld(tmp_path)
    noted: list[str] = []
    levers = ProcessorLevers(world.actor, world.runtime)
    pulls = {
        "attacker.forge": levers.pull_forge, "bank.dispute": levers.pull_dispute, "bank.decide": levers.pull_decide,
    }  # fmt: skip
    for begun in (False, True):
        for name, pull in list(pulls.items())[int(begun) :]:
            action = Action(0, name, "c1/u1", {"won": True})
            world.do(lambda pull=pull, action=action: pull(action, lambda _, victim: noted.append(victim)))
        assert noted == []
        world.intent()  # begun, and not paid
    assert world.rows("processor.disputes") == world.rows("attacker.posts") == []


@pytest.mark.parametrize("won", [True, False])
def test_a_bank_disputes_and_decides_by_the_levers(tmp_path: Path, won: bool) -> None:
    world = ProcessorWorld(tmp_path)
    world.paid()
    noted: list[str] = []
    levers = ProcessorLevers(world.actor, world.runtime)
    for lever, action in (
        (levers.pull_dispute, Action(0, "bank.dispute", "c1/u1")),
        (levers.pull_decide, Action(0, "bank.decide", "c1/u1", {"won": won})),
    ):
        world.do(lambda lever=lever, action=action: lever(action, lambda _, victim: noted.append(victim)))
    [row] = world.rows("processor.disputes")
    assert noted == [row["dispute_id"]] * 2
    assert row["status"] == ("won" if won else "lost")
