"""Family alerts: what went wrong was told to somebody, soon, and to the end; and nothing else was.

Invariant: monitoring's and the pager's books are held against the injector's and the plan; a rule is read from its
document as text, without the code that evaluated it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from assertions.facts import facts
from assertions.hands import free_for, hands
from assertions.lab import by_promoted_rule, experiments
from assertions.model import Finding, assertion
from assertions.once import once
from assertions.outlook import observed_from
from assertions.windows import deadline
from assertions.words import HOUR_MS, MINUTE_MS, duration, instant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evidence.plan import FaultPlan, Plan
    from evidence.run import Evidence

WATCHDOG = "Watchdog"
MONITORING = "monitoring"
"""The seam at which alerting stands still."""
UNPAGED = "none"
"""The severity of what nobody is paged for."""
PAGED_WITHIN_MS = 5 * MINUTE_MS
"""From the firing to the pager: it is said at once, and again every minute until it is taken."""
WOKEN_WITHIN_MS = 30 * MINUTE_MS
"""Of free hands, from a page to its acknowledgement: twenty minutes at night, and what it takes to look up from
whatever else is looked at now and then. Whoever is before it in the row has as much."""
NOTICED_WITHIN_MS = 2 * HOUR_MS
"""Until the platform exports what a fault did, before its rule begins to count: it looks at most things every hour."""
ATTACK_MS = HOUR_MS
"""For how long an attack explains an alert: what somebody copied at a fault's bite may come much later than that."""
ANCHOR_RUNBOOK = "runbooks/audit_anchor_stale.md"
"""Where the platform's own page leads that says that the anchor is stale."""
ANCHORED_WITHIN_MS = 2 * HOUR_MS
"""From the next head at the anchor to the end of that page: the platform looks each hour."""
_UNITS_MS = {"s": 1_000, "m": MINUTE_MS, "h": HOUR_MS, "d": 24 * HOUR_MS}
_AGE = re.compile(r"time\(\)\s*-.*>\s*([0-9]+)\s*$", re.DOTALL)
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


class Change(NamedTuple):
    n: int
    at: int
    alert: str
    dedup_key: str
    labels: str
    state: str
    active_at: int

    @property
    def pages(self) -> bool:
        return bool(json.loads(self.labels).get("severity") != UNPAGED)


class Page(NamedTuple):
    n: int
    at: int
    action: str
    dedup_key: str
    details: str | None

    @property
    def link(self) -> str:
        """Where it leads: the runbook's address, "" for none."""
        return str(json.loads(self.details or "{}").get("runbook_url", ""))

    @property
    def alert(self) -> str:
        """The alert that it tells of; "" for a page that somebody else than monitoring sent."""
        return str(json.loads(self.details or "{}").get("labels", {}).get("alertname", ""))


def _changes(evidence: Evidence) -> list[Change]:
    if not observed_from(evidence.plan):
        return []
    return [Change(*row) for row in evidence.rows("monitoring.alerts", *Change._fields)]


def _pages(evidence: Evidence) -> list[Page]:
    """What the pager was told, in its order; nothing where nobody is on call."""
    if not observed_from(evidence.plan):
        return []
    return [Page(*row) for row in evidence.rows("pager.events", *Page._fields)]


def changes(evidence: Evidence) -> list[Change]:
    return once(evidence, _changes)


def pages(evidence: Evidence) -> list[Page]:
    return once(evidence, _pages)


# --- the documents ----------------------------------------------------------------------------------------------------


def rules(evidence: Evidence) -> dict[str, list[dict[str, Any]]]:
    """The alert rules of the run by name, as their documents have them."""
    return once(evidence, _rules)


def _rules(evidence: Evidence) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for text in evidence.documents("alerts").values():
        for group in _yaml(text)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found.setdefault(rule["alert"], []).append(rule)
    return found


def _yaml(text: str) -> Any:
    """Read with libyaml where it is there: ten times as fast. Only a run with operations needs either."""
    import yaml

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def alerts_of(evidence: Evidence, fault: FaultPlan) -> list[str]:
    """The alerts by which a person is to learn of a fault: those that its runbook says it is for."""
    text = evidence.documents("runbooks").get(f"{fault.recovery.runbook}.md", "")
    front = _FRONT.match(text)
    declared = _yaml(front[1]).get("alerts") if front else None
    return [declared] if isinstance(declared, str) else list(declared or ())


