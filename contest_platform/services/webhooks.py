"""Events of the payment processor: verified, applied once, and kept until our own books have what they tell of.

Invariant: an event's effect and its row in `webhook_inbox` are one transaction, whether it was delivered or listed.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from contest_platform import audit, checkpoints, ledger
from contest_platform.access import header
from contest_platform.audit import Context
from contest_platform.http import Request, Response
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import Ports, ProcessorEvent, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import disputes, payments, refunds, undelivered
from contest_platform.services.payments import WAITING_NOTES
from contest_platform.services.undelivered import GIVEN_UP_MS
from contest_platform.signing import signer

ACTOR = "system:payments"
TOLERANCE_MS = 300_000
"""How far a signature's time may be from now, either way (docs.stripe.com/webhooks; the SDK checks the past only)."""

APPLIED, WAITING, IGNORED, DUPLICATE = "APPLIED", "WAITING", "IGNORED", "DUPLICATE"


@dataclass(frozen=True, slots=True)
class Event:
    """A processor event. `object` is the snapshot that it carries, `created_at` falls on a whole second."""

    id: str
    type: str
    created_at: int
    object: Mapping[str, Any]


def of_body(body: Mapping[str, Any]) -> Event:
    """The event of a webhook's JSON. Raises KeyError or TypeError when it is none."""
    snapshot = body["data"]["object"]
    event = Event(str(body["id"]), str(body["type"]), int(body["created"]) * 1000, snapshot)
    str(snapshot["id"])
    return event


def of_listing(listed: ProcessorEvent) -> Event:
    return Event(listed.id, listed.type, payments.whole_seconds(listed.created_at), listed.body["data"]["object"])


# --- effects: what an event of a type changes, and what makes that change distinct --------------------------------


def _metadata(event: Event) -> Mapping[str, str]:
    """What we wrote on the object when we made it; the API may give null for nothing."""
    return event.object.get("metadata") or {}


def _captured(tx: Tx, ctx: Context, event: Event) -> str:
    intent = event.object
    entry_id = payments.entry_of(tx, _metadata(event).get("entry_id"), intent["id"])
    if entry_id is None:
        return WAITING
    payments.capture(tx, ctx, entry_id, intent["id"], intent["amount_received"], event.created_at)
    return APPLIED


def _canceled(tx: Tx, ctx: Context, event: Event) -> str:
    intent = event.object
    entry_id = payments.entry_of(tx, _metadata(event).get("entry_id"), intent["id"])
    if entry_id is None:
        return WAITING
    payments.cancel(tx, ctx, entry_id, "canceled at the processor")
    return APPLIED


def _charge_refunded(tx: Tx, ctx: Context, event: Event) -> str:
    """Tells how much of a charge has gone back in all, not by which refund."""
    intent_id, total_cents = event.object["payment_intent"], event.object["amount_refunded"]
    entry_id = payments.entry_of(tx, _metadata(event).get("entry_id"), intent_id)
    if entry_id is None or not refunds.captured_cents(tx, intent_id):
        return WAITING
    ours = tx.all("select * from refunds where intent_id = :intent order by refund_id", {"intent": intent_id})
    unknown_cents = total_cents - sum(row["amount_cents"] for row in ours if row["status"] != "FAILED_TERMINAL")
    if unknown_cents > 0:
        refunds.made_elsewhere(tx, ctx, entry_id, intent_id, unknown_cents, f"{intent_id}_{total_cents}", None,
                               event.created_at)  # fmt: skip
    for row in ours:
        if row["status"] == "PENDING" and row["next_attempt_at"] > tx.now:
            # It may be this one, with its answer lost: the same request again will tell.
            changes = {"next_attempt_at": tx.now}
            audit.update(tx, ctx, "refunds", {"refund_id": row["refund_id"]}, changes, "the processor tells of one")
            tx.notify("refunds")
    return APPLIED


