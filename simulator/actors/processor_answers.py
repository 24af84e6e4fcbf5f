"""What the payment processor refuses and how it says so: error answers and the validation of parameters, as data.

Invariant: validation looks at the parameters alone; whatever needs the state of the account is execution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contest_platform.ports import ProcessorError

PAGE_MAX = 100
"""A list call gives 1 to 100 objects (docs.stripe.com/api/pagination)."""
INTENT_CENTS_MIN = 50
"""The least charge in USD (docs.stripe.com/currencies)."""
UNSAVED_STATUSES = frozenset({401, 409, 429, 502, 503, 504})
"""Answers given before a request begins to execute: no key remembers them (docs.stripe.com/error-low-level)."""
CLOSED_TO_TRANSFERS = frozenset({"account_closed", "account_invalid", "transfers_not_allowed"})
"""What is wrong with a destination, and not with a request: the next request to it is refused as well."""

MESSAGES = {
    "account_closed": "The destination account has been closed.",
    "account_invalid": "The provided key does not have access to the destination account, or it does not exist.",
    "balance_insufficient": "You have insufficient funds in your Stripe account for this transfer. "
    "Your available balance is too low: see /v1/balance.",
    "charge_already_refunded": "The charge has already been refunded.",
    "charge_disputed": "The charge has been charged back.",
    "idempotency_error": "Keys for idempotent requests can only be used with the same parameters as the first time.",
    "idempotency_key_in_use": "There is currently another in-progress request using this idempotency key.",
    "lock_timeout": "This object cannot be accessed right now because another API request or Stripe process is "
    "currently accessing it.",
    "payment_intent_unexpected_state": "The PaymentIntent's state does not allow this operation.",
    "rate_limit": "Too many requests hit the API too quickly.",
    "resource_missing": "No such object.",
    "transfers_not_allowed": "The destination account cannot receive transfers.",
}
STATUSES = {"account_invalid": 403, "resource_missing": 404}
"""HTTP statuses of error codes other than 400."""


def error_of(status: int, code: str | None, message: str = "") -> ProcessorError:
    """An error answer. Its type follows from the status: Stripe knows four."""
    said = message or MESSAGES.get(code or "", f"HTTP {status}")
    if code == "idempotency_error":
        return ProcessorError(status, code, None, said)  # a type without a code (stripe SDK 16.1.0, measured)
    kind = "api_error" if status >= 500 else "card_error" if status == 402 else "invalid_request_error"
    return ProcessorError(status, kind, code, said)


def refusal(code: str, message: str = "") -> ProcessorError:
    """A refusal in execution, with the status that goes with its code."""
    return error_of(STATUSES.get(code, 400), code, message)


# --- parameter validation: refused before execution, so no key remembers it -------------------------------------------


def _integer(least: int, most: int, code: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        return None if type(value) is int and least <= value <= most else code

    return check


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "parameter_missing"


_AMOUNT = _integer(1, 99_999_999, "parameter_invalid_integer")
_PAGE = (("limit", _integer(1, PAGE_MAX, "parameter_invalid_integer")),)
_CHECKS: dict[str, tuple[tuple[str, Callable[[Any], str | None]], ...]] = {
    "intents.create": (("amount_cents", _integer(INTENT_CENTS_MIN, 99_999_999, "amount_too_small")),),
    "intents.cancel": (("intent", _text),),
    "intents.confirm": (("intent", _text),),
    "intents.retrieve": (("intent", _text),),
    "transfers.create": (("amount_cents", _AMOUNT), ("destination", _text)),
    "refunds.create": (("amount_cents", _AMOUNT), ("intent", _text)),
    "webhook_endpoints.create": (("url", _text),),
    "webhook_endpoints.update": (("endpoint", _text), ("url", _text)),
    "transfers.list": (("transfer_group", _text),),
    "refunds.list": (("intent", _text),),
    "disputes.retrieve": (("dispute", _text),),
    "intents.list": _PAGE,
    "events.list": _PAGE,
    "balance.list": _PAGE,
}


def validate(operation: str, params: Mapping[str, Any]) -> None:
    """Raise ProcessorError for the first parameter that no request of this operation can have."""
    for name, check in _CHECKS[operation]:
        code = check(params[name])
        if code is not None:
            raise error_of(400, code, f"Invalid {name}: {params[name]!r}")