def _age_ms(rule: dict[str, Any]) -> int:
    """How old what a rule tells of is, at least, when it begins to."""
    age = _AGE.search(str(rule["expr"]))
    return int(age[1]) * 1_000 if age else 0


def bound_ms(rules: list[dict[str, Any]]) -> int:
    """How long after a fault one of these rules has to fire: the age that it waits for, its `for`, and until what the
    fault did is noticed at all."""
    return max((_age_ms(rule) + _duration_ms(rule.get("for", "0s")) for rule in rules), default=0) + NOTICED_WITHIN_MS


def _duration_ms(text: str) -> int:
    return sum(int(count) * _UNITS_MS[unit] for count, unit in re.findall(r"([0-9]+)([smhd])", text))


# --- the claims -------------------------------------------------------------------------------------------------------


@assertion("alerts.incidents_raised", "Every fault that needs a person raised its alert within its bound")
def incidents_raised(evidence: Evidence) -> Finding:
    found = Finding("faults")
    if not observed_from(evidence.plan):
        return found
    known = facts(evidence)
    stops = _standstills(evidence.plan)
    bites: dict[str, int] = {}
    for fault_id, at in evidence.rows("injector.bites", "fault_id", "at"):
        bites.setdefault(fault_id, at)
    for fault in evidence.plan.faults:
        if fault.recovery.by != "runbook" or fault.id not in bites:
            continue
        if fault.id in by_promoted_rule(evidence):
            continue  # nobody was needed any more
        found.owed += 1
        named, bitten_at = alerts_of(evidence, fault), bites[fault.id]
        if not named:
            found.missing.append(f"the runbook {fault.recovery.runbook} of {fault.id} names no alert")
            continue
        waits_ms = bound_ms([rule for name in named for rule in rules(evidence).get(name, ())])
        # Another fault can keep from the platform what this one has done; its own recovery excuses nothing.
        others = [span for span in known.spans if span.fault_id not in (fault.id, *stops)]
        due_at = deadline(others, max(bitten_at, fault.until_at or 0), waits_ms)[0]
        until_at = _evaluated(stops.values(), bitten_at, due_at)
        if any(_fires(change, named) and bitten_at <= change.at <= until_at for change in changes(evidence)):
            found.saw += 1
        else:
            found.breaks(
                f"{fault.id} ({fault.title}) bit at {instant(bitten_at)}, and {' or '.join(named)} did not fire by "
                f"{instant(until_at)}",
                f"faults/{fault.id}", until_at,
            )  # fmt: skip
    return found


def _standstills(plan: Plan) -> dict[str, tuple[int, int]]:
    """From when until when alerting stands still by the plan, by the fault."""
    return {
        fault.id: (fault.from_at, fault.until_at)
        for fault in plan.faults
        if fault.seam == MONITORING and fault.from_at is not None and fault.until_at is not None
    }


def _evaluated(stops: Iterable[tuple[int, int]], from_at: int, until_at: int) -> int:
    """`until_at`, later by as much of the time from `from_at` on as alerting stood still in."""
    for stopped_at, again_at in sorted(stops):
        if stopped_at <= until_at and from_at < again_at:
            until_at += again_at - max(stopped_at, from_at)
    return until_at


def _fires(change: Change, named: list[str]) -> bool:
    return change.state == "firing" and change.alert in named


