"""A made-up run for tests of reports: every party's books agree to the cent, and names are as hostile as names can be.

It is written with the real RunWriter and read back as evidence, so a report is tested on what it will meet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assertions.oracles.prizes import award, money, prize_table
from evidence.journal import JournalWriter
from evidence.plan import Contest, EntryPlan, Plan
from evidence.run import Evidence
from evidence.schemas import BOOKS
from evidence.writer import RunWriter
from tests.support.report_plan import DAY, HOUR, MINUTE, make_plan


@dataclass
class Made:
    evidence: Evidence
    plan: Plan
    balances: dict[str, int] = field(default_factory=dict)


class _Books:
    """Writes rows by column name, and the ledger by business key."""

    def __init__(self, writer: RunWriter) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._writer = writer
        self.balances: dict[str, int] = {}
        self._ledger: list[tuple[int, str, str, list[tuple[str, int]]]] = []

    def add(self, book: str, **row: Any) -> None:
        self._rows.setdefault(book, []).append(row)

    def post(self, at: int, kind: str, key: str, *postings: tuple[str, int]) -> None:
        assert sum(cents for _, cents in postings) == 0
        self._ledger.append((at, kind, f"{kind}:{key}", list(postings)))

    def balance(self, at: int, kind: str, key: str, amount: int, fee: int, available_at: int) -> None:
        self.add(
            "processor.balance",
            at=at,
            balance_transaction_id=f"txn_{key}",
            kind=kind,
            source_id=key,
            amount_cents=amount,
            fee_cents=fee,
            net_cents=amount - fee,
            created_at=at,
            available_at=available_at,
        )

    def close(self) -> None:
        for txn_id, (at, kind, key, postings) in enumerate(sorted(self._ledger, key=lambda row: row[0]), 1):
            self.add("platform.ledger_transactions", txn_id=txn_id, business_key=key, kind=kind, at=at, cause="e1")
            for n, (account, cents) in enumerate(postings, 1):
                self.add("platform.ledger_postings", txn_id=txn_id, n=n, account=account, amount_cents=cents)
                self.balances[account] = self.balances.get(account, 0) + cents
        for name, rows in self._rows.items():
            columns = BOOKS[name].columns
            if "at" in columns:
                rows.sort(key=lambda row: row["at"])
            for n, row in enumerate(rows, 1):
                if next(iter(columns)) in ("n", "seq"):
                    row = {next(iter(columns)): n, **row}
                row.pop("at", None) if "at" not in columns else None
                assert set(row) <= set(columns), (name, set(row) - set(columns))
                self._writer.books[name].add(*(row.get(column) for column in columns))


def make_run(root: Path, plan: Plan | None = None, *, short_cents: int = 0) -> Made:
    """Publish the run under `root`. With `short_cents`, the processor sent that much less for the first contest."""
    plan = plan or make_plan()
    with RunWriter(root, "made") as writer:
        writer.write_plan(plan)
        books = _Books(writer)
        _play(plan, books, short_cents)
        books.close()
        journal = JournalWriter(writer.journal)
        for contest in plan.contests:
            journal.append(contest.lock_at, "system:contests", "contest.locked", f"contests/{contest.id}", None, {})
        journal.append(plan.absence_until_at + 20 * HOUR, "harness", "run.ended", "run", "e1", {})
        writer.seal({"code": "c0de" * 16})
        path = writer.publish().path
    return Made(Evidence.open(path), plan, books.balances)


def _play(plan: Plan, books: _Books, short_cents: int) -> None:
    start = plan.starts_at
    books.balance(start, "topup", "cap", plan.owner_capital_cents, 0, start)
    books.post(
        start,
        "topup",
        "cap",
        ("assets:stripe_available", plan.owner_capital_cents),
        ("equity:owner_capital", -plan.owner_capital_cents),
    )
    for contest in plan.contests:
        entries = [entry for entry in plan.entries if entry.contest_id == contest.id]
        for entry in entries:
            _pay(contest, entry, books)
        _settle(contest, [f"{contest.id}e{entry.user_id}" for entry in entries], plan, books, short_cents)
    for fault, at, entity, effect, victim in (
        ("f1", start + 7 * DAY + 18 * HOUR, "c1", "LoseAnswer", "key-1"),
        *(("f2", start + 4 * DAY + 12 * HOUR + n * 10 * MINUTE, "t1", "Refuse", str(n)) for n in range(36)),
        ("f3", start + 7 * DAY + 17 * HOUR, "settlement", "services.crash", "1"),
        ("f4", start + 9 * DAY, "founder:kim", "database.edit", "1"),
    ):
        planned = next(item for item in plan.faults if item.id == fault)
        books.add(
            "injector.bites",
            at=at,
            fault=planned.fault,
            fault_id=fault,
            seam=planned.seam,
            operation=planned.operation,
            entity=entity,
            occurrence=1,
            effect=effect,
            victim=victim,
        )
    crash = start + 7 * DAY + 17 * HOUR
    for at, state, incarnation in ((start, "running", 1), (crash, "stopped", 1), (crash + 2 * MINUTE, "running", 2)):
        books.add(
            "hosts.services", at=at, host="app-1", service="settlement", state=state, by="host", incarnation=incarnation
        )
    books.add(
        "platform.remediation_orders",
        order_id="o1",
        incident_id="i1",
        rule_id="restart_service",
        runbook_id="RB-HOST-01",
        host="app-1",
        status="COMPLETED",
        attempts=1,
        issued_at=crash + MINUTE,
        finished_at=crash + 2 * HOUR,
    )
    books.add(
        "pager.events",
        at=crash + 30_000,
        action="trigger",
        dedup_key="svc",
        summary="settlement is down",
        severity="critical",
    )
    books.add(
        "provider.publications",
        at=start,
        event_id="evt-1",
        revision=9,
        published_at=start + 6 * DAY,
        golfer_id="t1g1",
        round=4,
        hole=18,
        strokes=5,
        correction=True,
    )


def _pay(contest: Contest, entry: EntryPlan, books: _Books) -> None:
    at, fee = entry.enters_at + 60_000, contest.fee_cents
    key, wallet = f"pi_{contest.id}{entry.user_id}", f"liabilities:user_wallet:{entry.user_id}"
    stripe_fee = fee * 29 // 1000 + 30
    cancelled = contest.id == "c4"  # the one with a minimum that nobody reaches
    if cancelled:
        _refund(contest.lock_at + MINUTE, entry, key, fee, books)
    books.add(
        "processor.intents",
        intent_id=key,
        amount_cents=fee,
        refunded_cents=fee if cancelled else 0,
        status="succeeded",
        contest_id=contest.id,
        entry_id=f"{contest.id}e{entry.user_id}",
        user_id=entry.user_id,
        created_at=entry.enters_at,
        captured_at=at,
    )
    books.balance(at, "charge", key, fee, stripe_fee, at + 2 * DAY)
    books.post(at, "capture", key, ("assets:stripe_pending", fee), (wallet, -fee))
    books.post(at, "fee", key, ("expenses:stripe_fees", stripe_fee), ("assets:stripe_pending", -stripe_fee))
    net = fee - stripe_fee
    books.post(at + 2 * DAY, "available", key, ("assets:stripe_available", net), ("assets:stripe_pending", -net))
    books.add(
        "processor.events", at=at, event_id=f"evt_{key}", type="payment_intent.succeeded", object_id=key, created_at=at
    )
    books.add(
        "processor.deliveries",
        event_id=f"evt_{key}",
        attempt=1,
        due_at=at,
        at=at + 900,
        sent=True,
        status=200,
        entity=f"{contest.id}/{entry.user_id}",
    )


def _refund(at: int, entry: EntryPlan, intent: str, cents: int, books: _Books) -> None:
    payable = f"liabilities:refund_payable:{entry.user_id}"
    books.post(at, "refund_due", intent, (f"liabilities:user_wallet:{entry.user_id}", cents), (payable, -cents))
    books.post(at + MINUTE, "refund", intent, (payable, cents), ("assets:stripe_available", -cents))
    books.balance(at + MINUTE, "refund", f"re_{intent}", -cents, 0, at + MINUTE)
    books.add(
        "processor.refunds",
        refund_id=f"re_{intent}",
        intent_id=intent,
        amount_cents=cents,
        status="succeeded",
        caller="platform",
        created_at=at + MINUTE,
    )


def _settle(contest: Contest, entries: Sequence[str], plan: Plan, books: _Books, short_cents: int) -> None:
    cancelled = contest.guaranteed_cents is None and len(entries) < contest.min_entries
    done = contest.end_at - 11 * HOUR
    settled = done + contest.hold_s * 1000
    states = [("SCHEDULED", plan.starts_at), ("LOCKED", contest.lock_at)]
    states += (
        [("CANCELLED", contest.lock_at + MINUTE)]
        if cancelled
        else [("LIVE", contest.start_at), ("COMPLETE", done), ("SETTLED", settled), ("PAID_OUT", settled + HOUR)]
    )
    for place, (status, at) in enumerate(states):
        books.add(
            "platform.audit_log",
            at=at,
            actor="system:contests",
            action=f"contests.{'update' if place else 'insert'}",
            subject=f"contests/{contest.id}",
            after=json.dumps({"status": status}),
        )
    books.add(
        "platform.contests",
        contest_id=contest.id,
        tournament_id=contest.tournament_id,
        name=contest.name,
        status=states[-1][0],
        fee_cents=contest.fee_cents,
        rake_bp=contest.rake_bp,
    )
    escrow, available = f"liabilities:contest_escrow:{contest.id}", "assets:stripe_available"
    if cancelled:
        return
    wallets = [(f"liabilities:user_wallet:{entry.split('e')[1]}", contest.fee_cents) for entry in entries]
    books.post(contest.lock_at, "lock", contest.id, *wallets, (escrow, -contest.fee_cents * len(entries)))
    of = money(len(entries), contest.fee_cents, contest.rake_bp, contest.guaranteed_cents)
    if of.overlay_cents:
        books.post(
            settled,
            "overlay",
            contest.id,
            (f"expenses:overlay:{contest.id}", of.overlay_cents),
            (escrow, -of.overlay_cents),
        )
    books.post(settled, "rake", contest.id, (escrow, of.rake_cents), (f"income:rake:{contest.id}", -of.rake_cents))
    table = prize_table(of.pool_cents, contest.prize_shares_bp, len(entries))
    for entry, prize in award({entry: n for n, entry in enumerate(entries, 1)}, table).items():
        if not prize:
            continue
        user, key = entry.split("e")[1], f"tr_{entry}"
        payable, transit = f"liabilities:prize_payable:{contest.id}:{user}", f"liabilities:payout_in_transit:{user}"
        books.post(settled, "prize", entry, (escrow, prize), (payable, -prize))
        books.post(settled + MINUTE, "payout", key, (payable, prize), (transit, -prize))
        books.post(settled + HOUR, "paid", key, (transit, prize), (available, -prize))
        books.add(
            "platform.transfers",
            transfer_id=key,
            contest_id=contest.id,
            entry_id=entry,
            user_id=user,
            amount_cents=prize,
            status="PAID",
            attempts=1,
            created_at=settled,
            done_at=settled + HOUR,
        )
        sent = prize - short_cents if contest.id == "c1" and prize == max(table) else prize
        books.balance(settled + HOUR, "transfer", key, -sent, 0, settled + HOUR)
        books.add(
            "processor.transfers",
            transfer_id=f"st_{key}",
            amount_cents=sent,
            reversed_cents=0,
            destination="acct",
            transfer_group=contest.id,
            contest_id=contest.id,
            entry_id=entry,
            user_id=user,
            caller="platform",
            created_at=settled + HOUR,
        )
