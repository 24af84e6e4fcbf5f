"""Time-outs: a call whose outcome the caller cannot know."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors import provider
from fault_injectors.moments import (
    DAY_MS,
    MINUTE_MS,
    a_founder_after,
    a_payment,
    a_transfer,
    as_payouts_begin,
    while_in_play,
)
from seams.draws import Draws
from seams.faults import (
    Abort,
    Action,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    LoseRequest,
    Occasion,
    Parameters,
    RecoverySpec,
)


def _first_of(entities: Sequence[str], draws: Draws) -> Binding | None:
    """The first call about one of `entities`."""
    return Binding(entity=draws.choice(entities, "entity"), occurrence=1) if entities else None


class TransferRequestLost(Fault):
    id = "timeouts.transfer_request_lost"
    title = "The request for a payout is lost on its way to the processor"
    seam = "processor"
    operation = "transfers.create"
    imitates = (
        "A read timeout leaves the caller with an APIConnectionError that does not say whether the request arrived"
        " (stripe SDK 16.1.0, measured; its default timeout is 80 s)."
    )
    exercises = "Taking an unknown outcome for a failure: giving the payout up, or sending it again under another key."
    recovery = RecoverySpec("itself", "The payout is tried again under the same idempotency key.", within_s=7_200)
    bite = BiteSpec("platform.transfer_attempts", {"idempotency_key": "$victim", "outcome": "UNKNOWN"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_transfer(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.is_bound_to(call) else None


class TransferAnswerLost(Fault):
    id = "timeouts.transfer_answer_lost"
    title = "The processor pays a winner, and its answer is lost"
    seam = "processor"
    operation = "transfers.create"
    imitates = (
        "A server that is slow but succeeds gets every retry: three posts under one key (stripe SDK 16.1.0, measured)."
        " The first result is replayed for that key (docs.stripe.com/error-low-level)."
    )
    exercises = "Paying a winner twice: a second attempt under a new key moves the money again."
    recovery = RecoverySpec(
        "itself", "The same idempotency key is sent again; the processor replays the transfer it made.", within_s=7_200
    )
    bite = BiteSpec(
        "processor.requests", {"operation": "transfers.create", "idempotency_key": "$victim", "answered": False}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_transfer(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


class TransfersUnansweredParams(Parameters):
    silent_min: int = Field(ge=90, le=360)


class TransfersUnanswered(Fault):
    id = "timeouts.transfers_unanswered"
    title = "Every request for a payout of a contest is lost for hours"
    seam = "processor"
    operation = "transfers.create"
    imitates = (
        "A read timeout leaves the caller with an APIConnectionError that does not say whether the request arrived"
        " (stripe SDK 16.1.0, measured); one of Stripe's own outages took 93 minutes (stripe.com/rcas/2019-07-10)."
    )
    exercises = "Giving payouts up, or sending them under another key, after the fifth unknown outcome in a row."
    recovery = RecoverySpec("itself", "Each payout is tried again, at least hourly, under its key.", within_s=7_200)
    bite = BiteSpec("platform.transfer_attempts", {"idempotency_key": "$victim", "outcome": "UNKNOWN"}, at_least=3)
    Params = TransfersUnansweredParams
    params: TransfersUnansweredParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, TransfersUnansweredParams)
        return as_payouts_begin(guarantees, draws, params.silent_min * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.in_window(call) else None


class IntentRequestLost(Fault):
    id = "timeouts.intent_request_lost"
    title = "The request for a payment is lost on its way to the processor"
    seam = "processor"
    operation = "intents.create"
    imitates = (
        "A read timeout leaves the caller with an APIConnectionError that does not say whether the request arrived"
        " (stripe SDK 16.1.0, measured; its default timeout is 80 s)."
    )
    exercises = "Losing a customer who has entered: without an intent there is no page to pay on."
    recovery = RecoverySpec(
        "itself", "The intent is asked for again under the same key, and the customer pays then.", within_s=7200
    )
    bite = BiteSpec(
        "platform.audit_log", {"action": "call.intents.create", "correlation": "$victim", "reason": "deadline_exceeded"}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.is_bound_to(call) else None


class IntentAnswerLost(Fault):
    id = "timeouts.intent_answer_lost"
    title = "The processor makes an intent, and its answer is lost"
    seam = "processor"
    operation = "intents.create"
    imitates = (
        "A server that is slow but succeeds gets every retry under one key (stripe SDK 16.1.0, measured) and replays"
        " the first result for it (docs.stripe.com/error-low-level)."
    )
    exercises = "Making a second intent for one entry, which a customer could pay as well."
    recovery = RecoverySpec(
        "itself", "The same key is sent again; the processor replays the intent it made.", within_s=7200
    )
    bite = BiteSpec(
        "processor.requests", {"operation": "intents.create", "idempotency_key": "$victim", "answered": False}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


class CancelRequestLost(Fault):
    id = "timeouts.cancel_request_lost"
    title = "The request to cancel an unpaid intent is lost"
    seam = "processor"
    operation = "intents.cancel"
    imitates = (
        "A read timeout leaves the caller with an APIConnectionError that does not say whether the request arrived"
        " (stripe SDK 16.1.0, measured; its default timeout is 80 s)."
    )
    exercises = "Leaving open what a customer can still pay, for a contest that has locked without him."
    recovery = RecoverySpec(
        "itself", "It is canceled again, under the same key, until the processor says so.", within_s=7200
    )
    bite = BiteSpec(
        "platform.audit_log", {"action": "call.intents.cancel", "correlation": "$victim", "reason": "deadline_exceeded"}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return _first_of(guarantees.cancellations(), draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.is_bound_to(call) else None


class CancelAnswerLost(Fault):
    id = "timeouts.cancel_answer_lost"
    title = "The processor cancels an unpaid intent, and its answer is lost"
    seam = "processor"
    operation = "intents.cancel"
    imitates = (
        "A server that is slow but succeeds gets every retry under one key (stripe SDK 16.1.0, measured) and replays"
        " the first result for it (docs.stripe.com/error-low-level)."
    )
    exercises = "Taking a cancellation for refused that was made, or asking for it for ever."
    recovery = RecoverySpec(
        "itself", "The same key is sent again; the processor replays the canceled intent.", within_s=7200
    )
    bite = BiteSpec(
        "processor.requests", {"operation": "intents.cancel", "idempotency_key": "$victim", "answered": False}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return _first_of(guarantees.cancellations(), draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


class RefundRequestLost(Fault):
    id = "timeouts.refund_request_lost"
    title = "The request for a refund is lost on its way to the processor"
    seam = "processor"
    operation = "refunds.create"
    imitates = (
        "A read timeout leaves the caller with an APIConnectionError that does not say whether the request arrived"
        " (stripe SDK 16.1.0, measured; its default timeout is 80 s)."
    )
    exercises = "Taking an unknown outcome for a failure: keeping money that is owed back."
    recovery = RecoverySpec("itself", "The refund is tried again under the same idempotency key.", within_s=7200)
    bite = BiteSpec("platform.refunds", {"idempotency_key": "$victim", "attempts": 1})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return _first_of([who for who, _ in guarantees.refunds()], draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseRequest() if self.is_bound_to(call) else None


class RefundAnswerLost(Fault):
    id = "timeouts.refund_answer_lost"
    title = "The processor refunds a customer, and its answer is lost"
    seam = "processor"
    operation = "refunds.create"
    imitates = (
        "A server that is slow but succeeds gets every retry under one key (stripe SDK 16.1.0, measured) and replays"
        " the first result for it (docs.stripe.com/error-low-level)."
    )
    exercises = "Refunding a customer twice: a second request under a new key gives the money back again."
    recovery = RecoverySpec(
        "itself", "The same key is sent again; the processor replays the refund it made.", within_s=7200
    )
    bite = BiteSpec(
        "processor.requests", {"operation": "refunds.create", "idempotency_key": "$victim", "answered": False}
    )

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return _first_of([who for who, _ in guarantees.refunds()], draws)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


class ProviderParams(Parameters):
    silent_min: int = Field(ge=11, le=60)
    """Longer than the ten minutes between two polls."""


class Provider(Fault):
    id = "timeouts.provider"
    title = "The score provider gets every poll, and none of its answers arrives"
    seam = "provider"
    operation = "poll"
    imitates = (
        "The recorded feed of the 2026 Masters has gaps of up to 725 min between answers (median 10); a client without"
        " a read timeout waits for ever (requests, documentation of timeouts)."
    )
    exercises = "Moving the checkpoint past an answer that never came, or waiting for it and never polling again."
    recovery = RecoverySpec(
        "itself", "The poll ends at its deadline; the next asks from the durable checkpoint.", 3_600
    )
    bite = BiteSpec("provider.requests", {"n": "$victim", "status": 200, "answered": False})
    Params = ProviderParams
    params: ProviderParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ProviderParams)
        return while_in_play(guarantees, draws, params.silent_min * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.in_window(call) else None


class _Database(Fault):
    """Befalls one transaction, among those that are sure to be begun."""

    seam = "store"
    operation = "transact"

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        offered = guarantees.transactions()
        if not offered:
            return None
        operation, n = draws.choice(offered, "operation")
        return Binding(entity=operation, occurrence=draws.between(1, n, "transaction"))


class StatementParams(Parameters):
    statement: int = Field(ge=1, le=6)


class DatabaseStatement(_Database):
    id = "timeouts.database_statement"
    title = "The database goes silent in the middle of a transaction"
    imitates = (
        "When a connection ends in an open transaction the server logs 'unexpected EOF on client connection with an"
        " open transaction' and rolls back (PostgreSQL, source of tcop/postgres.c); a statement waits for its answer as"
        " long as the client's own timeout allows."
    )
    exercises = "Going on with half of a change, or dying of a database that is back a second later."
    recovery = RecoverySpec("itself", "Nothing was committed: the work begins again from the books.", within_s=3_600)
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "rolled_back"})
    Params = StatementParams
    params: StatementParams

    def effect(self, call: Call) -> Effect | None:
        return Abort(self.params.statement) if self.is_bound_to(call) else None


class DatabaseCommit(_Database):
    id = "timeouts.database_commit"
    title = "The database goes silent before a commit reaches it"
    imitates = (
        "A connection that ends before COMMIT has arrived leaves nothing of its transaction (PostgreSQL manual, chapter"
        " on transactions: all or nothing)."
    )
    exercises = "Acting upon what was computed in a transaction that never was."
    recovery = RecoverySpec("itself", "Nothing was committed: the work begins again from the books.", within_s=3_600)
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "rolled_back"})

    def effect(self, call: Call) -> Effect | None:
        return Abort(0) if self.is_bound_to(call) else None


class DatabaseAnswer(_Database):
    id = "timeouts.database_answer_lost"
    title = "The database commits, and its answer is lost"
    imitates = (
        "If the connection is lost while COMMIT is in progress the client cannot know its outcome: pg_xact_status"
        " exists to ask afterwards (PostgreSQL manual, system information functions)."
    )
    exercises = "Doing a committed change once more: an entry, a capture, a prize or a payout that is there twice."
    recovery = RecoverySpec(
        "itself", "Work begins again from the books, which have it: nothing is done twice.", within_s=3_600
    )
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "committed_unanswered"})

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None


class OnAttemptParams(Parameters):
    lost: int = Field(ge=1, le=2)
    principal: str = ""
    """Who tries; settled by the binding."""


class _OnAttempt(Fault):
    """A founder tries the credential that he no longer has, which by itself is no breach; what it sets going is lost
    `lost` times from that instant on."""

    Params = OnAttemptParams
    params: OnAttemptParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._met = 0

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        moment = a_founder_after(guarantees, draws, guarantees.starts_at + DAY_MS)
        if moment is None:
            return None
        return Binding(from_at=moment[1], until_at=moment[1] + 2 * MINUTE_MS, params={"principal": moment[0]})

    def effect(self, call: Call) -> Effect | None:
        if not self.concerns(call) or not self.in_window(call) or self._met >= self.params.lost:
            return None
        self._met += 1
        return LoseAnswer()

    def concerns(self, call: Call) -> bool:
        return True

    def actions(self) -> Sequence[Action]:
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "identity.login", self.params.principal, {"live": False})]


class Auth(_OnAttempt):
    id = "timeouts.auth"
    title = "The identity provider's answer about a token does not arrive"
    seam = "auth"
    operation = "introspect"
    imitates = (
        "A resource server that cannot reach its introspection endpoint has to decide by itself; what is not confirmed"
        " as active is not authorised (RFC 7662, sections 2.2 and 4)."
    )
    exercises = "Letting somebody in because nobody said no, or never answering while the identity provider is silent."
    recovery = RecoverySpec(
        "itself", "The identity provider is asked again; a second silence is a denial.", within_s=300
    )
    bite = BiteSpec("identity.events", {"token_id": "$victim", "action": "unanswered", "allowed": False})


class AdminApi(_OnAttempt):
    id = "timeouts.admin_api"
    title = "The admin API serves a request, and its answer is lost"
    seam = "edge"
    operation = "request"
    imitates = (
        "A client that times out does not know whether its request was served, and may repeat one that is safe (RFC"
        " 9110, section 9.2.2): both requests were real."
    )
    exercises = "An access decision that is not on record because its caller was gone by then."
    recovery = RecoverySpec("itself", "The caller asks again; each attempt is in the access log.", within_s=300)
    bite = BiteSpec("identity.events", {"reason": "$entity", "action": "unanswered", "allowed": False})

    def concerns(self, call: Call) -> bool:
        return call.entity.startswith("/api/admin/")


COMPLETE = "/api/admin/runbooks/complete"


class CompleteAnswerLost(Fault):
    """It brings an outage of the score provider, long enough for somebody to be paged and to open a runbook."""

    id = "timeouts.complete_answer_lost"
    title = "Ops ends a runbook execution, and the platform's answer is lost"
    seam = "edge"
    operation = "request"
    imitates = (
        "A client that sees its connection end before the answer cannot know whether a request was served; it may"
        " repeat one of which it knows that it is idempotent (RFC 9110, section 9.2.2)."
    )
    exercises = "An execution that ends twice, or one that its executor hands on although it went as written."
    recovery = RecoverySpec("itself", "The same end is told again, and is answered as the first time.", within_s=600)
    bite = BiteSpec("operator.unanswered", {"resource": "$entity", "error": "deadline_exceeded"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        given = provider.OutageParams(outage_min=170)
        outage = provider.Outage.bind(guarantees, draws, given)
        if outage is None or not guarantees.on_call():
            return None
        occasion = Occasion(provider.Outage.id, outage, given.model_dump())
        return Binding(entity=COMPLETE, occurrence=1, occasion=(occasion,))

    def effect(self, call: Call) -> Effect | None:
        return LoseAnswer() if self.is_bound_to(call) else None
