"""Family dashboards, errors: what the platform shows of its own failures is what others met with.

Invariant: as for the other pages; the platform counts all of its callers, so each party's own is the least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assertions.facts import facts
from assertions.model import Finding, assertion
from assertions.outlook import Look, answered, due, outlook, platform_starts
from assertions.words import DAY_MS, MINUTE_MS, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

TAKEN_WITHIN_MS = 2 * MINUTE_MS
"""From another party's note of a call to the platform's."""
REFUSED = "refused"
"""The note of a delivery that something in front of the platform answered."""


@assertion(
    "dashboards.errors_as_others_saw", "The errors shown are those that processor, identity provider and trail know of"
)
def errors_as_others_saw(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("pages of errors", 0, due(evidence))
    pages = answered(evidence, "errors")
    if not pages:
        return found
    rows = evidence.rows("processor.deliveries", "at", "status", "note")
    deliveries = [(at, status) for at, status, note in rows if status is not None and note != REFUSED]
    starts = platform_starts(evidence)
    first_at = min((span.from_at for span in known.spans), default=None)
    for look in pages:
        found.saw += 1
        for problem in _errors(evidence, look, deliveries, starts, first_at):
            found.breaks(f"the error dashboard of {instant(look.told_at)} {problem}", look.subject, look.told_at)
    return found


def _errors(
    evidence: Evidence, look: Look, deliveries: list[tuple[int, int]], starts: list[int], first_at: int | None
) -> list[str]:
    at, page = look.told_at, look.summary
    problems = []
    since_at, asked, failed = page["since_at"], page["requests"], page["failures"]
    began_at = max((start for start in starts if start <= at), default=since_at)
    if since_at < began_at - MINUTE_MS - _skew_ms(evidence, at):  # by the clock of the host that the process is on
        problems.append(f"counts from {instant(since_at)}, before the process began at {instant(began_at)}")
    counted_from = max(since_at + _skew_ms(evidence, at), began_at)
    seen = [status for made, status in deliveries if counted_from < made <= at - TAKEN_WITHIN_MS]
    unserved = sum(status == 503 for status in seen)
    if asked < len(seen):
        problems.append(f"counts {asked} requests; the processor alone had {len(seen)} answered")
    if failed < unserved:
        problems.append(f"counts {failed} failures; the processor alone met with {unserved}")
    if failed and (first_at is None or first_at > at):
        problems.append(f"counts {failed} failures while nothing had gone wrong yet")
    left_bp = 10_000 - failed * 1_000_000 // max(asked, 1_000)
    if (page["budget_remaining_bp"], page["burn_rate_bp"]) != (left_bp, failed * 1_000_000 // max(asked, 1)):
        problems.append(f"has {page['budget_remaining_bp']} bp of the budget left; {failed} of {asked} leave {left_bp}")
    told: dict[str, dict[str, Any]] = {}
    for row in (look.body or {}).get("errors", ()):
        told.setdefault(row["source"], {})[row["code"]] = row["errors"]
    refused = outlook(evidence)[look.audit_seq].refusals(at - DAY_MS)
    if told.get("refused", {}) != refused:
        problems.append(f"counts refusals {told.get('refused', {})}; the trail has {refused}")
    for code, (fewest, highest) in _rejections(evidence, at).items():
        said = told.get("transfer", {}).get(code, 0)
        if not fewest <= said <= highest:
            problems.append(f"counts {said} transfers rejected with {code}; the processor rejected {highest}")
    for principal, (fewest, highest) in _denials(evidence, at).items():
        said = told.get("denied", {}).get(principal, 0)
        if not fewest <= said <= highest:
            problems.append(f"counts {said} denials of {principal}; the identity provider told of {highest}")
    return problems


def _rejections(evidence: Evidence, at: int) -> dict[str, tuple[int, int]]:
    """How often in the day before the processor answered the platform's request for a transfer with each error, at
    least and at most. What a process or the database died over may be on record as unknown."""
    found: dict[str, tuple[int, int]] = {}
    certain = not _broken_that_day(evidence, at, "store", "services", "hosts")
    for requests in facts(evidence).transfer_requests.values():
        for request in requests:
            if request.error_code is None or not request.answered or request.status >= 500:
                continue  # after a 500 nothing is sure
            if at - DAY_MS - TAKEN_WITHIN_MS < request.at <= at:
                surely = certain and at - DAY_MS < request.at <= at - TAKEN_WITHIN_MS
                fewest, highest = found.get(request.error_code, (0, 0))
                found[request.error_code] = (fewest + surely, highest + 1)
    return found


def _broken_that_day(evidence: Evidence, at: int, *seams: str) -> bool:
    """Whether a fault at one of these seams was at work in the day before."""
    there = {fault.id for fault in evidence.plan.faults if fault.seam in seams}
    return any(
        span.fault_id in there and span.from_at <= at and (span.over_at is None or span.over_at > at - DAY_MS)
        for span in facts(evidence).spans
    )


def _skew_ms(evidence: Evidence, until_at: int) -> int:
    """How far a host's clock has been off by then, at most, by its own time service."""
    return max((abs(off) for at, off in evidence.rows("hosts.clocks", "at", "offset_ms") if at <= until_at), default=0)


def _denials(evidence: Evidence, at: int) -> dict[str, tuple[int, int]]:
    """How often in the day before the identity provider told the platform that a principal's token is worth nothing.
    Where the way to either book was broken that day, how often it was cannot be known."""
    found: dict[str, tuple[int, int]] = {}
    if _broken_that_day(evidence, at, "auth", "store"):
        return found
    for made, action, principal, allowed in evidence.rows("identity.events", "at", "action", "principal", "allowed"):
        if action == "introspected" and not allowed and principal and at - DAY_MS - MINUTE_MS < made <= at:
            surely = at - DAY_MS < made <= at - MINUTE_MS
            fewest, highest = found.get(principal, (0, 0))
            found[principal] = (fewest + surely, highest + 1)
    return found
