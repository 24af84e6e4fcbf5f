"""What the platform is watched and judged by: the anchor, the pager, alerting, the identity provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS, a_founder_after, while_in_play
from fault_injectors.violations import RevokedProbe
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    LoseRequest,
    Occasion,
    Parameters,
    RecoverySpec,
    Refuse,
)


class AnchorDownParams(Parameters):
    outage_h: int = Field(ge=5, le=7)


class AnchorDown(Fault):
    id = "platform.anchor_down"
    title = "The outside anchor of the audit log is down for hours"
    seam = "anchor"
    operation = "publish"
    imitates = "A small service of somebody else's, down for 27 and 93 min on one day (stripe.com/rcas/2019-07-10)."
    exercises = "Losing heads, or stopping the platform's work because nobody witnesses it."
    recovery = RecoverySpec("itself", "The head of the hour after is anchored, and covers all before it.", 2 * 3_600)
    bite = BiteSpec("anchor.refusals", {"head_seq": "$victim", "status": 503})
    Params = AnchorDownParams
    params: AnchorDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AnchorDownParams)
        bound = while_in_play(guarantees, draws, params.outage_h * HOUR_MS)
        return bound and replace(bound, entity=None)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


class _WhileAnchorIsDown(Fault):
    """Befalls the page about a stale anchor, so it brings the outage that makes somebody send one."""

    seam = "pager"
    operation = "send"

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        given = AnchorDownParams(outage_h=7)
        outage = AnchorDown.bind(guarantees, draws, given)
        if outage is None or outage.from_at is None:
            return None
        occasion = Occasion(AnchorDown.id, outage, given.model_dump())
        return Binding(
            entity="audit_anchor_stale", from_at=outage.from_at,
            until_at=outage.from_at + 5 * HOUR_MS, occasion=(occasion,),
        )  # fmt: skip


class PagerDown(_WhileAnchorIsDown):
    id = "platform.pager_down"
    title = "The pager is down when somebody has to be told that the anchor is stale"
    imitates = (
        "Events that the pager does not accept are answered 429 or 5xx, and the sender has to send them again"
        " (PagerDuty Events API v2)."
    )
    exercises = "Telling once, and taking it for told."
    recovery = RecoverySpec("itself", "The page is sent again until the pager has taken it.", 4 * 3_600)
    bite = BiteSpec("pager.refusals", {"dedup_key": "$victim", "status": 503})

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


class PageLost(_WhileAnchorIsDown):
    id = "platform.page_lost"
    title = "A page is lost on its way to the pager"
    imitates = (
        "A read timeout leaves unknown whether the request arrived; a dedup_key makes it safe to send it again"
        " (PagerDuty Events API v2)."
    )
    exercises = "Telling once, and taking it for told."
    recovery = RecoverySpec("itself", "The page is sent again under the same dedup key.", 4 * 3_600)
    bite = BiteSpec("platform.audit_log", {"action": "call.page_unanswered", "correlation": "$victim"})

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._lost = False

    def effect(self, call: Call) -> Effect | None:
        if self._lost or not self.in_window(call):
            return None
        self._lost = True
        return LoseRequest()


class MonitoringDownParams(Parameters):
    hours: int = Field(ge=2, le=4)


class MonitoringDown(Fault):
    id = "platform.monitoring_down"
    title = "Alerting stands still for hours: no rule is evaluated, and nothing that happens pages anybody"
    seam = "monitoring"
    operation = "stop"
    imitates = (
        "Rule evaluations that are missed while the server lives (prometheus_rule_group_iterations_missed_total; alert"
        " PrometheusMissingRuleEvaluations of prometheus-operator). The alert Watchdog always fires for this, and a"
        " receiver outside pages when it stays away (the same, runbook Watchdog: a dead man's switch)."
    )
    exercises = "Taking it for peace that nobody is paged."
    recovery = RecoverySpec(
        "itself", "Ops looks at everything by hand until the rules are evaluated again; what stands then is paged.",
        7_200,
    )  # fmt: skip
    bite = BiteSpec("pager.events", {"dedup_key": "$victim", "action": "trigger"})
    Params = MonitoringDownParams
    params: MonitoringDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, MonitoringDownParams)
        bound = while_in_play(guarantees, draws, params.hours * HOUR_MS)
        return replace(bound, entity="rules") if bound and guarantees.on_call() else None

    def actions(self) -> Sequence[Action]:
        binding = self.binding
        assert binding.entity is not None
        assert binding.from_at is not None
        assert binding.until_at is not None
        for_ms = binding.until_at - binding.from_at
        return [Action(binding.from_at, "monitoring.stop", binding.entity, {"for_ms": for_ms})]


class AuthDownParams(Parameters):
    outage_min: int = Field(ge=5, le=120)


class AuthDown(Fault):
    id = "platform.auth_down"
    title = "The identity provider does not answer while a founder tries a revoked credential"
    seam = "auth"
    operation = "introspect"
    imitates = (
        "A protected resource that cannot introspect a token cannot tell whether it was revoked (RFC 7662, section 4):"
        " signature and dates are right until it expires."
    )
    exercises = "Letting in whoever cannot be checked, or keeping out the customers, who need no such check."
    recovery = RecoverySpec("itself", "Admin calls are denied and recorded; customers' tokens go on counting.", 600)
    bite = BiteSpec("identity.events", {"token_id": "$victim", "action": "unavailable", "allowed": False})
    Params = AuthDownParams
    params: AuthDownParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AuthDownParams)
        moment = a_founder_after(guarantees, draws, guarantees.starts_at + 12 * HOUR_MS)
        if moment is None or not guarantees.payments():
            return None
        founder, at = moment
        occasion = Occasion(RevokedProbe.id, Binding(entity=founder, from_at=at))
        until_at = at + params.outage_min * MINUTE_MS
        return Binding(from_at=at - MINUTE_MS, until_at=until_at, occasion=(occasion,))

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


# --- what happens beside it ------------------------------------------------------------------------------------------