def _refund_changed(tx: Tx, ctx: Context, event: Event) -> str:
    refund = event.object
    intent_id, status = refund["payment_intent"], refund["status"]
    ours = tx.all("select * from refunds where intent_id = :intent order by refund_id", {"intent": intent_id})
    named = _metadata(event).get("refund_id")
    row = next((row for row in ours if refund["id"] == row["processor_refund_id"] or named == row["refund_id"]), None)
    if row is None:
        entry_id = payments.entry_of(tx, _metadata(event).get("entry_id"), intent_id)
        if entry_id is None or not refunds.captured_cents(tx, intent_id):
            return WAITING
        if status != "succeeded":
            return IGNORED
        # Made in the dashboard; the charge may have told of it first, without its id.
        row = next((row for row in ours if row["status"] == "DONE" and row["processor_refund_id"] is None
                    and row["amount_cents"] == refund["amount"]), None)  # fmt: skip
        if row is None:
            refunds.made_elsewhere(tx, ctx, entry_id, intent_id, refund["amount"], refund["id"], refund["id"],
                                   event.created_at)  # fmt: skip
            return APPLIED
        changes = {"processor_refund_id": refund["id"]}
        audit.update(tx, ctx, "refunds", {"refund_id": row["refund_id"]}, changes, "its id is known now")
    elif status == "succeeded":
        refunds.confirm(tx, ctx, row["refund_id"], refund["id"])
    elif status in refunds.ENDED_BADLY:
        if row["status"] == "DONE":
            audit.append(tx, ctx, "refuse.refund_event", f"refunds/{row['refund_id']}", after={"status": status},
                         reason="done already, and the processor takes it back")  # fmt: skip
        refunds.fail(tx, ctx, row["refund_id"], f"refund_{status}")
    return APPLIED


def _disputed(tx: Tx, ctx: Context, event: Event) -> str:
    """Every event of a dispute carries all that is known of it by then: one effect serves them all."""
    told = disputes.tell(tx, ctx, disputes.of_object(event.object))
    return WAITING if told is None else APPLIED if told else IGNORED


def _transfer_created(tx: Tx, ctx: Context, event: Event) -> str:
    """Of a transfer that is ours, payouts learn from the processor's own answers; any other is not ours (yet)."""
    row = _transfer(tx, event)
    if row is None:
        return WAITING
    if row["processor_transfer_id"] not in (None, event.object["id"]):
        after = {"processor_transfer_id": event.object["id"]}
        audit.append(tx, ctx, "refuse.transfer", f"transfers/{row['transfer_id']}", after=after,
                     reason=f"sent already as {row['processor_transfer_id']}")  # fmt: skip
    return APPLIED


def _transfer_reversed(tx: Tx, ctx: Context, event: Event) -> str:
    row = _transfer(tx, event)
    if row is None or row["status"] not in ("PAID", "REVERSED"):
        return WAITING
    transfer_id, total_cents = row["transfer_id"], event.object["amount_reversed"]
    ctx = Context(ACTOR, row["contest_id"])
    first, whole = f"reversed:{transfer_id}", total_cents == row["amount_cents"]
    posted = tx.one(
        "select coalesce(sum(p.amount_cents), 0) as cents from ledger_transactions t"
        " join ledger_postings p on p.txn_id = t.txn_id"
        " where t.business_key >= :first and t.business_key < :after and p.account = :account",
        {"first": first, "after": first + ";", "account": ledger.AVAILABLE},
    )
    assert posted is not None
    cents = total_cents - posted["cents"]
    if cents > 0:
        key = first if whole and not posted["cents"] else f"{first}:{total_cents}"
        ledger.move(
            tx, ctx, "reversed", key, debit=ledger.AVAILABLE,
            credit=ledger.prize_payable(row["contest_id"], row["user_id"]), cents=cents,
            reason="reversed by the processor",
        )  # fmt: skip
    if whole and row["status"] == "PAID":
        changes = {"status": "REVERSED", "reason": "reversed by the processor"}
        audit.update(tx, ctx, "transfers", {"transfer_id": transfer_id}, changes, "reversed by the processor")
    tx.notify("payouts")
    return APPLIED


def _transfer(tx: Tx, event: Event) -> Any:
    transfer_id = _metadata(event).get("transfer_id")
    return tx.one("select * from transfers where transfer_id = :transfer", {"transfer": transfer_id})


def _nothing(tx: Tx, ctx: Context, event: Event) -> str:
    return IGNORED


def _once_an_object(event: Event) -> str:
    return ""


def _each_event(event: Event) -> str:
    return event.id


@dataclass(frozen=True, slots=True)
class Effect:
    """`apply` returns the status of the event's row. `distinct`: what, beside type and object, tells one change from
    another; two events that agree in all three tell of one change."""

    apply: Callable[[Tx, Context, Event], str]
    distinct: Callable[[Event], str]


