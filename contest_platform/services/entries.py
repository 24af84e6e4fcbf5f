"""Entries: a customer signs up, enters a contest and gets the PaymentIntent with which to pay for it.

Invariant: an entry and its payment begin in one transaction, before anything is asked of the processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.errors import code_of
from contest_platform.fields import Field
from contest_platform.http import Request, Response
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import Intent, PortError, Ports, ProcessorError, Row, Tx
from contest_platform.service import Config, Route
from contest_platform.services import payments, refunds, seats, withdrawals

ACTOR = "system:entries"
CONCURRENT = 8

STATUS_OF_REFUSAL = {
    "unknown_contest": 404,
    "unknown_user": 409,
    "contest_not_open": 409,
    "contest_full": 409,
    "already_entered": 409,
    "entry_closed": 409,
    "bad_roster": 422,
}
"""Why an entry is refused, and the HTTP status that says so."""

_CONTEST_FOR_USER = """
    select c.status as contest_status, c.opens_at, c.lock_at, c.max_entries, c.scoring, c.fee_cents,
           exists (select 1 from users where user_id = :user and deleted_at is null) as is_user,
           e.roster, e.status as entry_status, p.entry_id, p.intent_id, p.idempotency_key, p.amount_cents, p.status
    from contests c
        left join entries e on e.contest_id = c.contest_id and e.user_id = :user
        left join payments p on p.entry_id = e.entry_id
    where c.contest_id = :contest
"""
_WITHOUT_INTENT = """
    select p.entry_id, p.idempotency_key, p.amount_cents, p.created_at, e.contest_id, e.user_id
    from payments p
    join entries e on e.entry_id = p.entry_id
    join contests c on c.contest_id = e.contest_id
    where p.intent_id is null and p.status = 'CREATED' and e.status = 'PENDING_PAYMENT' and c.lock_at > :now
    order by p.created_at, p.entry_id
"""
_NO_INTENT: Row = {"intent_id": None}
_ABANDONED = """
    select p.entry_id, p.intent_id from payments p join entries e on e.entry_id = p.entry_id
    where p.status = 'CREATED' and e.status = 'ABANDONED' order by p.created_at, p.entry_id
"""

_OLDEST_ABANDONED = """
    select min(e.closed_at) from payments p join entries e on e.entry_id = p.entry_id
    where p.status = 'CREATED' and e.status = 'ABANDONED'
