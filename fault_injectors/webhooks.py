"""Webhooks that come twice, late, out of order or never. They are hints: the processor's books are what counts."""

from __future__ import annotations

from pydantic import Field

from fault_injectors.moments import HOUR_MS, a_last_minute_payment, a_payment, a_refund
from seams.draws import Draws
from seams.faults import (
    Behind,
    Binding,
    BiteSpec,
    Call,
    Delay,
    Drop,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    Parameters,
    RecoverySpec,
    Repeat,
    Twin,
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


class TwinParams(Parameters):
    gap_s: int = Field(ge=1, le=900)


class TwinEvent(Fault):
    id = "webhooks.twin"
    title = "The same payment is told of twice, under two event ids"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "Beside the redelivery of an event there are two separate events for one change; they are told apart by the"
        " object's id and the type (docs.stripe.com/webhooks, handling duplicate events)."
    )
    exercises = "Recognising a repetition by the event id alone, and crediting the payment a second time."
    recovery = RecoverySpec("itself", "The second event tells of a change that is applied: it is a duplicate.", 3_600)
    bite = BiteSpec("processor.deliveries", {"entity": "$entity", "note": "twin"}, at_least=2)
    Params = TwinParams
    params: TwinParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Twin(gap_ms=self.params.gap_s * 1_000) if self.is_bound_to(call) else None


STORM = 1_000


class StormParams(Parameters):
    gap_ms: int = Field(ge=5, le=500)


class Storm(Fault):
    id = "webhooks.storm"
    title = "The webhook of one payment arrives a thousand times more"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "Delivery is at least once, without an upper bound, and a manual resend answered with 2xx does not cancel the"
        " automatic retries (docs.stripe.com/webhooks)."
    )
    exercises = "Applying one of a thousand again, answering too slowly, or standing in the way of the other webhooks."
    recovery = RecoverySpec("itself", "Each of them is recognised by its id and counted; none is applied.", 3_600)
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "note": "repeat"}, at_least=STORM)
    Params = StormParams
    params: StormParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Repeat(STORM, gap_ms=self.params.gap_ms) if self.is_bound_to(call) else None


class OutOfOrder(Fault):
    id = "webhooks.out_of_order"
    title = "A refund is told of before the payment that it gives back"
    seam = "webhook"
    operation = "deliver"
    imitates = "The order of delivery is not guaranteed, and created falls on whole seconds (docs.stripe.com/webhooks)."
    exercises = "Taking an old event for news: making an entry valid again that has been paid back."
    recovery = RecoverySpec(
        "itself", "Reconciliation applies the payment; the event that comes last is a repetition.", 7_200
    )
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "note": "overtaken"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_refund(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Behind() if self.is_bound_to(call) else None


class BeforeRow(Fault):
    """The platform writes its own row before it asks, so what the webhook can be ahead of is the processor's answer:
    until that is known, the row has neither the refund's id nor its end."""

    id = "webhooks.before_row"
    title = "A refund's webhook arrives before our own row knows of the refund"
    seam = "processor"
    operation = "refunds.create"
    imitates = (
        "A webhook that arrives before the local row is committed (getlago/lago-api PR 1373); a read timeout leaves the"
        " caller without the answer to what has been done (stripe SDK 16.1.0, measured)."
    )
    exercises = "Taking a refund of our own for one that somebody else has made, and posting it twice."
    recovery = RecoverySpec(
        "itself", "The webhook has the refund asked for again under its key; the answer ends it.", 7_200
    )
    bite = BiteSpec(
        "processor.requests", {"operation": "refunds.create", "idempotency_key": "$victim", "answered": False}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_refund(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


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
