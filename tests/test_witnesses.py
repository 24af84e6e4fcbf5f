"""Witnesses: the anchor and the pager keep what reached them, and only that."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import pytest

from contest_platform.ports import ConnectionFailed, PagerIncident, PortError, ServiceUnavailable
from seams.faults import Binding, Call, Effect, Fault, Parameters, Refuse
from simulator.actors.witnesses import AnchorActor, InvalidEventError, PagerActor
from simulator.kernel import DeadIncarnationError
from simulator.wires.witnesses import AnchorWire, PagerWire
from tests.support.fake_world import MONDAY, FakeWorld


class Away(Fault):
    """Refuses every crossing of one seam."""

    def __init__(self, seam: str, operation: str, status: int) -> None:
        super().__init__("f1", Binding(), Parameters())
        self.seam, self.operation, self._status = seam, operation, status  # type: ignore[misc]

    def effect(self, call: Call) -> Effect | None:
        return Refuse(self._status)


def alive() -> None:
    """The guard of a process that lives."""


def call(world: FakeWorld, calling: Awaitable[None]) -> None:
    async def work() -> None:
        await calling

    world.run(work())


def page(wire: PagerWire, action: str = "trigger", key: str = "k", summary: str = "s", severity: str = "error") -> Any:
    return wire.send(action=action, dedup_key=key, summary=summary, severity=severity, details={"b": 1, "a": [2]})


def a_pager(*faults: Fault) -> tuple[FakeWorld, PagerActor, PagerWire]:
    world = FakeWorld(faults=faults)
    actor = PagerActor(world)  # type: ignore[arg-type]
    return world, actor, PagerWire(world, actor, alive)  # type: ignore[arg-type]


def test_the_anchor_keeps_each_head_when_it_arrives() -> None:
    world = FakeWorld()
    wire = AnchorWire(world, AnchorActor(world), alive)  # type: ignore[arg-type]
    call(world, wire.publish(head_seq=7, head_hash="ab" * 32))
    call(world, wire.publish(head_seq=9, head_hash="cd" * 32))
    heads = world.rows("anchor.heads")
    assert [(row["n"], row["head_seq"], row["head_hash"]) for row in heads] == [(1, 7, "ab" * 32), (2, 9, "cd" * 32)]
    assert 50 <= heads[0]["at"] - MONDAY <= 500


@pytest.mark.parametrize(("status", "error"), [(0, ConnectionFailed), (503, ServiceUnavailable)])
def test_what_a_witness_refused_left_nothing_there(status: int, error: type[Exception]) -> None:
    world, actor, pager = a_pager(Away("pager", "send", status), Away("anchor", "publish", status))
    anchor = AnchorWire(world, AnchorActor(world), alive)  # type: ignore[arg-type]
    with pytest.raises(error):
        call(world, page(pager))
    with pytest.raises(error):
        call(world, anchor.publish(head_seq=7, head_hash="ab"))
    assert world.rows("pager.events") == world.rows("anchor.heads") == []
    assert actor.open == {}
    assert world.bites == [("f1", "Refuse", "k"), ("f1", "Refuse", "7")]


def test_the_pager_lists_what_is_open_by_its_key_with_the_instant_of_the_first_page() -> None:
    world, _, wire = a_pager()
    for key in ("k2", "k1", "k3"):
        call(world, page(wire, key=key))
    first_at = {row["dedup_key"]: row["at"] for row in world.rows("pager.events")}
    call(world, page(wire, "acknowledge", "k2"))
    call(world, page(wire, "trigger", "k2"))
    call(world, page(wire, "resolve", "k3"))

    async def ask() -> Any:
        return await wire.incidents()

    told = world.run(ask())
    assert told == [
        PagerIncident("k1", "triggered", first_at["k1"]), PagerIncident("k2", "acknowledged", first_at["k2"])
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "error"), [(0, ConnectionFailed), (503, ServiceUnavailable)])
def test_a_pager_that_is_away_lists_nothing(status: int, error: type[Exception]) -> None:
    world, _, wire = a_pager(Away("pager", "incidents", status))
    with pytest.raises(error):
        call(world, wire.incidents())  # type: ignore[arg-type]


def test_an_incident_is_opened_once_acknowledged_and_resolved_by_its_key() -> None:
    world, actor, wire = a_pager()
    for action, expected in [
        ("resolve", {}),
        ("acknowledge", {}),
        ("trigger", {"k": "triggered"}),
        ("trigger", {"k": "triggered"}),
        ("acknowledge", {"k": "acknowledged"}),
        ("trigger", {"k": "acknowledged"}),
        ("resolve", {}),
        ("trigger", {"k": "triggered"}),
    ]:
        call(world, page(wire, action))
        assert actor.open == expected
    assert len(world.rows("pager.events")) == 8, "each event is kept, whatever it changed"
    assert json.loads(world.rows("pager.events")[0]["details"]) == {"a": [2], "b": 1}


def test_incidents_with_other_keys_are_other_incidents() -> None:
    world, actor, wire = a_pager()
    call(world, page(wire, key="k1"))
    call(world, page(wire, key="k2"))
    call(world, page(wire, "resolve", key="k1"))
    assert actor.open == {"k2": "triggered"}
    call(world, page(wire, key=""))
    call(world, page(wire, key=""))
    assert len(actor.open) == 3, "without a key each trigger is an incident of its own"


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "explode"},
        {"action": "resolve", "key": ""},
        {"key": "k" * 256},
        {"summary": "s" * 1_025},
        {"summary": ""},
        {"severity": "fatal"},
    ],
)
def test_an_event_that_is_not_one_is_answered_400_and_not_kept(wrong: dict[str, str]) -> None:
    world, _, wire = a_pager()
    with pytest.raises(PortError, match="400") as caught:
        call(world, page(wire, **wrong))
    assert isinstance(caught.value.__cause__, InvalidEventError)
    assert world.rows("pager.events") == []


def test_a_dead_process_reaches_no_witness() -> None:
    def dead() -> None:
        raise DeadIncarnationError("app#1")

    world = FakeWorld()
    with pytest.raises(DeadIncarnationError):
        page(PagerWire(world, PagerActor(world), dead))  # type: ignore[arg-type]
    with pytest.raises(DeadIncarnationError):
        AnchorWire(world, AnchorActor(world), dead).publish(head_seq=1, head_hash="a")  # type: ignore[arg-type]