EFFECTS: dict[str, Effect] = {
    "payment_intent.succeeded": Effect(_captured, _once_an_object),
    # The customer may still pay with another card: nothing is decided.
    "payment_intent.payment_failed": Effect(_nothing, _each_event),
    "payment_intent.canceled": Effect(_canceled, _once_an_object),
    # Several partial refunds share charge and type.
    "charge.refunded": Effect(_charge_refunded, lambda event: str(event.object["amount_refunded"])),
    "refund.created": Effect(_refund_changed, lambda event: str(event.object["status"])),
    "refund.updated": Effect(_refund_changed, lambda event: str(event.object["status"])),
    "refund.failed": Effect(_refund_changed, lambda event: str(event.object["status"])),
    **{
        f"charge.dispute.{what}": Effect(_disputed, lambda event: disputes.change(event.object))
        for what in ("created", "updated", "funds_withdrawn", "funds_reinstated", "closed")
    },
    "transfer.created": Effect(_transfer_created, _once_an_object),
    "transfer.reversed": Effect(_transfer_reversed, lambda event: str(event.object["amount_reversed"])),
}
_NO_EFFECT = Effect(_nothing, _each_event)


def change_key(event: Event) -> str:
    """What an event tells of: equal for twin events of one change."""
    distinct = EFFECTS.get(event.type, _NO_EFFECT).distinct(event)
    return ":".join(part for part in (event.type, event.object["id"], distinct) if part)


# --- recording ----------------------------------------------------------------------------------------------------


def record(tx: Tx, event: Event, *, delivered: bool) -> str:
    """Take note of an event and apply it, once. Returns the status of its row.

    `delivered` says whether a webhook brought it, or reconciliation found it in the processor's list.
    """
    ctx = Context(ACTOR, event.id)
    row = tx.one("select status, deliveries from webhook_inbox where event_id = :event", {"event": event.id})
    if row is not None:
        if delivered:
            tx.memo["webhooks.delivered"] = row["deliveries"]
            changes = {"deliveries": row["deliveries"] + 1}
            audit.update(tx, ctx, "webhook_inbox", {"event_id": event.id}, changes, "delivered again", read=row)
            if not row["deliveries"] and event.type == undelivered.AWAITED:
                undelivered.came(tx, event.id, event.created_at)
        return str(row["status"])
    key = change_key(event)
    twin = tx.one(
        "select event_id from webhook_inbox where change_key = :key and status in ('APPLIED', 'WAITING')", {"key": key}
    )
    status = DUPLICATE if twin is not None else EFFECTS.get(event.type, _NO_EFFECT).apply(tx, ctx, event)
    inbox = {
        "event_id": event.id,
        "type": event.type,
        "object_id": event.object["id"],
        "change_key": key,
        "created_at": event.created_at,
        "received_at": tx.now,
        "deliveries": int(delivered),
        "status": status,
        "applied_at": tx.now if status == APPLIED else None,
    }
    how = "delivered" if delivered else "found in the processor's list"
    reason = how if twin is None else f"{how}; {twin['event_id']} told the same"
    audit.insert(tx, ctx, "webhook_inbox", inbox, reason)
    if not delivered and event.type == undelivered.AWAITED:
        undelivered.found(tx, event.id, event.created_at)
    if status == WAITING:
        checkpoints.save(tx, f"webhook:{event.id}", asdict(event))
    return status


def retry_waiting(tx: Tx) -> int:
    """Apply the waiting events whose rows have come by now. Returns how many are left waiting."""
    left = 0
    if checkpoints.none_between(tx, *WAITING_NOTES):
        return left
    for name, value in checkpoints.between(tx, *WAITING_NOTES, checkpoints.ALL):
        left += _retry(tx, name, Event(**value)) == WAITING
    return left


def oldest_waiting(tx: Tx) -> int | None:
    """When the oldest event came that waits and that somebody may still make good: the processor itself gives up after
    three days (docs.stripe.com/webhooks), and what never was ours waits for ever."""
    if checkpoints.none_between(tx, *WAITING_NOTES):
        return None
    low, high = WAITING_NOTES
    span = {"low": low, "high": high, "since": tx.now - GIVEN_UP_MS}
    sql = "select min(updated_at) from checkpoints where name >= :low and name < :high and updated_at > :since"
    at: int | None = tx.tuples(sql, span)[0][0]
    return at


def _retry(tx: Tx, note: str, event: Event) -> str:
    ctx = Context(ACTOR, event.id)
    status = EFFECTS[event.type].apply(tx, ctx, event)
    if status != WAITING:
        changes = {"status": status, "applied_at": tx.now if status == APPLIED else None}
        audit.update(tx, ctx, "webhook_inbox", {"event_id": event.id}, changes, "our own row is there now")
        checkpoints.remove(tx, note)
        tx.notify("webhooks")
    return status


def replay(tx: Tx, event_id: str) -> tuple[bool, str] | Refusal:
    """Apply a waiting event now, if our own row has come. Whether that changed anything, and its status: one that has
    been applied is not applied again."""
    row = tx.one("select status from webhook_inbox where event_id = :event", {"event": event_id})
    if row is None:
        return Refusal(404, f"no event {event_id}")
    if row["status"] != WAITING:
        return False, str(row["status"])
    note = f"webhook:{event_id}"
    status = _retry(tx, note, Event(**checkpoints.read(tx, note)))
    return status != WAITING, status


