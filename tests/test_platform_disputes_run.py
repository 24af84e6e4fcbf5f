"""Disputes and a refund on request in a whole simulated fortnight, judged from every party's books."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import pytest

from assertions.judge import Verdict, judge
from contest_platform.http import Request
from contest_platform.store.sqlite import query
from evidence.journal import JournalWriter
from evidence.run import Evidence
from evidence.schemas import BOOKS
from evidence.writer import RunWriter
from scenarios import load, make_plan
from seams.draws import Draws
from simulator.kernel import Kernel
from simulator.run import begin, finish
from simulator.world import TOKEN_LIFE_S, World

HOUR_MS = 3_600_000


class Fortnight(NamedTuple):
    evidence: Evidence
    verdict: Verdict
    withdrawn: str
    disputed: dict[str, str]
    """Dispute -> what the bank decided."""

    def rows(self, book: str, **match: Any) -> list[dict[str, Any]]:
        names = list(BOOKS[book].columns)
        found = [dict(zip(names, row, strict=True)) for row in self.evidence.rows(book, *names)]
        return [row for row in found if all(row[name] == value for name, value in match.items())]


async def _withdraw(world: World, at: int, done: list[str]) -> None:
    """The first customer whose entry is valid asks for his fee back, and notes that he was promised it."""
    await world.runtime.sleep_until(at)
    entry = query(world.connection, "select * from entries where status = 'VALID' order by entry_id")[0]
    token = world.identity.issue(f"customer:{entry['user_id']}", TOKEN_LIFE_S)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"entry_id": entry["entry_id"]}
    answer = await world.edge.request(Request("POST", "/api/entries/refund", headers, body))
    assert answer.status == 202, answer
    world.books["entrants.actions"].note(
        world.runtime.now(), entry["user_id"], entry["contest_id"], "refund_requested", None, entry["entry_id"], None,
        "ok",
    )  # fmt: skip
    done.append(entry["entry_id"])


async def _dispute(world: World, at: int, skip: int, decided_at: int | None, won: bool, done: dict[str, str]) -> None:
    await world.runtime.sleep_until(at)
    sql = "select intent_id from payments p join entries e using (entry_id) where e.status = 'VALID' order by 1"
    intent_id = query(world.connection, sql)[skip]["intent_id"]
    dispute_id = world.processor.open_dispute(intent_id)
    done[dispute_id] = "needs_response"
    if decided_at is not None:
        await world.runtime.sleep_until(decided_at)
        world.processor.close_dispute(dispute_id, won)
        done[dispute_id] = "won" if won else "lost"


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Fortnight:
    plan = make_plan(load("small"), 1)
    lock_at = plan.contests[0].lock_at
    withdrawn: list[str] = []
    disputed: dict[str, str] = {}
    folder = tmp_path_factory.mktemp("runs")
    with RunWriter(folder) as writer:
        writer.write_plan(plan)
        kernel = Kernel(Draws(plan.root_key), JournalWriter(writer.journal), plan.starts_at)
        kernel.record("harness", "run.started", plan.scenario)
        world = World(plan, kernel, writer.books)
        runtime = world.runtime
        runtime.spawn(begin(world), "preflight")
        runtime.spawn(_withdraw(world, lock_at - 30_000, withdrawn), "withdraws just before the lock")
        week = lock_at + 168 * HOUR_MS
        for at, skip, decided_at, won in (
            (lock_at - HOUR_MS, 2, week, False), (lock_at - HOUR_MS, 3, week, True), (week, 4, None, False),
        ):  # fmt: skip
            runtime.spawn(_dispute(world, at, skip, decided_at, won, disputed), f"dispute {skip}")
        kernel.run(until=plan.recovery_until_at)
        finish(world)
        world.connection.close()
        writer.seal({"code": "0" * 64})
        writer.write("log.jsonl", b"{}\n")
        verdict = judge(Evidence.open(writer.path))
        writer.write("verdict.json", verdict.to_json().encode())
        published = writer.publish()
    [entry_id] = withdrawn
    return Fortnight(Evidence.open(published.path), verdict, entry_id, disputed)


def test_every_promise_is_kept(fortnight: Fortnight) -> None:
    broken = [(r.id, [b.message for b in r.broken], r.missing) for r in fortnight.verdict.results
              if r.status.value not in ("PASS", "NOT_APPLICABLE")]  # fmt: skip
    assert broken == []
    assert fortnight.verdict.status.value == "PASS"


def test_each_dispute_is_in_our_books_as_the_bank_decided(fortnight: Fortnight) -> None:
    assert sorted(fortnight.disputed.values()) == ["lost", "needs_response", "won"]
    ours = {row["dispute_id"]: row for row in fortnight.rows("platform.disputes")}
    theirs = {row["dispute_id"]: row for row in fortnight.rows("processor.disputes")}
    for columns in ("status", "intent_id", "entry_id", "amount_cents", "fee_cents"):
        assert {one: ours[one][columns] for one in ours} == {one: theirs[one][columns] for one in theirs}, columns
    assert {one: row["status"] for one, row in ours.items()} == fortnight.disputed


def test_each_posting_of_a_dispute_was_made_once(fortnight: Fortnight) -> None:
    kinds = Counter(row["kind"] for row in fortnight.rows("platform.ledger_transactions") if "dispute" in row["kind"])
    assert kinds == {"dispute": 3, "dispute_fee": 3, "dispute_won": 1, "dispute_lost": 1}
    cents: Counter[str] = Counter()
    for row in fortnight.rows("platform.ledger_postings"):
        cents[row["account"]] += row["amount_cents"]
    fee = fortnight.evidence.plan.contests[0].fee_cents
    assert (cents["assets:receivable_disputes"], cents["expenses:dispute_loss"]) == (fee, fee)


def test_the_disputed_played_and_the_one_who_withdrew_did_not(fortnight: Fortnight) -> None:
    settled = {row["entry_id"] for row in fortnight.rows("platform.settlement_packs")}
    disputed = {row["entry_id"] for row in fortnight.rows("processor.disputes")}
    assert disputed <= settled
    assert fortnight.withdrawn not in settled
    [entry] = fortnight.rows("platform.entries", entry_id=fortnight.withdrawn)
    [refund] = fortnight.rows("platform.refunds", entry_id=fortnight.withdrawn)
    assert (entry["status"], refund["reason"], refund["status"]) == ("REFUNDED", "requested", "DONE")


def test_no_movement_of_the_balance_was_refused(fortnight: Fortnight) -> None:
    assert fortnight.rows("platform.audit_log", action="refuse.balance_transaction") == []
    shown = [json.loads(row["body"]) for row in fortnight.rows("processor.events", type="charge.dispute.closed")]
    assert len(shown) == 2
