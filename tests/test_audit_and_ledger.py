"""The audit chain, recomputed by an outsider, and the ledger, which balances and posts every fact once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.ports import Tx
from contest_platform.store import sqlite
from tests.support.stores import database, on_each_store

CTX = Context("system:test", "c1")
NOW = 1_767_571_200_000


def write(connection: Any, fn: Callable[[Tx], Any], now: int = NOW) -> Any:
    return connection.transact(now, "ev-7", fn)[0]


def rows(connection: Any, sql: str) -> list[dict[str, Any]]:
    return connection.query(sql)


def log(connection: Any) -> list[dict[str, Any]]:
    return rows(connection, "select * from audit_log order by seq")


def a_user(user_id: str = "u1") -> dict[str, Any]:
    return {
        "user_id": user_id, "name": "Zoë Ångström \u2028", "email": 'q"uote@example.org', "account_id": "acct_1",
        "created_at": NOW, "deleted_at": None,
    }  # fmt: skip


def three_rows() -> Any:
    connection = database()
    write(connection, lambda tx: audit.insert(tx, CTX, "users", a_user(), "signed up: naïve"))
    write(connection, lambda tx: audit.append(tx, CTX, "refuse.entry", "contests/c1", reason="contest_full"))
    write(
        connection,
        lambda tx: audit.update(tx, CTX, "users", {"user_id": "u1"}, {"email": "new", "name": "Zoë"}, "moved"),
    )
    return connection


# --- the audit log ----------------------------------------------------------------------------------------------------


@on_each_store
def test_the_chain_is_gapless_and_every_row_names_the_one_before_it() -> None:
    chain = log(three_rows())
    assert [row["seq"] for row in chain] == [1, 2, 3]
    assert [row["prev_hash"] for row in chain] == ["0" * 64, chain[0]["hash"], chain[1]["hash"]]


@on_each_store
def test_an_outsider_recomputes_every_hash() -> None:
    for row in log(three_rows()):
        stated = row.pop("hash")
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert sha256(text.encode("utf-8")).hexdigest() == stated


@pytest.mark.parametrize(
    "column", ["actor", "action", "subject", "before", "after", "reason", "at", "cause", "correlation"]
)
@on_each_store
def test_no_column_can_be_changed_without_its_hash_showing_it(column: str) -> None:
    row = log(three_rows())[2]
    stated = row.pop("hash")
    row[column] = "forged" if column != "at" else row["at"] + 1
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert sha256(text.encode("utf-8")).hexdigest() != stated


@on_each_store
def test_an_insert_tells_the_whole_row() -> None:
    row = log(three_rows())[0]
    assert (row["action"], row["subject"], row["before"]) == ("users.insert", "users/u1", None)
    assert json.loads(row["after"]) == a_user()
    assert (row["actor"], row["correlation"], row["cause"], row["at"]) == ("system:test", "c1", "ev-7", NOW)


@on_each_store
def test_an_update_tells_the_changed_columns_before_and_after_and_no_other() -> None:
    connection = three_rows()
    row = log(connection)[2]
    assert (row["action"], row["subject"], row["reason"]) == ("users.update", "users/u1", "moved")
    assert json.loads(row["before"]) == {"email": 'q"uote@example.org', "name": "Zoë Ångström \u2028"}
    assert json.loads(row["after"]) == {"email": "new", "name": "Zoë"}
    assert rows(connection, "select * from users") == [{**a_user(), "email": "new", "name": "Zoë"}]


@on_each_store
def test_an_update_touches_the_row_with_the_key_alone() -> None:
    connection = three_rows()
    write(connection, lambda tx: audit.insert(tx, CTX, "users", a_user("u2"), "signed up"))
    write(connection, lambda tx: audit.update(tx, CTX, "users", {"user_id": "u1"}, {"name": "only me"}, "renamed"))
    assert [row["name"] for row in rows(connection, "select name from users order by user_id")] == [
        "only me", a_user()["name"],
    ]  # fmt: skip


def test_a_composite_key_is_joined_by_slashes() -> None:
    assert audit.subject("transfer_attempts", {"transfer_id": "t1", "n": 3, "code": "x"}) == "transfer_attempts/t1/3"


@on_each_store
def test_an_update_of_a_row_that_is_not_there_raises_and_leaves_no_trace() -> None:
    connection = three_rows()
    with pytest.raises(LookupError, match="users has no row"):
        write(connection, lambda tx: audit.update(tx, CTX, "users", {"user_id": "nobody"}, {"name": "x"}, "why"))
    assert len(log(connection)) == 3


@on_each_store
def test_a_change_that_is_rolled_back_takes_its_audit_row_with_it() -> None:
    connection = three_rows()

    def fn(tx: Tx) -> None:
        audit.update(tx, CTX, "users", {"user_id": "u1"}, {"name": "gone"}, "why")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(connection, fn)
    write(connection, lambda tx: audit.append(tx, CTX, "refuse.entry", "contests/c1", reason="later"))
    chain = log(connection)
    assert [row["seq"] for row in chain] == [1, 2, 3, 4]
    assert chain[3]["prev_hash"] == chain[2]["hash"]


def both(connection: Any, key: str) -> None:
    """An audit row, and a posting with another."""

    def fn(tx: Tx) -> None:
        audit.append(tx, CTX, "refuse.entry", "contests/c1", reason=key)
        ledger.post(tx, CTX, "capture", key, (("assets:a", 5), ("liabilities:b", -5)), "because")
        if key == "rolled back":
            raise RuntimeError

    write(connection, fn)


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_writers_who_take_turns_go_on_where_the_other_one_stopped(tmp_path: Path, journal_mode: str) -> None:
    path = str(tmp_path / "platform.db")
    first, second = sqlite.connect(path), sqlite.connect(path)
    first.execute(f"pragma journal_mode = {journal_mode}")
    for turn, connection in enumerate((first, second, second, first, first, second)):
        both(connection, f"turn {turn}")
        with pytest.raises(RuntimeError):
            both(connection, "rolled back")
    chain = log(first)
    assert [row["seq"] for row in chain] == list(range(1, 13))
    assert [row["prev_hash"] for row in chain[1:]] == [row["hash"] for row in chain[:-1]]
    assert [row["txn_id"] for row in rows(second, "select txn_id from ledger_transactions")] == list(range(1, 7))


@on_each_store
def test_what_somebody_changes_past_the_transactions_is_not_overlooked() -> None:
    """The chain goes on from the last row that is there, not from one that is remembered."""
    connection = three_rows()
    assert connection.by_hand(["delete from audit_log where seq > 1"], "superuser", bypass="audit_log")[1] == 2
    both(connection, "after it")
    assert [row["seq"] for row in log(connection)] == [1, 2, 3]
    assert log(connection)[1]["prev_hash"] == log(connection)[0]["hash"]


@on_each_store
def test_the_transaction_knows_the_last_audit_row_it_wrote() -> None:
    connection = database()
    _, tx = connection.transact(
        NOW, "ev-7", lambda tx: audit.append(tx, CTX, "refuse.entry", "contests/c1", reason="full")
    )
    assert tx.memo["audit.head"] == (1, log(connection)[0]["hash"])


# --- the ledger -------------------------------------------------------------------------------------------------------


def post(connection: Any, key: str, *postings: tuple[str, int]) -> Any:
    return write(connection, lambda tx: ledger.post(tx, CTX, "capture", key, postings, "because"))


def postings(connection: Any) -> list[tuple[Any, ...]]:
    found = rows(connection, "select txn_id, n, account, amount_cents from ledger_postings order by txn_id, n")
    return [tuple(row.values()) for row in found]


@on_each_store
def test_a_transaction_is_posted_with_its_cause_and_audited() -> None:
    connection = database()
    assert post(connection, "capture:pi_1", ("assets:a", 500), ("liabilities:b", -300), ("liabilities:c", -200)) is True
    assert postings(connection) == [
        (1, 1, "assets:a", 500), (1, 2, "liabilities:b", -300), (1, 3, "liabilities:c", -200),
    ]  # fmt: skip
    [transaction] = rows(connection, "select * from ledger_transactions")
    assert transaction == {
        "txn_id": 1, "business_key": "capture:pi_1", "kind": "capture", "at": NOW, "correlation": "c1", "cause": "ev-7",
    }  # fmt: skip
    [row] = log(connection)
    assert (row["action"], row["subject"], row["reason"]) == ("ledger.post", "ledger_transactions/1", "because")
    assert json.loads(row["after"]) == {
        "business_key": "capture:pi_1",
        "kind": "capture",
        "postings": [["assets:a", 500], ["liabilities:b", -300], ["liabilities:c", -200]],
    }


@on_each_store
def test_what_does_not_balance_is_refused_and_leaves_nothing() -> None:
    connection = database()
    with pytest.raises(ledger.OutOfBalanceError, match="capture:pi_1 is out of balance by 1 cents"):
        post(connection, "capture:pi_1", ("assets:a", 500), ("liabilities:b", -499))
    assert postings(connection) == []
    assert log(connection) == []


@on_each_store
def test_a_fact_is_posted_once_whoever_tells_of_it() -> None:
    connection = database()
    assert post(connection, "capture:pi_1", ("assets:a", 500), ("liabilities:b", -500)) is True
    assert post(connection, "capture:pi_1", ("assets:a", 900), ("liabilities:b", -900)) is False
    assert post(connection, "capture:pi_2", ("assets:a", 70), ("liabilities:b", -70)) is True
    assert [cents for *_, cents in postings(connection)] == [500, -500, 70, -70]
    assert len(log(connection)) == 2


@on_each_store
def test_postings_of_zero_are_left_out() -> None:
    connection = database()
    post(connection, "rake:c1", ("assets:a", 500), ("income:rake:c1", 0), ("liabilities:b", -500))
    assert [row[1:] for row in postings(connection)] == [(1, "assets:a", 500), (2, "liabilities:b", -500)]


@on_each_store
def test_where_nothing_moves_there_is_no_transaction() -> None:
    connection = database()
    assert post(connection, "overlay:c1", ("assets:a", 0), ("liabilities:b", 0)) is False
    assert rows(connection, "select * from ledger_transactions") == []
    assert log(connection) == []


@on_each_store
def test_a_move_credits_one_account_and_debits_another() -> None:
    connection = database()
    write(
        connection,
        lambda tx: ledger.move(tx, CTX, "fee", "fee:1", debit=ledger.FEES, credit=ledger.PENDING, cents=88, reason="x"),
    )
    balances = write(connection, lambda tx: (ledger.balance(tx, ledger.FEES), ledger.balance(tx, ledger.PENDING)))
    assert balances == (88, -88)
    assert write(connection, lambda tx: ledger.balance(tx, "assets:never_seen")) == 0


def test_callers_who_post_at_the_same_time_post_every_fact_once_and_without_a_gap(tmp_path: Path) -> None:
    path = str(tmp_path / "platform.db")
    sqlite.connect(path).close()

    def caller(n: int) -> list[bool]:
        connection = sqlite.connect(path)
        connection.execute("pragma busy_timeout = 20000")
        connection.execute("pragma synchronous = off")
        keys = [f"capture:pi_{(n + k) % 10}" for k in range(10)]
        return [post(connection, key, ("assets:a", 5), ("liabilities:b", -5)) for key in keys]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(caller, range(4)))
    assert sum(map(sum, results)) == 10
    connection = sqlite.connect(path)
    transactions = rows(connection, "select txn_id, business_key from ledger_transactions order by txn_id")
    assert [row["txn_id"] for row in transactions] == list(range(1, 11))
    assert {row["business_key"] for row in transactions} == {f"capture:pi_{n}" for n in range(10)}
    chain = log(connection)
    assert [row["seq"] for row in chain] == list(range(1, 11))
    assert [row["prev_hash"] for row in chain[1:]] == [row["hash"] for row in chain[:-1]]
