"""Strategies for plans: what they draw is valid and deterministic, keeps its promises, and shrinks to very little."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from campaigns import strategies
from campaigns.strategies import plans, recovering, scenario_of, scenarios
from evidence.plan import Plan
from fault_injectors import registry
from scenarios import Scenario, ScenarioInvalid, load, make_plan
from tests.support.drawn import few, holds

SEARCH = settings(derandomize=True, database=None, deadline=None, max_examples=500)


@few(50)
@given(plans())
def test_a_plan_survives_the_way_through_its_file(plan: Plan) -> None:
    again = Plan.model_validate_json(plan.canonical())
    assert again == plan
    assert (again.canonical(), again.sha256()) == (plan.canonical(), plan.sha256())


@few(5)
@given(plans())
def test_a_plan_has_one_run_and_no_promise_is_broken_in_it(plan: Plan) -> None:
    holds(plan)


@few(2)
@given(plans("small", seeds=range(1, 30), faults=["webhooks.lost", "timeouts.transfer_answer_lost", "webhooks.twin"]))
def test_a_shipped_scenario_holds_with_whichever_of_some_faults(plan: Plan) -> None:
    assert {fault.fault for fault in plan.faults} <= {"webhooks.lost", "timeouts.transfer_answer_lost", "webhooks.twin"}
    assert plan.seed < 30
    holds(plan)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_a_scenario_shrinks_to_one_entry_and_no_fault() -> None:
    model = find(scenarios(), lambda _: True, settings=SEARCH).model
    assert ([contest.entries for contest in model.contests], model.faults) == ([1], [])


def test_a_scenario_with_a_fault_shrinks_to_that_fault() -> None:
    drawn = scenarios(faults=["webhooks.lost", "webhooks.twin"])
    model = find(drawn, lambda drawn: "webhooks.twin" in faults_of(drawn), settings=SEARCH).model
    assert [fault.fault for fault in model.faults] == ["webhooks.twin"]
    assert [contest.entries for contest in model.contests] == [1]


def faults_of(drawn: Scenario) -> list[str]:
    return [fault.fault for fault in drawn.model.faults]


def test_every_fault_that_needs_nobody_is_drawn_and_no_violation() -> None:
    assert set(recovering()) == {
        id for id, fault in registry().items() if fault.recovery.by in ("itself", "rule")
    }  # fmt: skip
    assert {registry()[fault].kind for fault in recovering()} == {"fault"}
    assert len(recovering()) > 100


def test_a_fault_for_which_the_plan_has_nothing_is_left_out_and_the_others_stay() -> None:
    values = {**SMALL, "faults": [{"fault": "commands.answer_lost"}, {"fault": "webhooks.lost"}]}
    with pytest.raises(ScenarioInvalid, match=r"commands.answer_lost cannot be bound"):
        make_plan(scenario_of(values), 1)
    assert [fault.id for fault in strategies.planned(scenario_of(values), 1).faults] == ["webhooks.lost#1"]


SMALL = {
    "name": "mine", "title": "Mine", "owner_capital_usd": 5_000, "entrants": {"pool": 4},
    "tournaments": [{"id": "t1", "name": "Open", "starts_day": 2, "golfers": 12}],
    "contests": [
        {
            "id": "c1", "tournament": "t1", "name": "One", "fee_cents": 1_000, "entries": 4, "max_entries": 4,
            "prizes": {"winner_takes_all": True}, "scoring": {"kind": "strokes", "roster_size": 1, "counting": 1},
        }
    ],
}  # fmt: skip


OWN = scenario_of({**SMALL, "faults": [{"fault": "webhooks.lost"}]})


@few(3)
@given(plans(OWN), plans(st.just(OWN), seeds=[7], faults=["webhooks.twin"]))
def test_a_scenario_of_ones_own_keeps_its_faults_unless_others_are_named(kept: Plan, other: Plan) -> None:
    assert [fault.fault for fault in kept.faults] == ["webhooks.lost"]
    assert {fault.fault for fault in other.faults} <= {"webhooks.twin"}
    assert other.seed == 7


@few(20)
@given(scenarios(faults=(), most_entries=3))
def test_a_scenario_is_as_large_as_asked_for(scenario: Scenario) -> None:
    assert scenario.model.faults == []
    assert all(contest.entries <= 3 for contest in scenario.model.contests)


def test_what_cannot_be_drawn_from_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"there is no fault webhooks\.lots"):
        plans("small", faults=["webhooks.lots"])
    with pytest.raises(ValueError, match="there is no seed"):
        plans("small", seeds=[])
    with pytest.raises(ScenarioInvalid, match="did you mean small"):
        plans("smal")
    with pytest.raises(ScenarioInvalid, match=r"did you mean webhooks\.lost"):
        load("small").facing(["webhooks.lots"])


def test_a_failing_example_shows_calls_that_make_it_again() -> None:
    seen: list[Plan] = []

    @settings(few(1), phases=[Phase.generate], print_blob=False)
    @given(plans())
    def fails(plan: Plan) -> None:
        seen.append(plan)
        raise AssertionError("broken")

    with pytest.raises(AssertionError) as broken:
        fails()
    shown = "\n".join(broken.value.__notes__)
    assert re.search(r"plan=planned\(\s*scenario_of\(", shown), shown
    made = eval(shown[shown.index("planned(") : shown.index("\n)")].rstrip(",\n"), vars(strategies))
    assert made == seen[-1]


def test_values_that_are_no_scenario_are_refused_with_every_reason() -> None:
    with pytest.raises(ScenarioInvalid) as refused:
        scenario_of({**SMALL, "title": 3, "faults": [{"fault": "webhooks.lots"}]})
    told = str(refused.value)
    assert "did you mean webhooks.lost" in told
    assert "title: expected text" in told


# --- without Hypothesis -----------------------------------------------------------------------------------------------


def test_without_hypothesis_the_import_says_what_to_install_and_nothing_else_needs_it() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import campaigns.published, campaigns.strategies"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: these strategies need Hypothesis: pip install 'founder-absence[hypothesis]'" in told.stderr
    assert "campaigns/strategies.py" in told.stderr
