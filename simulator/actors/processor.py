"""The payment processor: a small, faithful Stripe that answers requests at once and keeps its own books.

Invariant: a request either leaves its whole effect (object, balance, event, book rows) or none, and one row either way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from contest_platform.ports import Dispute, Intent, ProcessorError, ProcessorEvent, Refund, Transfer
from simulator.actors.attacker import Attacker
from simulator.actors.context import World
from simulator.actors.dashboard import Dashboard
from simulator.actors.processor_answers import CLOSED_TO_TRANSFERS, UNSAVED_STATUSES, error_of, refusal, validate
from simulator.actors.processor_disputes import Disputes
from simulator.actors.processor_holdings import Balance, Shelf, fee_cents
from simulator.actors.processor_objects import Announcement, EventRecord, encode, event
from simulator.actors.processor_webhooks import PLATFORM_ENDPOINT, Webhooks, is_subscribed

DAY_MS = 86_400_000
KEY_LIFE_MS = DAY_MS
"""Idempotency keys are kept for 24 h and then pruned: the same key afterwards is a new request."""
KEY_CHARS_MAX = 255
CHARGE_AVAILABLE_DAYS = 2
"""A charge can be transferred from 00:00 UTC of this many days after its capture."""
EVENTS_LISTED_DAYS = 30
"""Events older than this are not listed any more (docs.stripe.com/api/events)."""


class _Saved(NamedTuple):
    """What a key remembers: the first request that began to execute under it, and its outcome."""

    operation: str
    request_hash: str
    born_at: int
    outcome: Any


def entity_of(metadata: Mapping[str, str]) -> str:
    """Whom an object is about: "contest_id/user_id" of its metadata, or the one of them that it has."""
    contest_id, user_id = metadata.get("contest_id"), metadata.get("user_id")
    return f"{contest_id}/{user_id}" if contest_id and user_id else contest_id or user_id or ""


def _request_hash(params: Mapping[str, Any]) -> str:
    """SHA-256 of the parameters as compact JSON with sorted keys: a caller can compute it too, and compare."""
    return sha256(encode(params)).hexdigest()


class ProcessorActor:
    """`opening_balance_cents` is topped up before the run and available at once.

    `destination_problems` maps a connected account to the error code with which transfers to it are refused.
    Refunds succeed at once and may take the available balance below zero; charges are never declined.
    """

    def __init__(
        self,
        world: World,
        *,
        opening_balance_cents: int,
        webhook_secret: str,
        webhook_path: str = "/webhooks/processor",
    ) -> None:
        self._world = world
        self.attacker = Attacker(world, webhook_path)
        self._webhooks = Webhooks(world, webhook_secret, webhook_path, self.attacker, self._twin)
        self._requests, self._events_book = world.books["processor.requests"], world.books["processor.events"]
        self._intents: Shelf[Intent] = Shelf()
        self._transfers: Shelf[Transfer] = Shelf()
        self._refunds: Shelf[Refund] = Shelf()
        self._events: Shelf[EventRecord] = Shelf()
        self._groups: dict[str, list[Transfer]] = {}
        self._refunds_of: dict[str, list[Refund]] = {}
        self._callers: dict[str, str] = {}
        self._saved: OrderedDict[str, _Saved] = OrderedDict()
        self._in_flight: set[str] = set()
        self._outbox: list[Announcement] = []
        self.balance = Balance(world.books["processor.balance"])
        self._disputes = Disputes(world, self.balance, self._new_id, self._outbox.append)
        self.destination_problems: dict[str, str] = {}
        self._reads: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "intents.retrieve": lambda params: self._intents.find(params["intent"]),
            "intents.list": lambda params: self._intents.page(params["after"], params["limit"]),
            "transfers.list": lambda params: list(self._groups.get(params["transfer_group"], ())),
            "refunds.list": lambda params: list(self._refunds_of.get(params["intent"], ())),
            "disputes.retrieve": lambda params: self._disputes.find(params["dispute"]),
            "events.list": self._list_events,
            "balance.list": lambda params: self.balance.movements.page(params["after"], params["limit"]),
        }
        self._effects: dict[str, Callable[[Mapping[str, Any], str, str], Any]] = {
            "intents.create": self._create_intent,
            "intents.cancel": self._cancel_intent,
            "intents.confirm": self._confirm_intent,
            "transfers.create": self._create_transfer,
            "refunds.create": self._create_refund,
            "webhook_endpoints.create": self._webhooks.create_endpoint,
            "webhook_endpoints.update": self._webhooks.update_endpoint,
        }
        self.dashboard = Dashboard(self, self._payment_about, PLATFORM_ENDPOINT)
        if opening_balance_cents:
            now = world.runtime.now()
            self.balance.post("topup", self._new_id("tu", {}, "opening"), opening_balance_cents, 0, now, now)

    # --- requests ------------------------------------------------------------------------------------------------

    def handle(
        self,
        caller: str,
        operation: str,
        params: Mapping[str, Any],
        idempotency_key: str | None,
        entity: str,
        *,
        answered: bool = True,
        fails: ProcessorError | None = None,
    ) -> Any:
        """Do one request and return its object or list. Raises ProcessorError.

        `answered` is False when the network is about to lose the answer; `fails` is said in the place of what execution
        comes to, once it has been done. An outcome of execution, an error too, is saved under the key and replayed for
        24 h; a parameter that does not validate is not.
        """
        if operation in self._reads:
            return self._read(caller, operation, params, entity, answered)
        key, now = idempotency_key, self._world.runtime.now()
        request_hash = _request_hash(params)
        replayed = False
        outcome: Any
        try:
            saved = self._remembered(key, now)
            if key in self._in_flight:
                raise error_of(409, "idempotency_key_in_use")
            if saved is None:
                validate(operation, params)
                outcome = self._execute(caller, operation, params, key)
                outcome = outcome if fails is None else fails
                if key is not None:
                    self._saved[key] = _Saved(operation, request_hash, now, outcome)
            elif (saved.operation, saved.request_hash) == (operation, request_hash):
                outcome, replayed = saved.outcome, True
            else:
                raise error_of(400, "idempotency_error")
        except ProcessorError as error:
            outcome = error
        self._note(caller, operation, key, request_hash, replayed, outcome, entity, answered)
        self._publish(key)
        return _unwrap(outcome)

    def refuse(
        self,
        caller: str,
        operation: str,
        params: Mapping[str, Any],
        idempotency_key: str | None,
        entity: str,
        *,
        status: int,
        code: str,
    ) -> ProcessorError:
        """Answer with an error and do nothing else. The key remembers it, unless it came before execution.

        That the key was used for another request means that it has been, by whomever: it remembers that one. An account
        to which no transfer can be made stays so.
        """
        error = error_of(status, code or None)
        request_hash = _request_hash(params) if operation in self._effects else None
        if request_hash is not None and idempotency_key is not None and status not in UNSAVED_STATUSES:
            now = self._world.runtime.now()
            if self._remembered(idempotency_key, now) is None:
                hash_of_first = "" if error.type == "idempotency_error" else request_hash
                self._saved[idempotency_key] = _Saved(operation, hash_of_first, now, error)
            if operation == "transfers.create" and code in CLOSED_TO_TRANSFERS:
                self.destination_problems[params["destination"]] = code
        self._note(caller, operation, idempotency_key, request_hash, False, error, entity, True)
        return error

    def has_answered(self, key: str | None, status: int) -> bool:
        """Whether the key holds an outcome that comes before an answer of `status` could: only what is said before a
        request begins to execute comes before that (docs.stripe.com/error-low-level)."""
        return status not in UNSAVED_STATUSES and self._remembered(key, self._world.runtime.now()) is not None

    @contextmanager
    def at_work(self, key: str | None) -> Iterator[None]:
        """While a request under `key` takes its time, another under the same key is refused (409)."""
        if key is None:
            yield
            return
        self._in_flight.add(key)
        yield
        self._in_flight.discard(key)

    def transfers_made(self, contest_id: str) -> int:
        """How many transfers have been made for a contest."""
        return len(self._groups.get(contest_id, ()))

    def reverse_transfer(self, contest_id: str, n: int) -> int:
        """Take back the n-th transfer of a contest from the account that got it, in full (Transfer Reversals, Stripe
        API reference: the money comes out of the destination's balance). Returns the number of the row in
        processor.balance. Raises LookupError when there is no such transfer, or it was taken back before."""
        made = self._groups.get(contest_id, ())
        if n > len(made):
            raise LookupError(f"{contest_id} has {len(made)} transfers")
        moved = self._transfers.find(made[n - 1].id)
        if moved.amount_reversed_cents:
            raise LookupError(f"{moved.id} was reversed before")
        now = self._world.runtime.now()
        taken = self._transfers.put(replace(moved, amount_reversed_cents=moved.amount_cents))
        self._groups[contest_id][n - 1] = taken
        reversal_id = self._new_id("trr", {}, moved.id)
        self.balance.post("transfer_reversal", reversal_id, moved.amount_cents, 0, now, now)
        self._outbox.append(("transfer.reversed", taken, taken.id, {"amount_reversed": 0, "reversed": False}))
        self._publish(None)
        return self.balance.rows

    def roll_secret(self, entity: str, secret: str) -> None:
        """Replace the signing secret of the webhook endpoint."""
        self._webhooks.roll_secret(secret)
        self._world.record("processor", "webhook.secret_rolled", entity)

    def intent_about(self, entity: str) -> Intent | None:
        """The first intent about "contest_id/user_id"; None where another fault has kept it from being made."""
        return next((intent for intent in self._intents.items if entity_of(intent.metadata) == entity), None)

    def open_dispute(self, intent_id: str) -> str:
        """The bank of whoever paid `intent_id` takes the money back. Returns the dispute's id.

        Raises ProcessorError (no such intent), or ValueError when there is nothing (more) to dispute.
        """
        opened = self._disputes.open(self._intents.find(intent_id))
        self._publish(None)
        return opened.id

    def dispute_about(self, intent_id: str) -> str | None:
        """The id of the dispute about an intent; None when there is none."""
        return self._disputes.id_of(intent_id)

    def close_dispute(self, dispute_id: str, won: bool) -> None:
        """The bank decides: `won` gives the amount back, without the fee. Raises ProcessorError, or ValueError when it
        has decided already."""
        self._disputes.close(dispute_id, won)
        self._publish(None)

    @property
    def requests(self) -> int:
        """How many requests there have been: the number of the last row in processor.requests."""
        return self._requests.count

    def _payment_about(self, entity: str) -> str:
        """The payment of "contest_id/user_id"; "" where there is none."""
        return next((intent.id for intent in self._intents.items if entity_of(intent.metadata) == entity), "")

    def entity_of_intent(self, intent_id: str) -> str:
        """Whom an intent is about; "" when there is no such intent."""
        place = self._intents.places.get(intent_id)
        return "" if place is None else entity_of(self._intents.items[place].metadata)

    def close_books(self) -> None:
        """Write the books that hold the state at the end of the run: intents, transfers, refunds, disputes."""
        books = self._world.books
        books["processor.intents"].extend(
            (i.id, i.amount_cents, i.amount_refunded_cents, i.status, i.metadata.get("contest_id"),
             i.metadata.get("entry_id"), i.metadata.get("user_id"), i.created_at, i.captured_at)
            for i in self._intents.items
        )  # fmt: skip
        books["processor.transfers"].extend(
            (t.id, t.amount_cents, t.amount_reversed_cents, t.destination, t.transfer_group,
             t.metadata.get("contest_id"), t.metadata.get("entry_id"), t.metadata.get("user_id"), self._callers[t.id],
             t.created_at)
            for t in self._transfers.items
        )  # fmt: skip
        books["processor.refunds"].extend(
            (r.id, r.intent_id, r.amount_cents, r.status, r.metadata.get("entry_id"), self._callers[r.id], r.created_at)
            for r in self._refunds.items
        )
        self._disputes.close_book(self._intents.find)

    def _read(self, caller: str, operation: str, params: Mapping[str, Any], entity: str, answered: bool) -> Any:
        outcome: Any
        try:
            validate(operation, params)
            outcome = self._reads[operation](params)
        except ProcessorError as error:
            outcome = error
        self._note(caller, operation, None, None, False, outcome, entity, answered)
        return _unwrap(outcome)

    def _execute(self, caller: str, operation: str, params: Mapping[str, Any], key: str | None) -> Any:
        """The object made or changed, or the ProcessorError: as a value, for a key remembers either."""
        try:
            return self._effects[operation](params, caller, key or caller)
        except ProcessorError as error:
            return error

    def _remembered(self, key: str | None, now: int) -> _Saved | None:
        if key is None:
            return None
        if not 0 < len(key) <= KEY_CHARS_MAX:
            raise error_of(400, None, f"Idempotency keys hold 1 to {KEY_CHARS_MAX} characters.")
        saved = self._saved
        # The keys to prune stand first; a plain dictionary would look for its first through all that were deleted.
        while saved and now - next(iter(saved.values())).born_at >= KEY_LIFE_MS:
            del saved[next(iter(saved))]
        return saved.get(key)

    def _note(
        self,
        caller: str,
        operation: str,
        key: str | None,
        request_hash: str | None,
        replayed: bool,
        outcome: Any,
        entity: str,
        answered: bool,
    ) -> None:
        """One row per request, one journal event per request that could have an effect or that failed.

        The row's error code is Stripe's error.code, or the error's type where it has none.
        """
        if isinstance(outcome, ProcessorError):
            status, code, object_id = outcome.status, outcome.error_code or outcome.type, None
        else:
            status, code, object_id = 200, None, None if isinstance(outcome, list) else outcome.id
        now = self._world.runtime.now()
        self._requests.note(
            now, caller, operation, key, request_hash, replayed, status, code, object_id, entity, answered
        )
        if operation in self._effects or code is not None:
            self._world.record(
                "processor", operation, object_id or entity,
                caller=caller, key=key, status=status, code=code, replayed=replayed, answered=answered,
            )  # fmt: skip

    # --- operations: each checks everything before it changes anything -----------------------------------------------

    def _create_intent(self, params: Mapping[str, Any], caller: str, key: str) -> Intent:
        intent_id = self._new_id("pi", self._intents.places, key)
        now = self._world.runtime.now()
        metadata = dict(params["metadata"])
        return self._intents.put(
            Intent(intent_id, params["amount_cents"], 0, "requires_payment_method", metadata, now, None)
        )

    def _cancel_intent(self, params: Mapping[str, Any], caller: str, key: str) -> Intent:
        intent = self._open_intent(params["intent"])
        canceled = self._intents.put(replace(intent, status="canceled"))
        self._outbox.append(("payment_intent.canceled", canceled, intent.id, None))
        return canceled

    def _confirm_intent(self, params: Mapping[str, Any], caller: str, key: str) -> Intent:
        intent = self._open_intent(params["intent"])
        now = self._world.runtime.now()
        captured = self._intents.put(replace(intent, status="succeeded", captured_at=now))
        available_at = (now // DAY_MS + CHARGE_AVAILABLE_DAYS) * DAY_MS
        amount = intent.amount_cents
        self.balance.post("charge", intent.id, amount, fee_cents(amount), now, available_at)
        self._outbox.append(("payment_intent.succeeded", captured, intent.id, None))
        return captured

    def _open_intent(self, intent_id: str) -> Intent:
        intent = self._intents.find(intent_id)
        if intent.status != "requires_payment_method":
            raise refusal("payment_intent_unexpected_state", f"The PaymentIntent {intent.id} is {intent.status}.")
        return intent

    def _create_transfer(self, params: Mapping[str, Any], caller: str, key: str) -> Transfer:
        amount, destination, group = params["amount_cents"], params["destination"], params["transfer_group"]
        now = self._world.runtime.now()
        problem = self.destination_problems.get(destination)
        if problem is not None:
            raise refusal(problem)
        if amount > self.balance.available_cents(now):
            raise refusal("balance_insufficient")
        transfer_id = self._new_id("tr", self._transfers.places, key)
        made = self._transfers.put(Transfer(transfer_id, amount, 0, destination, group, dict(params["metadata"]), now))
        self._groups.setdefault(group, []).append(made)
        self._callers[made.id] = caller
        self.balance.post("transfer", made.id, -amount, 0, now, now)
        self._outbox.append(("transfer.created", made, made.id, None))
        return made

    def _create_refund(self, params: Mapping[str, Any], caller: str, key: str) -> Refund:
        intent, amount = self._intents.find(params["intent"]), params["amount_cents"]
        if intent.captured_at is None:
            message = f"This PaymentIntent ({intent.id}) does not have a successful charge to refund."
            raise error_of(400, None, message)
        if self._disputes.has_charge_back(intent.id):
            raise refusal("charge_disputed")
        left_cents = intent.amount_cents - intent.amount_refunded_cents
        if left_cents == 0:
            raise refusal("charge_already_refunded")
        if amount > left_cents:
            message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left_cents})."
            raise error_of(400, None, message)
        now = self._world.runtime.now()
        refund_id = self._new_id("re", self._refunds.places, key)
        made = self._refunds.put(Refund(refund_id, amount, intent.id, "succeeded", dict(params["metadata"]), now))
        before_cents = intent.amount_refunded_cents
        refunded = self._intents.put(replace(intent, amount_refunded_cents=before_cents + amount))
        self._refunds_of.setdefault(intent.id, []).append(made)
        self._callers[made.id] = caller
        self.balance.post("refund", made.id, -amount, 0, now, now)
        self._outbox.append(("refund.created", made, made.id, None))
        self._outbox.append(("charge.refunded", refunded, made.id, {"amount_refunded": before_cents}))
        return made

    def _list_events(self, params: Mapping[str, Any]) -> list[ProcessorEvent]:
        since = self._world.runtime.now() - EVENTS_LISTED_DAYS * DAY_MS
        first = bisect_left(self._events.items, since, key=lambda record: record.created_at)
        page = self._events.page(params["after"], params["limit"], first)
        return [ProcessorEvent(record.id, record.type, record.created_at, event(record)) for record in page]

    def _twin(self, event_id: str) -> tuple[str, bytes]:
        """A second event of the change that this one tells of: its id and body."""
        told = self._events.find(event_id)
        twin = told._replace(id=self._new_id("evt", self._events.places, "twin", event_id))
        return twin.id, self._keep(twin)

    # --- ids and events ------------------------------------------------------------------------------------------

    def _new_id(self, prefix: str, taken: Mapping[str, int], *parts: str) -> str:
        """A keyed draw. The same request executed again, its key having been pruned, is the next occurrence."""
        draws, occurrence = self._world.draws, 1
        while (object_id := f"{prefix}_{draws.hex('processor.id', prefix, *parts, occurrence)}") in taken:
            occurrence += 1
        return object_id

    def _publish(self, key: str | None) -> None:
        """Create the events of what has just been done, and have those that are subscribed to delivered."""
        world = self._world
        now = world.runtime.now()
        for kind, snapshot, source_id, previous in self._outbox:
            event_id = self._new_id("evt", self._events.places, kind, source_id)
            raw = self._keep(EventRecord(event_id, kind, now, snapshot, key, previous))
            if is_subscribed(kind):
                about = self._intents.find(snapshot.intent_id) if isinstance(snapshot, Dispute) else snapshot
                self._webhooks.send(event_id, raw, entity_of(about.metadata))
        self._outbox.clear()

    def _keep(self, record: EventRecord) -> bytes:
        """Put an event on the list and into the book. Returns its body."""
        self._events.put(record)
        body = event(record)
        raw, object_id = encode(body), body["data"]["object"]["id"]
        self._events_book.note(record.id, record.type, object_id, record.created_at, raw.decode())
        self._world.record("processor", "event.created", record.id, type=record.type, object=object_id)
        return raw


def _unwrap(outcome: Any) -> Any:
    if isinstance(outcome, ProcessorError):
        raise ProcessorError(*outcome.args)
    return outcome
