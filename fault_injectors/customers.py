"""Customers who want their money back: from the bank, which takes it and decides later, or from the platform itself."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec


class ChargebackParams(Parameters):
    after_h: int = Field(ge=12, le=48)
    decided_after_h: int = Field(ge=96, le=168)


class _Chargeback(Fault):
    """The bank takes a payment back and decides days later, for good. He plays on: he has paid in good faith."""

    seam = "bank"
    operation = "dispute"
    won = False
    Params = ChargebackParams
    params: ChargebackParams

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
