"""The endpoint that takes webhooks: forged and replayed deliveries, a signing secret that is rolled, hours without it.

Whatever comes of a delivery there, the processor's list of events tells the same, hourly.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS, a_payment
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Copy,
    Effect,
    Fault,
    Guarantees,
    Parameters,
    RecoverySpec,
    Refuse,
)

FORGERIES = 4
"""Ways to sign without the secret: not at all, with another key, under v0 only, with nothing."""
_FORGING_TAKES = 5 * MINUTE_MS


class Forged(Fault):
    id = "endpoint.forged_signature"
    title = "Somebody forges the webhook that says that his entry is paid"
    seam = "attacker"
    operation = "forge"
    imitates = (
        "The endpoint's address is public and the form of an event documented: only Stripe-Signature, HMAC-SHA256 under"
        " v1, tells who sent it; v0 and other schemes are to be ignored (docs.stripe.com/webhooks)."
    )
    exercises = "Believing a body because it looks right: an entry that nobody has paid for plays, and may win."
    recovery = RecoverySpec("itself", "The signature is checked first; each forgery is refused and on record.", 3_600)
    bite = BiteSpec("attacker.posts", {"n": "$victim", "kind": "forged"}, at_least=FORGERIES)

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        unpaid = [item for item in guarantees.unpaid() if item[2] - item[1] > _FORGING_TAKES]
        if not unpaid:
            return None
        entity, from_at, until_at = draws.choice(unpaid, "entry")
        return Binding(entity=entity, from_at=draws.between(from_at, until_at - _FORGING_TAKES, "instant"))

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "attacker.forge", self.binding.entity)]


class ReplayedParams(Parameters):
    after_min: int = Field(ge=6, le=2_880)
    """More than the 300 s for which a signature is good."""


class Replayed(Fault):
    id = "endpoint.stale_signature"
    title = "Somebody posts an old webhook again, with its true signature"
    seam = "webhook"
    operation = "deliver"
    imitates = (
        "A copied payload with a valid signature can be sent again: the timestamp is signed too, and older than 300 s"
        " it is to be refused; every attempt of Stripe's own has a new one (docs.stripe.com/webhooks, replay attacks)."
    )
    exercises = "Checking the signature without its time: whoever has seen one delivery may repeat it for ever."
    recovery = RecoverySpec("itself", "A signature older than five minutes is refused and on record.", 3_600)
    bite = BiteSpec("attacker.posts", {"event_id": "$victim", "kind": "replayed"})
    Params = ReplayedParams
    params: ReplayedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return a_payment(guarantees, draws)

    def effect(self, call: Call) -> Effect | None:
        return Copy(after_ms=self.params.after_min * MINUTE_MS) if self.is_bound_to(call) else None


class SecretRotationParams(Parameters):
    before_min: int = Field(ge=10, le=180)
    """How long before the bound payment the old secret ends."""


class SecretRotation(Fault):
    """The release holds the secret that comes next beside the current one: what nobody can hand in later."""

    id = "endpoint.secret_rotation"
    title = "The signing secret of the webhooks is replaced"
    seam = "processor"
    operation = "roll_secret"
    imitates = (
        "When the secret is rolled, old and new are both valid for up to 24 h, and each delivery carries several v1"
        " signatures; then the old one ends (docs.stripe.com/webhooks, roll endpoint secrets)."
    )
    exercises = "Reading only the first v1, or knowing only one secret: from the next day on every webhook is refused."
    recovery = RecoverySpec(
        "itself", "A delivery is good when any of its signatures is by any secret that we hold.", 3_600
    )
    bite = BiteSpec("processor.deliveries", {"entity": "$entity", "note": "new secret"})
    Params = SecretRotationParams
    params: SecretRotationParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, SecretRotationParams)
        ahead_ms = DAY_MS + params.before_min * MINUTE_MS
        earliest_at = guarantees.starts_at + HOUR_MS + ahead_ms
        payments = [item for item in guarantees.payments() if item[1] >= earliest_at]
        if not payments:
            return None
        entity, captured_at = draws.choice(payments, "payment")
        return Binding(entity=entity, from_at=captured_at - ahead_ms)

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, "processor.roll_secret", self.binding.entity)]


class DownParams(Parameters):
    down_h: int = Field(ge=2, le=12)


class Down(Fault):
    """Whole hours, so that some retries find it down again. Customers still get through: they come another way."""

    id = "endpoint.down"
    title = "No webhook gets through to the platform for hours"
    seam = "webhook"
    operation = "attempt"
    imitates = (
        "What is not answered with 2xx is tried again for up to 3 days with exponential back-off, intervals not"
        " documented (docs.stripe.com/webhooks); webhooks came up to 4.5 h late (github.blog, August 2023)."
    )
    exercises = "Waiting for webhooks that do not come, or choking on all of them when they come at once."
    recovery = RecoverySpec("itself", "Reconciliation applies what was paid; the retries find it applied.", 7_200)
    bite = BiteSpec("processor.deliveries", {"event_id": "$victim", "status": 503, "note": "refused"})
    Params = DownParams
    params: DownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, DownParams)
        payments = guarantees.payments()
        if not payments:
            return None
        _, captured_at = draws.choice(payments, "payment")
        from_at = max(captured_at - draws.between(0, params.down_h * HOUR_MS // 2, "before"), guarantees.starts_at)
        return Binding(from_at=from_at, until_at=from_at + params.down_h * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None
