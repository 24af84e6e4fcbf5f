"""Several connections to one database at once: who loses begins again, and nothing is lost or done twice.

Only PostgreSQL lets two write at a time; SQLite's writers take turns (test_audit_and_ledger.py, test_store.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from copy import copy
from threading import Barrier
from typing import Any

import pytest

from contest_platform import audit, checkpoints, ledger
from contest_platform.audit import Context
from contest_platform.ports import StoreBusy, Tx
from contest_platform.services import settlement
from contest_platform.services.settlement import SettlementService
from contest_platform.store import postgresql as store
from contest_platform.store.database import DatabaseRefused
from contest_platform.store.postgresql import PostgresDatabase, attach
from contest_platform.store.postgresql_making import connect
from tests.support import postgresql, stores
from tests.support.contest_world import ContestWorld, SteppingStore
from tests.support.settlement_world import crowd, ready

CTX = Context("system:test", "c1")
NOW = 1_767_571_200_000
CALLERS = 4


@pytest.fixture
def shared() -> Iterator[PostgresDatabase]:
    with closing(postgresql.fresh(alone=False)) as database:
        yield database


def another(database: PostgresDatabase) -> PostgresDatabase:
    return attach(database.url, database.schema)


def at_once(database: PostgresDatabase, work: Callable[[int, PostgresDatabase], Any]) -> list[Any]:
    """What CALLERS make of `work` who begin together, each on a connection of his own; and how often they lost."""
    begin = Barrier(CALLERS)

    def caller(n: int) -> Any:
        with closing(another(database)) as own:
            begin.wait()
            return work(n, own), own.lost

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(caller, range(CALLERS)))


def chain(database: PostgresDatabase) -> int:
    """The number of rows of the audit log, whose chain has to hold."""
    rows = database.execute(audit.CHAIN_SQL, {"after": 0, "page": checkpoints.ALL}).fetchall()
    seq, _, problem = audit.chain_holds(rows, 0, audit.GENESIS)
    assert problem is None
    return seq


# --- what is lost is begun again --------------------------------------------------------------------------------------


def test_callers_who_post_at_the_same_time_post_every_fact_once_and_without_a_gap(shared: PostgresDatabase) -> None:
    facts = 40

    def post(n: int, own: PostgresDatabase) -> int:
        def one(key: str) -> Callable[[Tx], bool]:
            lines = (("assets:a", 5), ("liabilities:b", -5))
            return lambda tx: ledger.post(tx, CTX, "capture", key, lines, "because")

        return sum(own.transact(NOW, "ev-7", one(f"pi_{(n * 7 + k) % facts}"))[0] for k in range(facts))

    told = at_once(shared, post)
    assert sum(posted for posted, _ in told) == facts
    assert sum(lost for _, lost in told) > 0, "nobody was in anybody's way: nothing is shown"
    transactions = shared.query("select txn_id, business_key from ledger_transactions order by txn_id")
    assert [row["txn_id"] for row in transactions] == list(range(1, facts + 1))
    assert {row["business_key"] for row in transactions} == {f"pi_{n}" for n in range(facts)}
    assert shared.query("select sum(amount_cents) as cents, count(*) as n from ledger_postings") == [
        {"cents": 0, "n": 2 * facts}
    ]
    assert chain(shared) == facts


def test_what_one_has_read_another_does_not_change_unnoticed(shared: PostgresDatabase) -> None:
    """Each looks whether there is a note, and makes one if there is none: two that overlap would make two."""
    seen: list[int] = []

    def make(own: PostgresDatabase, name: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        def fn(tx: Tx) -> None:
            there = len(checkpoints.between(tx, "note:", "note;", 9))
            seen.append(there)
            meanwhile()
            if not there:
                checkpoints.save(tx, f"note:{name}", 1)

        own.transact(NOW, "ev", fn)

    first = [lambda: make(other, "b")]
    with closing(another(shared)) as other:
        make(shared, "a", lambda: first.pop()() if first else None)
    assert seen == [0, 0, 1]
    assert shared.lost == 1
    assert [row["name"] for row in shared.query("select name from checkpoints")] == ["note:b"]


def test_who_loses_again_and_again_is_told_that_the_store_is_busy(
    shared: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ATTEMPTS_MAX", 5)
    with closing(another(shared)) as other:

        def fn(tx: Tx) -> None:
            value = checkpoints.read(tx, "a") or 0
            other.transact(NOW, "ev", lambda theirs: checkpoints.save(theirs, "a", value + 1))
            checkpoints.save(tx, "a", -1)

        with pytest.raises(StoreBusy):
            shared.transact(NOW, "ev", fn)
    assert shared.transact(NOW, "ev", lambda tx: checkpoints.read(tx, "a"))[0] == 6
    assert not shared.in_transaction


def test_a_row_that_is_there_already_is_no_contention(shared: PostgresDatabase) -> None:
    user = {"user_id": "u", "name": "", "email": "", "account_id": "", "created_at": 0, "deleted_at": None}
    tried: list[int] = []

    def fn(tx: Tx) -> None:
        tried.append(1)
        tx.insert("users", user)

    shared.transact(NOW, "ev", fn)
    with pytest.raises(stores.REFUSED, match="users_pkey"):
        shared.transact(NOW, "ev", fn)
    assert len(tried) <= 1 + 1 + store.TWICE_MAX


# --- who has it open --------------------------------------------------------------------------------------------------


def test_what_somebody_has_alone_nobody_else_opens() -> None:
    with closing(postgresql.fresh()) as alone:
        with pytest.raises(DatabaseRefused, match="open alone"):
            another(alone)
        alone.transact(NOW, "ev", lambda tx: checkpoints.save(tx, "a", 1))
        alone.transact(NOW, "ev", lambda tx: checkpoints.read(tx, "a"))
        assert alone.transact(NOW, "ev", lambda tx: checkpoints.read(tx, "a"))[1].statements == 0


def test_where_others_write_nothing_is_known_from_one_transaction_to_the_next(shared: PostgresDatabase) -> None:
    with closing(another(shared)) as other:
        for value, writer in ((1, shared), (2, other), (3, shared)):
            writer.transact(NOW, "ev", lambda tx, value=value: checkpoints.save(tx, "a", value))
            for reader in (shared, other):
                assert reader.transact(NOW, "ev", lambda tx: checkpoints.read(tx, "a"))[0] == value


# --- two daemons ------------------------------------------------------------------------------------------------------


def daemon(world: ContestWorld, database: PostgresDatabase, number: int) -> ContestWorld:
    """The same world on another connection, with a clock of its own that stands where the other stands."""
    own = copy(world)
    own._lives += number
    own.connection, own.runtime = database, copy(world.runtime)
    own.store = SteppingStore(own)
    return own


@pytest.mark.parametrize("round_no", range(3))
def test_daemons_that_settle_one_contest_at_once_end_every_pack_once(
    round_no: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a lease to expire goes forward to that instant at once, on his own clock: so it is taken from a
    holder who believes in it still, again and again."""
    monkeypatch.setattr(settlement, "PACKS_PER_TRANSACTION", 3)
    entries = crowd(20 + round_no)
    with ExitStack() as stack:
        shared = stack.enter_context(closing(postgresql.fresh(alone=False)))
        with stores.standing_on(shared):
            world, _ = ready(entries)
        begin = Barrier(CALLERS)

        def settle(number: int) -> int:
            database = connections[number]
            own = daemon(world, database, number)
            service = own.life(SettlementService)
            begin.wait()
            for _ in range(200):
                if own.status() == "SETTLED":
                    return database.lost
                own.step(service)
            raise AssertionError(f"still {own.status()}")

        connections = [stack.enter_context(closing(another(shared))) for _ in range(CALLERS)]
        with ThreadPoolExecutor(CALLERS) as pool:
            lost = sum(pool.map(settle, range(CALLERS)))
        packs = world.rows("select pack_id, status from settlement_packs order by pack_id")
        assert {row["status"] for row in packs} == {"EXECUTED"}
        assert len(packs) == len(entries)
        log = world.rows("select pack_id, prior_status, new_status from outcome_settlement_log order by pack_id")
        assert [row["pack_id"] for row in log] == [row["pack_id"] for row in packs], "a pack ends once"
        ends = Counter(row["subject"] for row in world.audited("settlement_packs.update"))
        assert set(ends.values()) == {1}
        assert len(world.rows("select 1 from outcomes")) == len(entries)
        assert sum(world.balances().values()) == 0
        assert chain(shared) == len(world.rows("select 1 from audit_log"))
        assert lost > 0 or world.row("leases", name="settlement")["epoch"] > 1, "they never met"


def test_a_connection_that_the_server_ended_is_told_of_and_leaves_nothing(shared: PostgresDatabase) -> None:
    with closing(another(shared)) as doomed, connect(postgresql.url()) as killer:
        [[pid]] = doomed.execute("select pg_backend_pid()").fetchall()

        def fn(tx: Tx) -> None:
            checkpoints.save(tx, "a", 1)
            killer.execute(f"select pg_terminate_backend({pid})")
            checkpoints.save(tx, "b", 2)

        with pytest.raises(Exception, match=r"terminat|closed") as told:
            doomed.transact(NOW, "ev", fn)
        assert doomed.failed(told.value)
    assert shared.query("select name from checkpoints") == []
