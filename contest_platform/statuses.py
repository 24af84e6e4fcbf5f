"""The words in which the platform keeps where something stands. The database refuses every other word (see
store/schema.py)."""

from __future__ import annotations

CONTEST_STATUSES = ("SCHEDULED", "LOCKED", "LIVE", "COMPLETE", "SETTLED", "PAID_OUT", "CANCELLED", "ERROR")
ENTRY_STATUSES = ("PENDING_PAYMENT", "VALID", "ABANDONED", "WITHDRAWN", "REFUNDED")
PAYMENT_STATUSES = ("CREATED", "CAPTURED", "REFUNDED", "CANCELED")
INBOX_STATUSES = ("WAITING", "APPLIED", "DUPLICATE", "IGNORED")
REFUND_STATUSES = ("PENDING", "DONE", "FAILED_TERMINAL")
DISPUTE_STATUSES = (
    "warning_needs_response",
    "warning_under_review",
    "needs_response",
    "under_review",
    "warning_closed",
    "lost",
    "won",
)
"""Stripe's words for the status of a dispute, from the earliest to the last."""
PACK_STATUSES = ("PENDING", "EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING")
TRANSFER_STATUSES = ("PENDING", "SUBMITTED", "PAID", "RETRYABLE", "FAILED_TERMINAL", "REVERSED")
ATTEMPT_OUTCOMES = ("SUCCEEDED", "REJECTED", "UNKNOWN")
VERDICTS = ("ADMIT", "DUPLICATE", "CORRECTION", "QUARANTINE", "REJECT")
ORDER_STATUSES = ("ISSUED", "DELIVERED", "ACKNOWLEDGED", "COMPLETED", "FAILED", "EXPIRED")
ORDER_STEPS: dict[str, tuple[str, ...]] = {
    "ISSUED": ("DELIVERED", "FAILED", "EXPIRED"),
    "DELIVERED": ("ACKNOWLEDGED", "COMPLETED", "FAILED", "EXPIRED"),
    "ACKNOWLEDGED": ("COMPLETED", "FAILED", "EXPIRED"),
}
"""Where an order goes from where. Delivered: its host has answered; acknowledged: its remedy has run there. One that is
delivered to a host that is well already is completed without."""
INCIDENT_STATUSES = ("OPEN", "RESOLVED")
LEVELS = ("L1", "L2")
"""Who is to heal an incident: a rule, or ops."""
RULE_SOURCES = ("builtin", "promoted")
RULE_STATUSES = ("CANDIDATE", "ACTIVE", "WITHDRAWN")
"""A candidate has been tried at L2, an active rule is served, a withdrawn one is not any more."""
EXECUTION_STATUSES = ("pending", "in_progress", "completed", "failed", "partial")
"""Of a runbook execution. It begins in progress and ends in one of the last three, once."""
EXECUTION_ENDS = ("completed", "failed", "partial")
WAITS_FOR = ("lock", "reconciliation", "field", "transition", "full_poll", "settlement", "payout")
"""What a contest that should have gone on waits for: the lock; a reconciliation begun after it; the provider's field; a
step for which all is there; a full poll begun after the cut-off; the settlement itself; its payout to begin."""
