"""Time-outs: a call whose outcome the caller cannot know."""

from __future__ import annotations

from fault_injectors.moments import a_transfer
from seams.draws import Draws
from seams.faults import (
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    LoseAnswer,
    LoseRequest,
    Parameters,
    RecoverySpec,
)


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
