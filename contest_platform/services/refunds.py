"""Refunds: what is owed back to an entrant is a row and a ledger posting first, and then money, sent exactly once.

After an unknown outcome the same key is sent again while it lives; past that the processor's books are searched first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.errors import Meaning, code_of, known, meaning
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, ProcessorError, Refund, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import seats

ACTOR = "system:payments"
KEY_LIFE_MS = 23 * HOUR_MS
"""Stripe keeps a key for 24 h at least (docs.stripe.com/api/idempotent_requests); an hour is our margin."""
BACKOFF_MIN_MS = MINUTE_MS
BACKOFF_MAX_MS = HOUR_MS
CONCURRENT = 8
ENDED_BADLY = ("failed", "canceled")
"""Statuses of a Stripe refund that will bring no money to anybody."""


# --- the rows and their money, for whoever learns of a change -----------------------------------------------------


def owe(
    tx: Tx, ctx: Context, *, entry_id: str, user_id: str, intent_id: str, amount_cents: int, source: str, reason: str,
    refund_id: str | None = None,
) -> str:  # fmt: skip
    """Owe `amount_cents` of an intent back to the entrant, from the ledger account `source`. Returns the refund's id.

    We refund an intent once, in full: its refund's id follows from the intent, so owing it again changes nothing.
    """
    refund_id = refund_id or f"refund_{intent_id}"
    if tx.one("select 1 from refunds where refund_id = :refund", {"refund": refund_id}) is not None:
        return refund_id
    row = {
        "refund_id": refund_id,
        "entry_id": entry_id,
        "intent_id": intent_id,
        "amount_cents": amount_cents,
        "reason": reason,
        "status": "PENDING",
        "idempotency_key": _key(refund_id, 0, tx.now),
        "processor_refund_id": None,
        "attempts": 0,
        "next_attempt_at": tx.now,
        "created_at": tx.now,
        "done_at": None,
    }
    audit.insert(tx, ctx, "refunds", row, reason)
    ledger.move(
        tx, ctx, "refund_due", f"refund_due:{refund_id}", debit=source, credit=ledger.refund_payable(user_id),
        cents=amount_cents, reason=reason,
    )  # fmt: skip
    tx.notify("refunds")
    return refund_id


def confirm(
    tx: Tx, ctx: Context, refund_id: str, processor_refund_id: str | None, refunded_at: int | None = None
) -> bool:
    """The processor has sent the money of a PENDING refund; False when the refund has ended already.

    `refunded_at`: when it did so, of a refund that was not our doing.
    """
    row = _row(tx, refund_id)
    if row["status"] != "PENDING":
        return False
    ctx = Context(ctx.actor, row["entry_id"])
    changes = {
        "status": "DONE", "processor_refund_id": processor_refund_id, "next_attempt_at": None, "done_at": tx.now,
    }  # fmt: skip
    audit.update(tx, ctx, "refunds", {"refund_id": refund_id}, changes, "refunded by the processor", row)
    ledger.move(
        tx, ctx, "refund", f"refund:{refund_id}", debit=ledger.refund_payable(row["user_id"]), credit=ledger.AVAILABLE,
        cents=row["amount_cents"], reason=f"refunded as {processor_refund_id}",
    )  # fmt: skip
    if row["paid_intent_id"] == row["intent_id"]:
        refunded_cents = row["refunded_cents"] + row["amount_cents"]
        after: dict[str, Any] = {"refunded_cents": refunded_cents}
        if refunded_cents >= captured_cents(tx, row["intent_id"]):
            after["status"] = "REFUNDED"
        audit.update(tx, ctx, "payments", {"entry_id": row["entry_id"]}, after, f"refunded as {processor_refund_id}")
        if "status" in after:
            close_entry(tx, ctx, row["entry_id"], refunded_at)
    return True


_CLOSING = """
    select e.status, e.contest_id, e.user_id, c.status as contest_status, c.lock_at, p.amount_cents,
           exists (select 1 from checkpoints where name = 'entries_final:' || c.contest_id) as entries_final
    from entries e
    join contests c on c.contest_id = e.contest_id
    join payments p on p.entry_id = e.entry_id
    where e.entry_id = :entry
