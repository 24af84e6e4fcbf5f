"""The score provider and its wire: what is published, what is served, and what the network makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ScoreAnswer, ServiceUnavailable
from evidence.plan import Glitch, Tournament
from seams.faults import Action, LoseAnswer, LoseRequest, Refuse
from simulator.actors.provider import ProviderActor
from simulator.kernel import DeadIncarnationError
from simulator.wires.provider import ProviderWire
from tests.support.fake_world import MONDAY, FakeWorld
from tests.support.ingestion_world import MINUTE, TEE, fault_on_polls, publication, tournament

FIRST = publication(TEE, [("g1", 1, 1, 4), ("g2", 1, 1, 5)])
SECOND = publication(TEE + 10 * MINUTE, [("g1", 1, 2, 3)], statuses=[("g3", "withdrawn")])
THIRD = publication(TEE + 20 * MINUTE, [("g1", 1, 1, 5)], complete=True)


class Provider(FakeWorld):
    def __init__(self, played: Tournament) -> None:
        super().__init__()
        world: Any = self
        self.actor = ProviderActor(world, [played])
        self.wire = ProviderWire(world, self.actor, lambda: None)

    def ask(self, since: int | None = None, timeout_ms: int = 30_000) -> ScoreAnswer:
        async def main() -> ScoreAnswer:
            call = self.wire.poll(event_id="event-t1", since=since)
            return await self.runtime.deadline(call, timeout_ms)

        answer: ScoreAnswer = self.run(main())
        return answer

    def until(self, at: int) -> Provider:
        self.kernel.run(until=at)
        return self


def test_publications_are_booked_at_their_instants_in_order_and_corrections_are_marked() -> None:
    world = Provider(tournament([FIRST, SECOND, THIRD])).until(TEE + 30 * MINUTE)
    rows = [
        (
            row["n"],
            row["revision"],
            row["published_at"],
            row["golfer_id"],
            row["hole"],
            row["strokes"],
            row["correction"],
        )
        for row in world.rows("provider.publications")
    ]
    assert rows == [
        (1, 1, TEE, "g1", 1, 4, False),
        (2, 1, TEE, "g2", 1, 5, False),
        (3, 2, TEE + 10 * MINUTE, "g1", 2, 3, False),
        (4, 3, TEE + 20 * MINUTE, "g1", 1, 5, True),
    ]
    assert [(row["revision"], row["golfer_id"], row["status"]) for row in world.rows("provider.statuses")] == [
        (2, "g3", "withdrawn")
    ]
    assert world.rows("provider.completions") == [
        {"event_id": "event-t1", "revision": 3, "published_at": TEE + 20 * MINUTE}
    ]


def test_the_book_is_in_order_of_time_over_all_events() -> None:
    other = tournament([publication(TEE + 5 * MINUTE, [("g1", 1, 1, 4)])])
    other = other.model_copy(update={"id": "t2", "event_id": "event-t2"})
    world: Any = FakeWorld()
    ProviderActor(world, [tournament([FIRST, SECOND, THIRD]), other])
    world.kernel.run()
    instants = [row["published_at"] for row in world.rows("provider.publications")]
    assert instants == sorted(instants)
    assert len(instants) == 5


def test_what_falls_on_the_last_instant_is_published_when_the_books_close() -> None:
    world = Provider(tournament([FIRST])).until(TEE)
    world.actor.close_books()
    assert len(world.rows("provider.publications")) == 2


def test_a_full_answer_tells_how_everything_stands() -> None:
    world = Provider(tournament([FIRST, SECOND, THIRD])).until(TEE + 30 * MINUTE)
    answer = world.ask(None)
    assert answer.full
    assert answer.complete
    assert (answer.revision, answer.published_at) == (3, TEE + 20 * MINUTE)
    assert answer.field == ("g1", "g2", "g3")
    assert sorted(answer.cells) == [
        ("g1", 1, 1, 5, TEE + 20 * MINUTE),
        ("g1", 1, 2, 3, TEE + 10 * MINUTE),
        ("g2", 1, 1, 5, TEE),
    ]
    assert answer.totals == {("g1", 1): 8, ("g2", 1): 5}
    assert answer.statuses == {"g1": "active", "g2": "active", "g3": "withdrawn"}


def test_a_delta_tells_every_change_since_its_revision_in_order() -> None:
    reverted = publication(TEE + 25 * MINUTE, [("g1", 1, 1, 4)])
    world = Provider(tournament([FIRST, SECOND, THIRD, reverted])).until(TEE + 30 * MINUTE)
    answer = world.ask(2)
    assert not answer.full
    assert answer.cells == (("g1", 1, 1, 5, TEE + 20 * MINUTE), ("g1", 1, 1, 4, TEE + 25 * MINUTE))
    assert answer.totals == {("g1", 1): 7}
    assert answer.statuses == {}
    assert world.ask(1).statuses == {"g3": "withdrawn"}


def test_a_delta_without_news_still_names_the_field() -> None:
    world = Provider(tournament([FIRST])).until(TEE + MINUTE)
    answer = world.ask(1)
    assert (answer.cells, answer.revision, answer.field) == ((), 1, ("g1", "g2", "g3"))


@pytest.mark.parametrize("since", [-1, 99])
def test_a_revision_that_never_was_is_taken_for_the_nearest_that_was(since: int) -> None:
    world = Provider(tournament([FIRST])).until(TEE + MINUTE)
    assert len(world.ask(since).cells) == (2 if since < 0 else 0)


def test_before_anything_is_published_there_is_a_field_and_nothing_else() -> None:
    answer = Provider(tournament([FIRST])).ask(None)
    assert (answer.revision, answer.cells, answer.complete) == (0, (), False)
    assert answer.field == ("g1", "g2", "g3")


def glitched(kind: Any, *cells: tuple[str, int, int, int]) -> Provider:
    glitch = Glitch(kind=kind, from_at=TEE, until_at=TEE + 20 * MINUTE, cells=list(cells))
    return Provider(tournament([FIRST, SECOND], [glitch])).until(TEE + MINUTE)


def test_a_scrambled_answer_has_false_strokes_under_true_totals_for_as_long_as_it_lasts() -> None:
    world = glitched("scrambled", ("g1", 1, 1, 9))
    answer = world.ask(0)
    assert answer.cells == (("g1", 1, 1, 9, TEE), ("g2", 1, 1, 5, TEE))
    assert answer.totals == {("g1", 1): 4, ("g2", 1): 5}
    assert world.until(TEE + 20 * MINUTE).ask(0).cells[0] == ("g1", 1, 1, 4, TEE)
    assert [row["strokes"] for row in world.rows("provider.publications")] == [4, 5, 3]


def test_a_wrong_event_is_served_under_another_id() -> None:
    answer = glitched("wrong_event", ("g1", 1, 1, 6)).ask(None)
    assert answer.event_id != "event-t1"
    assert answer.cells == (("g1", 1, 1, 6, TEE),)


def test_an_empty_answer_has_neither_holes_nor_field_and_does_not_move_the_revision() -> None:
    answer = glitched("empty").ask(0)
    assert (answer.event_id, answer.cells, answer.field, answer.revision) == ("event-t1", (), (), 0)


def test_every_poll_is_booked_with_what_it_was_told() -> None:
    world = glitched("empty")
    world.ask(None)
    world.until(TEE + 30 * MINUTE).ask(1)
    rows = [
        (row["n"], row["since_revision"], row["status"], row["revision"], row["cells"], row["glitch"])
        for row in world.rows("provider.requests")
    ]
    assert rows == [(1, None, 200, 1, 0, "empty"), (2, 1, 200, 2, 1, None)]


def test_a_correction_is_a_publication_of_its_own_and_shifts_no_revision_told_before() -> None:
    world = Provider(tournament([FIRST, SECOND, THIRD])).until(TEE + 5 * MINUTE)
    assert world.actor.correct("t1", "g1", 1, 1, 6) == 3
    row = world.rows("provider.publications")[2]
    assert (row["revision"], row["published_at"], row["strokes"], row["correction"]) == (2, TEE + 5 * MINUTE, 6, True)
    answer = world.until(TEE + 30 * MINUTE).ask(1)
    assert [cell[3] for cell in answer.cells] == [6, 3, 5]
    assert (answer.revision, answer.totals) == (4, {("g1", 1): 8})


def test_a_correction_at_the_instant_of_a_publication_comes_after_it() -> None:
    world = Provider(tournament([FIRST])).until(TEE)
    assert world.actor.correct("t1", "g1", 1, 1, 6) == 3
    assert [row["revision"] for row in world.rows("provider.publications")] == [1, 1, 2]


def test_a_hole_without_a_published_score_cannot_be_corrected() -> None:
    world = Provider(tournament([FIRST])).until(TEE + MINUTE)
    with pytest.raises(ValueError, match=r"t1/g3, round 1, hole 1"):
        world.actor.correct("t1", "g3", 1, 1, 4)


def test_the_lever_notes_the_row_of_the_correction() -> None:
    world = Provider(tournament([FIRST])).until(TEE + MINUTE)
    action = Action(TEE, "provider.correct", "t1/g2", {"round": 1, "hole": 1, "strokes": 3})
    noted: list[tuple[Action, str]] = []
    world.run(world.actor.pull_correct(action, lambda *note: noted.append(note)))
    assert noted == [(action, "3")]
    assert world.rows("provider.publications")[2]["strokes"] == 3


def test_an_outage_answers_with_its_status_and_is_booked() -> None:
    world = Provider(tournament([FIRST]))
    fault_on_polls(world, lambda _: Refuse(503))
    with pytest.raises(ServiceUnavailable):
        world.ask()
    assert [(row["n"], row["status"], row["cells"]) for row in world.rows("provider.requests")] == [(1, 503, 0)]
    assert world.bites == [("f1", "Refuse", "1")]


def test_a_refused_connection_never_reaches_the_provider() -> None:
    world = Provider(tournament([FIRST]))
    fault_on_polls(world, lambda _: Refuse(0))
    with pytest.raises(ConnectionFailed):
        world.ask()
    assert world.rows("provider.requests") == []


@pytest.mark.parametrize(("effect", "booked"), [(LoseAnswer(), 1), (LoseRequest(), 0)])
def test_a_poll_lost_on_the_way_ends_at_the_callers_deadline(effect: Any, booked: int) -> None:
    world = Provider(tournament([FIRST]))
    fault_on_polls(world, lambda _: effect)
    with pytest.raises(DeadlineExceeded):
        world.ask()
    assert world.runtime.now() == MONDAY + 30_000
    assert len(world.rows("provider.requests")) == booked


def test_the_seam_names_the_tournament_and_counts_its_polls() -> None:
    world = Provider(tournament([FIRST]))
    calls: list[Any] = []
    fault_on_polls(world, calls.append)
    world.ask()
    world.ask()
    assert [(call.entity, call.occurrence) for call in calls] == [("t1", 1), ("t1", 2)]


def test_an_event_that_the_provider_does_not_have_is_a_404() -> None:
    world = Provider(tournament([FIRST]))
    with pytest.raises(ServiceUnavailable):
        world.run(_ask_for(world, "event-unknown"))
    assert world.rows("provider.requests")[0]["status"] == 404


async def _ask_for(world: Provider, event_id: str) -> ScoreAnswer:
    return await world.wire.poll(event_id=event_id, since=None)


def test_a_dead_process_cannot_poll() -> None:
    world: Any = FakeWorld()
    life = world.kernel.begin("ingestion", 1)
    wire = ProviderWire(world, ProviderActor(world, [tournament([FIRST])]), life.guard)
    life.kill()
    with pytest.raises(DeadIncarnationError):
        wire.poll(event_id="event-t1", since=None)


def test_the_journal_tells_of_publications_and_failures_and_not_of_idle_polls() -> None:
    world = Provider(tournament([FIRST, SECOND, THIRD])).until(TEE + 30 * MINUTE)
    world.ask()
    world.ask(3)
    assert [line["kind"] for line in world.lines()] == ["provider.published"] * 3
    fault_on_polls(world, lambda _: Refuse(503))
    with pytest.raises(ServiceUnavailable):
        world.ask()
    assert [line["kind"] for line in world.lines()][3:] == ["provider.refused"]