"""


class EntriesService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._orphaned_gauge = Gauge(ports.metrics, "payment_intent_orphaned_oldest_timestamp_seconds")

    def jobs(self) -> Sequence[Job]:
        return (
            Job("entries.intents", "entries.intents", MINUTE_MS, self._intents_due, self._retry_intents),
            Job("entries.cancellations", "entries.cancellations", MINUTE_MS, self._cancellations_due, self._cancel_all),
        )

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/api/users"): Route(
                "customer",
                self._sign_up,
                "Sign up",
                (Field("name", "full name"), Field("email", "address"), Field("account_id", "where prizes are paid")),
            ),
            ("DELETE", "/api/users"): Route("customer", self._leave, "Delete the caller's account"),
            ("POST", "/api/entries"): Route(
                "customer",
                self._enter,
                "Enter a contest",
                (Field("contest_id", "the contest"), Field("roster", "ids of golfers", "array")),
            ),
            ("POST", "/api/entries/refund"): Route(
                "customer", self._withdraw, "Take the fee back before the lock", (Field("entry_id", "the entry"),)
            ),
        }

    # --- customers -------------------------------------------------------------------------------------------------

    async def _sign_up(self, request: Request, principal: str) -> Response:
        """{name, email, account_id} -> {user_id}. Signing up again with the same is answered the same."""
        user_id = principal.partition(":")[2]
        fields = {name: request.body.get(name) for name in ("name", "email", "account_id")}
        missing = [name for name, value in fields.items() if not (isinstance(value, str) and value)]
        if missing:
            return Response(422, {"error": f"missing: {', '.join(missing)}"})

        def record(tx: Tx) -> int:
            known = tx.one("select name, email, account_id from users where user_id = :user", {"user": user_id})
            if known is not None:
                return 200 if dict(known) == fields else 409
            row = {"user_id": user_id, **fields, "created_at": tx.now, "deleted_at": None}
            audit.insert(tx, Context(ACTOR, user_id), "users", row, "signed up")
            return 201

        status = await self._ports.store.transact("users.sign_up", record)
        if status == 409:
            return Response(status, {"error": "already signed up, as somebody else"})
        return Response(status, {"user_id": user_id})

    async def _leave(self, request: Request, principal: str) -> Response:
        """Delete the caller's account -> {user_id}. Asking again is answered the same. What he has entered plays on:
        he gets a fee back only by asking for it first. A prize that is not on its way is no longer paid: it stays owed,
        on record as user_deleted."""
        user_id = principal.partition(":")[2]

        def delete(tx: Tx) -> int:
            user = tx.one("select deleted_at from users where user_id = :user", {"user": user_id})
            if user is None:
                return 404
            if user["deleted_at"] is None:
                ctx = Context(ACTOR, user_id)
                audit.update(
                    tx, ctx, "users", {"user_id": user_id}, {"deleted_at": tx.now}, "the customer asked for it"
                )
            return 200

        status = await self._ports.store.transact("users.leave", delete)
        return Response(status, {"user_id": user_id} if status == 200 else {"error": "unknown_user"})

    async def _enter(self, request: Request, principal: str) -> Response:
        """{contest_id, roster} -> {entry_id, intent_id}; 202 and no intent when the processor did not answer.

        Asking again for the same entry answers with what there is, so a customer whose answer was lost may do so.
        """
        user_id, contest_id = principal.partition(":")[2], str(request.body.get("contest_id", ""))
        roster: Any = request.body.get("roster")
        entry_id = self._ports.ids.new("entry", contest_id, user_id)
        key = self._ports.ids.new("key", "intent", entry_id)

        def begin(tx: Tx) -> Row | str:
            begun: Row | str
            contest = tx.one(_CONTEST_FOR_USER, {"contest": contest_id, "user": user_id})
            if contest is None:
                begun = "unknown_contest"
            elif contest["entry_id"] is None:
                begun = self._begin(tx, entry_id, contest_id, user_id, contest, roster, key)
            elif contest["entry_status"] in withdrawals.LEFT:
                begun = "entry_closed"
            elif contest["roster"] == audit.canonical(roster):
                begun = contest
            else:
                begun = "already_entered"
            if isinstance(begun, str):
                reason = f"{begun}: {user_id}"
                audit.append(tx, Context(ACTOR, contest_id), "refuse.entry", f"contests/{contest_id}", reason=reason)
            return begun

        begun = await self._ports.store.transact("entries.create", begin)
        if isinstance(begun, str):
            return Response(STATUS_OF_REFUSAL[begun], {"error": begun})
        intent_id = begun["intent_id"]
        if intent_id is None and begun["status"] == "CREATED":
            try:
                intent_id = await self._obtain_intent({**dict(begun), "contest_id": contest_id, "user_id": user_id})
            except PortError:
                self._ports.signals.notify("entries.intents")
        return Response(202 if intent_id is None else 201, {"entry_id": begun["entry_id"], "intent_id": intent_id})

    def _refusal(self, now: int, contest: Row, seats_taken: int, roster: Any) -> str | None:
        """Why this customer cannot enter, or None."""
        if not contest["is_user"]:
            return "unknown_user"
        if contest["contest_status"] != "SCHEDULED" or not contest["opens_at"] <= now < contest["lock_at"]:
            return "contest_not_open"
        if not (isinstance(roster, list | tuple) and all(isinstance(golfer, str) for golfer in roster)):
            return "bad_roster"
        if len(roster) != orjson.loads(contest["scoring"])["roster_size"] or len(set(roster)) != len(roster):
            return "bad_roster"
        if seats_taken >= contest["max_entries"]:
            return "contest_full"
        return None

    def _begin(
        self, tx: Tx, entry_id: str, contest_id: str, user_id: str, contest: Row, roster: Any, key: str
    ) -> Row | str:
        """The payment of the new entry, or why there is none."""
        seats_taken = seats.taken(tx, contest_id)
        refusal = self._refusal(tx.now, contest, seats_taken, roster)
        if refusal is not None:
            return refusal
        ctx = Context(ACTOR, entry_id)
        entry = {
            "entry_id": entry_id,
            "contest_id": contest_id,
            "user_id": user_id,
            "status": "PENDING_PAYMENT",
            "roster": audit.canonical(roster),
            "created_at": tx.now,
            "valid_at": None,
            "closed_at": None,
        }
        payment = {
            "entry_id": entry_id,
            "intent_id": None,
            "idempotency_key": key,
            "amount_cents": contest["fee_cents"],
            "status": "CREATED",
            "captured_at": None,
            "refunded_cents": 0,
            "created_at": tx.now,
        }
        audit.insert(tx, ctx, "entries", entry, f"entered by {user_id}")
        audit.insert(tx, ctx, "payments", payment, "fee of the entry")
        seats.take(tx, contest_id, seats_taken)
        payments.wake_waiting(tx)
        return payment

    async def _withdraw(self, request: Request, principal: str) -> Response:
        """{entry_id} -> {entry_id, status}: the fee back before the lock. Asking again is answered the same."""
        user_id, entry_id = principal.partition(":")[2], str(request.body.get("entry_id", ""))
        status, body = await self._ports.store.transact(
            "entries.withdraw", lambda tx: withdrawals.withdraw(tx, ACTOR, user_id, entry_id)
        )
        return Response(status, body)

    # --- intents ---------------------------------------------------------------------------------------------------

    async def _obtain_intent(self, payment: Mapping[str, Any]) -> str:
        """Have the processor create the intent of a payment, or give us the one that it has created under the same key.

        Raises PortError.
        """
        entry_id: str = payment["entry_id"]
        call = self._ports.processor.create_intent(
            amount_cents=payment["amount_cents"],
            metadata={"contest_id": payment["contest_id"], "entry_id": entry_id, "user_id": payment["user_id"]},
            idempotency_key=payment["idempotency_key"],
        )
        try:
            intent = await self._ports.runtime.deadline(call, self._config.processor_timeout_ms)
        except PortError as error:
            await self._unanswered("intents.create", f"payments/{entry_id}", payment["idempotency_key"], error)
            raise

        def keep(tx: Tx) -> str:
            key, changes = {"entry_id": entry_id}, {"intent_id": intent.id}
            try:
                audit.update(tx, Context(ACTOR, entry_id), "payments", key, changes, "intent created", _NO_INTENT)
            except LookupError:
                # A webhook was quicker.
                row = tx.one("select intent_id from payments where entry_id = :entry_id", key)
                assert row is not None, entry_id
                return str(row["intent_id"])
            return intent.id

        return await self._ports.store.transact("entries.intent", keep)

    async def _unanswered(self, operation: str, subject: str, key: str, error: PortError) -> None:
        """Put a call on record that may have had an effect which we know nothing of, or was refused."""
        ctx, code = Context(ACTOR, key), code_of(error)

        def append(tx: Tx) -> None:
            audit.append(tx, ctx, f"call.{operation}", subject, reason=code)

        await self._ports.store.transact("entries.unanswered", append)

    async def _intents_due(self) -> int | None:
        """When the oldest payment without an intent can no longer have its first request on the way."""

        def earliest(tx: Tx) -> int | None:
            row = tx.one(f"{_WITHOUT_INTENT} limit 1", {"now": tx.now})
            return None if row is None else row["created_at"] + self._config.processor_timeout_ms

        return await self._ports.store.transact("entries.intents_due", earliest)

    async def _retry_intents(self) -> None:
        since = self._ports.runtime.now() - self._config.processor_timeout_ms
        waiting = await self._ports.store.transact(
            "entries.without_intent",
            lambda tx: [dict(row) for row in tx.all(_WITHOUT_INTENT, {"now": tx.now}) if row["created_at"] <= since],
        )
        for payment in waiting:
            try:
                await self._obtain_intent(payment)
            except ProcessorError:
                continue
            except PortError:
                # Nobody is there: the next minute will do for all that are left.
                return

    # --- cancelling what was not paid ------------------------------------------------------------------------------

    async def _cancellations_due(self) -> int | None:
        def oldest(tx: Tx) -> tuple[int, int | None]:
            return tx.now, tx.tuples(_OLDEST_ABANDONED)[0][0]

        now, oldest_at = await self._ports.store.transact("entries.cancellations_due", oldest)
        self._orphaned_gauge.tell_of(oldest_at)
        return None if oldest_at is None else now

    async def _cancel_all(self) -> None:
        abandoned = await self._ports.store.transact("entries.abandoned", lambda tx: list(tx.all(_ABANDONED)))
        unreachable: list[PortError] = []
        await self._ports.runtime.gather(
            [self._cancel(row["entry_id"], row["intent_id"], unreachable) for row in abandoned], CONCURRENT
        )

    async def _cancel(self, entry_id: str, intent_id: str | None, unreachable: list[PortError]) -> None:
        """Cancel the intent of an abandoned entry at the processor, so that nobody pays for it any more."""
        if unreachable:
            return
        ctx, store = Context(ACTOR, entry_id), self._ports.store
        if intent_id is None:
            reason = "abandoned before an intent was known"
            await store.transact("entries.canceled", lambda tx: payments.cancel(tx, ctx, entry_id, reason))
            return
        try:
            intent = await self._canceled_intent(entry_id, intent_id)
        except ProcessorError:
            return
        except PortError as error:
            unreachable.append(error)
            return

        def conclude(tx: Tx) -> None:
            if intent.captured_at is not None:
                captured_at = payments.whole_seconds(intent.captured_at)
                payments.capture(tx, ctx, entry_id, intent.id, intent.amount_cents, captured_at)
            elif intent.status == "canceled":
                payments.cancel(tx, ctx, entry_id, "abandoned, and canceled at the processor")

        await store.transact("entries.canceled", conclude)

    async def _canceled_intent(self, entry_id: str, intent_id: str) -> Intent:
        """The intent once it is canceled; or as it is, when it cannot be canceled any more. Raises PortError."""
        processor, deadline = self._ports.processor, self._ports.runtime.deadline
        key = self._ports.ids.new("key", "cancel", entry_id)
        try:
            call = processor.cancel_intent(intent_id=intent_id, idempotency_key=key)
            return await deadline(call, self._config.processor_timeout_ms)
        except PortError as error:
            if code_of(error) != "payment_intent_unexpected_state":
                await self._unanswered("intents.cancel", f"payments/{entry_id}", key, error)
                raise
        return await deadline(processor.retrieve_intent(intent_id=intent_id), self._config.processor_timeout_ms)


# --- what the contest lifecycle does with entries -----------------------------------------------------------------


def post_lock(tx: Tx, ctx: Context, contest_id: str) -> None:
    """Move the fee of each VALID entry from its wallet into the contest's escrow, in one transaction."""
    rows = tx.all(
        "select e.user_id, p.amount_cents from entries e join payments p on p.entry_id = e.entry_id"
        " where e.contest_id = :contest and e.status = 'VALID' order by e.entry_id",
        {"contest": contest_id},
    )
    if not rows:
        return
    postings = [(ledger.wallet(row["user_id"]), row["amount_cents"]) for row in rows]
    postings.append((ledger.escrow(contest_id), -sum(cents for _, cents in postings)))
    ledger.post(tx, ctx, "lock", f"lock:{contest_id}", postings, "contest locked")


