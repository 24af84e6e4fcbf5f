"""Family absence: ops acted on the platform in steps of open runbook executions, and in no other way.

Invariant: the calls are the platform's access log and the identity provider's look-ups; when an execution was open and
what it had sent is the operator's own notebook, what came of a call the audit trail.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import facts
from assertions.hands import ENDS
from assertions.model import Finding, assertion
from assertions.outlook import observed_from
from assertions.words import instant

if TYPE_CHECKING:
    from evidence.run import Evidence

CONTROL = frozenset({f"POST /api/admin/runbooks/{end}" for end in ("start", "steps", "complete")})
"""By which executions are begun, recorded and ended: calls around steps, and none themselves."""
ADMIN = " /api/admin/"
READS = "GET "
RECORDED_WITHIN_MS = 10_000
"""From the call to its row in the trail, and from the identity provider's word to that of the access log."""


class _Execution(NamedTuple):
    id: str
    principal: str
    from_at: int
    until_at: int


@assertion("absence.acts_in_steps", "Admin endpoints that change anything were called only by steps of open executions")
def acts_in_steps(evidence: Evidence) -> Finding:
    found = Finding("calls of ops")
    if not observed_from(evidence.plan):
        return found
    found.owed = _looks(evidence)
    ops = {principal.id for principal in evidence.plan.principals if principal.role == "ops"}
    executions, steps = _executions(evidence)
    trail: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
    for at, actor, action, subject, reason, execution_id in evidence.rows(
        "platform.audit_log", "at", "actor", "action", "subject", "reason", "correlation"
    ):
        if actor in ops and action.startswith("ops."):
            trail.setdefault((actor, subject), []).append((at, reason or "", execution_id or ""))
    for n, at, principal, resource, allowed in evidence.rows(
        "platform.access_log", "n", "at", "principal", "resource", "allowed"
    ):
        if not allowed or principal not in ops:
            continue
        found.saw += 1
        if resource.startswith(READS) or resource in CONTROL or ADMIN not in resource:
            continue
        path = resource.partition(" ")[2]
        made = [
            (reason, execution_id)
            for row_at, reason, execution_id in trail.get((principal, f"admin{path}"), ())
            if at <= row_at <= at + RECORDED_WITHIN_MS
        ]
        problem = _problem(at, principal, made, executions, steps)
        if problem:
            found.breaks(f"{principal} called {resource} at {instant(at)}, {problem}", f"access_log/{n}", at)
    return found


def _problem(
    at: int, principal: str, made: list[tuple[str, str]], executions: dict[str, _Execution], steps: set[tuple[str, str]]
) -> str:
    """What is wrong with an acting call, if anything is."""
    open_then = [one for one in executions.values() if one.principal == principal and one.from_at <= at <= one.until_at]
    if not open_then:
        return "while no runbook execution was open"
    for reason, execution_id in made:
        step = reason.removeprefix("runbook step ").partition(":")[0]
        if execution_id in {one.id for one in open_then} and (execution_id, step) in steps:
            return ""
    return "and no step of the execution that was open then says so"


def _executions(evidence: Evidence) -> tuple[dict[str, _Execution], set[tuple[str, str]]]:
    """The executions of the notebook, and (execution, step) of whatever one sent."""
    executions: dict[str, _Execution] = {}
    steps = set()
    never = facts(evidence).ended_at
    for at, principal, action, execution_id, step, sent in evidence.rows(
        "operator.notebook", "at", "principal", "action", "execution_id", "step", "sent"
    ):
        known = executions.setdefault(execution_id, _Execution(execution_id, principal, at, never))
        if action == "step" and sent:
            steps.add((execution_id, step))
        elif action in ENDS:
            executions[execution_id] = known._replace(until_at=at)
    return executions, steps


@assertion(
    "absence.calls_on_record", "Every call of ops that the identity provider was asked about is in the access log"
)
def calls_on_record(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("look-ups")
    if not observed_from(evidence.plan):
        return found
    ops = {principal.id for principal in evidence.plan.principals if principal.role == "ops"}
    logged: dict[str, list[int]] = {principal: [] for principal in ops}
    for at, principal in evidence.rows("platform.access_log", "at", "principal"):
        if principal in ops:
            logged[principal].append(at)
    for rows in logged.values():
        rows.sort()
    used = dict.fromkeys(ops, 0)
    for n, at, action, principal, allowed in evidence.rows(
        "identity.events", "n", "at", "action", "principal", "allowed"
    ):
        if action != "introspected" or principal not in ops or not allowed:
            continue
        found.saw += 1
        rows = logged[principal]
        place = max(used[principal], bisect_left(rows, at))
        if place < len(rows) and rows[place] <= at + RECORDED_WITHIN_MS:
            used[principal] = place + 1
        elif known.deadline(at, RECORDED_WITHIN_MS)[0] <= at + RECORDED_WITHIN_MS:
            found.breaks(
                f"the platform asked about {principal} at {instant(at)}, and has no call of his on record",
                f"identity.events/{n}", at,
            )  # fmt: skip
    found.owed = _looks(evidence)
    return found


def _looks(evidence: Evidence) -> int:
    """How often somebody looked at a dashboard with a token of ops, by the observer's book: so many calls there are."""
    return sum(status == 200 for (status,) in evidence.rows("observer.dashboards", "status"))
