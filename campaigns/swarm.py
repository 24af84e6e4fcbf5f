"""Swarm configuration: each seed leaves a random part of the scenario's faults out, and has the others come more often.

A run with every fault in it lets some hide others; runs with different subsets reach what none with all of them does
(Groce, Zhang, Eide, Chen and Regehr, "Swarm Testing", ISSTA 2012). Invariant: what a seed is given depends on the seed
and the scenario's items alone.
"""

from __future__ import annotations

from typing import NamedTuple

from evidence.plan import Plan
from scenarios import make_plan
from scenarios.model import FaultModel, Scenario
from scenarios.planner import root_key
from seams.draws import Draws

TIMES = ((1, 4), (2, 2), (3, 1))
"""How many times as often as the scenario says an item comes that is left in, each with its weight."""
_COUNT_MAX = 1000


class Planned(NamedTuple):
    """A plan, and the ids of the faults for which it guarantees nothing to befall: they were left out."""

    plan: Plan
    dropped: tuple[str, ...]


def plan_of(scenario: Scenario, seed: int, swarm: bool) -> Planned:
    """The plan of a seed of a sweep. Without `swarm` it is that of `absence run`, and a fault that cannot be bound is
    an error. Raises ScenarioInvalid."""
    if not swarm:
        return Planned(make_plan(scenario, seed), ())
    dropped: list[str] = []
    plan = make_plan(swarmed(scenario, seed), seed, dropped=dropped)
    return Planned(plan, tuple(dropped))


def swarmed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with each item of its faults left in or out by the toss of a coin, and those left in once, twice or
    three times as often. One that is out keeps its number and its claims; one with a binding of its own comes once."""
    draws = Draws(root_key(seed)).derive("swarm")
    seen: dict[str, int] = {}
    faults = []
    for fault in scenario.model.faults:
        nth = seen[fault.fault] = seen.get(fault.fault, 0) + 1
        faults.append(_drawn(fault, draws.derive("item", fault.fault, nth)))
    return scenario.model_copy(update={"model": scenario.model.model_copy(update={"faults": faults})})


def _drawn(fault: FaultModel, draws: Draws) -> FaultModel:
    if fault.disabled or draws.below(2, "left in") == 0:
        return fault.model_copy(update={"disabled": True})
    if fault.bind is not None:
        return fault
    return fault.model_copy(update={"count": min(fault.count * draws.weighted(TIMES, "times"), _COUNT_MAX)})
