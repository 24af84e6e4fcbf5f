"""Payments that the processor's own list has told of and no webhook: whether webhooks come at all.

Invariant: nothing of the money depends on this. What was found in the list is applied; somebody should know why it had
to be found there.
"""

from __future__ import annotations

from contest_platform import checkpoints
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import Tx

AWAITED = "payment_intent.succeeded"
"""The type that our endpoint is sure to be sent: which others it is sent is settled at the processor."""
GIVEN_UP_MS = 72 * HOUR_MS
"""So long the processor tries (docs.stripe.com/webhooks)."""
_NOTES = ("undelivered:", "undelivered;")
_NOTE = "undelivered:{at:015d}:{event_id}"
"""Sorted by name they are sorted by when the event was made."""


def found(tx: Tx, event_id: str, created_at: int) -> None:
    """The list has told of an event that no webhook has brought yet."""
    checkpoints.save(tx, _NOTE.format(at=created_at, event_id=event_id), True)


def came(tx: Tx, event_id: str, created_at: int) -> None:
    """The webhook of such an event has come after all."""
    checkpoints.remove(tx, _NOTE.format(at=created_at, event_id=event_id))


def oldest(tx: Tx) -> int | None:
    """When the oldest of those was made that the processor still tries to deliver. Forgets the others."""
    while name := checkpoints.first_between(tx, *_NOTES):
        made_at = int(name.split(":")[1])
        if made_at > tx.now - GIVEN_UP_MS:
            return made_at
        checkpoints.remove(tx, name)
    return None
