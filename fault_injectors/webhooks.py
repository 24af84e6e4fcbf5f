"""Webhooks that come twice, late or never. They are hints: the processor's books are what counts."""

from __future__ import annotations

from pydantic import Field

from fault_injectors.moments import HOUR_MS, a_last_minute_payment, a_payment
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Delay,
    Drop,
    Effect,
    Fault,
    Guarantees,
    Parameters,
    RecoverySpec,
    Repeat,
)


class DuplicateParams(Parameters):
    times: int = Field(ge=1, le=3)
    gap_s: int = Field(ge=1, le=900)


class Duplicate(Fault):
    id = "webhooks.duplicate"
    title = "The webhook of a payment arrives again"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "Delivery is at least once: the same event id may come again, each attempt with a timestamp and signature of"
        " its own (docs.stripe.com/webhooks)."
    )
    exercises = "Applying a payment twice, or doing the effect and the dedupe record in two transactions."
    recovery = RecoverySpec("itself", "The event is recognised by its id and its change; it is applied once.", 3_600)
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "note": "repeat"})
    Params = DuplicateParams
    params: DuplicateParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Repeat(self.params.times, gap_ms=self.params.gap_s * 1_000) if self.is_bound_to(call) else None


class DelayedParams(Parameters):
    delay_h: int = Field(ge=2, le=60)


class Delayed(Fault):
    """Money captured before the lock makes a valid entry however late its webhook, so the delay may cross the lock."""

    id = "webhooks.delayed"
    title = "The webhook of a payment arrives hours or days late"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "Failed deliveries are retried for up to 3 days (docs.stripe.com/webhooks); a queue backlog delayed webhooks by"
        " up to 4.5 h (github.blog, availability report of August 2023)."
    )
    exercises = "Refusing a paid entry because its webhook came after the lock, or applying it twice once it comes."
    recovery = RecoverySpec("itself", "Reconciliation applies the payment; the late webhook finds it applied.", 7_200)
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "note": "delayed"})
    Params = DelayedParams
    params: DelayedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_last_minute_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Delay(by_ms=self.params.delay_h * HOUR_MS) if self.is_bound_to(call) else None


class Lost(Fault):
    id = "webhooks.lost"
    title = "The webhook of a payment never arrives"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "Rarely an event cannot be generated at all: v2.core.health.event_generation_failure.resolved tells so"
        " afterwards (docs.stripe.com/webhooks). Webhooks alone can never be the truth."
    )
    exercises = "Forgetting a customer who paid, because nothing but the webhook would have told."
    recovery = RecoverySpec("itself", "Hourly reconciliation finds the captured payment and applies it.", 7_200)
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "sent": False, "note": "lost"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_last_minute_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Drop() if self.is_bound_to(call) else None
