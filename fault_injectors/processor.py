"""Error answers of the payment processor: what each proves, and what follows from it for the money."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS, a_refund, a_transfer, as_payouts_begin
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Delay,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    Parameters,
    RecoverySpec,
    Refuse,
    Stall,
)

PAST_KEY_LIFE_S = 27 * 3_600
"""A key's life of 24 h, the look-up or retry after it, and the back-off before that."""


class _OfOneTransfer(Fault):
    """Befalls one request for a transfer, `answer` being what becomes of it; all of a contest in a window where a
    scenario binds it to one."""

    seam = "processor"
    operation = "transfers.create"
    answer: Effect

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_transfer(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return self.answer if self.is_bound_to(call) or self.in_window(call) else None


def _answered(status: int, code: str) -> BiteSpec:
    return BiteSpec(
        "processor.requests",
        {"operation": "transfers.create", "idempotency_key": "$victim", "status": status, "error_code": code},
    )


class ErrorSaved(_OfOneTransfer):
    id = "processor.error_saved"
    title = "The processor answers a payout with 500, and with the same 500 for a day"
    imitates = (
        "Once a request has begun to execute its result is saved under its key, whatever it was, and replayed for 24 h"
        " at least, 500s included (docs.stripe.com/error-low-level)."
    )
    exercises = "Giving up a payout that its key keeps failing, or taking a new key before proof that none moved."
    recovery = RecoverySpec(
        "itself", "Past the key's life the processor's transfers are searched; with none there, a new key is sent.",
        PAST_KEY_LIFE_S,
    )  # fmt: skip
    bite = _answered(500, "api_error")
    answer = Refuse(500)


class DoneAndFailed(_OfOneTransfer):
    id = "processor.done_and_failed"
    title = "The processor pays a winner and answers 500, and the same 500 for a day"
    imitates = (
        "A 500 is indeterminate: the request may have taken effect, and the same key replays the 500 (docs.stripe.com/"
        "error-low-level); a capture answered with 500 that was really done (alphagov/pay-connector, PR 3962)."
    )
    exercises = "Taking a 500 for a proof that nothing happened: the winner is paid again under a new key."
    recovery = RecoverySpec(
        "itself", "Past the key's life the processor's transfers are searched, and the one that was made is found.",
        PAST_KEY_LIFE_S,
    )  # fmt: skip
    bite = _answered(500, "api_error")
    answer = Refuse(500, done=True)


class RateLimited(_OfOneTransfer):
    id = "processor.rate_limited"
    title = "The processor refuses a payout because too many requests came (429)"
    imitates = (
        "429 rate_limit comes from the limiter, before execution, so no key remembers it (docs.stripe.com/"
        "error-low-level); the SDK does not retry it (stripe SDK 16.1.0, measured)."
    )
    exercises = "Counting on the library to try again, or ending a payout on a refusal that only asks for patience."
    recovery = RecoverySpec("itself", "The payout is tried again after a back-off, under the same key.", 7_200)
    bite = _answered(429, "rate_limit")
    answer = Refuse(429, "rate_limit")


class KeyInUseParams(Parameters):
    stall_min: int = Field(ge=40, le=90)
    """Longer than a caller waits and backs off, so that it asks again while the first request is still at work; the
    caller may have other payouts at hand that time out as well."""


class KeyInUse(_OfOneTransfer):
    id = "processor.key_in_use"
    title = "The processor is stuck in a payout and refuses the second try meanwhile (409)"
    imitates = (
        "A request under a key whose first request is still in flight is refused with 409 idempotency_key_in_use, and"
        " that is not saved (docs.stripe.com/error-low-level); the SDK reports it as an APIError (16.1.0, measured)."
    )
    exercises = "Taking 409 for a proof that nothing happened, while the first request is about to move the money."
    recovery = RecoverySpec("itself", "The same key is sent again; in the end the first result is replayed.", 7_200)
    bite = _answered(409, "idempotency_key_in_use")
    Params = KeyInUseParams
    params: KeyInUseParams

    def effect(self, call: Call) -> Effect | None:
        return Stall(self.params.stall_min * MINUTE_MS) if self.is_bound_to(call) else None


class AccountInvalid(_OfOneTransfer):
    id = "processor.account_invalid"
    title = "A winner's account does not exist any more for the processor (account_invalid)"
    imitates = (
        "403 account_invalid comes as a PermissionError whose code only e.error.code tells (stripe SDK 16.1.0,"
        " measured); it is among the codes of a transfer (docs.stripe.com/error-codes)."
    )
    exercises = "Retrying for ever what can never be, losing the prize's money, or holding back everybody else's."
    recovery = RecoverySpec(
        "itself", "The payout ends with the reason; the prize stays owed to the winner in an account of its own.", 7_200
    )
    bite = _answered(403, "account_invalid")
    answer = Refuse(403, "account_invalid")


class TransfersNotAllowed(_OfOneTransfer):
    id = "processor.transfers_not_allowed"
    title = "A winner's account may not receive transfers (transfers_not_allowed)"
    imitates = (
        "An account that lost a capability is refused with 400 transfers_not_allowed (docs.stripe.com/error-codes),"
        " raised in execution and so saved under the key (docs.stripe.com/error-low-level)."
    )
    exercises = "Retrying for ever what can never be, losing the prize's money, or holding back everybody else's."
    recovery = RecoverySpec(
        "itself", "The payout ends with the reason; the prize stays owed to the winner in an account of its own.", 7_200
    )
    bite = _answered(400, "transfers_not_allowed")
    answer = Refuse(400, "transfers_not_allowed")


class ObjectMissing(_OfOneTransfer):
    id = "processor.object_missing"
    title = "The processor knows no object to which a payout refers (resource_missing)"
    imitates = (
        "404 resource_missing: the id does not exist, or is one of another resource (docs.stripe.com/error-codes); said"
        " of one request, and of no account."
    )
    exercises = "Retrying for ever what can never be, or telling it as if the winner's account were closed."
    recovery = AccountInvalid.recovery
    bite = _answered(404, "resource_missing")
    answer = Refuse(404, "resource_missing")


class OtherAmount(_OfOneTransfer):
    id = "processor.same_key_other_amount"
    title = "The processor knows a payout's key from a request over another amount"
    imitates = (
        "The same key with other parameters is refused with 400 of type idempotency_error, which has no code (docs."
        "stripe.com/idempotency); a payout tried twice with two amounts was marked failed (liberapay, PR 1533)."
    )
    exercises = "Giving a payout up because of its key, or changing the key without asking what was sent under it."
    recovery = RecoverySpec(
        "itself", "Past the key's life the processor's transfers are searched; with none there, a new key is sent.",
        PAST_KEY_LIFE_S,
    )  # fmt: skip
    bite = _answered(400, "idempotency_error")
    answer = Refuse(400, "idempotency_error")


class IntentLockedParams(Parameters):
    held_h: int = Field(ge=3, le=12)


class IntentLocked(Fault):
    id = "processor.intent_locked"
    title = "The processor does not let go of an unpaid intent for hours, and will not cancel it (lock_timeout)"
    seam = "processor"
    operation = "intents.cancel"
    imitates = (
        "429 lock_timeout: the object cannot be accessed now because another request or process of Stripe's own has it"
        " (docs.stripe.com/error-codes, /rate-limits); it comes before execution and is saved under no key."
    )
    exercises = "Forgetting an intent that could not be canceled: its customer could pay for a contest long locked."
    recovery = RecoverySpec("itself", "It is asked for again every minute until the intent is canceled.", 3_600)
    bite = BiteSpec(
        "processor.requests",
        {
            "idempotency_key": "$victim", "operation": "intents.cancel", "status": 429, "error_code": "lock_timeout",
        },
        at_least=100,
    )  # fmt: skip
    Params = IntentLockedParams
    params: IntentLockedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, IntentLockedParams)
        locks = dict(guarantees.locks())
        unpaid = [entity for entity in guarantees.cancellations() if entity.partition("/")[0] in locks]
        if not unpaid:
            return None
        entity = draws.choice(unpaid, "entry")
        lock_at = locks[entity.partition("/")[0]]
        return Binding(entity=entity, from_at=lock_at, until_at=lock_at + params.held_h * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(429, "lock_timeout") if self.in_window(call) else None


LOCKED_TRIES = 10
"""So often is a refund tried in two and a half to five hours."""


class ChargeLocked(Fault):
    id = "processor.charge_locked"
    title = "The processor does not let go of a charge for hours, and will not refund it (lock_timeout)"
    seam = "processor"
    operation = "refunds.create"
    imitates = IntentLocked.imitates
    exercises = "Giving up what is owed to a customer after some refusals, or sending it twice once it is let go of."
    recovery = RecoverySpec("itself", "The refund is tried again, at least hourly, until it is taken.", 7_200)
    bite = BiteSpec(
        "processor.requests",
        {
            "idempotency_key": "$victim", "operation": "refunds.create", "status": 429, "error_code": "lock_timeout",
        },
        at_least=LOCKED_TRIES,
    )  # fmt: skip

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_refund(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        locked = call.entity == self.binding.entity and call.occurrence <= LOCKED_TRIES
        return Refuse(429, "lock_timeout") if locked else None


class _WhilePayoutsBegin(Fault):
    """Befalls all requests for transfers of one contest in a window that begins before the first of them."""

    seam = "processor"
    operation = "transfers.create"


class FundsPendingParams(Parameters):
    pending_h: int = Field(ge=3, le=30)


class FundsPending(_WhilePayoutsBegin):
    id = "processor.funds_pending"
    title = "Prizes are due and the money for them is still pending (balance_insufficient)"
    imitates = (
        "Charges sit in pending first and only available funds can be transferred: 400 balance_insufficient ("
        "stripe-node#1147), which is saved and was replayed for ten hours under one key (BasedHardware/omi, PR 7184)."
    )
    exercises = "Sending a key again under which the refusal is replayed, long after the money has come."
    recovery = RecoverySpec("itself", "Each refusal is followed by a new key, until the funds are available.", 7_200)
    bite = BiteSpec(
        "processor.requests",
        {"idempotency_key": "$victim", "operation": "transfers.create", "error_code": "balance_insufficient"},
    )
    Params = FundsPendingParams
    params: FundsPendingParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, FundsPendingParams)
        return as_payouts_begin(guarantees, draws, params.pending_h * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(400, "balance_insufficient") if self.in_window(call) else None


class KeyExpiredParams(Parameters):
    silent_h: int = Field(ge=26, le=34)
    """From before the first request: until the keys of all that were sent in the first two hours have died."""


class KeyExpired(_WhilePayoutsBegin):
    id = "processor.key_expired"
    title = "Payouts are made and not one answer comes for longer than a key lives"
    imitates = (
        "Keys are pruned after 24 h: the same key is then a new request, and a second transfer (docs.stripe.com/api/"
        "idempotent_requests); a retry after 24 h paid twice (spree, PR 14500)."
    )
    exercises = "Sending an old key again, by which each winner would be paid twice."
    recovery = RecoverySpec("itself", "Before a key dies the transfers made are searched for what it did.", 7_200)
    bite = BiteSpec(
        "processor.requests",
        {"idempotency_key": "$victim", "operation": "transfers.create", "replayed": True, "answered": False},
        at_least=10,
    )
    Params = KeyExpiredParams
    params: KeyExpiredParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, KeyExpiredParams)
        return as_payouts_begin(guarantees, draws, params.silent_h * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.in_window(call) else None


class OutageParams(Parameters):
    outage_min: int = Field(ge=150, le=600)


class Outage(Fault):
    """Everything at once: whoever asks gets 503, customers at the payment page too, and webhooks wait for its end."""

    id = "processor.outage"
    title = "The processor is down as prizes are due: no payment, no transfer, no webhook"
    seam = "processor"
    operation = "transfers.create"
    also = (
        ("processor", "intents.create"),
        ("processor", "intents.cancel"),
        ("processor", "intents.confirm"),
        ("processor", "refunds.create"),
        ("processor.read", "list"),
        ("processor.read", "retrieve"),
        ("webhook", "deliver"),
    )
    imitates = (
        "The whole API down for 27 and 93 minutes within one day (stripe.com/rcas/2019-07-10); webhooks come late after"
        " it (docs.stripe.com/webhooks); 503s are answered before execution and not saved (error-low-level)."
    )
    exercises = "Losing payments, payouts and notices all together, when each is the other's way to recover."
    recovery = RecoverySpec(
        "itself",
        "All is tried again; reconciliation reads on where it was; late webhooks find it applied.",
        10_800,
    )
    bite = BiteSpec(
        "processor.requests", {"idempotency_key": "$victim", "operation": "transfers.create", "status": 503}
    )
    Params = OutageParams
    params: OutageParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, OutageParams)
        binding = as_payouts_begin(guarantees, draws, params.outage_min * MINUTE_MS)
        return None if binding is None else Binding(from_at=binding.from_at, until_at=binding.until_at)

    def effect(self, call: Call) -> Effect | None:
        if not self.in_window(call):
            return None
        assert self.binding.until_at is not None
        return Delay(self.binding.until_at - call.at) if call.seam == "webhook" else Refuse(503)


class TransferReversedParams(Parameters):
    after_h: int = Field(ge=4, le=20)
    transfer: int = Field(default=1, ge=1, le=1_000)
    """Which of the contest's, in the order in which they were made."""


class TransferReversed(Fault):
    id = "processor.transfer_reversed"
    title = "The processor takes a payout back from the winner's account"
    seam = "processor"
    operation = "reverse"
    imitates = (
        "transfer.reversed is how a transfer that was made fails later: there is no transfer.failed (Stripe API"
        " reference, event types), and a transfer has no status that could tell."
    )
    exercises = "Believing that a payout that was paid stays paid."
    recovery = RecoverySpec(
        "runbook", "The prize is owed to its winner again, and somebody has looked into why.", 86_400,
        "payout_transfer_reversed",
    )  # fmt: skip
    bite = BiteSpec("processor.balance", {"n": "$victim", "kind": "transfer_reversal"})
    Params = TransferReversedParams
    params: TransferReversedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, TransferReversedParams)
        if not guarantees.on_call():
            return None
        binding = as_payouts_begin(guarantees, draws, params.after_h * HOUR_MS)
        return None if binding is None else Binding(entity=binding.entity, from_at=binding.until_at)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        transfer = {"transfer": self.params.transfer}
        return [Action(self.binding.from_at, "processor.reverse", self.binding.entity, transfer)]
