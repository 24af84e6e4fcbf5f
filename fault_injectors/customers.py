"""Customers who want their money back: from the bank, which takes it and decides later, or from the platform itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from fault_injectors import processor
from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Occasion, Parameters, RecoverySpec


class ChargebackParams(Parameters):
    after_h: int = Field(ge=12, le=48)
    decided_after_h: int = Field(ge=96, le=168)


class _Chargeback(Fault):
    """The bank takes a payment back and decides days later, for good. He plays on: he has paid in good faith."""

    seam = "bank"
    operation = "dispute"
    won = False
    Params: ClassVar[type[Parameters]] = ChargebackParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ChargebackParams)
        opens_ms, takes_ms = params.after_h * HOUR_MS, params.decided_after_h * HOUR_MS
        latest_at = guarantees.absence_until_at - DAY_MS - opens_ms - takes_ms
        running = {contest_id for contest_id, n in guarantees.transfers() if n > 0}
        payments = [
            item for item in guarantees.payments() if item[1] <= latest_at and item[0].partition("/")[0] in running
        ]
        if not payments:
            return None
        entity, captured_at = draws.choice(payments, "payment")
        return Binding(entity=entity, from_at=captured_at + opens_ms, until_at=captured_at + opens_ms + takes_ms)

    def actions(self) -> Sequence[Action]:
        entity, from_at, until_at = self.binding.entity, self.binding.from_at, self.binding.until_at
        assert entity is not None
        assert from_at is not None
        assert until_at is not None
        return [Action(from_at, "bank.dispute", entity), Action(until_at, "bank.decide", entity, {"won": self.won})]


class ChargebackLost(_Chargeback):
    id = "customers.chargeback_lost"
    title = "A customer has his bank take his fee back, and the bank decides for him"
    imitates = (
        "Amount and fee leave the balance as the dispute opens, and stay away when it is lost"
        " (docs.stripe.com/disputes/how-disputes-work)."
    )
    exercises = "Taking the money for refunded, the entry for unpaid, or the loss for something that posts itself."
    recovery = RecoverySpec("itself", "The claim is posted as it is withdrawn, and written off as it is lost.", 7_200)
    bite = BiteSpec("processor.disputes", {"dispute_id": "$victim", "status": "lost"})


class ChargebackWon(_Chargeback):
    id = "customers.chargeback_won"
    title = "A customer has his bank take his fee back, and the bank decides for the platform"
    won = True
    imitates = (
        "The amount is reinstated when a dispute is won, the dispute's fee is not"
        " (docs.stripe.com/disputes/how-disputes-work)."
    )
    exercises = "Leaving the claim open for ever, or expecting the fee back as well."
    recovery = RecoverySpec("itself", "What comes back is posted against the claim; the fee stays an expense.", 7_200)
    bite = BiteSpec("processor.disputes", {"dispute_id": "$victim", "status": "won"})


class ChargebackOfRefundParams(Parameters):
    after_min: int = Field(ge=30, le=90)
    decided_after_h: int = Field(ge=72, le=144)


class ChargebackOfRefund(_Chargeback):
    """It brings a charge that the processor does not let go of: a refund that is made is one that nobody disputes."""

    id = "customers.chargeback_of_refund"
    title = "A customer does not wait for his refund: his bank takes the fee back as well, and decides for him"
    imitates = (
        "A charge with a dispute cannot be refunded (charge_disputed, docs.stripe.com/error-codes); customers who wait"
        " for a refund dispute the charge, code credit_not_processed (docs.stripe.com/disputes/categories)."
    )
    exercises = "Owing a fee for ever, and paying it once more, that its customer has from his bank."
    recovery = RecoverySpec("itself", "The refund ends as refused; what the bank has given is owed no more.", 7_200)
    bite = BiteSpec("processor.disputes", {"dispute_id": "$victim", "status": "lost"})
    Params = ChargebackOfRefundParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ChargebackOfRefundParams)
        opens_ms, takes_ms = params.after_min * MINUTE_MS, params.decided_after_h * HOUR_MS
        latest_at = guarantees.absence_until_at - DAY_MS - opens_ms - takes_ms
        locks = {contest_id: lock_at for contest_id, lock_at in guarantees.cancelled() if lock_at <= latest_at}
        owed = [entity for entity, _ in guarantees.refunds() if entity.partition("/")[0] in locks]
        if not owed:
            return None
        entity = draws.choice(owed, "refund")
        from_at = locks[entity.partition("/")[0]] + opens_ms
        held = Occasion(processor.ChargeLocked.id, Binding(entity=entity, occurrence=1))
        return Binding(entity=entity, from_at=from_at, until_at=from_at + takes_ms, occasion=(held,))


class RefundRequested(Fault):
    id = "customers.refund_requested"
    title = "A customer who has paid asks for his fee back before the lock"
    seam = "entrants"
    operation = "withdraw"
    imitates = (
        "Entries can be withdrawn until the contest locks, and the fee is given back (DraftKings and FanDuel, rules);"
        " Stripe keeps its own fee on a refund (docs.stripe.com/refunds)."
    )
    exercises = "Letting an entry play whose fee is on its way back, or refunding it twice."
    recovery = RecoverySpec("itself", "The entry leaves at once and frees its seat; the refund follows.", 7_200)
    bite = BiteSpec("entrants.actions", {"n": "$victim", "action": "refund_requested", "result": "ok"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        entries = guarantees.withdrawable()
        if not entries:
            return None
        entity, from_at, until_at = draws.choice(entries, "entry")
        return Binding(entity=entity, from_at=draws.between(from_at, until_at, "instant"))

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "entrants.withdraw", self.binding.entity)]
