"""Family healing: hosts are well again by their own books, orders end, and every id leads somewhere.

Invariant: whether a host was healed, and whether a command ran there, is read in the hosts' books alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.lab import allowed, excuse, experiments
from assertions.model import Finding, assertion
from assertions.words import HOUR_MS, MINUTE_MS, duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

ENDS = frozenset({"COMPLETED", "FAILED", "EXPIRED"})
AGAIN_WITHIN_MS = 20 * MINUTE_MS
"""By when a host is looked at once more after it was healed."""
LATEST_MS = 3 * HOUR_MS
"""What bites so shortly before the end may be under way."""
PROMOTED_AT = 5
WITHDRAWN_AT = 3


@assertion(
    "healing.drifts_healed",
    "Every host that was no longer as it should be is again, or is one that may stay so: with reason, alert and page "
    "handed on",
)
def drifts_healed(evidence: Evidence) -> Finding:
    known = facts(evidence)
    bitten = {fault_id for (fault_id,) in evidence.rows("injector.bites", "fault_id")}
    planned = [one for one in evidence.plan.faults if (one.seam, one.operation) == ("hosts", "drift")]
    found = Finding("experiments", 0, sum(one.id in bitten for one in planned))
    may_stay = {one.fault_id for unhealed in allowed(evidence).values() for one in unhealed}
    for one in experiments(evidence):
        found.saw += 1
        if one.healed_at is not None:
            continue
        if one.fault_id not in may_stay:
            found.breaks(
                f"{one.fault_id} ({one.title}) on {one.host} is not healed, "
                f"{duration(known.ended_at - one.drifted_at)} after {instant(one.drifted_at)}",
                f"hosts/{one.host}", one.drifted_at,
            )  # fmt: skip
            continue
        missing = excuse(evidence, one).missing
        if missing:
            found.breaks(
                f"{one.fault_id} on {one.host} may stay unhealed, but not silently: no {' and no '.join(missing)} is "
                f"on record",
                f"hosts/{one.host}", one.drifted_at,
            )  # fmt: skip
    return found


def _owed(evidence: Evidence) -> int:
    """Whether some order must have healed something, by the plan and the books of the victims."""
    known = facts(evidence)
    may_stay = {one.fault_id for unhealed in allowed(evidence).values() for one in unhealed}
    by_rule = {one.id for one in evidence.plan.faults if one.recovery.by == "rule"} - may_stay
    until_at = known.ended_at - LATEST_MS
    bites = evidence.rows("injector.bites", "fault_id", "at")
    return int(any(fault_id in by_rule and at <= until_at for fault_id, at in bites))


@assertion("healing.orders_are_over", "Every order is over, in one state everywhere, and its host saw what it did")
def orders_are_over(evidence: Evidence) -> Finding:
    ran: dict[str, list[int]] = defaultdict(list)
    for host, at, done in evidence.rows("hosts.requests", "host", "at", "ran"):
        if done:
            ran[host].append(at)
    incidents: dict[str, str] = dict(evidence.rows("platform.incidents", "incident_id", "status"))
    found = Finding("orders", 0, _owed(evidence))
    last: dict[str, tuple[int, str, str]] = {}
    for order, incident, host, status, issued, delivered, acknowledged, finished in evidence.rows(
        "platform.remediation_orders",
        "order_id", "incident_id", "host", "status", "issued_at", "delivered_at", "acknowledged_at", "finished_at",
    ):  # fmt: skip
        found.saw += 1
        subject, instants = f"remediation_orders/{order}", [issued, delivered, acknowledged, finished]
        if status not in ENDS or finished is None:
            found.breaks(f"the order {order} to {host} is {status} at the end", subject, issued)
            continue
        passed = [at for at in instants if at is not None]
        if passed != sorted(passed) or (acknowledged is not None and delivered is None):
            found.breaks(f"the order {order} to {host} did not pass its states in order", subject, issued)
        place = bisect_left(ran[host], issued)
        if status == "COMPLETED" and not (place < len(ran[host]) and ran[host][place] <= finished):
            found.breaks(
                f"the order {order} is COMPLETED, and {host} ran nothing between {instant(issued)} and "
                f"{instant(finished)}",
                subject, finished,
            )  # fmt: skip
        last[incident] = max(last.get(incident, (0, "", "")), (issued, status, order))
    for incident, (issued, status, order) in sorted(last.items()):
        if status == "COMPLETED" and incidents.get(incident) != "RESOLVED":
            found.breaks(
                f"the order {order} is COMPLETED, and its incident {incident} is {incidents.get(incident)}",
                f"incidents/{incident}", issued,
            )  # fmt: skip
    return found


@assertion("healing.ids_resolve", "Rules, orders, telemetry, incidents and runbooks name each other by ids that exist")
def ids_resolve(evidence: Evidence) -> Finding:
    found = Finding("ids", 0, _owed(evidence))
    runbooks = {name.removesuffix(".md") for name in evidence.documents("runbooks")}
    rules, served = set(), Counter[tuple[str, str]]()
    rows = evidence.rows("platform.healing_rules", "rule_id", "os", "check_name", "runbook_id", "status")
    for rule, os, check, runbook, status in rows:
        found.saw += 1
        rules.add(rule)
        served[os, check] += status == "ACTIVE"
        if runbooks and runbook not in runbooks:
            found.breaks(f"the rule {rule} names the runbook {runbook}, which there is not", f"healing_rules/{rule}")
    for (os, check), times in sorted(served.items()):
        if times > 1:
            found.breaks(f"{times} rules are served for {check} on {os}", f"healing_rules/{os}/{check}")
    incidents = {one for (one,) in evidence.rows("platform.incidents", "incident_id")}
    orders = set()
    for order, incident, rule in evidence.rows("platform.remediation_orders", "order_id", "incident_id", "rule_id"):
        found.saw += 1
        orders.add(order)
        _leads(found, f"the order {order}", (("rule", rule, rules), ("incident", incident, incidents)))
    told = set()
    for row, rule, incident, order in evidence.rows(
        "platform.healing_telemetry", "telemetry_id", "rule_id", "incident_id", "order_id"
    ):
        found.saw += 1
        told.add(order)
        named = (("rule", rule, rules), ("incident", incident, incidents))
        _leads(found, f"the telemetry {row}", named if order is None else (*named, ("order", order, orders)))
    for order in sorted(orders - told):
        found.breaks(f"no telemetry tells of the order {order}", f"remediation_orders/{order}")
    return found


def _leads(found: Finding, what: str, named: tuple[tuple[str, str, set[str]], ...]) -> None:
    for kind, name, known in named:
        if name not in known:
            found.breaks(f"{what} names the {kind} {name}, which there is not", f"{kind}s/{name}")


@assertion("healing.looked_at_again", "What an order healed was looked at once more, on its host, a while later")
def looked_at_again(evidence: Evidence) -> Finding:
    seen: dict[str, list[int]] = defaultdict(list)
    for host, at in evidence.rows("hosts.requests", "host", "at"):
        seen[host].append(at)
    known = facts(evidence)
    found = Finding("orders healed", 0, _owed(evidence))
    for order, host, status, finished, verified in evidence.rows(
        "platform.remediation_orders", "order_id", "host", "status", "finished_at", "verified_at"
    ):
        if status != "COMPLETED" or finished is None:
            continue
        until_at = known.deadline(finished, AGAIN_WITHIN_MS)[0]
        place = bisect_left(seen[host], finished + AGAIN_WITHIN_MS // 2)
        if place < len(seen[host]) and seen[host][place] <= until_at:
            found.saw += 1
        elif until_at < known.ended_at:
            found.breaks(
                f"the order {order} to {host} ended well at {instant(finished)}, and nobody looked again by "
                f"{instant(until_at)}" + (f", though the platform says {instant(verified)}" if verified else ""),
                f"remediation_orders/{order}", until_at,
            )  # fmt: skip
    return found


@assertion(
    "healing.rules_are_earned", "A rule is made of what helped five times at L2, and withdrawn if it never heals"
)
def rules_are_earned(evidence: Evidence) -> Finding:
    helped: dict[str, list[int]] = defaultdict(list)
    for rule, level, outcome, at in evidence.rows("platform.healing_telemetry", "rule_id", "level", "outcome", "at"):
        if (level, outcome) == ("L2", "WELL"):
            helped[rule].append(at)
    healed, vain = Counter[str](), Counter[str]()
    for rule, status in evidence.rows("platform.remediation_orders", "rule_id", "status"):
        healed[rule] += status == "COMPLETED"
        vain[rule] += status in ("FAILED", "EXPIRED")
    found = Finding("promoted rules")
    for rule, source, status, promoted_at in evidence.rows(
        "platform.healing_rules", "rule_id", "source", "status", "promoted_at"
    ):
        if source != "promoted":
            continue
        found.saw += 1
        times = sum(promoted_at is None or at <= promoted_at for at in helped[rule])
        subject = f"healing_rules/{rule}"
        if promoted_at is not None and times < PROMOTED_AT:
            found.breaks(f"the rule {rule} was promoted after it had helped {times} times", subject, promoted_at)
        if promoted_at is None and times >= PROMOTED_AT:
            found.breaks(f"{rule} has helped {times} times, and is no rule", subject, helped[rule][PROMOTED_AT - 1])
        fruitless = not healed[rule] and vain[rule] >= WITHDRAWN_AT
        if status != "CANDIDATE" and fruitless is not (status == "WITHDRAWN"):
            found.breaks(
                f"the rule {rule} is {status}; it healed {healed[rule]} times, and {vain[rule]} times not", subject,
                promoted_at,
            )  # fmt: skip
    return found
