"""A connection that breaks in a transaction: all of it is there or nothing, and whoever began it only knows silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.ports import DeadlineExceeded, StoreBusy, StoreDamaged, Tx
from contest_platform.service import Config
from contest_platform.store import sqlite
from contest_platform.units import UNITS
from seams.faults import Abort, Binding, Call, Delay, Drop, Effect, Fault, LoseAnswer, Overlook, Parameters, Refuse
from simulator.actors.database_server import DatabaseServer
from simulator.processes import Process, ProcessStore
from simulator.wires.database import DatabaseLine, Pool
from tests.support.fake_world import MONDAY, FakeWorld

TIMEOUT_MS, CONNECTIONS = 4_000, 5
USER = {"user_id": "u1", "name": "Ann", "email": "ann@x", "account_id": "acct", "created_at": 1, "deleted_at": None}


class First(Fault):
    """Befalls the first transaction of the name that it is bound to."""

    seam, operation = "store", "transact"

    def __init__(self, effect: Effect) -> None:
        super().__init__("f1", Binding("users.sign_up", 1), Parameters())
        self._effect = effect

    def effect(self, call: Call) -> Effect | None:
        return self._effect if self.is_bound_to(call) else None


class Bench:
    def __init__(self, effect: Effect | Fault) -> None:
        self.world = FakeWorld(faults=(effect if isinstance(effect, Fault) else First(effect),))
        world: Any = self.world
        self.connection = sqlite.connect()
        self.server = DatabaseServer(world)
        life = world.kernel.begin("app", 1)
        session = self.server.open("system:app", "app", "application")
        config = Config((), "", {}, database_timeout_ms=TIMEOUT_MS, database_connections=CONNECTIONS)
        self.pool = Pool(self.server, session, config)
        process = Process(UNITS["app"], life, session, self.pool, config)
        self.store = ProcessStore(world.kernel, self.connection, process, DatabaseLine(world, self.server))

    def transact(self, fn: Callable[[Tx], Any], operation: str = "users.sign_up") -> Any:
        return self.world.run(self.store.transact(operation, fn))

    def users(self) -> int:
        return len(self.connection.execute("select 1 from users").fetchall())

    def incidents(self) -> list[tuple[Any, ...]]:
        return [(row["principal"], row["operation"], row["outcome"]) for row in self.world.rows("database.incidents")]


def sign_up(tx: Tx) -> str:
    assert tx.one("select 1 from users") is None, "it was there already"
    audit.insert(tx, Context("system:entries", "u1"), "users", USER, "signed up")
    tx.notify("users")
    return "signed up"


@pytest.mark.parametrize("k", [0, 1, 2, 3, 9])
def test_a_transaction_that_breaks_before_its_commit_leaves_nothing_and_can_be_begun_again(k: int) -> None:
    bench = Bench(Abort(k))
    with pytest.raises(DeadlineExceeded):
        bench.transact(sign_up)
    assert bench.world.runtime.now() - MONDAY == TIMEOUT_MS
    assert (bench.users(), bench.connection.in_transaction) == (0, False)
    assert bench.incidents() == [("system:app", "users.sign_up", "rolled_back")]
    assert bench.transact(sign_up) == "signed up"
    assert bench.users() == 1
    assert audit_rows(bench) == 1


def audit_rows(bench: Bench) -> int:
    return len(bench.connection.execute("select 1 from audit_log").fetchall())


def test_a_transaction_breaks_before_the_statement_named_and_what_came_before_has_run() -> None:
    ran: list[str] = []

    def three(tx: Tx) -> None:
        for name in ("one", "two", "three"):
            tx.all("select 1 from users")
            ran.append(name)

    bench = Bench(Abort(3))
    with pytest.raises(DeadlineExceeded):
        bench.transact(three)
    assert ran == ["one", "two"]


def test_a_transaction_whose_answer_is_lost_is_there_on_record_and_announced() -> None:
    bench = Bench(LoseAnswer())
    with pytest.raises(DeadlineExceeded):
        bench.transact(sign_up)
    assert (bench.users(), audit_rows(bench)) == (1, 1)
    assert bench.incidents() == [("system:app", "users.sign_up", "committed_unanswered")]
    assert bench.world.bites == [("f1", "LoseAnswer", "1")]
    assert "commit" in [line["kind"] for line in bench.world.lines()]
    with pytest.raises(AssertionError, match="there already"):
        bench.transact(sign_up)


def test_a_page_that_cannot_be_read_is_told_at_once_and_nothing_is_left() -> None:
    bench = Bench(Refuse(0, "data_corrupted"))
    with pytest.raises(StoreDamaged, match=r"data_corrupted in users\.sign_up"):
        bench.transact(sign_up)
    assert (bench.world.runtime.now(), bench.users()) == (MONDAY, 0)
    assert bench.incidents() == [("system:app", "users.sign_up", "data_corrupted")]
    assert bench.transact(sign_up) == "signed up"


PENDING = {
    "status": "PENDING", "contest_id": "c1", "fail_reason_code": None, "fail_reason_detail": None, "created_at": 1,
    "terminalized_at": None, "settled_by": None, "lease_epoch": None,
}  # fmt: skip
OUTCOME = {"contest_id": "c1", "score": 0, "tie_break": None, "scores_hash": "h", "created_at": 1}


def packs(tx: Tx) -> None:
    """Of the entries e1, e2 and e3 the first two have won."""
    for place, cents in enumerate((200, 100, 0), 1):
        key = {"entry_id": f"e{place}", "outcome_id": f"o{place}", "pack_id": f"p{place}"}
        told = {"entry_id": key["entry_id"], "outcome_id": key["outcome_id"], "place": place, "prize_cents": cents}
        tx.insert("outcomes", {**OUTCOME, **told})
        tx.insert("settlement_packs", {**PENDING, "pack_id": key["pack_id"], "entry_id": key["entry_id"]})
        tx.insert("outcome_pack_links", {"pack_id": key["pack_id"], "outcome_id": key["outcome_id"], "linked_at": 1})


def found(tx: Tx) -> list[tuple[str, str | None]]:
    """By pack the entry of the outcome that its link leads to."""
    return [
        (row["pack_id"], row["entry_id"])
        for row in tx.all(
            "select p.pack_id, o.entry_id from settlement_packs p left join outcome_pack_links l"
            " on l.pack_id = p.pack_id left join outcomes o on o.outcome_id = l.outcome_id order by p.pack_id"
        )
    ]


@pytest.mark.parametrize(
    ("what", "missing"),
    [("the link of the last", "p3"), ("the link of the first", "p1"), ("the outcome of the first", "p1")],
)
def test_a_row_that_is_overlooked_is_missing_in_one_transaction_only(what: str, missing: str) -> None:
    bench = Bench(Overlook(what))
    bench.transact(packs, "settlement.open")
    assert [pack for pack, entry in bench.transact(found) if entry is None] == [missing]
    assert [pack for pack, entry in bench.transact(found) if entry is None] == []
    assert bench.incidents() == [("system:app", "users.sign_up", "row_missed")]


def test_where_there_is_no_such_row_none_is_overlooked() -> None:
    bench = Bench(Overlook("the link of the first"))
    assert bench.transact(found) == []
    assert bench.incidents() == []


def test_other_transactions_take_their_course() -> None:
    bench = Bench(LoseAnswer())
    assert bench.transact(sign_up, "another") == "signed up"
    assert bench.incidents() == []
    assert bench.world.runtime.now() == MONDAY


def test_what_a_transaction_raises_by_itself_is_raised_although_its_connection_was_to_break() -> None:
    bench = Bench(LoseAnswer())

    def wrong(tx: Tx) -> None:
        raise LookupError("no such row")

    with pytest.raises(LookupError):
        bench.transact(wrong)
    assert bench.incidents() == []


def test_an_effect_that_the_seam_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="seam store"):
        Bench(Drop()).transact(sign_up)


def test_who_stands_still_before_a_transaction_begins_it_when_he_goes_on_and_as_things_are_then() -> None:
    bench = Bench(Delay(60_000))
    at: list[int] = []

    def note(tx: Tx) -> str:
        at.append(tx.now)
        return sign_up(tx)

    assert bench.transact(note) == "signed up"
    assert at == [MONDAY + 60_000]
    assert (bench.users(), audit_rows(bench)) == (1, 1)
    assert bench.incidents() == [("system:app", "users.sign_up", "stood_still")]


# --- the pool of a process --------------------------------------------------------------------------------------------


class Always(First):
    def effect(self, call: Call) -> Effect | None:
        return self._effect


def test_a_connection_that_waits_in_vain_is_in_use_until_it_is_given_up() -> None:
    bench = Bench(Always(Abort(0)))
    runtime = bench.world.runtime
    refused: list[int] = []

    async def ask() -> None:
        try:
            await bench.store.transact("users.sign_up", sign_up)
        except StoreBusy:
            refused.append(runtime.now())
        except DeadlineExceeded:
            pass

    async def all_at_once() -> None:
        for _ in range(CONNECTIONS + 2):
            runtime.spawn(ask(), "customer")
        await runtime.sleep_until(MONDAY + TIMEOUT_MS + 1)

    bench.world.run(all_at_once())
    assert len(bench.incidents()) == CONNECTIONS, "as many as there are"
    assert refused == [MONDAY] * 2
    assert [row["reason"] for row in bench.world.rows("database.refusals")] == ["pool_exhausted"] * 2
    with pytest.raises(DeadlineExceeded):
        bench.transact(sign_up)


@pytest.mark.parametrize(("taken", "refused"), [(CONNECTIONS - 1, False), (CONNECTIONS, True), (500, True)])
def test_of_a_pool_others_may_have_all_but_one(taken: int, refused: bool) -> None:
    bench = Bench(Abort(0))
    with pytest.raises(StoreBusy) if refused else contextlib.nullcontext():
        bench.pool.admit(taken)
    assert len(bench.world.rows("database.refusals")) == refused
