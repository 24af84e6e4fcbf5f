"""The customers: what they do when, how patient they are, and that their book tells all of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from contest_platform.http import Request, Response
from contest_platform.ports import ConnectionFailed, ConnectionLost, ProcessorError
from evidence.plan import Contest, Entrant, EntryPlan, Plan, Scoring
from simulator.actors.entrants import EntrantsActor
from tests.support.fake_world import MONDAY, FakeWorld

MINUTE = 60_000
LOCK = MONDAY + 600 * MINUTE


def contest(contest_id: str) -> Contest:
    return Contest(
        id=contest_id,
        tournament_id="t1",
        name=contest_id,
        fee_cents=2_500,
        rake_bp=1_000,
        prize_shares_bp=[10_000],
        min_entries=2,
        max_entries=10,
        scoring=Scoring(kind="strokes", roster_size=2, counting=1),
        opens_at=MONDAY,
        lock_at=LOCK,
        start_at=LOCK,
        end_at=LOCK,
        hold_s=60,
    )


def entry(user_id: str = "u1", contest_id: str = "c1", enters_min: int = 10, **more: Any) -> EntryPlan:
    plan = {"pay_after_s": 300, "pays": "pays", "roster": ["g1", "g2"], **more}
    return EntryPlan(user_id=user_id, contest_id=contest_id, enters_at=MONDAY + enters_min * MINUTE, **plan)


class Customers(FakeWorld):
    """An edge and a processor that answer as told; the defaults let everything succeed."""

    def __init__(self, *entries: EntryPlan) -> None:
        super().__init__()
        people = [Entrant(id=u, name=u.upper(), email=f"{u}@example", account_id=f"acct_{u}") for u in ("u1", "u2")]
        plan = Plan.model_construct(contests=[contest("c1"), contest("c2")], entrants=people, entries=list(entries))
        self.paid: list[tuple[int, str, str]] = []
        self.payment_fails: list[Exception] = []
        self.tokens = 0
        self.edge.answer = self.serve
        world: Any = self
        self.actor = EntrantsActor(world, plan, self._token, self._confirm)
        self.actor.start()

    def _token(self, user_id: str) -> str:
        self.tokens += 1
        return f"token-{user_id}"

    async def _confirm(self, intent_id: str, user_id: str) -> None:
        if self.payment_fails:
            raise self.payment_fails.pop(0)
        self.paid.append((self.runtime.now(), intent_id, user_id))

    def serve(self, request: Request) -> Response:
        if request.path == "/api/users":
            return Response(201, {"user_id": "u"})
        return Response(201, {"entry_id": f"entry-{request.body['contest_id']}", "intent_id": "pi_1"})

    def until_lock(self) -> Customers:
        self.kernel.run(until=LOCK + MINUTE)
        return self

    def acts(self) -> list[tuple[str, str]]:
        return [(row["action"], row["result"]) for row in self.rows("entrants.actions")]

    def asked(self, path: str) -> list[int]:
        """When `path` was asked for, in minutes since the start."""
        return [(at - MONDAY) // MINUTE for at, request in self.edge.seen if request.path == path]


def test_a_customer_signs_up_enters_and_pays_when_planned() -> None:
    world = Customers(entry()).until_lock()
    requests = [(request.method, request.path, dict(request.body)) for _, request in world.edge.seen]
    assert requests == [
        ("POST", "/api/users", {"name": "U1", "email": "u1@example", "account_id": "acct_u1"}),
        ("POST", "/api/entries", {"contest_id": "c1", "roster": ["g1", "g2"]}),
    ]
    assert {request.headers["Authorization"] for _, request in world.edge.seen} == {"Bearer token-u1"}
    assert world.asked("/api/entries") == [10]
    assert world.paid == [(MONDAY + 15 * MINUTE, "pi_1", "u1")]
    rows = [
        (row["action"], row["contest_id"], row["amount_cents"], row["entry_id"], row["intent_id"], row["result"])
        for row in world.rows("entrants.actions")
    ]
    assert rows == [
        ("signed_up", None, None, None, None, "ok"),
        ("entered", "c1", 2_500, "entry-c1", "pi_1", "ok"),
        ("paid", "c1", 2_500, "entry-c1", "pi_1", "ok"),
    ]


def test_who_enters_twice_signs_up_once() -> None:
    world = Customers(entry(), entry(contest_id="c2", enters_min=30)).until_lock()
    assert world.asked("/api/users") == [10]
    assert world.asked("/api/entries") == [10, 30]
    assert world.tokens == 1


def test_a_second_entry_waits_while_the_first_is_signing_up() -> None:
    world = Customers(entry(), entry(contest_id="c2"))
    down = [True]

    def answer(request: Request) -> Response:
        if request.path == "/api/users" and down.pop() if down else False:
            return Response(503)
        return world.serve(request)

    world.edge.answer = answer
    world.until_lock()
    assert len(world.asked("/api/users")) == 2
    assert [act for act, _ in world.acts()].count("signed_up") == 1
    assert len(world.paid) == 2


def test_who_abandons_never_pays() -> None:
    world = Customers(entry(pays="abandons")).until_lock()
    assert world.paid == []
    assert world.acts()[-1] == ("abandoned", "ok")


@pytest.mark.parametrize("problem", [ConnectionFailed("down"), ConnectionLost("died"), 503])
def test_who_gets_no_answer_tries_again_minutes_later(problem: Exception | int) -> None:
    world = Customers(entry())
    troubles = [problem] * 3

    def answer(request: Request) -> Response:
        if request.path == "/api/entries" and troubles:
            trouble = troubles.pop()
            if isinstance(trouble, Exception):
                raise trouble
            return Response(trouble)
        return world.serve(request)

    world.edge.answer = answer
    world.until_lock()
    asked = world.asked("/api/entries")
    assert len(asked) == 4
    assert all(2 <= later - earlier <= 9 for earlier, later in pairwise(asked))
    assert world.acts()[1:] == [("entered", "ok"), ("paid", "ok")]


def test_who_never_gets_an_answer_gives_up_before_the_lock() -> None:
    world = Customers(entry(enters_min=570))

    def nobody(request: Request) -> Response:
        raise ConnectionFailed("down")

    world.edge.answer = nobody
    world.until_lock()
    assert world.acts() == [("abandoned", "gave up: connection_failed")]
    assert all(at <= 598 for at in world.asked("/api/users"))
    assert world.runtime.now() == LOCK + MINUTE


def test_a_refusal_is_final_and_written_down() -> None:
    world = Customers(entry())
    world.edge.answer = lambda request: (
        Response(409, {"error": "contest_full"}) if request.path == "/api/entries" else world.serve(request)
    )
    world.until_lock()
    assert world.asked("/api/entries") == [10]
    assert world.acts()[1:] == [("refused", "contest_full")]
    assert world.paid == []


def test_an_entry_without_a_payment_page_is_asked_about_again_until_there_is_one() -> None:
    world = Customers(entry())
    world.edge.answer = lambda request: (
        Response(202, {"entry_id": "entry-c1", "intent_id": None})
        if request.path == "/api/entries" and world.runtime.now() < MONDAY + 40 * MINUTE
        else world.serve(request)
    )
    world.until_lock()
    assert world.acts()[1:] == [("entered", "ok"), ("paid", "ok")]
    assert world.paid[0][0] >= MONDAY + 40 * MINUTE
    assert len(world.asked("/api/entries")) > 3


def test_a_payment_that_the_processor_refuses_is_written_down_with_its_code() -> None:
    world = Customers(entry())
    world.payment_fails = [ProcessorError(400, "invalid_request_error", "payment_intent_unexpected_state", "canceled")]
    world.until_lock()
    assert world.acts()[-1] == ("refused", "payment_intent_unexpected_state")


@pytest.mark.parametrize("trouble", [ConnectionLost("processor"), ProcessorError(503, "api_error", None, "down")])
def test_a_payment_that_the_processor_did_not_take_in_is_tried_again(trouble: Exception) -> None:
    world = Customers(entry())
    world.payment_fails = [trouble]
    world.until_lock()
    assert world.acts()[-1] == ("paid", "ok")
    assert MONDAY + 17 * MINUTE <= world.paid[0][0] <= MONDAY + 24 * MINUTE


def test_waiting_customers_cost_nothing() -> None:
    world = Customers(entry(enters_min=590), entry(user_id="u2", enters_min=595))
    before = world.kernel.events
    world.kernel.run(until=MONDAY + 589 * MINUTE)
    assert world.kernel.events - before <= 4


def test_what_a_customer_does_is_the_cause_of_what_follows() -> None:
    world = Customers(entry()).until_lock()
    assert [(line["actor"], line["kind"], line["subject"]) for line in world.lines()] == [
        ("customer:u1", "entrant.enters", "c1"),
        ("customer:u1", "entrant.pays", "pi_1"),
    ]
