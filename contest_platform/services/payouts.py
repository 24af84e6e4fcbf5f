"""Payouts: each prize of a settled contest becomes one transfer, paid once or failed with a reason.

After an unknown outcome the same idempotency key is used again while it lives; past that the processor's books are
searched before anything new is sent. A new key needs proof that nothing happened under the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.errors import Meaning, code_of, known, meaning
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import payments

ACTOR = "system:payouts"
KEY_LIFE_MS = 23 * HOUR_MS
"""Stripe keeps a key for 24 h at least (docs.stripe.com/api/idempotent_requests); an hour is our margin."""
BACKOFF_MIN_MS = MINUTE_MS
BACKOFF_MAX_MS = HOUR_MS
CONCURRENT = 8
SAVED_REJECTIONS = frozenset({"balance_insufficient"})
"""Rejections that the processor saves under the key and replays: proven not to have happened, so a new key is right."""

UNENDED = ("PENDING", "SUBMITTED", "RETRYABLE")

_UNOPENED = """
    select c.contest_id, c.settled_at from contests c where c.status = 'SETTLED' and not exists
      (select 1 from transfers t where t.contest_id = c.contest_id) order by c.contest_id
"""
_FINISHED = """
    select c.contest_id from contests c where c.status = 'SETTLED'
      and not exists (select 1 from transfers t where t.contest_id = c.contest_id
                      and t.status not in ('PAID', 'FAILED_TERMINAL', 'REVERSED'))
      and not exists (select 1 from settlement_packs p join outcome_pack_links l on l.pack_id = p.pack_id
                      join outcomes o on o.outcome_id = l.outcome_id
                      left join transfers t on t.entry_id = p.entry_id
                      where p.contest_id = c.contest_id and p.status = 'EXECUTED' and o.prize_cents > 0
                        and t.transfer_id is null)
    order by c.contest_id
"""

_STANDING = """
    select contest_id, status, reason, count(*), min(created_at), max(done_at) from transfers
    group by contest_id, status, reason
"""
_REVERSALS = """
    select business_key, at from ledger_transactions
    where business_key >= 'reversed:' and business_key < 'reversed;' order by txn_id
"""
CONFLICT = "idempotency_error"
"""The processor knows the key, with another request (docs.stripe.com/api/idempotent_requests)."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What monitoring is told of, by contest (and reason): instants, and the number of conflicts."""

    unbegun: dict[tuple[str, ...], int]
    retryable: dict[tuple[str, ...], int]
    partial: dict[tuple[str, ...], int]
    conflicts: dict[tuple[str, ...], int]
    failed: dict[tuple[str, ...], int]
    reversed: dict[tuple[str, ...], int]


