"""The JSON shapes of the payment processor's objects, as its API version 2023-08-16 gives them.

Invariant: each object is rendered from one immutable record alone, so the snapshot of an event never changes.
Source: Stripe's OpenAPI description of that version. Instants are whole seconds here, as in the real API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from contest_platform.ports import BalanceTransaction, Dispute, Intent, Json, Refund, Transfer

API_VERSION = "2023-08-16"
CURRENCY = "usd"


def encode(body: Mapping[str, Any]) -> bytes:
    """The one byte form of a body: what is signed, delivered and kept in the processor's book."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def sibling(prefix: str, object_id: str) -> str:
    """The id of an object that exists once for another: the charge of an intent, the balance entry of a refund."""
    return prefix + object_id[object_id.index("_") :]


def payment_intent(intent: Intent, changed_at: int) -> Json:
    """A PaymentIntent. `changed_at` (ms) is the instant of the change that the snapshot shows."""
    captured = intent.captured_at is not None
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount_cents,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": intent.amount_cents if captured else 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": changed_at // 1000 if intent.status == "canceled" else None,
        "cancellation_reason": "requested_by_customer" if intent.status == "canceled" else None,
        "capture_method": "automatic",
        "client_secret": None,
        "confirmation_method": "automatic",
        "created": intent.created_at // 1000,
        "currency": CURRENCY,
        "customer": None,
        "description": None,
        "invoice": None,
        "last_payment_error": None,
        "latest_charge": sibling("ch", intent.id) if captured else None,
        "livemode": False,
        "metadata": dict(intent.metadata),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": sibling("pm", intent.id) if captured else None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": intent.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def charge(intent: Intent, changed_at: int) -> Json:
    """The charge of a captured intent: one each, and it carries the intent's metadata, as Stripe copies them."""
    captured_at = intent.captured_at
    if captured_at is None:
        raise ValueError(f"{intent.id} is not captured and has no charge")
    return {
        "id": sibling("ch", intent.id),
        "object": "charge",
        "amount": intent.amount_cents,
        "amount_captured": intent.amount_cents,
        "amount_refunded": intent.amount_refunded_cents,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": sibling("txn", intent.id),
        "billing_details": {
            "address": {
                "city": None,
                "country": None,
                "line1": None,
                "line2": None,
                "postal_code": None,
                "state": None,
            },
            "email": None,
            "name": None,
            "phone": None,
        },
        "calculated_statement_descriptor": None,
        "captured": True,
        "created": captured_at // 1000,
        "currency": CURRENCY,
        "customer": None,
        "description": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "invoice": None,
        "livemode": False,
        "metadata": dict(intent.metadata),
        "on_behalf_of": None,
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent.id,
        "payment_method": sibling("pm", intent.id),
        "payment_method_details": {
            "card": {
                "brand": "visa",
                "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
                "country": "US",
                "exp_month": 12,
                "exp_year": 2034,
                "fingerprint": None,
                "funding": "credit",
                "installments": None,
                "last4": "4242",
                "mandate": None,
                "network": "visa",
                "network_token": {"used": False},
                "three_d_secure": None,
                "wallet": None,
            },
            "type": "card",
        },
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": intent.amount_refunded_cents == intent.amount_cents,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def transfer(moved: Transfer, changed_at: int) -> Json:
    """A Transfer. It has no status: that it exists means that the money moved."""
    return {
        "id": moved.id,
        "object": "transfer",
        "amount": moved.amount_cents,
        "amount_reversed": moved.amount_reversed_cents,
        "balance_transaction": sibling("txn", moved.id),
        "created": moved.created_at // 1000,
        "currency": CURRENCY,
        "description": None,
        "destination": moved.destination,
        "destination_payment": sibling("py", moved.id),
        "livemode": False,
        "metadata": dict(moved.metadata),
        "reversals": {"data": [], "has_more": False, "object": "list", "url": f"/v1/transfers/{moved.id}/reversals"},
        "reversed": moved.amount_reversed_cents == moved.amount_cents,
        "source_transaction": None,
        "source_type": "card",
        "transfer_group": moved.transfer_group,
    }


def refund(given: Refund, changed_at: int) -> Json:
    return {
        "id": given.id,
        "object": "refund",
        "amount": given.amount_cents,
        "balance_transaction": sibling("txn", given.id),
        "charge": sibling("ch", given.intent_id),
        "created": given.created_at // 1000,
        "currency": CURRENCY,
        "metadata": dict(given.metadata),
        "payment_intent": given.intent_id,
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": given.status,
        "transfer_reversal": None,
    }


DISPUTE_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
)  # fmt: skip
"""What could be sent to the bank. Nothing is: nobody is there to argue."""
EVIDENCE_DUE_AFTER_S = 7 * 86_400


