"""The chaos lab as the hosts' own books have it: what drifted, when it was right again, and what stayed wrong.

Invariant: nothing that the platform says of itself decides whether a host is well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from assertions.once import once
from assertions.words import duration

if TYPE_CHECKING:
    from evidence.run import Evidence

DRIFT = ("hosts", "drift")


class Experiment(NamedTuple):
    """A planned drift that bit. `healed_at`: since when all of it is right, None: it never was again. `back`: how often
    it came back in between."""

    fault_id: str
    fault: str
    title: str
    host: str
    os: str
    check: str
    drifted_at: int
    healed_at: int | None
    back: int

    @property
    def took_ms(self) -> int | None:
        return None if self.healed_at is None else self.healed_at - self.drifted_at

    @property
    def name(self) -> str:
        return self.fault_id.removesuffix("#1")


class Excuse(NamedTuple):
    """What is on record of an experiment that stayed unhealed; "" for what is not. `reason`: why, as the last order or
    whoever handed it on says it; `alert`: one that fired for its host; `escalation`: the page that was handed on."""

    reason: str
    alert: str
    escalation: str

    @property
    def missing(self) -> list[str]:
        return [name for name, told in self._asdict().items() if not told]


class Score(NamedTuple):
    os: str
    healed: int
    total: int


def experiments(evidence: Evidence) -> list[Experiment]:
    """In the order of the plan."""
    return once(evidence, _experiments)


def _experiments(evidence: Evidence) -> list[Experiment]:
    planned = [fault for fault in evidence.plan.faults if (fault.seam, fault.operation) == DRIFT]
    if not planned:
        return []
    victims: dict[str, set[int]] = {}
    for fault_id, victim in evidence.rows("injector.bites", "fault_id", "victim"):
        victims.setdefault(fault_id, set()).add(int(victim) if victim.isdigit() else 0)
    rows = list(evidence.rows("hosts.drifts", "n", "at", "host", "os", "setting", "state", "by", "check_name"))
    found = []
    for fault in planned:
        first = [row for row in rows if row[0] in victims.get(fault.id, ())]
        if not first:
            continue
        ends, back = [], 0
        for n, _, host, _, setting, *_ in first:
            right_at = None
            for number, at, on, _, name, state, by, _ in rows:
                if number <= n or (on, name) != (host, setting):
                    continue
                if by == "drift":
                    break  # another experiment
                right_at = at if state == "right" else None
                back += state != "right"
            ends.append(right_at)
        healed = [at for at in ends if at is not None]
        healed_at = max(healed) if len(healed) == len(ends) else None
        _, drifted_at, host, os, *_, check = first[0]
        found.append(Experiment(fault.id, fault.fault, fault.title, host, os, check, drifted_at, healed_at, back))
    return found


def scores(found: list[Experiment]) -> list[Score]:
    """Healed of all, per operating system."""
    return [
        Score(os, sum(one.os == os and one.healed_at is not None for one in found), sum(one.os == os for one in found))
        for os in sorted({one.os for one in found})
    ]


def allowed(evidence: Evidence) -> dict[str, list[Experiment]]:
    """By host, experiments that stayed unhealed and that the scenario says may."""
    by_host: dict[str, list[Experiment]] = {}
    for one in experiments(evidence):
        if one.healed_at is None and one.fault in evidence.plan.unhealed:
            by_host.setdefault(one.host, []).append(one)
    return by_host


def excuse(evidence: Evidence, one: Experiment) -> Excuse:
    orders = [
        (issued_at, f"the order under {rule} is {status} ({detail or 'no detail'})")
        for host, rule, status, issued_at, detail in evidence.rows(
            "platform.remediation_orders", "host", "rule_id", "status", "issued_at", "detail"
        )
        if host == one.host and issued_at >= one.drifted_at
    ]
    fired = [
        key
        for key, at, state, labels in evidence.rows("monitoring.alerts", "dedup_key", "at", "state", "labels")
        if state == "firing" and at >= one.drifted_at and json.loads(labels).get("host") == one.host
    ]
    handed_on = [
        (incident, reason)
        for at, incident, reason in evidence.rows("operator.escalations", "at", "incident", "reason")
        if at >= one.drifted_at and is_about(evidence, incident, one)
    ]
    reasons = [said for _, said in sorted(orders)[-1:]] or [said for _, said in handed_on[:1]]
    return Excuse("".join(reasons), "".join(fired[:1]), "".join(incident for incident, _ in handed_on[:1]))


def is_about(evidence: Evidence, incident: str, one: Experiment) -> bool:
    """Whether a page is about what an experiment did: its key holds the alert's labels, which name the host and the
    check, or the rule for it."""
    labels = dict(label.split("=", 1) for label in incident.split(":") if "=" in label)
    if labels.get("host") == one.host:
        return labels.get("check", one.check) == one.check
    rules = evidence.rows("platform.healing_rules", "rule_id", "os", "check_name")
    return (labels.get("rule_id"), one.os, one.check) in set(rules)


def by_promoted_rule(evidence: Evidence) -> set[str]:
    """Ids of experiments that ops was there for, and that a rule healed which had been made of what ops did."""
    promoted = {
        rule: at
        for rule, source, at in evidence.rows("platform.healing_rules", "rule_id", "source", "promoted_at")
        if source == "promoted" and at is not None
    }
    if not promoted:
        return set()
    orders = [
        (host, issued_at, finished_at)
        for rule, host, status, issued_at, finished_at in evidence.rows(
            "platform.remediation_orders", "rule_id", "host", "status", "issued_at", "finished_at"
        )
        if status == "COMPLETED" and promoted.get(rule, issued_at + 1) <= issued_at
    ]
    return {
        one.fault_id
        for one in experiments(evidence)
        if one.healed_at is not None
        and any(h == one.host and one.drifted_at <= issued <= one.healed_at <= over for h, issued, over in orders)
    }


def sentence(one: Experiment) -> str:
    """What became of it, in words."""
    if one.took_ms is None:
        return "not healed"
    back = f", came back {one.back} {'time' if one.back == 1 else 'times'}" if one.back else ""
    return f"healed after {duration(one.took_ms)}{back}"