def abandon_unpaid(tx: Tx, ctx: Context, contest_id: str) -> list[str]:
    """End each entry that was not paid before the lock; its intent is canceled afterwards. Returns their ids."""
    rows = tx.all(
        "select entry_id from entries where contest_id = :contest and status = 'PENDING_PAYMENT' order by entry_id",
        {"contest": contest_id},
    )
    abandoned = [str(row["entry_id"]) for row in rows]
    for entry_id in abandoned:
        changes = {"status": "ABANDONED", "closed_at": tx.now}
        audit.update(tx, Context(ctx.actor, entry_id), "entries", {"entry_id": entry_id}, changes, "not paid at lock")
    if abandoned:
        tx.notify("entries.cancellations")
    return abandoned


def valid_count(tx: Tx, contest_id: str) -> int:
    row = tx.one(
        "select count(*) as entries from entries where contest_id = :contest and status = 'VALID'",
        {"contest": contest_id},
    )
    return 0 if row is None else int(row["entries"])


def refund_all(tx: Tx, ctx: Context, contest_id: str, reason: str) -> int:
    """Owe every VALID entry of a cancelled contest its money back. Returns how many refunds that makes.

    What was refunded before, outside the platform, is not refunded twice: it goes back to the wallet that it came from.
    """
    lock = f"lock:{contest_id}"
    locked = tx.one("select 1 from ledger_transactions where business_key = :lock", {"lock": lock}) is not None
    rows = tx.all(
        "select e.entry_id, e.user_id, p.intent_id, p.amount_cents, p.refunded_cents,"
        " exists (select 1 from ledger_transactions where business_key = :lock || ':' || e.entry_id) as locked_late"
        " from entries e join payments p on p.entry_id = e.entry_id"
        " where e.contest_id = :contest and e.status = 'VALID' order by e.entry_id",
        {"contest": contest_id, "lock": lock},
    )
    count = 0
    for row in rows:
        entry_id, wallet = row["entry_id"], ledger.wallet(row["user_id"])
        entry_ctx = Context(ctx.actor, entry_id)
        in_escrow = locked or row["locked_late"]
        source = ledger.escrow(contest_id) if in_escrow else wallet
        if in_escrow and row["refunded_cents"]:
            ledger.move(
                tx, entry_ctx, "unlock", f"unlock:{contest_id}:{entry_id}", debit=source, credit=wallet,
                cents=row["refunded_cents"], reason="refunded before, outside the platform",
            )  # fmt: skip
        left_cents = row["amount_cents"] - row["refunded_cents"]
        if left_cents > 0:
            refunds.owe(
                tx, entry_ctx, entry_id=entry_id, user_id=row["user_id"], intent_id=row["intent_id"],
                amount_cents=left_cents, source=source, reason=reason,
            )  # fmt: skip
            count += 1
        else:
            refunds.close_entry(tx, entry_ctx, entry_id)
    return count