def dispute(raised: Dispute, changed_at: int) -> Json:
    """A Dispute. It has no metadata of its own: the charge and its intent say whose it is."""
    due_by = raised.created_at // 1000 + EVIDENCE_DUE_AFTER_S
    return {
        "id": raised.id,
        "object": "dispute",
        "amount": raised.amount_cents,
        "balance_transactions": [balance_transaction(movement, changed_at) for movement in raised.movements],
        "charge": sibling("ch", raised.intent_id),
        "created": raised.created_at // 1000,
        "currency": CURRENCY,
        "evidence": dict.fromkeys(DISPUTE_EVIDENCE),
        "evidence_details": {
            "due_by": due_by,
            "has_evidence": False,
            "past_due": changed_at // 1000 > due_by,
            "submission_count": 0,
        },
        "is_charge_refundable": raised.status == "won",
        "livemode": False,
        "metadata": {},
        "payment_intent": raised.intent_id,
        "payment_method_details": {"card": {"brand": "visa", "network_reason_code": "10.4"}, "type": "card"},
        "reason": "fraudulent",
        "status": raised.status,
    }


def _reporting_category(entry: BalanceTransaction) -> str:
    """The kind; of an adjustment, whether the dispute took or gave back."""
    if entry.kind != "adjustment":
        return entry.kind
    return "dispute" if entry.amount_cents < 0 else "dispute_reversal"


def balance_transaction(entry: BalanceTransaction, now: int) -> Json:
    """A movement of the balance as it stands at `now` (ms): pending until `available_at`."""
    what = "Dispute fee" if entry.kind == "adjustment" else "Stripe processing fees"
    fees = [{"amount": entry.fee_cents, "application": None, "currency": CURRENCY,
             "description": what, "type": "stripe_fee"}]  # fmt: skip
    return {
        "id": entry.id,
        "object": "balance_transaction",
        "amount": entry.amount_cents,
        "available_on": entry.available_at // 1000,
        "created": entry.created_at // 1000,
        "currency": CURRENCY,
        "description": None,
        "exchange_rate": None,
        "fee": entry.fee_cents,
        "fee_details": fees if entry.fee_cents else [],
        "net": entry.net_cents,
        "reporting_category": _reporting_category(entry),
        "source": sibling("ch", entry.source_id) if entry.kind == "charge" else entry.source_id,
        "status": "available" if entry.available_at <= now else "pending",
        "type": entry.kind,
    }


Snapshot = Intent | Transfer | Refund | Dispute
Announcement = tuple[str, Snapshot, str, Mapping[str, Any] | None]
"""An event to be: its type, the record it shows, what makes its id distinct, the attributes before."""
Announce = Callable[[Announcement], None]

RENDERERS: dict[str, Callable[[Any, int], Json]] = {
    "payment_intent": payment_intent,
    "charge": charge,
    "charge.dispute": dispute,
    "transfer": transfer,
    "refund": refund,
}
"""Which object an event of a type carries, by the type without its last word."""


class EventRecord(NamedTuple):
    """An event as the processor remembers it. `snapshot` is the record as it stood when the event was created (ms);
    `previous` holds what its attributes were before, in the API's names."""

    id: str
    type: str
    created_at: int
    snapshot: Snapshot
    idempotency_key: str | None
    previous: Mapping[str, Any] | None


def event(record: EventRecord) -> Json:
    family = record.type.rpartition(".")[0]
    data: Json = {"object": RENDERERS[family](record.snapshot, record.created_at)}
    if record.previous is not None:
        data["previous_attributes"] = dict(record.previous)
    return {
        "id": record.id,
        "object": "event",
        "api_version": API_VERSION,
        "created": record.created_at // 1000,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": record.idempotency_key},
        "type": record.type,
    }
