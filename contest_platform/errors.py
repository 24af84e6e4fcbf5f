"""The registry of error codes: every code that the platform can produce, and what it means for whoever reads it.

A code that is not here is unknown and must be escalated; `known` is the one place that decides.
"""

from __future__ import annotations

from enum import Enum


class Meaning(Enum):
    """What is proven when a call ended with a code."""

    DID_NOT_HAPPEN = "did_not_happen"
    UNKNOWN = "unknown"
    NEVER_WILL = "never_will"  # a rejection that no repetition changes


REGISTRY: dict[str, Meaning] = {
    # transport
    "deadline_exceeded": Meaning.UNKNOWN,
    "connection_lost": Meaning.UNKNOWN,
    "connection_failed": Meaning.DID_NOT_HAPPEN,
    "certificate_expired": Meaning.DID_NOT_HAPPEN,
    "service_unavailable": Meaning.UNKNOWN,
    "answer_unreadable": Meaning.UNKNOWN,
    "store_busy": Meaning.DID_NOT_HAPPEN,
    "store_damaged": Meaning.DID_NOT_HAPPEN,
    # processor (docs.stripe.com/error-codes, /error-low-level); a status stands where there is no code
    "rate_limit": Meaning.DID_NOT_HAPPEN,
    "lock_timeout": Meaning.DID_NOT_HAPPEN,
    "idempotency_key_in_use": Meaning.UNKNOWN,
    "idempotency_error": Meaning.UNKNOWN,
    "balance_insufficient": Meaning.DID_NOT_HAPPEN,
    "account_invalid": Meaning.NEVER_WILL,
    "account_closed": Meaning.NEVER_WILL,
    "no_account": Meaning.NEVER_WILL,
    "transfers_not_allowed": Meaning.NEVER_WILL,
    "insufficient_capabilities_for_transfer": Meaning.NEVER_WILL,
    "resource_missing": Meaning.NEVER_WILL,
    "charge_already_refunded": Meaning.NEVER_WILL,
    "charge_disputed": Meaning.NEVER_WILL,
    "payment_intent_unexpected_state": Meaning.NEVER_WILL,
    "refund_failed": Meaning.NEVER_WILL,
    "refund_canceled": Meaning.NEVER_WILL,
    "api_key_expired": Meaning.DID_NOT_HAPPEN,
    "http_500": Meaning.UNKNOWN,
    "http_503": Meaning.UNKNOWN,
    # our own
    "absence_proven": Meaning.DID_NOT_HAPPEN,
    "user_deleted": Meaning.NEVER_WILL,
    "outcome_missing": Meaning.NEVER_WILL,
    "outcome_inapplicable": Meaning.NEVER_WILL,
    "settlement_impossible": Meaning.NEVER_WILL,
    # hosts (transports/soap.py); the code of a command that may have run all the same proves nothing
    "host_error": Meaning.UNKNOWN,
    "host_outcome_unknown": Meaning.UNKNOWN,
    "host_answer_unreadable": Meaning.DID_NOT_HAPPEN,
    "host_answer_unrelated": Meaning.DID_NOT_HAPPEN,
    "host_unauthorized": Meaning.DID_NOT_HAPPEN,
    "host_unavailable": Meaning.DID_NOT_HAPPEN,
    "host_shell_unanswered": Meaning.DID_NOT_HAPPEN,
    "host_timed_out": Meaning.DID_NOT_HAPPEN,
    "host_shell_not_found": Meaning.DID_NOT_HAPPEN,
    "host_quota": Meaning.DID_NOT_HAPPEN,
    "host_shells_quota": Meaning.DID_NOT_HAPPEN,
    "host_operations_quota": Meaning.DID_NOT_HAPPEN,
    "host_user_quota": Meaning.DID_NOT_HAPPEN,
    "host_system_quota": Meaning.DID_NOT_HAPPEN,
    "host_users_quota": Meaning.DID_NOT_HAPPEN,
    "host_shells_not_allowed": Meaning.DID_NOT_HAPPEN,
    "host_plugin_quota": Meaning.DID_NOT_HAPPEN,
    "host_file_not_found": Meaning.DID_NOT_HAPPEN,
    "host_command_not_found": Meaning.DID_NOT_HAPPEN,
    "host_request_invalid": Meaning.DID_NOT_HAPPEN,
}


def known(code: str) -> bool:
    return code in REGISTRY


def meaning(code: str) -> Meaning:
    """What `code` proves; an unknown code proves nothing."""
    return REGISTRY.get(code, Meaning.UNKNOWN)


def code_of(error: Exception) -> str:
    """The registry code of an error raised by a port; `internal_error` is unknown on purpose."""
    from contest_platform.ports import HostError, PortError, ProcessorError

    if isinstance(error, ProcessorError):
        if error.type == "idempotency_error":
            return error.type  # it has no code of its own
        # Behind a 5xx no code proves anything (docs.stripe.com/error-low-level).
        return error.error_code if error.error_code and error.status < 500 else f"http_{error.status}"
    if isinstance(error, HostError) and error.may_have_run:
        return "host_outcome_unknown"
    if isinstance(error, HostError) and error.fault in REGISTRY and error.fault.startswith("host_"):
        return error.fault
    return error.code if isinstance(error, PortError) else "internal_error"
