"""Swarm configuration: which faults a seed is given, and that its plan is a plan as any other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from absence.command_line import DEFAULT_ROOT
from campaigns.swarm import TIMES, plan_of, swarmed
from evidence.plan import Plan
from scenarios import load, make_plan
from tests.support.command import absence
from tests.support.sweeps import TINY, written

SEEDS = range(200)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return written(tmp_path, TINY)


def test_each_fault_is_left_in_about_half_of_the_seeds_and_comes_up_to_three_times_as_often(tiny: Path) -> None:
    scenario = load(tiny)
    left_in, counts = Counter[str](), Counter[int]()
    for seed in SEEDS:
        for fault in swarmed(scenario, seed).model.faults:
            left_in[fault.fault] += not fault.disabled
            if not fault.disabled:
                counts[fault.count] += 1
    assert len(left_in) == 3
    assert all(70 < times < 130 for times in left_in.values()), left_in
    assert set(counts) == {times for times, _ in TIMES}
    assert counts[1] > counts[2] > counts[3] > 0


def test_subsets_differ_between_seeds_and_all_of_them_come_up(tiny: Path) -> None:
    scenario = load(tiny)
    subsets = Counter(
        frozenset(fault.fault for fault in swarmed(scenario, seed).model.faults if not fault.disabled) for seed in SEEDS
    )
    assert len(subsets) == 2**3


def test_a_seed_is_given_the_same_whatever_other_items_the_scenario_has(tmp_path: Path) -> None:
    short = load(written(tmp_path, TINY))
    longer = load(written(tmp_path, TINY + "  - {fault: provider.outage}\n", "longer.yaml"))
    for seed in range(20):
        of_longer = swarmed(longer, seed).model.faults
        assert of_longer[:3] == swarmed(short, seed).model.faults


def test_an_item_that_is_bound_to_a_time_comes_once(tmp_path: Path) -> None:
    bound = "{fault: provider.outage, bind: {from: day 3 09:00, until: day 3 10:00}}"
    scenario = load(written(tmp_path, TINY.replace("{fault: webhooks.lost}", bound)))
    drawn = [fault for seed in SEEDS for fault in swarmed(scenario, seed).model.faults if not fault.disabled]
    assert {fault.count for fault in drawn if fault.bind is not None} == {1}


def test_what_is_left_in_keeps_its_binding_whatever_is_left_out(tiny: Path) -> None:
    whole = {fault.id: fault for fault in make_plan(load(tiny), 3).faults}
    swarm = {fault.id: fault for fault in plan_of(load(tiny), 3, swarm=True).plan.faults}
    both = whole.keys() & swarm.keys()
    assert both
    assert both < whole.keys()
    assert {id: whole[id] for id in both} == {id: swarm[id] for id in both}


def test_a_fault_that_finds_nothing_to_befall_is_left_out_and_named_and_without_swarm_it_is_an_error(
    tmp_path: Path,
) -> None:
    crowded = TINY.replace("{fault: timeouts.transfer_answer_lost}", "{fault: timeouts.transfer_answer_lost, count: 2}")
    scenario = load(written(tmp_path, crowded))  # two places are paid
    for seed in range(20):
        planned = plan_of(scenario, seed, swarm=True)
        wanted = sum(fault.count for fault in swarmed(scenario, seed).model.faults if not fault.disabled)
        assert len(planned.plan.faults) + len(planned.dropped) == wanted
        assert set(planned.dropped) <= {f"timeouts.transfer_answer_lost#{n}" for n in (3, 4, 5, 6)}
        if planned.dropped:
            break
    else:
        pytest.fail("no seed of twenty asked for more than two")
    too_many = written(tmp_path, crowded.replace("count: 2", "count: 3"))
    told = absence("sweep", too_many, "--no-swarm", "--seeds", "0:2", "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert "timeouts.transfer_answer_lost cannot be bound" in told.stderr


def test_a_run_with_swarm_runs_the_plan_of_the_sweeps_seed(tiny: Path, tmp_path: Path) -> None:
    told = absence("run", tiny, "--seed", "6", "--swarm", "--out", tmp_path / DEFAULT_ROOT, "--json")
    run_dir = Path(told.json["run_dir"])
    expected = plan_of(load(tiny), 6, swarm=True)
    assert expected.dropped
    assert (run_dir / "plan.json").read_bytes() == expected.plan.canonical()
    assert Plan.model_validate_json((run_dir / "plan.json").read_bytes()) == expected.plan
    assert absence("replay", run_dir).exit_code == 0
