"""Clocks that are wrong, payouts that are kept from going out, customers who leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    Occasion,
    Parameters,
    RecoverySpec,
    Refuse,
)

LEAVE_APART_MS = 3 * MINUTE_MS


class ClockSkewParams(Parameters):
    host: Literal["lin-settle-1", "lin-app-1", "win-ingest-1"] = "lin-settle-1"
    direction: Literal["ahead", "behind"] = "ahead"
    over: Literal["settlement", "entries"] = "settlement"
    offset_s: int = Field(ge=60, le=900)
    hours: int = Field(ge=6, le=24)


class ClockSkew(Fault):
    id = "platform.clock_skew"
    title = "A host's clock is minutes wrong for hours, over a settlement or while customers enter"
    seam = "hosts"
    operation = "skew"
    imitates = (
        "System clock wrong by 125.4 seconds, as chronyd logs it before it steps the clock (chrony documentation);"
        " RFC 7519 allows a few minutes of leeway for skew, and Stripe's tolerance of 300 s needs a right clock."
    )
    exercises = "Taking the host's word for when something was asked: scores for official that were read too early."
    recovery = RecoverySpec(
        "itself", "What decides is dated by the database; the rest comes late and is retried.", 7_200
    )
    bite = BiteSpec("hosts.clocks", {"n": "$victim", "host": "$entity", "state": "wrong"})
    Params = ClockSkewParams
    params: ClockSkewParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ClockSkewParams)
        instants = [until_at for _, _, until_at in guarantees.settlements()]
        if params.over == "entries":
            instants = [captured_at for _, captured_at in guarantees.payments()]
        if not instants:
            return None
        from_at = draws.choice(instants, "instant") - draws.between(2, 5, "before") * HOUR_MS
        return Binding(entity=params.host, from_at=from_at, until_at=from_at + params.hours * HOUR_MS)

    def actions(self) -> Sequence[Action]:
        binding, params = self.binding, self.params
        assert binding.entity is not None
        assert binding.from_at is not None
        offset_ms = params.offset_s * (1_000 if params.direction == "ahead" else -1_000)
        skew = {"offset_ms": offset_ms, "for_ms": params.hours * HOUR_MS}
        return [Action(binding.from_at, "hosts.skew", binding.entity, skew)]


class PayoutsHeld(Fault):
    id = "platform.payouts_held"
    title = "The processor turns away every payout of a contest for hours: too many requests"
    seam = "processor"
    operation = "transfers.create"
    imitates = (
        "429 rate_limit comes before execution, is saved under no key, and stripe-python does not retry it (stripe SDK"
        " 16.1.0, measured)."
    )
    exercises = "Giving payouts up that were only turned away, or closing the contest without them."
    recovery = RecoverySpec("itself", "Each payout is tried again, later each time, until it is taken.", 3 * 3_600)
    bite = BiteSpec("processor.requests", {"idempotency_key": "$victim", "status": 429})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        paying = {contest_id for contest_id, n in guarantees.transfers() if n > 0}
        settlements = [settled for settled in guarantees.settlements() if settled[0] in paying]
        return cls.during(draws.choice(settlements, "settlement")) if settlements else None

    @classmethod
    def during(cls, settlement: tuple[str, int, int]) -> Binding:
        """From before the contest can be settled until four hours after it should have been."""
        contest_id, from_at, until_at = settlement
        return Binding(entity=contest_id, from_at=from_at, until_at=until_at + 4 * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(429, "rate_limit") if self.in_window(call) else None


class UserDeletedParams(Parameters):
    leavers: int = Field(default=1, ge=1, le=3)
    """So many of the contest's winners leave, a few minutes apart."""
    also: tuple[str, ...] = ()
    """Who leaves beside the one that it is bound to; settled by the binding."""


class UserDeleted(Fault):
    id = "platform.user_deleted"
    title = "A winner deletes his account after the settlement and before the payout"
    seam = "entrants"
    operation = "delete"
    imitates = (
        "A right to erasure does not wait for a payout (GDPR, article 17); unclaimed money stays a liability, on record"
        " by name (FACTS 4, prize_payable)."
    )
    exercises = "Paying somebody who has left, forgetting what is owed to him, or a contest that never closes for him."
    recovery = RecoverySpec(
        "itself", "The payout ends FAILED_TERMINAL with user_deleted; the others are paid.", 3 * 3_600
    )
    bite = BiteSpec("entrants.actions", {
        "n": "$victim", "user_id": "$entity", "action": "deleted_account", "result": "ok",
    })  # fmt: skip

    Params = UserDeletedParams
    params: UserDeletedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, UserDeletedParams)
        winners = guarantees.winners()
        together = {
            contest_id: [user for contest, user in winners if contest == contest_id] for contest_id, _ in winners
        }
        winners = [one for one in winners if len(together[one[0]]) >= params.leavers]
        if not winners:
            return None
        contest_id, user_id = draws.choice(winners, "winner")
        settlement = next(settled for settled in guarantees.settlements() if settled[0] == contest_id)
        at = settlement[2] + draws.between(5, 90, "after") * MINUTE_MS
        others = [user for user in together[contest_id] if user != user_id][: params.leavers - 1]
        held = Occasion(PayoutsHeld.id, PayoutsHeld.during(settlement))
        return Binding(entity=user_id, from_at=at, occasion=(held,), params={"also": others})

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [
            Action(self.binding.from_at + n * LEAVE_APART_MS, "entrants.delete", user)
            for n, user in enumerate([self.binding.entity, *self.params.also])
        ]