@assertion("alerts.resolved", "Every alert that fired was over by the end")
def resolved(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("alerts")
    open_: dict[str, Change] = {}
    for change in changes(evidence):
        if change.pages:
            found.saw += change.state == "firing"
            if change.state == "firing":
                open_[change.dedup_key] = change
            else:
                open_.pop(change.dedup_key, None)
    for change in open_.values():
        if known.deadline(change.active_at, 0)[0] < known.ended_at:
            found.breaks(
                f"{change.dedup_key} fired at {instant(change.at)} and was still firing at the end, "
                f"{duration(known.ended_at - change.at)} later",
                f"monitoring.alerts/{change.n}", change.at,
            )  # fmt: skip
    heads = [at for (at,) in evidence.rows("anchor.heads", "at")] if pages(evidence) else []
    for page, _, closed_at in _incidents(pages(evidence)):
        if page.link != ANCHOR_RUNBOOK or page.alert:
            continue  # monitoring's own are told of above; what else the platform pages is news, which nothing ends
        found.saw += 1
        anchored_at = min((at for at in heads if at > page.at), default=known.ended_at)
        if closed_at is None and known.deadline(anchored_at, ANCHORED_WITHIN_MS)[0] < known.ended_at:
            found.breaks(
                f"{page.dedup_key} was paged at {instant(page.at)}, a head of the audit log was anchored at "
                f"{instant(anchored_at)}, and at the end the page was still open",
                f"pager.events/{page.n}", page.at,
            )  # fmt: skip
    return found


@assertion("alerts.none_without_incident", "No alert fired but while a fault was at work, or was being got over")
def none_without_incident(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("alerts")
    attacks = [at for (at,) in evidence.rows("attacker.posts", "at")] if changes(evidence) else []
    for change in changes(evidence):
        if change.state != "firing" or not change.pages:
            continue
        found.saw += 1
        attacked = any(at <= change.active_at <= at + ATTACK_MS for at in attacks)
        since_at = change.active_at - max(map(_age_ms, rules(evidence).get(change.alert, [])), default=0)
        acted = [span for span in known.spans if span.from_at <= change.active_at]
        drifting = any(
            one.drifted_at <= change.active_at and (one.healed_at is None or since_at <= one.healed_at)
            for one in experiments(evidence)
        )
        if (
            not attacked
            and not drifting
            and all(span.over_at is not None and span.over_at < since_at for span in acted)
        ):
            found.breaks(
                f"{change.dedup_key} fired at {instant(change.at)}, active since {instant(change.active_at)}, and "
                f"nothing was out of order",
                f"monitoring.alerts/{change.n}", change.at,
            )  # fmt: skip
    return found


@assertion("alerts.pager_agrees", "What fired was paged, what ceased was resolved there, and no other alert is paged")
def pager_agrees(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("changes of alerts")
    told: dict[tuple[str, str], list[int]] = {}
    for page in pages(evidence):
        told.setdefault((page.dedup_key, page.action), []).append(page.at)
    fired: dict[str, list[tuple[int, str]]] = {}
    for change in changes(evidence):
        fired.setdefault(change.dedup_key, []).append((change.at, change.state))
    for change in changes(evidence):
        if not change.pages:
            continue
        found.saw += 1
        action = "trigger" if change.state == "firing" else "resolve"
        until_at = known.deadline(change.at, PAGED_WITHIN_MS)[0]
        undone = any(change.at < at <= until_at and state != change.state for at, state in fired[change.dedup_key])
        heard = any(change.at <= at <= until_at for at in told.get((change.dedup_key, action), ()))
        if not heard and not undone and until_at <= known.ended_at:
            found.breaks(
                f"{change.dedup_key} was {change.state} at {instant(change.at)}, and the pager had no {action} of it "
                f"by {instant(until_at)}",
                f"monitoring.alerts/{change.n}", change.at,
            )  # fmt: skip
    for page in pages(evidence):
        if page.action != "trigger" or page.alert not in rules(evidence):
            continue
        if not any(state == "firing" and at <= page.at for at, state in fired.get(page.dedup_key, ())):
            found.breaks(
                f"the pager was triggered for {page.dedup_key} at {instant(page.at)}, and no such alert had fired",
                f"pager.events/{page.n}", page.at,
            )  # fmt: skip
    return found


@assertion("alerts.acknowledged", "Whoever was on call took every page that did not end by itself, soon and in order")
def acknowledged(evidence: Evidence) -> Finding:
    """No fault excuses a page that lies: it is at the pager, and taken there. Full hands do, and who was before it."""
    known = facts(evidence)
    found = Finding("pages")
    incidents = _incidents(pages(evidence))
    keys = {opened.dedup_key for opened, _, _ in incidents}
    for place, (opened, taken_at, closed_at) in enumerate(incidents):
        if not opened.link:
            continue
        found.saw += 1
        over_at = taken_at or closed_at or known.ended_at
        before = [min(taken or over_at, closed or over_at) for _, taken, closed in incidents[:place]]
        first = sum(end_at > opened.at for end_at in before)
        first += sum(opened.at < at <= over_at and incident not in keys for at, incident in hands(evidence).begun)
        runbook = opened.link.removeprefix("runbooks/").removesuffix(".md")
        full = [*hands(evidence).full, *hands(evidence).open.get(runbook, ())]
        until_at = free_for(opened.at, (1 + first) * WOKEN_WITHIN_MS, full)
        if over_at > until_at:
            when = "not at all" if taken_at is None else f"only at {instant(taken_at)}"
            found.breaks(
                f"{opened.dedup_key} was paged at {instant(opened.at)} and acknowledged {when}; whoever was on call "
                f"had until {instant(until_at)}",
                f"pager.events/{opened.n}", opened.at,
            )  # fmt: skip
    return found


def _incidents(pages: list[Page]) -> list[tuple[Page, int | None, int | None]]:
    """Each incident that was opened at the pager, in that order: when it was acknowledged, and when resolved."""
    found: list[tuple[Page, int | None, int | None]] = []
    open_: dict[str, int] = {}
    for page in pages:
        place = open_.get(page.dedup_key)
        if page.action == "trigger" and place is None:
            open_[page.dedup_key] = len(found)
            found.append((page, None, None))
        elif place is not None:
            opened, taken_at, _ = found[place]
            if page.action == "acknowledge" and taken_at is None:
                found[place] = (opened, page.at, None)
            elif page.action == "resolve":
                found[place] = (opened, taken_at, page.at)
                del open_[page.dedup_key]
    return found


@assertion("alerts.link_to_runbooks", "Every alert that fired leads to a runbook that there is")
def link_to_runbooks(evidence: Evidence) -> Finding:
    found = Finding("alerts")
    told = changes(evidence) or pages(evidence)  # without operations there are no documents to be read
    there = {f"runbooks/{name}" for name in evidence.documents("runbooks")} if told else set()
    for change in changes(evidence):
        if change.state != "firing":
            continue
        found.saw += 1
        links = [rule.get("annotations", {}).get("runbook_url", "") for rule in rules(evidence).get(change.alert, ())]
        urls = set(map(str, links))
        if not urls or "" in urls or (change.pages and urls - there):
            link = ", ".join(sorted(urls - there)) or "nothing"
            found.breaks(
                f"{change.alert} fired at {instant(change.at)} and leads to {link}, which is no runbook of this run",
                f"monitoring.alerts/{change.n}", change.at,
            )  # fmt: skip
    for page in pages(evidence):
        leads = page.link or page.alert in rules(evidence)
        if page.action == "trigger" and leads and page.link not in there:
            found.breaks(
                f"{page.dedup_key} was paged at {instant(page.at)} with the link {page.link!r}, which is no "
                f"runbook of this run",
                f"pager.events/{page.n}", page.at,
            )  # fmt: skip
    return found


@assertion("alerts.watchdog", "The Watchdog fired from the beginning to the end: alerting was at work all the time")
def watchdog(evidence: Evidence) -> Finding:
    """Nor did whoever expects it outside miss it, but while alerting stood still by the plan."""
    known = facts(evidence)
    found = Finding("beginnings", 0, int(observed_from(evidence.plan) and bool(evidence.plan.contests)))
    for change in changes(evidence):
        if change.alert != WATCHDOG:
            continue
        if change.state == "firing":
            found.saw += 1
            begins_by = known.deadline(known.plan.starts_at, PAGED_WITHIN_MS)[0]
            if found.saw == 1 and change.at > begins_by:
                found.breaks(f"the Watchdog fired only from {instant(change.at)} on", "monitoring.alerts", change.at)
        elif known.deadline(change.at, 0)[0] <= change.at:
            found.breaks(
                f"the Watchdog ceased at {instant(change.at)}: from then on no alert was evaluated, with nothing out "
                f"of order",
                f"monitoring.alerts/{change.n}", change.at,
            )  # fmt: skip
    missing = {str(rule["annotations"]["when_missed"]) for rule in rules(evidence).get(WATCHDOG, ())
               if "when_missed" in rule.get("annotations", {})}  # fmt: skip
    stops = _standstills(known.plan).values()
    for page in pages(evidence):
        missed = page.action == "trigger" and page.alert in missing
        # Or until so shortly before that the page was on its way.
        if missed and not any(since_at <= page.at <= again_at + PAGED_WITHIN_MS for since_at, again_at in stops):
            found.breaks(
                f"{page.dedup_key} was paged at {instant(page.at)}: the Watchdog was missed, with alerting at work",
                f"pager.events/{page.n}", page.at,
            )  # fmt: skip
    return found
