"""What can be left out of a plan, or made simpler in it, so that a plan remains: pure functions from plan to plan.

Invariant: what refers to something that has gone goes with it, and `unsound` finds nothing in what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, cast

from annotated_types import Ge

import fault_injectors
from evidence.plan import Contest, FaultPlan, Plan

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_MS = {"s": 1_000, "sec": 1_000, "min": 60_000, "minutes": 60_000, "h": _HOUR_MS, "hours": _HOUR_MS, "days": DAY_MS}
"""By the unit in which the name of a parameter ends."""
_PAYOUTS_TAKE_MS = 24 * _HOUR_MS


# --- leaving out ---------------------------------------------------------------------------------------------------


def belongs_to(fault: FaultPlan) -> str:
    """The fault that this one is an occasion of, itself if of none: `platform.page_lost#1/1` belongs to the first."""
    return fault.id.partition("/")[0]


def with_faults(plan: Plan, kept: Collection[str]) -> Plan:
    """Only those whose ids are in `kept`."""
    return plan.model_copy(update={"faults": [fault for fault in plan.faults if fault.id in kept]})


def with_contests(plan: Plan, kept: Collection[str]) -> Plan:
    """Only the contests whose ids are in `kept`, with the tournaments that they are held on and the entries to them."""
    contests = [contest for contest in plan.contests if contest.id in kept]
    held = {contest.tournament_id for contest in contests}
    gone = {contest.id for contest in plan.contests if contest.id not in kept}
    gone |= {tournament.id for tournament in plan.tournaments if tournament.id not in held}
    return _without(
        plan, gone, contests=contests,
        tournaments=[tournament for tournament in plan.tournaments if tournament.id in held],
        entries=[entry for entry in plan.entries if entry.contest_id in kept],
    )  # fmt: skip


def with_people(plan: Plan, kept: Collection[str]) -> Plan:
    """Only the customers whose ids are in `kept`, with their entries. A contest that enough of them paid for asks for
    no more than do now; one that nobody enters any more goes too."""
    entries = [entry for entry in plan.entries if entry.user_id in kept]
    before = Counter(entry.contest_id for entry in plan.entries if entry.pays == "pays")
    now = Counter(entry.contest_id for entry in entries if entry.pays == "pays")
    entered = {entry.contest_id for entry in entries}
    contests = [
        contest.model_copy(update={"min_entries": max(1, min(contest.min_entries, now[contest.id]))})
        if before[contest.id] >= contest.min_entries else contest
        for contest in plan.contests
    ]  # fmt: skip
    entrants = [entrant for entrant in plan.entrants if entrant.id in kept]
    gone = {entrant.id for entrant in plan.entrants if entrant.id not in kept}
    return with_contests(_without(plan, gone, contests=contests, entries=entries, entrants=entrants), entered)


def _without(plan: Plan, gone: set[str], **changed: Any) -> Plan:
    """`plan` changed, without faults and drills that refer to one of the ids that have `gone`."""
    misses = {belongs_to(fault) for fault in plan.faults if named(fault) & gone}
    faults = [fault for fault in plan.faults if belongs_to(fault) not in misses]
    drills = [drill for drill in plan.drills if not _words(drill.labels) & gone]
    return plan.model_copy(update={**changed, "faults": faults, "drills": drills})


def named(fault: FaultPlan) -> set[str]:
    """Every id that the fault is bound to or speaks of."""
    return _words([fault.entity or "", fault.params])


def _words(value: Any) -> set[str]:
    """The ids in a value: `contest/customer` is of both."""
    if isinstance(value, str):
        return {value, *value.split("/")}
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(_words, value)) if isinstance(value, list | tuple) else set()


# --- days ----------------------------------------------------------------------------------------------------------


def days(plan: Plan) -> int:
    """How long the absence is, in days begun."""
    return -(-(plan.absence_until_at - plan.starts_at) // DAY_MS)


def least_days(plan: Plan) -> tuple[int, int]:
    """The days, from 0, on which the absence can begin and end so that everything planned falls within it."""
    begins = [contest.opens_at - _HOUR_MS for contest in plan.contests] + [drill.at for drill in plan.drills]
    ends = [tournament.ends_at for tournament in plan.tournaments] + [plan.starts_at + DAY_MS]
    for fault in plan.faults:
        begins += [at for at in (fault.from_at,) if at is not None]
        ends += [at for at in (fault.from_at, fault.until_at) if at is not None]
    recovery_ms = plan.recovery_until_at - plan.absence_until_at
    ends += [due_at - recovery_ms for due_at in _due(plan)]
    first = max(0, (min(begins, default=plan.starts_at) - plan.starts_at) // DAY_MS)
    return first, min(days(plan), -(-(max(ends) - plan.starts_at) // DAY_MS))


def with_days(plan: Plan, first: int, until: int) -> Plan:
    """Only the days from `first` until `until` of the absence, counted from 0; the recovery stays as long as it is."""
    absence_until_at = min(plan.absence_until_at, plan.starts_at + until * DAY_MS)
    recovery_ms = plan.recovery_until_at - plan.absence_until_at
    return plan.model_copy(
        update={
            "starts_at": plan.starts_at + first * DAY_MS,
            "absence_until_at": absence_until_at,
            "recovery_until_at": absence_until_at + recovery_ms,
        }
    )


def _due(plan: Plan) -> list[int]:
    """When the payouts of each contest have to be over."""
    ends = {tournament.id: tournament.ends_at for tournament in plan.tournaments}
    return [ends[contest.tournament_id] + contest.hold_s * 1_000 + _PAYOUTS_TAKE_MS for contest in plan.contests]


# --- parameters ----------------------------------------------------------------------------------------------------


def simpler(plan: Plan) -> Iterator[tuple[str, str]]:
    """(fault id, what): everything about a fault that could be a smaller number. See `set_to`."""
    known = fault_injectors.registry()
    for fault in plan.faults:
        if fault.fault in known:
            for name, least in _least(known[fault.fault].Params).items():
                if isinstance(value := fault.params.get(name), int) and value > least:
                    yield fault.id, name
        if (fault.occurrence or 1) > 1:
            yield fault.id, ""


def bounds(plan: Plan, fault_id: str, what: str) -> tuple[int, int]:
    """The least that it may be, and what it is."""
    fault = _fault(plan, fault_id)
    if not what:
        return 1, fault.occurrence or 1
    return _least(fault_injectors.registry()[fault.fault].Params)[what], fault.params[what]


def set_to(plan: Plan, fault_id: str, what: str, value: int) -> Plan:
    """The parameter `what` of a fault at `value`, and its window with it if it lasts as long as the parameter says; its
    occurrence, if `what` is empty, and the parameter that repeats it."""
    fault = _fault(plan, fault_id)
    if not what:
        repeated = {
            name: value for name, old in fault.params.items() if name == "occurrence" and old == fault.occurrence
        }
        changed: dict[str, Any] = {"occurrence": value, "params": {**fault.params, **repeated}}
    else:
        changed = {"params": {**fault.params, what: value}}
        unit = _MS.get(what.rpartition("_")[2], 0)
        if fault.from_at is not None and fault.until_at == fault.from_at + fault.params[what] * unit:
            changed["until_at"] = fault.from_at + value * unit
    faults = [fault.model_copy(update=changed) if each.id == fault_id else each for each in plan.faults]
    return plan.model_copy(update={"faults": faults})


def _fault(plan: Plan, fault_id: str) -> FaultPlan:
    return next(fault for fault in plan.faults if fault.id == fault_id)


def _least(params: Any) -> dict[str, int]:
    """The lower bounds of integer parameters, by their names."""
    return {
        name: cast(int, rule.ge)
        for name, info in params.model_fields.items() if info.annotation is int
        for rule in info.metadata if isinstance(rule, Ge)
    }  # fmt: skip


# --- soundness -----------------------------------------------------------------------------------------------------


def unsound(plan: Plan) -> list[str]:
    """What the planner would not have planned, in words; nothing of a plan that it made."""
    tournaments = {tournament.id: tournament for tournament in plan.tournaments}
    contests = {contest.id: contest for contest in plan.contests}
    people = {entrant.id for entrant in plan.entrants}
    found = [] if contests else ["no contest is left"]
    found += [f"{id} is not held on a tournament of the plan" for id in _homeless(plan.contests, tournaments)]
    found += [
        f"an entry of {entry.user_id} to {entry.contest_id}: there is no such contest, or customer"
        for entry in plan.entries if entry.contest_id not in contests or entry.user_id not in people
    ]  # fmt: skip
    found += [f"nobody enters {id}" for id in contests.keys() - {entry.contest_id for entry in plan.entries}]
    found += [f"{each.id} ends after the absence" for each in plan.tournaments if each.ends_at > plan.absence_until_at]
    found += [f"{each.id} opens before the run" for each in plan.contests if each.opens_at < plan.starts_at]
    if not found and max(_due(plan)) > plan.recovery_until_at:
        found.append("payouts are due after the end of the run")
    calls = Counter(
        (fault.seam, fault.operation, fault.entity, fault.occurrence) for fault in plan.faults if fault.occurrence
    )
    found += [f"several faults claim the same call of {call[1]}" for call, times in calls.items() if times > 1]
    found += [
        f"{fault.id} befalls something before the run"
        for fault in plan.faults if fault.from_at is not None and fault.from_at < plan.starts_at
    ]  # fmt: skip
    return found


def _homeless(contests: list[Contest], tournaments: Collection[str]) -> list[str]:
    return [contest.id for contest in contests if contest.tournament_id not in tournaments]
