"""What a provider serves that is not so: each lie is what it says, and the event itself stays as published."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.domain import receipts
from contest_platform.domain.receipts import Scores
from contest_platform.ports import AnswerUnreadable, ScoreAnswer
from evidence.plan import Golfer, Publication, Tournament
from seams.faults import Action, Binding, Falsify
from simulator.actors.provider import ProviderActor
from simulator.wires.provider import ProviderWire
from tests.support.fake_world import MONDAY, FakeWorld

MINUTE = 60_000
FIRST = [("g1", 1, 1, 4), ("g1", 1, 2, 3), ("g2", 1, 1, 5)]
SECOND = [("g1", 1, 3, 4), ("g2", 1, 2, 2)]


def tournament() -> Tournament:
    return Tournament(
        id="t1", event_id="ev1", name="Open", par=[4, 3, 4], rounds=2, starts_at=MONDAY, ends_at=MONDAY + 99 * MINUTE,
        golfers=[Golfer(id=f"g{n}", name=f"G{n}") for n in (1, 2, 3)], play=[(MONDAY, MONDAY + 99 * MINUTE)],
        publications=[
            Publication(at=MONDAY + 10 * MINUTE, cells=FIRST),
            Publication(at=MONDAY + 20 * MINUTE, cells=SECOND, statuses=[("g3", "withdrawn")]),
            Publication(at=MONDAY + 40 * MINUTE, cells=[("g1", 2, 1, 4), ("g2", 2, 1, 4)], statuses=[("g2", "cut")]),
        ],
    )  # fmt: skip


@pytest.fixture
def world() -> FakeWorld:
    world = FakeWorld()
    world.provider = ProviderActor(world, [tournament()])  # type: ignore[arg-type, attr-defined]
    world.run_for(30 * MINUTE)
    return world


def told(world: Any, kind: str, since: int | None = 1, **params: int) -> ScoreAnswer:
    answer: ScoreAnswer = world.provider.answer("ev1", since, Falsify(kind, since_at=MONDAY + 25 * MINUTE, **params))
    assert world.rows("provider.requests")[-1]["glitch"] == kind
    return answer


def judged(answer: ScoreAnswer, *known: tuple[str, int, int, int, int]) -> receipts.Judgement:
    return receipts.judge(
        answer.cells, answer.totals, Scores.of(known), golfers=["g1", "g2", "g3"], rounds=2, holes=3, held=set(),
        again=False, full=answer.full,
    )  # fmt: skip


KNOWN = [(*cell, MONDAY + 10 * MINUTE) for cell in FIRST]


def test_scrambled_strokes_are_all_false_and_no_round_adds_up(world: Any) -> None:
    truth = world.provider.answer("ev1", 1)
    answer = told(world, "scrambled")
    assert [cell[:3] for cell in answer.cells] == [cell[:3] for cell in truth.cells]
    assert all(false[3] != true[3] for false, true in zip(answer.cells, truth.cells, strict=True))
    assert answer.totals == truth.totals
    assert judged(answer, *KNOWN).broken == {("g1", 1), ("g2", 1)}
    assert world.provider.answer("ev1", 1) == truth


@pytest.mark.parametrize("key", [f"{n:032x}" for n in range(12)])
def test_whatever_is_garbled_the_rounds_it_belongs_to_are_held_back(key: str) -> None:
    """A cell that is refused for its hole, its round or its golfer leaves a total that nothing accounts for."""
    world: Any = FakeWorld(key)
    world.provider = ProviderActor(world, [tournament()])
    world.run_for(30 * MINUTE)
    judgement = judged(told(world, "garbled"), *KNOWN)
    assert judgement.learned.holes == {}
    assert judgement.broken == {("g1", 1), ("g2", 1)}
    assert {receipt[5] for receipt in judgement.receipts} == {"REJECT"}


def test_last_years_event_has_another_id_and_is_over(world: Any) -> None:
    answer = told(world, "wrong_event")
    assert answer.event_id != "ev1"
    assert answer.complete
    assert {cell[0] for cell in answer.cells} == {"g1", "g2", "g3"}


def test_nothing_is_no_field_and_no_hole(world: Any) -> None:
    answer = told(world, "empty", None)
    assert (answer.field, answer.cells, answer.totals, answer.statuses) == ((), (), {}, {})


def test_a_stale_snapshot_is_the_answer_of_then(world: Any) -> None:
    whole = told(world, "stale", None, age_ms=10 * MINUTE)
    assert whole.revision == 1
    assert {cell[:4] for cell in whole.cells} == set(FIRST)
    assert whole.totals == {("g1", 1): 7, ("g2", 1): 5}
    assert whole.statuses == dict.fromkeys(("g1", "g2", "g3"), "active")
    news = told(world, "stale", 2, age_ms=10 * MINUTE)
    assert (news.revision, news.cells, news.statuses) == (1, (), {})


def test_an_answer_that_cannot_be_read_is_served_and_gives_nothing(world: Any) -> None:
    class Cut:
        fault_id, seam, operation, id = "f1", "provider", "poll", "provider.malformed"
        also = ()

        def effect(self, call: object) -> Falsify:
            return Falsify("unreadable")

    world.use(Cut())
    wire = ProviderWire(world, world.provider, lambda: None)
    with pytest.raises(AnswerUnreadable):
        world.run(_poll(wire))
    assert world.rows("provider.requests")[-1]["status"] == 200


async def _poll(wire: ProviderWire) -> ScoreAnswer:
    return await wire.poll(event_id="ev1", since=1)


def test_who_retires_is_published_with_a_reason_and_plays_no_more(world: Any) -> None:
    noted: list[str] = []

    async def pull() -> None:
        action = Action(0, "provider.retire", "t1/g2", {"status": "disqualified", "reason": "scorecard"})
        await world.provider.pull_retire(action, lambda _, victim: noted.append(victim))

    world.run(pull())
    row = world.rows("provider.statuses")[-1]
    assert noted == [str(row["n"])]
    assert (row["golfer_id"], row["status"], row["reason"]) == ("g2", "disqualified", "scorecard")
    world.run_for(30 * MINUTE)
    answer = world.provider.answer("ev1", 2)
    assert [cell[:3] for cell in answer.cells] == [("g1", 2, 1)]
    assert answer.statuses == {"g2": "disqualified"}
    assert answer.statuses_at == {"g2": row["published_at"]}
    with pytest.raises(ValueError, match="not playing"):
        world.provider.retire("t1", "g2", "cut", "again")


def test_an_answer_tells_when_each_status_was_published(world: Any) -> None:
    world.run_for(30 * MINUTE)
    at = {"g3": MONDAY + 20 * MINUTE, "g2": MONDAY + 40 * MINUTE}
    assert world.provider.answer("ev1", None).statuses_at == at
    assert world.provider.answer("ev1", 2).statuses_at == {"g2": at["g2"]}


def test_only_the_binding_of_a_lie_decides_when_it_is_told() -> None:
    from fault_injectors import build
    from seams.faults import Call

    lie = build("provider.stale", "f1", Binding("t1", from_at=10, until_at=20), {"lasts_min": 45, "age_min": 30})
    assert lie.effect(Call("provider", "poll", "t1", 1, 9)) is None
    assert lie.effect(Call("provider", "poll", "t2", 1, 10)) is None
    assert lie.effect(Call("provider", "poll", "t1", 2, 19)) == Falsify("stale", since_at=10, age_ms=30 * MINUTE)
    assert lie.effect(Call("provider", "poll", "t1", 3, 20)) is None
