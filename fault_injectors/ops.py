"""Violations by whoever is on call: ops may act, but only as a runbook says, and only where a scheduler does not.

Invariant: each is one act of one person at one instant, with a credential that is rightly his.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from fault_injectors import provider
from fault_injectors.moments import HOUR_MS, MINUTE_MS
from fault_injectors.violations import CAUGHT
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Occasion, Parameters

Job = Literal["lock", "settlement", "payout", "configuration", "promotion"]
CALLS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "lock": ("/api/admin/contests/lock", "contest_lock_failed", ("contest_id", "reason")),
    "settlement": ("/api/admin/settlement/rerun", "settlement_overdue", ("contest_id", "reason")),
    "payout": ("/api/admin/payouts/start", "payout_not_triggered", ("contest_id",)),
    "configuration": ("/api/admin/config/apply", "configuration_change", ("setting", "value", "reason")),
    "promotion": ("/api/admin/env/promote", "environment_promotion", ("reason",)),
}
"""What a scheduler does by itself, or only an approved change: the endpoint that has it done now, the runbook that has
such a step, and the fields of a request."""


class ByHandParams(Parameters):
    job: Job = "payout"
    contest_id: str = ""
    """Settled by the binding."""


class _ByHand(Fault):
    """Somebody of ops has done what a scheduler does, within half a day after it should have, for one contest; or what
    nobody does without a task, at such a time."""

    kind: ClassVar[Literal["fault", "violation"]] = "violation"
    recovery = CAUGHT
    seam = "ops"
    Params = ByHandParams
    params: ByHandParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, ByHandParams)
        instants = guarantees.locks()
        if params.job != "lock":
            instants = [(contest_id, until_at) for contest_id, _, until_at in guarantees.settlements()]
        on_call = guarantees.on_call()
        if not instants or not on_call:
            return None
        contest_id, at = draws.choice(instants, "contest")
        at += draws.between(2, 12 * 60, "after") * MINUTE_MS
        return Binding(entity=on_call[0], from_at=at, params={"contest_id": contest_id, "job": params.job})

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        path, runbook, fields = CALLS[self.params.job]
        said = {"contest_id": self.params.contest_id, "setting": "auth_timeout_ms", "value": 8_000,
                "reason": "it is quicker by hand"}  # fmt: skip
        body = {name: said[name] for name in fields}
        params: dict[str, Any] = {"path": path, "body": body}
        if self.operation == "pretend":
            params["runbook"] = runbook
        return [Action(self.binding.from_at, f"ops.{self.operation}", self.binding.entity, params)]


class ActsOutsideRunbook(_ByHand):
    id = "ops.acts_outside_runbook"
    title = "Ops calls an acting endpoint of the admin API, and has no runbook open"
    operation = "call"
    imitates = (
        "A call with curl and the token of the tool: whoever holds a credential can send what the runbooks do not say"
        " (OWASP API Security Top 10 2023, API5: broken function level authorization)."
    )
    exercises = "Letting ops do what no document says, or refusing it and telling nobody."
    bite = BiteSpec("platform.access_log", {
        "principal": "$entity", "resource": "$victim", "action": "admin.authenticate", "allowed": True,
    })  # fmt: skip


class StartsByHand(_ByHand):
    id = "ops.starts_by_hand"
    title = "Ops starts what a scheduler starts, in an execution that nothing has called for"
    operation = "pretend"
    imitates = (
        "A change that is filed under a procedure which was not followed: why auditors compare what was done with what"
        " the procedure says, and not with its name (SOC 2, criteria CC8)."
    )
    exercises = "Taking everything for a runbook that carries the number of an execution."
    bite = BiteSpec("platform.runbook_executions", {"id": "$victim", "executed_by": "$entity"})


RUNBOOK = "runbooks/ingestion_lag.md"
LINES: dict[str, tuple[str, str]] = {
    # The scores are not looked at any more.
    "command": ("opsctl scores audit", "opsctl db health"),
    # It is waited longer than reviewed for what ought to be so at once.
    "expectation": ("within 1800s every 300s", "within 18000s every 300s"),
}
"""A line of RUNBOOK that is come to whatever happens, and what stands in its place afterwards."""


class RunbookAlteredParams(Parameters):
    line: Literal["command", "expectation"] = "command"


class RunbookAltered(Fault):
    """It brings an outage of the score provider, long enough for the runbook to be opened and carried out."""

    id = "ops.runbook_altered"
    kind = "violation"
    title = "Ops alters a line of a runbook, and carries it out so when it is next needed"
    seam = "ops"
    operation = "alter"
    imitates = (
        "A document that is edited where it is read drifts from the reviewed one; that what runs is what was reviewed"
        " has to be shown by its hash (SLSA 1.0, provenance; SOC 2, criteria CC8)."
    )
    exercises = "Judging what was done by a document that says something else."
    recovery = CAUGHT
    bite = BiteSpec("operator.notebook", {"action": "started", "detail": "$victim"})
    Params = RunbookAlteredParams
    params: RunbookAlteredParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        given = provider.OutageParams(outage_min=170)
        outage, on_call = provider.Outage.bind(guarantees, draws, given), guarantees.on_call()
        if outage is None or outage.from_at is None or not on_call:
            return None
        occasion = Occasion(provider.Outage.id, outage, given.model_dump())
        at = outage.from_at - draws.between(1, 6, "before") * HOUR_MS
        return Binding(entity=on_call[0], from_at=at, occasion=(occasion,))

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        written, altered = LINES[self.params.line]
        params = {"runbook": RUNBOOK, "written": written, "altered": altered}
        return [Action(self.binding.from_at, "ops.alter", self.binding.entity, params)]
