"""Ports for tests of the platform's money: an embedded store, a clock that stands until set, a processor to script.

Invariant: a fake answers at once and does nothing that it was not asked, so each test says what goes wrong and when.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from contest_platform import catalogue, ledger
from contest_platform.access import AccessControl
from contest_platform.app import App
from contest_platform.audit import Context
from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import (
    BalanceTransaction,
    DeadlineExceeded,
    Dispute,
    Intent,
    Introspection,
    PortError,
    Ports,
    ProcessorError,
    ProcessorEvent,
    Refund,
    ServiceUnavailable,
    Transfer,
)
from contest_platform.service import Config
from contest_platform.services.entries import EntriesService
from contest_platform.services.reconciliation import ReconciliationService
from contest_platform.services.refunds import RefundsService
from contest_platform.services.webhooks import WebhooksService
from contest_platform.store import sqlite
from tests.support.metrics import KeptMetrics

START = 1_767_571_200_000  # Monday 2026-01-05 00:00 UTC
LOCK_AT = START + 48 * HOUR_MS
SECRET, OLD_SECRET = "whsec_now", "whsec_before"
TOKEN_KEY = "a token key of thirty-two bytes!"
FEE_CENTS, CHARGE_FEE_CENTS, DISPUTE_FEE_CENTS = 2_000, 88, 1_500


class FakeRuntime:
    def __init__(self) -> None:
        self.at = START

    def now(self) -> int:
        return self.at

    async def sleep_until(self, at: int) -> None:
        self.at = max(self.at, at)

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        raise NotImplementedError

    async def deadline(self, call: Any, after_ms: int) -> Any:
        assert after_ms > 0
        return await call

    async def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> None:
        for call in calls:
            await call

    def cause(self) -> str:
        return "ev-1"


class FakeSignals:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def seen(self, topic: str) -> int:
        return self.counts.get(topic, 0)

    def notify(self, topic: str) -> None:
        self.counts[topic] = self.seen(topic) + 1

    async def wait(self, topic: str, seen: int, until: int | None) -> None:
        raise NotImplementedError


class FakeStore:
    """`fail_next[operation]` is how many transactions of that name are rolled back as if the database had gone away."""

    def __init__(self, runtime: FakeRuntime, signals: FakeSignals) -> None:
        self.connection = sqlite.connect()
        self._runtime, self._signals = runtime, signals
        self.fail_next: dict[str, int] = {}

    async def transact(self, operation: str, fn: Callable[[Any], Any]) -> Any:
        failing = self.fail_next.get(operation, 0)

        def run(tx: Any) -> Any:
            result = fn(tx)
            if failing:
                raise ServiceUnavailable(operation)
            return result

        if failing:
            self.fail_next[operation] = failing - 1
        result, tx = self.connection.transact(self._runtime.at, "ev-1", run)
        for topic in tx.topics:
            self._signals.notify(topic)
        return result


class FakeIds:
    def new(self, kind: str, *parts: str) -> str:
        return f"{kind}_{sha256('/'.join(parts).encode()).hexdigest()[:12]}"


class FakeEntropy:
    def below(self, n: int, site: str, *parts: str) -> int:
        return n - 1


class FakeAuth:
    """`silences`: how many of the next questions are not answered."""

    def __init__(self) -> None:
        self.answers: dict[str, Introspection | PortError] = {}
        self.silences = 0

    async def introspect(self, *, token_id: str) -> Introspection:
        if self.silences:
            self.silences -= 1
            raise DeadlineExceeded("auth.introspect")
        answer = self.answers.get(token_id, Introspection(False, "", "unknown"))
        if isinstance(answer, PortError):
            raise answer
        return answer


class FakeProcessor:
    """Remembers keys, makes events, keeps a balance. `troubles[operation]` scripts the next calls of an operation: each
    is (error, done): the error that the caller gets, and whether the work was done all the same."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime
        self.intents: dict[str, Intent] = {}
        self.refunds: list[Refund] = []
        self.transfers: list[Transfer] = []
        self.disputes: dict[str, Dispute] = {}
        self.events: list[ProcessorEvent] = []
        self.balance: list[BalanceTransaction] = []
        self.calls: list[tuple[str, str]] = []
        self.troubles: dict[str, list[tuple[Exception, bool]]] = {}
        self.before_answer: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {}
        self._saved: dict[str, Any] = {}

    # --- requests --------------------------------------------------------------------------------------------------

    async def _request(self, operation: str, key: str, work: Callable[[], Any]) -> Any:
        self.calls.append((operation, key))
        error, done = self.troubles[operation].pop(0) if self.troubles.get(operation) else (None, True)
        if done:
            if key not in self._saved:
                self._saved[key] = work()
            outcome = self._saved[key]
            if error is None and isinstance(outcome, Exception):
                raise outcome
        if error is not None:
            raise error
        if operation in self.before_answer:
            await self.before_answer.pop(operation)()
        return outcome

    async def create_intent(self, *, amount_cents: int, metadata: Any, idempotency_key: str) -> Intent:
        def work() -> Intent:
            intent = Intent(
                f"pi_{len(self.intents) + 1}", amount_cents, 0, "requires_payment_method", dict(metadata),
                self._runtime.at, None,
            )  # fmt: skip
            self.intents[intent.id] = intent
            return intent

        return await self._request("intents.create", idempotency_key, work)

    async def cancel_intent(self, *, intent_id: str, idempotency_key: str) -> Intent:
        def work() -> Intent | ProcessorError:
            intent = self.intents[intent_id]
            if intent.status != "requires_payment_method":
                return ProcessorError(400, "invalid_request_error", "payment_intent_unexpected_state", "not open")
            self.intents[intent_id] = replace(intent, status="canceled")
            return self.intents[intent_id]

        return await self._request("intents.cancel", idempotency_key, work)

    async def create_refund(self, *, intent_id: str, amount_cents: int, metadata: Any, idempotency_key: str) -> Refund:
        return await self._request(
            "refunds.create", idempotency_key, lambda: self.refund(intent_id, amount_cents, metadata)
        )

    async def create_transfer(self, **_: Any) -> Transfer:
        raise NotImplementedError

    async def _read(self, operation: str, answer: Any) -> Any:
        self.calls.append((operation, ""))
        if self.troubles.get(operation):
            raise self.troubles[operation].pop(0)[0]
        return answer

    async def list_transfers(self, *, transfer_group: str) -> list[Transfer]:
        return await self._read("transfers.list", [t for t in self.transfers if t.transfer_group == transfer_group])

    async def list_refunds(self, *, intent_id: str) -> list[Refund]:
        return await self._read("refunds.list", [r for r in self.refunds if r.intent_id == intent_id])

    async def list_intents(self, *, after: str | None, limit: int) -> list[Intent]:
        return await self._read("intents.list", _page(list(self.intents.values()), after, limit))

    async def retrieve_intent(self, *, intent_id: str) -> Intent:
        return await self._read("intents.retrieve", self.intents[intent_id])

    async def retrieve_dispute(self, *, dispute_id: str) -> Dispute:
        return await self._read("disputes.retrieve", self.disputes[dispute_id])

    async def list_events(self, *, after: str | None, limit: int) -> list[ProcessorEvent]:
        return await self._read("events.list", _page(self.events, after, limit))

    async def list_balance_transactions(self, *, after: str | None, limit: int) -> list[BalanceTransaction]:
        return await self._read("balance.list", _page(self.balance, after, limit))

    # --- what happens there ----------------------------------------------------------------------------------------

    def pay(self, intent_id: str, amount_cents: int | None = None) -> ProcessorEvent:
        """The customer pays now; the money is available two days later."""
        now, intent = self._runtime.at, self.intents[intent_id]
        amount = intent.amount_cents if amount_cents is None else amount_cents
        self.intents[intent_id] = replace(intent, status="succeeded", amount_cents=amount, captured_at=now)
        self.move("charge", intent_id, amount, CHARGE_FEE_CENTS, now + 48 * HOUR_MS)
        return self.event("payment_intent.succeeded", intent_object(self.intents[intent_id]))

    def refund(self, intent_id: str, amount_cents: int, metadata: Any) -> Refund:
        intent = self.intents[intent_id]
        refund = Refund(
            f"re_{len(self.refunds) + 1}", amount_cents, intent_id, "succeeded", dict(metadata), self._runtime.at
        )
        self.refunds.append(refund)
        total = intent.amount_refunded_cents + amount_cents
        assert total <= intent.amount_cents, "more went back than came in"
        self.intents[intent_id] = replace(intent, amount_refunded_cents=total)
        self.move("refund", refund.id, -amount_cents, 0, self._runtime.at)
        self.event("refund.created", refund_object(refund))
        self.event("charge.refunded", charge_object(self.intents[intent_id]))
        return refund

    def dispute(self, intent_id: str, status: str = "needs_response") -> str:
        """The bank disputes a payment: the money goes, unless it only asks (warning_…). Returns the dispute's id."""
        amount = self.intents[intent_id].amount_cents
        made = Dispute(f"dp_{len(self.disputes) + 1}", intent_id, amount, status, self._runtime.at, ())
        self.tell_dispute("created", made)
        if not status.startswith("warning"):
            taken = self.move("adjustment", made.id, -amount, DISPUTE_FEE_CENTS, self._runtime.at)
            self.tell_dispute("funds_withdrawn", replace(made, movements=(taken,)))
        return made.id

    def decide(self, dispute_id: str, status: str, fee_back_cents: int = 0) -> None:
        """The bank decides; a dispute that is won gives the money back."""
        made = replace(self.disputes[dispute_id], status=status)
        if status == "won":
            back = self.move("adjustment", made.id, made.amount_cents, -fee_back_cents, self._runtime.at)
            made = replace(made, movements=(*made.movements, back))
            self.tell_dispute("funds_reinstated", made)
        self.tell_dispute("closed", made)

    def tell_dispute(self, what: str, dispute: Dispute) -> ProcessorEvent:
        self.disputes[dispute.id] = dispute
        return self.event(f"charge.dispute.{what}", dispute_object(dispute))

    def move(
        self, kind: str, source_id: str, amount_cents: int, fee_cents: int, available_at: int
    ) -> BalanceTransaction:
        moved = BalanceTransaction(
            f"txn_{len(self.balance) + 1}",
            kind,
            source_id,
            amount_cents,
            fee_cents,
            amount_cents - fee_cents,
            self._runtime.at,
            available_at,
        )
        self.balance.append(moved)
        return moved

    def event(self, type: str, snapshot: dict[str, Any]) -> ProcessorEvent:
        event_id, at = f"evt_{len(self.events) + 1}", self._runtime.at
        body = {"id": event_id, "object": "event", "type": type, "created": at // 1000, "data": {"object": snapshot}}
        made = ProcessorEvent(event_id, type, at, body)
        self.events.append(made)
        return made


def _page(items: list[Any], after: str | None, limit: int) -> list[Any]:
    first = 0 if after is None else next(n for n, item in enumerate(items, 1) if item.id == after)
    return items[first : first + limit]


def intent_object(intent: Intent) -> dict[str, Any]:
    received = intent.amount_cents if intent.captured_at is not None else 0
    return {"id": intent.id, "amount_received": received, "metadata": dict(intent.metadata), "status": intent.status}


def refund_object(refund: Refund) -> dict[str, Any]:
    return {
        "id": refund.id, "amount": refund.amount_cents, "payment_intent": refund.intent_id, "status": refund.status,
        "metadata": dict(refund.metadata),
    }  # fmt: skip


def charge_object(intent: Intent) -> dict[str, Any]:
    return {
        "id": intent.id.replace("pi", "ch"), "payment_intent": intent.id, "amount": intent.amount_cents,
        "amount_refunded": intent.amount_refunded_cents, "metadata": dict(intent.metadata),
    }  # fmt: skip


def dispute_object(dispute: Dispute) -> dict[str, Any]:
    movements = [
        {
            "id": moved.id, "type": moved.kind, "source": moved.source_id, "amount": moved.amount_cents,
            "fee": moved.fee_cents, "net": moved.net_cents, "created": moved.created_at // 1000,
            "available_on": moved.available_at // 1000,
        }
        for moved in dispute.movements
    ]  # fmt: skip
    return {
        "id": dispute.id, "payment_intent": dispute.intent_id, "charge": dispute.intent_id.replace("pi", "ch"),
        "amount": dispute.amount_cents, "status": dispute.status, "created": dispute.created_at // 1000,
        "metadata": {}, "balance_transactions": movements,
    }  # fmt: skip


def token(principal: str, *, key: str = TOKEN_KEY, now: int = START, life_s: int = 30 * 86_400, **more: Any) -> str:
    """A token as the identity provider signs it."""
    claims = {"sub": principal, "jti": f"tok-{principal}", "iat": now // 1000, "exp": now // 1000 + life_s, **more}
    signed = ".".join(_b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_b64(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(raw: bytes, at: int, *secrets: str) -> str:
    seconds = at // 1000
    signed = [hmac.digest(secret.encode(), b"%d.%b" % (seconds, raw), "sha256").hex() for secret in secrets]
    return ",".join([f"t={seconds}", *(f"v1={one}" for one in signed)])


class Platform:
    """The services of the money, built on the fakes, with one contest on offer. Start over with `restart`."""

    def __init__(self) -> None:
        self.runtime, self.signals, self.auth = FakeRuntime(), FakeSignals(), FakeAuth()
        self.store = FakeStore(self.runtime, self.signals)
        self.processor, self.metrics = FakeProcessor(self.runtime), KeptMetrics()
        unused: Any = None
        self.ports = Ports(
            self.runtime, self.signals, self.store, FakeIds(), FakeEntropy(), self.processor, unused, unused, self.auth,
            unused, unused, self.metrics, unused,
        )  # fmt: skip
        self.config = Config(webhook_secrets=(SECRET, OLD_SECRET), token_key=TOKEN_KEY, hosts={})
        self.restart()
        self.list_contest("c1")

    def restart(self) -> None:
        """A new incarnation: whatever was only in memory is gone."""
        services = [make(self.ports, self.config) for make in
                    (EntriesService, WebhooksService, ReconciliationService, RefundsService)]  # fmt: skip
        self.app = App(self.ports, self.config, services)
        self.access = AccessControl(self.ports, self.config)
        self.jobs = {job.name: job for service in services for job in service.jobs()}

    def list_contest(self, contest_id: str, **more: Any) -> None:
        contest = {
            "contest_id": contest_id, "tournament_id": "t1", "name": "Open", "fee_cents": FEE_CENTS, "rake_bp": 1_000,
            "prize_shares_bp": [10_000],
            "scoring": {"kind": "strokes", "roster_size": 2, "counting": 1, "missed_round_penalty": 2},
            "min_entries": 1, "max_entries": 3, "opens_at": START, "lock_at": LOCK_AT, "start_at": LOCK_AT + HOUR_MS,
            "end_at": LOCK_AT + 96 * HOUR_MS, "hold_s": 86_400, **more,
        }  # fmt: skip
        self.write(lambda tx: catalogue.create_contest(tx, Context(catalogue.ACTOR, "release"), contest))

    # --- driving ---------------------------------------------------------------------------------------------------

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns. No port here ever waits, so it runs through without a loop."""
        try:
            coro.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("a fake port waited")

    def write(self, fn: Callable[[Any], Any]) -> Any:
        return self.run(self.store.transact("test", fn))

    def due(self, name: str) -> int | None:
        return self.run(self.jobs[name].due())

    def work(self, name: str) -> None:
        """Let a job work, which must have something to do now."""
        due = self.due(name)
        assert due is not None, f"{name} is not due"
        assert due <= self.runtime.at, f"{name} is due in {due - self.runtime.at} ms"
        self.run(self.jobs[name].work())

    def call(self, method: str, path: str, principal: str, body: Any = None, **headers: str) -> Response:
        request = Request(method, path, {"Authorization": f"Bearer {token(principal)}", **headers}, body or {})
        return self.run(self.app.handle(request))

    def sign_up(self, user_id: str) -> Response:
        body = {"name": user_id.title(), "email": f"{user_id}@example.org", "account_id": f"acct_{user_id}"}
        return self.call("POST", "/api/users", f"customer:{user_id}", body)

    def enter(self, user_id: str = "ann", contest_id: str = "c1", roster: Any = ("g1", "g2")) -> Response:
        body = {"contest_id": contest_id, "roster": list(roster) if isinstance(roster, tuple) else roster}
        return self.call("POST", "/api/entries", f"customer:{user_id}", body)

    def entered(self, user_id: str = "ann", contest_id: str = "c1") -> tuple[str, str]:
        """(entry_id, intent_id) of a new entry of a new customer."""
        self.sign_up(user_id)
        response = self.enter(user_id, contest_id)
        assert response.status == 201, response
        return response.body["entry_id"], response.body["intent_id"]

    def deliver(self, event: ProcessorEvent, **changed: Any) -> Response:
        raw = json.dumps({**event.body, **changed}).encode()
        return self.run(self.app.handle(self.webhook(raw, signature(raw, self.runtime.at, SECRET))))

    def webhook(self, raw: bytes, signed: str) -> Request:
        return Request("POST", "/webhooks/processor", {"stripe-signature": signed}, raw=raw)

    # --- looking ---------------------------------------------------------------------------------------------------

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return sqlite.query(self.store.connection, sql, params)

    def row(self, table: str, **where: Any) -> dict[str, Any]:
        clause = " and ".join(f"{name} = ?" for name in where)
        found = self.rows(f"select * from {table} where {clause}", *where.values())
        assert len(found) == 1, (table, where, found)
        return found[0]

    def balances(self) -> dict[str, int]:
        """Every account that is not empty; all of them together make zero."""
        rows = self.rows("select account, sum(amount_cents) as cents from ledger_postings group by account")
        assert sum(row["cents"] for row in rows) == 0
        return {row["account"]: row["cents"] for row in rows if row["cents"]}

    def statuses(self) -> list[str]:
        return [row["status"] for row in self.rows("select status from webhook_inbox order by event_id")]

    def audited(self, action: str) -> list[dict[str, Any]]:
        return self.rows("select * from audit_log where action = ? order by seq", action)


WALLET, ESCROW, OWED = ledger.wallet("ann"), ledger.escrow("c1"), ledger.refund_payable("ann")