"""


def close_entry(tx: Tx, ctx: Context, entry_id: str, refunded_at: int | None = None) -> None:
    """The money of an entry is back with its owner, since `refunded_at` if that was not our doing. That ends the entry
    if it was withdrawn, if its contest was cancelled, and if it was before the lock, however late we learn of it."""
    row = tx.one(_CLOSING, {"entry": entry_id})
    if row is None:
        return
    if row["status"] == "WITHDRAWN":
        reason = "withdrawn, money refunded"
    elif row["status"] != "VALID":
        return
    elif row["contest_status"] == "CANCELLED":
        reason = "contest cancelled, money refunded"
    elif refunded_at is not None and refunded_at < row["lock_at"] and not row["entries_final"]:
        reason = "refunded in full before the lock"
        _take_out(tx, ctx, entry_id, row)
    else:
        return
    after = {"status": "REFUNDED", "closed_at": tx.now}
    audit.update(tx, ctx, "entries", {"entry_id": entry_id}, after, reason)


def _take_out(tx: Tx, ctx: Context, entry_id: str, row: Row) -> None:
    """A valid entry leaves its contest: its seat is free, or its fee comes out of escrow again."""
    contest_id = row["contest_id"]
    if row["contest_status"] == "SCHEDULED":
        seats.free(tx, contest_id)
        return
    ledger.move(
        tx, ctx, "unlock", f"unlock:{contest_id}:{entry_id}", debit=ledger.escrow(contest_id),
        credit=ledger.wallet(row["user_id"]), cents=row["amount_cents"], reason="refunded in full before the lock",
    )  # fmt: skip


def fail(tx: Tx, ctx: Context, refund_id: str, code: str) -> None:
    """A PENDING refund will never be: the money stays owed, in refund_payable, until a human resolves it, or the bank
    has."""
    row = _row(tx, refund_id)
    if row["status"] == "PENDING":
        changes = {"status": "FAILED_TERMINAL", "next_attempt_at": None, "done_at": tx.now}
        audit.update(tx, ctx, "refunds", {"refund_id": refund_id}, changes, code)
        given_by_bank(tx, ctx, row["intent_id"])


_WRITTEN_OFF = """
    select r.refund_id, r.entry_id, r.amount_cents, e.user_id, d.dispute_id, d.amount_cents as disputed_cents,
           exists (select 1 from ledger_transactions where business_key = 'dispute_won:' || d.dispute_id) as came_back
    from refunds r join entries e on e.entry_id = r.entry_id join disputes d on d.intent_id = r.intent_id
    where r.intent_id = :intent and r.status = 'FAILED_TERMINAL'
          and exists (select 1 from ledger_transactions where business_key = 'dispute_lost:' || d.dispute_id)
    order by r.refund_id