# --- the endpoint -------------------------------------------------------------------------------------------------


class WebhooksService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports
        self._signers = tuple(signer(secret.encode()) for secret in config.webhook_secrets)
        self._retried = -1
        self._waiting_at: int | None = None
        self._waiting_gauge = Gauge(ports.metrics, "webhook_waiting_oldest_timestamp_seconds")
        for counter in ("webhook_signature_failures_total", "webhook_duplicates_total"):
            ports.metrics.add(counter, 0)

    def jobs(self) -> Sequence[Job]:
        return (Job("webhooks.waiting", "webhooks", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {("POST", "/webhooks/processor"): Route("signature", self._receive, "An event of the processor")}

    async def _receive(self, request: Request, principal: str) -> Response:
        problem = signature_problem(
            header(request.headers, "stripe-signature") or "", request.raw, self._signers, self._ports.runtime.now()
        )
        if problem is None:
            try:
                event = of_body(orjson.loads(request.raw))
            except (ValueError, KeyError, TypeError):
                problem = "the body is not an event"
        if problem is not None:
            reason = problem

            def refuse(tx: Tx) -> None:
                audit.append(tx, Context(ACTOR, "webhook"), "refuse.webhook", "webhooks/processor", reason=reason)

            await self._ports.store.transact("webhooks.refuse", refuse)
            self._ports.metrics.add("webhook_signature_failures_total")
            return Response(400, {"error": problem})
        status, again, waiting_at = await self._ports.store.transact("webhooks.record", lambda tx: _recorded(tx, event))
        if again:
            self._ports.metrics.add("webhook_duplicates_total")
        if status == WAITING:
            self._told_waiting(waiting_at)
        return Response(200, {"received": True, "status": status})

    async def _due(self) -> int | None:
        """Now, when events wait and something was notified since the last retry, or one has waited for too long.
        Reconciliation retries as well."""
        if self._ports.signals.seen("webhooks") == self._retried:
            return None if self._waiting_at is None else self._waiting_at + GIVEN_UP_MS

        def earliest(tx: Tx) -> tuple[int | None, int | None]:
            return None if checkpoints.none_between(tx, *WAITING_NOTES) else tx.now, oldest_waiting(tx)

        due_at, waiting_at = await self._ports.store.transact("webhooks.due", earliest)
        self._told_waiting(waiting_at)
        return due_at

    async def _work(self) -> None:
        self._retried = self._ports.signals.seen("webhooks")

        def retry(tx: Tx) -> int | None:
            retry_waiting(tx)
            return oldest_waiting(tx)

        waiting_at = await self._ports.store.transact("webhooks.retry", retry)
        self._told_waiting(waiting_at)

    def _told_waiting(self, at: int | None) -> None:
        self._waiting_at = at
        self._waiting_gauge.tell_of(at)


def _recorded(tx: Tx, event: Event) -> tuple[str, bool, int | None]:
    """Its status, whether it told what was known already, and since when the oldest waits if it is one of those."""
    status = record(tx, event, delivered=True)
    again = status == DUPLICATE or tx.memo.get("webhooks.delivered", 0) > 0
    if event.type.startswith(disputes.EVENTS):
        tx.notify("payments")
    return status, again, oldest_waiting(tx) if status == WAITING else None


def signature_problem(value: str, raw: bytes, signers: Sequence[Callable[[bytes], bytes]], now: int) -> str | None:
    """What is wrong with a Stripe-Signature header `t=…,v1=…[,v1=…]` over `raw` at `now` (ms), or None.

    Each v1 is HMAC-SHA256 over "t.body" under one of the endpoint's secrets, `signers`: two of them while one replaces
    the other (docs.stripe.com/webhooks). Every attempt of a delivery is signed anew, so an old time is a replay.
    """
    pairs = [item.partition("=")[::2] for item in value.split(",")]
    signed_at = next((text for name, text in pairs if name == "t"), "")
    signatures = [text.encode() for name, text in pairs if name == "v1"]
    if not (signed_at.isascii() and signed_at.isdigit()) or not signatures:
        return "no signature"
    payload = signed_at.encode() + b"." + raw
    expected = (sign(payload).hex().encode() for sign in signers)
    if not any(hmac.compare_digest(want, given) for want in expected for given in signatures):
        return "bad signature"
    age_ms = now - int(signed_at) * 1000
    if age_ms > TOLERANCE_MS:
        return "signed too long ago"
    if age_ms < -TOLERANCE_MS:
        return "signed in the future"
    return None
