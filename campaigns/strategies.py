"""Hypothesis strategies for scenarios and plans: worlds small enough to run in a third of a second, for tests to draw.

Invariant: what is drawn is valid, and shrinks towards no faults, few entries and the smallest seed. Hypothesis is an
extra (`pip install founder-absence[hypothesis]`), and nothing else imports this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evidence.plan import Plan
from fault_injectors import registry
from scenarios import Scenario, ScenarioInvalid, load, make_plan, of_values

try:
    from hypothesis import reject
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as missing:
    raise ImportError("these strategies need Hypothesis: pip install 'founder-absence[hypothesis]'") from missing

MOST_FAULTS = 3
SEEDS = st.integers(1, 2**31 - 1)
_FILE = Path("drawn.yaml")
_POINTS = {-2: 80, -1: 30, 0: 5, 1: -5, 2: -10}
_SHARES = ([10_000], [6_000, 4_000], [5_000, 3_000, 2_000])


@cache
def recovering() -> tuple[str, ...]:
    """Every fault (id) that the platform gets over by itself or by a rule, sorted: nobody has to be on call."""
    return tuple(id for id, cls in registry().items() if cls.recovery.by in ("itself", "rule"))


def scenarios(
    *, faults: Collection[str] | None = None, most_faults: int = MOST_FAULTS, most_entries: int = 8
) -> SearchStrategy[Scenario]:
    """Scenarios of one short tournament: one or two contests of at most `most_entries` entries, nobody on call.

    Of `faults` (ids; by default those of `recovering`) at most `most_faults` come. A fault that the
    plan has nothing for is left out when the plan is made. Raises ValueError for an id that the registry lacks."""
    return st.builds(scenario_of, _values(_known(faults), most_faults, most_entries))


def plans(
    scenario: str | Path | Scenario | SearchStrategy[Scenario] | None = None,
    *,
    seeds: Collection[int] | SearchStrategy[int] | None = None,
    faults: Collection[str] | None = None,
    most_faults: int = MOST_FAULTS,
) -> SearchStrategy[Plan]:
    """Plans: `make_plan` of a scenario and a seed.

    `scenario`: a shipped name, a file, a Scenario or a strategy of those; by default `scenarios(faults=faults)`.
    `seeds`: those to draw from, or a strategy; by default any from 1 to 2³¹ − 1. `faults`: at most `most_faults` of
    these (ids) come in the place of a given scenario's own; by default it keeps its own. Raises ScenarioInvalid for a
    scenario that cannot be used, and ValueError for an unknown fault or no seed."""
    if isinstance(scenario, str | Path):
        scenario = load(scenario)
    if scenario is None:
        drawn = scenarios(faults=faults, most_faults=most_faults)
    else:
        drawn = scenario if isinstance(scenario, SearchStrategy) else st.just(scenario)
        if faults is not None:
            drawn = st.builds(facing, drawn, _some(_known(faults), most_faults))
    if seeds is None:
        seeds = SEEDS
    elif not isinstance(seeds, SearchStrategy):
        if not seeds:
            raise ValueError("there is no seed to draw from")
        seeds = st.sampled_from(sorted(seeds))
    return st.builds(planned, drawn, seeds)


# --- what a failing example shows: the calls that made it -------------------------------------------------------------


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """The scenario of a file with these values. Raises ScenarioInvalid."""
    return of_values(values, _FILE)


def facing(scenario: Scenario, faults: Sequence[str]) -> Scenario:
    """`scenario` with these faults (ids) in the place of its own."""
    return scenario.facing(faults)


def planned(scenario: Scenario, seed: int) -> Plan:
    """The plan, without those faults for which it has nothing. An example that has no plan even so is given up."""
    try:
        return make_plan(scenario, seed, dropped=[])
    except ScenarioInvalid:
        reject()


# --- what is drawn ----------------------------------------------------------------------------------------------------


def _known(faults: Collection[str] | None) -> tuple[str, ...]:
    if faults is None:
        return recovering()
    unknown = sorted(set(faults) - set(registry()))
    if unknown:
        raise ValueError(f"there is no fault {', '.join(unknown)}: `absence faults list` has them all")
    return tuple(sorted(faults))


def _some(faults: Sequence[str], most: int) -> SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(faults), max_size=most) if faults and most else st.just([])


@st.composite
def _values(draw: st.DrawFn, faults: Sequence[str], most_faults: int, most_entries: int) -> dict[str, Any]:
    contests = draw(st.lists(_contests(most_entries), min_size=1, max_size=2))
    drawn = draw(_some(faults, most_faults))
    habit = st.integers(0, 3_000)
    return {
        "name": "drawn",
        "title": "Drawn by Hypothesis",
        "calendar": {"days": 8, "recovery_h": 96},
        "owner_capital_usd": 100_000,
        "entrants": {
            "pool": max(contest["entries"] for contest in contests),
            "abandon_bp": draw(habit),
            "late_bp": draw(habit),
            "too_late_bp": draw(habit),
        },
        "tournaments": [{"id": "t1", "name": "The Drawn Open", "starts_day": 2, "golfers": draw(st.integers(12, 16))}],
        "contests": [{"id": f"c{n}", "tournament": "t1", **contest} for n, contest in enumerate(contests, 1)],
        "faults": [{"fault": fault} for fault in drawn],
    }


@st.composite
def _contests(draw: st.DrawFn, most_entries: int) -> dict[str, Any]:
    entries = draw(st.integers(1, most_entries))
    least = draw(st.integers(1, most_entries))
    roster = draw(st.integers(1, 4))
    by_points = draw(st.booleans())
    guaranteed_cents = draw(st.none() | st.integers(0, 50_000))
    scoring: dict[str, Any] = {
        "kind": "points" if by_points else "strokes",
        "roster_size": roster,
        "counting": draw(st.integers(1, roster)),
        "missed_round_penalty": draw(st.integers(0, 3)),
    }
    if by_points:
        scoring["points_tenths"] = _POINTS
        scoring["finish_tenths"] = draw(st.sampled_from([[], [300, 200, 100]]))
    prizes: list[dict[str, Any]] = [{"shares_bp": list(shares)} for shares in _SHARES]
    prizes += [{"winner_takes_all": True}, *([{"double_up": True}] if entries > 1 else [])]
    return {
        "name": "Drawn",
        "fee_cents": draw(st.integers(100, 20_000)),
        "entries": entries,
        "min_entries": least,
        "max_entries": max(entries, least),
        "rake_bp": draw(st.integers(0, 2_000)),
        **({} if guaranteed_cents is None else {"guaranteed_cents": guaranteed_cents}),
        "prizes": draw(st.sampled_from(prizes)),
        "scoring": scoring,
        "ties": 0 if by_points else draw(st.integers(0, min(3, entries))),
        "hold_h": draw(st.integers(1, 30)),
    }