"""


def given_by_bank(tx: Tx, ctx: Context, intent_id: str) -> None:
    """A customer's bank has given him what we could not refund, for good: we owe it no more, and that we lost it to
    the bank is no loss of ours. If the bank takes it back from him after all we owe it again."""
    for row in tx.all(_WRITTEN_OFF, {"intent": intent_id}):
        key, owed, lost = (
            f"refund_by_bank:{row['refund_id']}",
            ledger.refund_payable(row["user_id"]),
            ledger.DISPUTE_LOSS,
        )
        given = {
            "cents": min(row["amount_cents"], row["disputed_cents"]),
            "reason": f"by the bank: {row['dispute_id']}",
        }
        entry_ctx = Context(ctx.actor, row["entry_id"])
        if not row["came_back"]:
            ledger.move(tx, entry_ctx, "refund_by_bank", key, debit=owed, credit=lost, **given)
        elif tx.one("select 1 from ledger_transactions where business_key = :key", {"key": key}) is not None:
            ledger.move(tx, entry_ctx, "refund_by_bank_back", f"{key}:back", debit=lost, credit=owed, **given)


def made_elsewhere(
    tx: Tx, ctx: Context, entry_id: str, intent_id: str, amount_cents: int, name: str, processor_refund_id: str | None,
    refunded_at: int,
) -> None:  # fmt: skip
    """Money went back that we never sent (a human in the processor's dashboard). It is accounted for at the entrant's
    expense: what he got back is not his to play with."""
    entry = tx.one("select user_id from entries where entry_id = :entry", {"entry": entry_id})
    assert entry is not None, entry_id
    ctx = Context(ctx.actor, entry_id)
    refund_id = owe(
        tx, ctx, entry_id=entry_id, user_id=entry["user_id"], intent_id=intent_id, amount_cents=amount_cents,
        source=ledger.wallet(entry["user_id"]), reason="refunded outside the platform", refund_id=f"refund_{name}",
    )  # fmt: skip
    confirm(tx, ctx, refund_id, processor_refund_id, refunded_at)


def captured_cents(tx: Tx, intent_id: str) -> int:
    """What was captured of an intent, by the ledger: 0 when nothing was (yet)."""
    row = tx.one(
        "select p.amount_cents from ledger_transactions t join ledger_postings p on p.txn_id = t.txn_id"
        " where t.business_key = :key and p.account = :account",
        {"key": f"capture:{intent_id}", "account": ledger.PENDING},
    )
    return 0 if row is None else int(row["amount_cents"])


def _row(tx: Tx, refund_id: str) -> Row:
    row = tx.one(
        "select r.*, e.user_id, p.intent_id as paid_intent_id, p.refunded_cents from refunds r"
        " join entries e on e.entry_id = r.entry_id join payments p on p.entry_id = r.entry_id"
        " where r.refund_id = :refund",
        {"refund": refund_id},
    )
    assert row is not None, refund_id
    return row


def retry_now(tx: Tx, ctx: Context, refund_id: str, reason: str) -> bool | Refusal:
    """Make the next attempt of a refund due now; False: it was. Key and look-up stay as the rules have them."""
    row = tx.one("select * from refunds where refund_id = :refund", {"refund": refund_id})
    if row is None:
        return Refusal(404, f"no refund {refund_id}")
    if row["status"] != "PENDING":
        return Refusal(409, f"refund {refund_id} is {row['status']}, which is final")
    tx.notify("refunds")
    if row["next_attempt_at"] <= tx.now:
        return False
    audit.update(tx, ctx, "refunds", {"refund_id": refund_id}, {"next_attempt_at": tx.now}, reason, row)
    return True


def _key(refund_id: str, attempts: int, born_at: int) -> str:
    """A key carries its birth, because what may be sent under it depends on its age."""
    return f"{refund_id}:{attempts}:{born_at}"


def _born_at(key: str) -> int:
    return int(key.rpartition(":")[2])


# --- sending ------------------------------------------------------------------------------------------------------


_STANDING = """
    select min(next_attempt_at) filter (where status = 'PENDING'), min(created_at) filter (where status = 'PENDING'),
           max(done_at) filter (where status = 'FAILED_TERMINAL')
    from refunds where status in ('PENDING', 'FAILED_TERMINAL')
"""


class RefundsService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._oldest_gauge = Gauge(ports.metrics, "refund_request_oldest_timestamp_seconds")
        self._failed_gauge = Gauge(ports.metrics, "refund_failed_timestamp_seconds")

    def jobs(self) -> Sequence[Job]:
        return (Job("refunds", "refunds", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        due_at, oldest_at, failed_at = await self._ports.store.transact(
            "refunds.due", lambda tx: tx.tuples(_STANDING)[0]
        )
        self._oldest_gauge.tell_of(oldest_at)
        self._failed_gauge.tell_of(failed_at)
        return None if due_at is None else int(due_at)

    async def _work(self) -> None:
        def due(tx: Tx) -> list[dict[str, Any]]:
            rows = tx.all(
                "select * from refunds where status = 'PENDING' and next_attempt_at <= :now"
                " order by next_attempt_at, refund_id",
                {"now": tx.now},
            )
            return [dict(row) for row in rows]

        refunds = await self._ports.store.transact("refunds.list", due)
        await self._ports.runtime.gather([self._attempt(refund) for refund in refunds], CONCURRENT)

    async def _attempt(self, refund: Mapping[str, Any]) -> None:
        refund_id, store = refund["refund_id"], self._ports.store
        try:
            found = await self._send(refund)
        except PortError as error:
            code, rejected = code_of(error), isinstance(error, ProcessorError) and 400 <= error.status < 500
            await store.transact("refunds.failed", lambda tx: self._failed(tx, refund_id, code, rejected))
        else:
            await store.transact("refunds.answered", lambda tx: self._answered(tx, refund_id, found))

    async def _send(self, refund: Mapping[str, Any]) -> Refund:
        """The refund at the processor, made now or found. Raises PortError."""
        too_old = self._ports.runtime.now() - _born_at(refund["idempotency_key"]) >= KEY_LIFE_MS
        key: str = refund["idempotency_key"]
        if too_old or refund["processor_refund_id"] is not None:
            found = await self._look_up(refund)
            if found is not None:
                return found
            key = await self._ports.store.transact("refunds.rekey", lambda tx: self._rekey(tx, refund["refund_id"]))
        call = self._ports.processor.create_refund(
            intent_id=refund["intent_id"],
            amount_cents=refund["amount_cents"],
            metadata={"entry_id": refund["entry_id"], "refund_id": refund["refund_id"]},
            idempotency_key=key,
        )
        try:
            return await self._ports.runtime.deadline(call, self._config.processor_timeout_ms)
        except ProcessorError as error:
            if error.error_code != "charge_already_refunded":
                raise
            # Perhaps by ourselves: an answer may have been lost under an older key.
            found = await self._look_up(refund)
            if found is None:
                raise
            return found

    async def _look_up(self, refund: Mapping[str, Any]) -> Refund | None:
        listing = self._ports.processor.list_refunds(intent_id=refund["intent_id"])
        for candidate in await self._ports.runtime.deadline(listing, self._config.processor_timeout_ms):
            if candidate.metadata.get("refund_id") == refund["refund_id"] and candidate.status not in ENDED_BADLY:
                return candidate
        return None

    def _rekey(self, tx: Tx, refund_id: str) -> str:
        """The processor's books prove that nothing was sent under the old key: start over with a new one."""
        row = _row(tx, refund_id)
        key = _key(refund_id, row["attempts"], tx.now)
        if row["status"] == "PENDING":
            changes = {"idempotency_key": key, "processor_refund_id": None}
            audit.update(
                tx, Context(ACTOR, row["entry_id"]), "refunds", {"refund_id": refund_id}, changes, "absence_proven"
            )
        return key

    def _answered(self, tx: Tx, refund_id: str, found: Refund) -> None:
        row = _row(tx, refund_id)
        ctx = Context(ACTOR, row["entry_id"])
        if found.status in ENDED_BADLY:
            fail(tx, ctx, refund_id, f"refund_{found.status}")
        elif found.status == "succeeded":
            confirm(tx, ctx, refund_id, found.id)
        elif row["status"] == "PENDING":
            # The bank takes its time: an event will tell, or we ask again.
            changes = {"processor_refund_id": found.id, "next_attempt_at": tx.now + HOUR_MS}
            audit.update(tx, ctx, "refunds", {"refund_id": refund_id}, changes, f"refund is {found.status}")

    def _failed(self, tx: Tx, refund_id: str, code: str, rejected: bool) -> None:
        row = _row(tx, refund_id)
        if row["status"] != "PENDING":
            return
        ctx = Context(ACTOR, row["entry_id"])
        what = meaning(code)
        if what is Meaning.NEVER_WILL:
            fail(tx, ctx, refund_id, code)
            return
        n = row["attempts"] + 1
        full = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << min(n - 1, 16))
        wait = full // 2 + self._ports.entropy.below(full // 2 + 1, "refunds.backoff", refund_id, str(n))
        changes: dict[str, Any] = {"attempts": n, "next_attempt_at": tx.now + wait}
        if rejected and what is Meaning.DID_NOT_HAPPEN:
            # The processor replays a rejection for as long as it remembers the key (docs.stripe.com/error-low-level).
            changes["idempotency_key"] = _key(refund_id, n, tx.now)
        reason = f"try again: {code}" if known(code) else f"try again: {code} is not a registered code"
        audit.update(tx, ctx, "refunds", {"refund_id": refund_id}, changes, reason)
