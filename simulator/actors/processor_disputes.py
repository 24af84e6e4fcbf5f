"""Disputes at the payment processor: a cardholder's bank takes a payment back with a fee, and later decides.

Invariant: the money moves with the event that tells of it: amount and fee leave when the dispute opens, and the amount
alone comes back when it is won. Source: docs.stripe.com/disputes/how-disputes-work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from contest_platform.ports import Dispute, Intent
from simulator.actors.context import World
from simulator.actors.processor_holdings import DISPUTE_FEE_CENTS, Balance, Shelf
from simulator.actors.processor_objects import Announce

NewId = Callable[..., str]

CHARGED_BACK = ("needs_response", "under_review", "lost")
"""Statuses in which the bank has the money: such a charge cannot be refunded (error code charge_disputed)."""


class Disputes:
    """The disputes of an account. `announce` is told of each event of a change, in its order."""

    def __init__(self, world: World, balance: Balance, new_id: NewId, announce: Announce) -> None:
        self._world, self._balance, self._new_id, self._announce = world, balance, new_id, announce
        self._shelf: Shelf[Dispute] = Shelf()
        self._closed_at: dict[str, int] = {}
        self._of_intent: dict[str, str] = {}

    def find(self, dispute_id: str) -> Dispute:
        """The dispute with this id. Raises ProcessorError (resource_missing)."""
        return self._shelf.find(dispute_id)

    def id_of(self, intent_id: str) -> str | None:
        """The dispute about an intent; None when there is none."""
        return self._of_intent.get(intent_id)

    def has_charge_back(self, intent_id: str) -> bool:
        dispute_id = self._of_intent.get(intent_id)
        return dispute_id is not None and self._shelf.find(dispute_id).status in CHARGED_BACK

    def open(self, intent: Intent) -> Dispute:
        """The cardholder disputes what he has not been refunded of `intent`. Raises ValueError when that is nothing, or
        when he has disputed it before."""
        amount = intent.amount_cents - intent.amount_refunded_cents
        if intent.captured_at is None or not amount or intent.id in self._of_intent:
            raise ValueError(f"{intent.id} has nothing left to dispute")
        now = self._world.runtime.now()
        dispute_id = self._new_id("dp", self._shelf.places, intent.id)
        opened = self._shelf.put(Dispute(dispute_id, intent.id, amount, "needs_response", now, ()))
        self._of_intent[intent.id] = dispute_id
        self._announce(("charge.dispute.created", opened, f"{dispute_id}/created", None))
        taken = self._balance.post("adjustment", dispute_id, -amount, DISPUTE_FEE_CENTS, now, now)
        opened = self._shelf.put(replace(opened, movements=(taken,)))
        self._announce(("charge.dispute.funds_withdrawn", opened, f"{dispute_id}/withdrawn", None))
        self._world.record("processor", "dispute.opened", dispute_id, intent=intent.id, amount_cents=amount)
        return opened

    def close(self, dispute_id: str, won: bool) -> Dispute:
        """The bank decides. Raises ValueError when it has already."""
        dispute = self._shelf.find(dispute_id)
        if dispute_id in self._closed_at:
            raise ValueError(f"{dispute_id} is {dispute.status} already")
        now = self._closed_at[dispute_id] = self._world.runtime.now()
        before = {"status": dispute.status}
        dispute = replace(dispute, status="won" if won else "lost")
        if won:
            txn_id = self._new_id("txn", self._balance.movements.places, "reinstated", dispute_id)
            back = self._balance.post("adjustment", dispute_id, dispute.amount_cents, 0, now, now, txn_id)
            dispute = replace(dispute, movements=(*dispute.movements, back))
            self._announce(("charge.dispute.funds_reinstated", dispute, f"{dispute_id}/reinstated", None))
        self._shelf.put(dispute)
        self._announce(("charge.dispute.closed", dispute, f"{dispute_id}/closed", before))
        self._world.record("processor", "dispute.closed", dispute_id, status=dispute.status)
        return dispute

    def close_book(self, intent_of: Callable[[str], Intent]) -> None:
        """Write the book of disputes as they stand."""
        book = self._world.books["processor.disputes"]
        for dispute in self._shelf.items:
            about: Mapping[str, str] = intent_of(dispute.intent_id).metadata
            book.add(
                dispute.id, dispute.intent_id, dispute.amount_cents, sum([m.fee_cents for m in dispute.movements]),
                dispute.status, about.get("contest_id"), about.get("entry_id"), about.get("user_id"),
                dispute.created_at, self._closed_at.get(dispute.id),
            )  # fmt: skip