class PayoutsService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._gauges = {
            field: Gauge(ports.metrics, name)
            for field, name in (
                ("unbegun", "payout_due_timestamp_seconds"),
                ("retryable", "payout_transfer_retryable_oldest_timestamp_seconds"),
                ("partial", "payout_batch_partial_oldest_timestamp_seconds"),
                ("conflicts", "payout_idempotency_conflicts_open"),
                ("failed", "payout_transfer_failed_timestamp_seconds"),
                ("reversed", "payout_transfer_reversed_timestamp_seconds"),
            )
        }

    def jobs(self) -> Sequence[Job]:
        return (Job("payouts", "payouts", 5 * MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        def earliest(tx: Tx) -> int | None:
            if tx.one(_UNOPENED) is not None or tx.one(_FINISHED) is not None:
                return tx.now
            row = tx.one(
                "select min(next_attempt_at) as at from transfers where status in ('PENDING', 'SUBMITTED', 'RETRYABLE')"
            )
            return row["at"] if row is not None else None

        due_at, told = await self._ports.store.transact("payouts.due", lambda tx: (earliest(tx), _told(tx)))
        for field, gauge in self._gauges.items():
            gauge.tell(getattr(told, field))
        return due_at

    async def _work(self) -> None:
        store, runtime = self._ports.store, self._ports.runtime
        await store.transact("payouts.open", self._open)
        due = await store.transact(
            "payouts.list",
            lambda tx: [
                row["transfer_id"]
                for row in tx.all(
                    "select transfer_id from transfers where status in ('PENDING', 'SUBMITTED', 'RETRYABLE')"
                    " and next_attempt_at <= :now order by contest_id, entry_id",
                    {"now": tx.now},
                )
            ],
        )
        if due:
            await runtime.gather([self._pay(transfer_id) for transfer_id in due], CONCURRENT)
        await store.transact("payouts.finish", self._finish)

    # --- contests --------------------------------------------------------------------------------------------------

    def _open(self, tx: Tx) -> None:
        """Owe each prize of a settled contest to its winner."""
        for contest in tx.all(_UNOPENED):
            contest_id = contest["contest_id"]
            winners = tx.all(
                """
                select p.entry_id, e.user_id, o.prize_cents, o.place, u.account_id
                from settlement_packs p
                join outcome_pack_links l on l.pack_id = p.pack_id
                join outcomes o on o.outcome_id = l.outcome_id
                join entries e on e.entry_id = p.entry_id
                join users u on u.user_id = e.user_id
                where p.contest_id = :c and p.status = 'EXECUTED' and o.prize_cents > 0 order by p.entry_id
                """,
                {"c": contest_id},
            )
            for winner in winners:
                transfer_id = self._ports.ids.new("payout", winner["entry_id"])
                row = {
                    "transfer_id": transfer_id,
                    "contest_id": contest_id,
                    "entry_id": winner["entry_id"],
                    "user_id": winner["user_id"],
                    "amount_cents": winner["prize_cents"],
                    "destination": winner["account_id"],
                    "status": "PENDING",
                    "reason": None,
                    "processor_transfer_id": None,
                    "idempotency_key": self._ports.ids.new("key", transfer_id, "1"),
                    "key_born_at": None,
                    "attempts": 0,
                    "next_attempt_at": tx.now,
                    "created_at": tx.now,
                    "done_at": None,
                }
                audit.insert(tx, Context(ACTOR, contest_id), "transfers", row, f"prize of place {winner['place']}")

    def _finish(self, tx: Tx) -> None:
        for contest in tx.all(_FINISHED):
            contest_id = contest["contest_id"]
            audit.update(
                tx, Context(ACTOR, contest_id), "contests", {"contest_id": contest_id},
                {"status": "PAID_OUT", "closed_at": tx.now}, "every transfer has ended",
            )  # fmt: skip

    # --- one transfer ----------------------------------------------------------------------------------------------

    async def _pay(self, transfer_id: str) -> None:
        ports, store = self._ports, self._ports.store
        transfer = await store.transact("payouts.submit", lambda tx: self._submit(tx, transfer_id))
        if transfer is None:
            return
        if transfer["look_up"]:
            await self._look_up(transfer)
            return
        n = transfer["attempts"]
        call = ports.processor.create_transfer(
            amount_cents=transfer["amount_cents"],
            destination=transfer["destination"],
            transfer_group=transfer["contest_id"],
            metadata=_metadata(transfer),
            idempotency_key=transfer["idempotency_key"],
        )
        try:
            sent = await ports.runtime.deadline(call, self._config.processor_timeout_ms)
        except PortError as error:
            code = code_of(error)
            await store.transact("payouts.failed", lambda tx: self._failed(tx, transfer_id, n, code))
        else:
            await store.transact("payouts.paid", lambda tx: self._paid(tx, transfer_id, n, sent.id))

    async def _look_up(self, transfer: Row) -> None:
        """Search the processor's books for a transfer that was made under any of our keys: asking moves no money, so it
        is no attempt. What it finds is paid, to whichever account the winner had then; finding nothing proves that a
        new key is safe. Another amount proves neither: the transfer stays in conflict, and monitoring tells of it."""
        ports, transfer_id = self._ports, transfer["transfer_id"]
        listing = ports.processor.list_transfers(transfer_group=transfer["contest_id"])
        try:
            listed = await ports.runtime.deadline(listing, self._config.processor_timeout_ms)
        except PortError as error:
            code = code_of(error)
            await ports.store.transact("payouts.not_found_out", lambda tx: self._ask_again(tx, transfer_id, code))
            return
        found = next((made for made in listed if made.metadata.get("transfer_id") == transfer_id), None)
        if found is not None and found.amount_cents != transfer["amount_cents"]:
            await ports.store.transact("payouts.conflict", lambda tx: self._ask_again(tx, transfer_id, CONFLICT))
        elif found is not None:
            await ports.store.transact(
                "payouts.found", lambda tx: self._settle(tx, self._row(tx, transfer_id), found.id)
            )
        elif await ports.store.transact("payouts.rekey", lambda tx: self._rekey(tx, transfer_id)):
            await self._pay(transfer_id)

    def _submit(self, tx: Tx, transfer_id: str) -> dict[str, Any] | None:
        """Write down the next attempt before it is made, or say that the processor's books have to be searched first
        (`look_up`); None when there is nothing to do."""
        row = self._row(tx, transfer_id)
        if row["status"] not in UNENDED or row["next_attempt_at"] > tx.now:
            return None
        ctx = Context(ACTOR, row["contest_id"])
        if row["status"] == "SUBMITTED":
            # Its sender died before it could write down the answer.
            self._end_attempt(tx, ctx, transfer_id, row["attempts"], "UNKNOWN", "deadline_exceeded")
            changes: dict[str, Any] = {"status": "RETRYABLE", "reason": "deadline_exceeded"}
            audit.update(tx, ctx, "transfers", {"transfer_id": transfer_id}, changes, "its sender died", row)
            row = {**row, **changes}
        key_born_at = row["key_born_at"] if row["key_born_at"] is not None else tx.now
        gone = _is_gone(tx, row)
        if gone and not _in_doubt(tx, row):
            _give_up(tx, Context(ACTOR, row["contest_id"]), row, "user_deleted")
            return None
        if gone or tx.now - key_born_at >= KEY_LIFE_MS:
            return {**dict(row), "look_up": True}
        n = row["attempts"] + 1
        attempt = {
            "transfer_id": transfer_id,
            "n": n,
            "idempotency_key": row["idempotency_key"],
            "request_hash": _request_hash(row),
            "sent_at": tx.now,
            "finished_at": None,
            "outcome": None,
            "code": None,
        }
        audit.insert(tx, ctx, "transfer_attempts", attempt, f"attempt {n}")
        changes = {
            "status": "SUBMITTED",
            "attempts": n,
            "key_born_at": key_born_at,
            "next_attempt_at": tx.now + self._config.processor_timeout_ms + MINUTE_MS,
        }
        audit.update(tx, ctx, "transfers", {"transfer_id": transfer_id}, changes, f"attempt {n}", row)
        ledger.move(
            tx, ctx, "payout", f"payout:{transfer_id}",
            debit=ledger.prize_payable(row["contest_id"], row["user_id"]), credit=ledger.in_transit(row["user_id"]),
            cents=row["amount_cents"], reason="on its way to the winner",
        )  # fmt: skip
        return {**dict(row), **changes, "look_up": False}

    def _rekey(self, tx: Tx, transfer_id: str) -> bool:
        """The processor's books show that nothing was sent. With the old key's life over that is proof: start over with
        a new key at once, or give up if there is nobody left to pay. Returns whether there is something to send."""
        row = self._row(tx, transfer_id)
        if row["status"] not in UNENDED:
            return False
        dies_at = row["key_born_at"] + KEY_LIFE_MS
        if tx.now < dies_at:
            # Only for somebody who is gone is the search made so soon: what is still on its way may yet arrive.
            self._again(tx, row, dies_at, "user_deleted", new_key=False)
            return False
        if _is_gone(tx, row):
            _give_up(tx, Context(ACTOR, row["contest_id"]), row, "user_deleted")
            return False
        self._again(tx, row, tx.now, "absence_proven", new_key=True)
        return True

    def _ask_again(self, tx: Tx, transfer_id: str, code: str) -> None:
        row = self._row(tx, transfer_id)
        if row["status"] in UNENDED:
            self._retry(tx, row, code, new_key=False)

    def _paid(self, tx: Tx, transfer_id: str, n: int, processor_transfer_id: str) -> None:
        row = self._row(tx, transfer_id)
        self._end_attempt(tx, Context(ACTOR, row["contest_id"]), transfer_id, n, "SUCCEEDED", None)
        self._settle(tx, row, processor_transfer_id)

    def _settle(self, tx: Tx, row: Row, processor_transfer_id: str) -> None:
        if row["status"] not in UNENDED:
            return
        _end(tx, Context(ACTOR, row["contest_id"]), row, "PAID", None, processor_transfer_id)
        ledger.move(
            tx, Context(ACTOR, row["contest_id"]), "paid", f"paid:{row['transfer_id']}",
            debit=ledger.in_transit(row["user_id"]), credit=ledger.AVAILABLE, cents=row["amount_cents"],
            reason=f"transferred as {processor_transfer_id}",
        )  # fmt: skip
        payments.wake_waiting(tx)

    def _failed(self, tx: Tx, transfer_id: str, n: int, code: str) -> None:
        row = self._row(tx, transfer_id)
        ctx = Context(ACTOR, row["contest_id"])
        what = meaning(code)
        self._end_attempt(tx, ctx, transfer_id, n, "UNKNOWN" if what is Meaning.UNKNOWN else "REJECTED", code)
        if row["status"] != "SUBMITTED":
            return
        if what is Meaning.NEVER_WILL:
            _give_up(tx, ctx, row, code)
        else:
            self._retry(tx, row, code, new_key=code in SAVED_REJECTIONS)

    # --- rows ------------------------------------------------------------------------------------------------------

    def _row(self, tx: Tx, transfer_id: str) -> Row:
        row = _transfer(tx, transfer_id)
        assert row is not None, transfer_id
        return row

    def _end_attempt(self, tx: Tx, ctx: Context, transfer_id: str, n: int, outcome: str, code: str | None) -> None:
        key = {"transfer_id": transfer_id, "n": n}
        result = {"finished_at": tx.now, "outcome": outcome, "code": code}
        audit.update(tx, ctx, "transfer_attempts", key, result, code or "succeeded")

    def _retry(self, tx: Tx, row: Row, code: str, *, new_key: bool) -> None:
        """Try again after an exponential back-off with jitter (half to the whole of it)."""
        n = row["attempts"]
        full = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << min(n - 1, 16))
        wait = full // 2 + self._ports.entropy.below(full // 2 + 1, "payouts.backoff", row["transfer_id"], str(n))
        self._again(tx, row, tx.now + wait, code, new_key=new_key)

    def _again(self, tx: Tx, row: Row, at: int, code: str, *, new_key: bool) -> None:
        changes: dict[str, Any] = {"status": "RETRYABLE", "reason": code, "next_attempt_at": at}
        if new_key:
            changes["idempotency_key"] = self._ports.ids.new("key", row["transfer_id"], str(row["attempts"] + 1))
            changes["key_born_at"] = None
        reason = f"try again: {code}" if known(code) else f"try again: {code} is not a registered code"
        key = {"transfer_id": row["transfer_id"]}
        audit.update(tx, Context(ACTOR, row["contest_id"]), "transfers", key, changes, reason, row)


def _transfer(tx: Tx, transfer_id: str) -> Row | None:
    return tx.one("select * from transfers where transfer_id = :t", {"t": transfer_id})


def _end(
    tx: Tx, ctx: Context, row: Row, status: str, reason: str | None, processor_transfer_id: str | None = None
) -> None:
    changes = {
        "status": status,
        "reason": reason,
        "processor_transfer_id": processor_transfer_id,
        "next_attempt_at": None,
        "done_at": tx.now,
    }
    audit.update(tx, ctx, "transfers", {"transfer_id": row["transfer_id"]}, changes, reason or "paid", row)


def _give_up(tx: Tx, ctx: Context, row: Row, code: str) -> None:
    """It will never be sent: the prize stays owed to its winner until a runbook resolves it."""
    _end(tx, ctx, row, "FAILED_TERMINAL", code)
    if row["attempts"]:
        ledger.move(
            tx, ctx, "void", f"void:{row['transfer_id']}", debit=ledger.in_transit(row["user_id"]),
            credit=ledger.prize_payable(row["contest_id"], row["user_id"]), cents=row["amount_cents"],
            reason=f"not sent: {code}",
        )  # fmt: skip


def _told(tx: Tx) -> _Told:
    told = _Told({(row["contest_id"],): row["settled_at"] for row in tx.all(_UNOPENED)}, {}, {}, {}, {}, {})
    paid: set[str] = set()
    unended: dict[str, int] = {}
    for contest_id, status, reason, count, created_at, done_at in tx.tuples(_STANDING):
        key = (contest_id,)
        if status == "PAID":
            paid.add(contest_id)
        elif status == "FAILED_TERMINAL":
            told.failed[contest_id, reason] = done_at
        elif status in UNENDED:
            unended[contest_id] = min(created_at, unended.get(contest_id, created_at))
            if status == "RETRYABLE":
                told.retryable[key] = min(created_at, told.retryable.get(key, created_at))
            if reason == CONFLICT:
                told.conflicts[key] = told.conflicts.get(key, 0) + count
    told.partial.update({(contest_id,): at for contest_id, at in unended.items() if contest_id in paid})
    for business_key, at in tx.tuples(_REVERSALS):
        row = _transfer(tx, business_key.split(":")[1])
        if row is not None:
            told.reversed[row["contest_id"],] = at
    return told


def _is_gone(tx: Tx, row: Row) -> bool:
    user = tx.one("select deleted_at from users where user_id = :u", {"u": row["user_id"]})
    return user is None or user["deleted_at"] is not None


def _in_doubt(tx: Tx, row: Row) -> bool:
    """Whether money may have moved under the present key."""
    attempt = tx.one(
        "select 1 from transfer_attempts where transfer_id = :t and idempotency_key = :key and outcome = 'UNKNOWN'",
        {"t": row["transfer_id"], "key": row["idempotency_key"]},
    )
    return attempt is not None


# --- what a runbook may ask for ---------------------------------------------------------------------------------------


def retry_now(tx: Tx, ctx: Context, transfer_id: str, reason: str) -> bool | Refusal:
    """Make the next attempt of a transfer due now; False: it was. Key and look-up stay as the rules above have them:
    nobody gets a new key by asking."""
    row = _transfer(tx, transfer_id)
    if row is None:
        return Refusal(404, f"no transfer {transfer_id}")
    if row["status"] == "SUBMITTED":
        return Refusal(409, f"transfer {transfer_id} is SUBMITTED: an attempt is under way")
    if row["status"] not in UNENDED:
        return Refusal(409, f"transfer {transfer_id} is {row['status']}, which is final")
    tx.notify("payouts")
    if row["next_attempt_at"] <= tx.now:
        return False
    audit.update(tx, ctx, "transfers", {"transfer_id": transfer_id}, {"next_attempt_at": tx.now}, reason, row)
    return True


def fail_refused(tx: Tx, ctx: Context, transfer_id: str) -> bool | Refusal:
    """Give up a transfer that has been refused for good, with the code of that refusal; False: it has been. One that
    may yet be made, or may have been made, is not given up: its winner would be forgotten, or paid twice."""
    row = _transfer(tx, transfer_id)
    if row is None:
        return Refusal(404, f"no transfer {transfer_id}")
    if row["status"] == "FAILED_TERMINAL":
        return False
    if row["status"] not in ("PENDING", "RETRYABLE"):
        return Refusal(409, f"transfer {transfer_id} is {row['status']}")
    if _in_doubt(tx, row):
        return Refusal(409, f"transfer {transfer_id} is in doubt: the outcome of an attempt under its key is unknown")
    last = tx.one(
        "select outcome, code from transfer_attempts where transfer_id = :t order by n desc limit 1", {"t": transfer_id}
    )
    if last is None or last["outcome"] != "REJECTED" or meaning(last["code"]) is not Meaning.NEVER_WILL:
        return Refusal(409, f"transfer {transfer_id} has not been refused for good")
    _give_up(tx, ctx, row, last["code"])
    tx.notify("payouts")
    return True


def start_now(tx: Tx, contest_id: str) -> bool | Refusal:
    """Have the payout of a settled contest begin at the next tick; False: it has begun."""
    contest = tx.one("select status from contests where contest_id = :c", {"c": contest_id})
    if contest is None:
        return Refusal(404, f"no contest {contest_id}")
    if contest["status"] == "PAID_OUT":
        return False
    if contest["status"] != "SETTLED":
        return Refusal(409, f"contest {contest_id} is {contest['status']}, not SETTLED")
    tx.notify("payouts")
    return tx.one("select 1 from transfers where contest_id = :c limit 1", {"c": contest_id}) is None


def _metadata(transfer: Row) -> dict[str, str]:
    return {name: transfer[name] for name in ("contest_id", "entry_id", "transfer_id", "user_id")}


def _request_hash(transfer: Row) -> str:
    request = {
        "amount_cents": transfer["amount_cents"],
        "destination": transfer["destination"],
        "transfer_group": transfer["contest_id"],
        "metadata": _metadata(transfer),
    }
    return sha256(audit.canonical(request).encode()).hexdigest()
