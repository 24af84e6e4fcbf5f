"""Shrinking: what is left is needed, fails as the whole did, and cost no more than it was allowed."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import capsules, passes
from campaigns.minimal import minimal
from campaigns.shrinking import Budget, NotTheSame, Shrunk, Suspects, shrink
from campaigns.trial import Fingerprint, Trial, TrialFailed, kind_of
from campaigns.tries import tries
from defects import catalogue, defect
from defects.leaks import LEAKS
from defects.planting import planted
from evidence import freezing
from evidence.canonical import canonical
from evidence.halts import HALTED
from evidence.plan import Plan
from scenarios import load, make_plan
from simulator.operations import in_force, shipped
from tests.support.capsules import CAPSULES
from tests.support.command import ROOT, Ran, SharedRuns, absence, scenario_with
from tests.support.hidden import HIDDEN
from tests.support.locks import lock

TARGET, OTHER = Fingerprint("payouts.exactly_once", "entries"), Fingerprint("lifecycle.on_time", "contests")
ITEMS = 20
NEEDED = st.sets(st.integers(0, ITEMS - 1), max_size=5)


# --- the fewest of many --------------------------------------------------------------------------------------------


@given(st.lists(NEEDED, min_size=1, max_size=3))
def test_none_of_what_is_left_can_be_spared(ways: list[set[int]]) -> None:
    left = minimal(range(ITEMS), lambda kept: any(way <= set(kept) for way in ways))
    assert set(left) in ways
    assert not any(way < set(left) for way in ways)


@given(st.integers(0, 2**64))
def test_none_of_what_is_left_can_be_spared_though_less_may_fail_where_more_does(seed: int) -> None:
    def happens(kept: Sequence[int]) -> bool:
        return len(kept) == ITEMS or (len(kept) > 2 and hash((seed, tuple(kept))) % 3 == 0)

    left = minimal(range(ITEMS), happens)
    assert happens(left)
    assert not any(happens([other for other in left if other != one]) for one in left)


@pytest.mark.parametrize(("needed", "trials"), [(0, 1), (1, 9), (2, 18), (3, 26)])
def test_few_of_twenty_are_found_in_few_trials(needed: int, trials: int) -> None:
    for first in range(ITEMS - needed):
        asked = []
        wanted = set(range(first, first + 7 * needed, 7)) & set(range(ITEMS))

        def happens(kept: tuple[int, ...], wanted: set[int] = wanted, asked: list[object] = asked) -> bool:
            asked.append(kept)
            return wanted <= set(kept)

        assert set(minimal(range(ITEMS), happens)) == wanted
        assert len(set(asked)) <= trials


# --- shrinking, with made-up trials --------------------------------------------------------------------------------


@cache
def small_plan() -> Plan:
    faults = ("webhooks.duplicate, count: 6", "provider.outage", "winrm.refused", "timeouts.transfer_answer_lost")
    with TemporaryDirectory() as folder:
        return make_plan(load(scenario_with(Path(folder), *faults)), 1)


@pytest.fixture
def plan() -> Plan:
    return small_plan()


class Made:
    """Trials that need no run: `broken` says what a plan breaks first."""

    def __init__(self, broken: Callable[[Plan], Fingerprint | None]) -> None:
        self.broken = broken
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan, within_s: float) -> Trial:
        self.plans.append(plan)
        first = self.broken(plan)
        found = () if first is None else (first,)
        return Trial(plan.scenario, plan.seed, plan.sha256(), "", "FAIL" if first else "PASS", first, found, (), (), 1)


def ids(plan: Plan) -> set[str]:
    return {fault.id for fault in plan.faults}


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_what_is_left_breaks_the_same_and_nothing_of_it_can_be_left_out(data: st.DataObject) -> None:
    plan = small_plan()
    needed, others = (data.draw(st.sets(st.sampled_from(sorted(ids(plan))), max_size=3)) for _ in range(2))

    def broken(candidate: Plan) -> Fingerprint | None:
        if needed <= ids(candidate):
            return TARGET
        return OTHER if others & ids(candidate) else None

    made = Made(broken)
    shrunk = shrink(plan, TARGET, made, Suspects(data.draw(st.sets(st.sampled_from(sorted(ids(plan))), max_size=2))))
    assert ids(shrunk.plan) == needed
    assert shrunk.trial.first == TARGET
    assert passes.unsound(shrunk.plan) == []
    assert shrunk.runs == len(made.plans) == len({each.sha256() for each in made.plans}) <= 200
    rejected = [broken(each) for each in made.plans]
    assert sum(shrunk.other.values()) == rejected.count(OTHER)
    assert shrunk.passing == rejected.count(None)
    assert not any(passes.unsound(each) for each in made.plans)


@pytest.mark.parametrize("other", [OTHER, Fingerprint(TARGET.assertion, "transfers")])
def test_what_breaks_something_else_first_is_another_failure_though_it_breaks_the_same_as_well(
    other: Fingerprint, plan: Plan
) -> None:
    class Both(Made):
        def __call__(self, plan: Plan, within_s: float) -> Trial:
            return replace(super().__call__(plan, within_s), fingerprints=(TARGET, other))

    made = Both(lambda candidate: TARGET if "provider.outage#1" in ids(candidate) else other)
    shrunk = shrink(plan, TARGET, made)
    assert ids(shrunk.plan) == {"provider.outage#1"}
    assert sum(shrunk.other.values()) > 0


@pytest.mark.parametrize("runs", [1, 2, 3, 7])
def test_no_more_runs_are_made_than_are_allowed_and_the_best_of_them_is_kept(runs: int, plan: Plan) -> None:
    made = Made(lambda candidate: TARGET if any(each.fault == "provider.outage" for each in candidate.faults) else None)
    shrunk = shrink(plan, TARGET, made, budget=Budget(runs=runs))
    assert len(made.plans) <= runs
    assert made.broken(shrunk.plan) == TARGET
    assert len(shrunk.plan.faults) == min(len(each.faults) for each in made.plans if made.broken(each))
    assert shrunk.ended_by == f"the budget of {runs} run{'s' * (runs > 1)} ended"


def test_seconds_are_a_budget_too_but_of_the_run_of_the_plan_as_it_is(plan: Plan) -> None:
    class Slow(Made):
        def __call__(self, plan: Plan, within_s: float) -> Trial:
            if within_s < 60:
                raise TrialFailed(f"it did not end within {within_s:.0f} s")
            return super().__call__(plan, within_s)

    shrunk = shrink(plan, TARGET, Slow(lambda _: TARGET), budget=Budget(seconds=0))
    assert (shrunk.runs, shrunk.plan) == (1, plan)
    assert "0 s" in shrunk.ended_by


def test_a_smaller_plan_is_waited_for_as_long_as_one_that_ends_would_take(plan: Plan) -> None:
    given = []

    class Timed(Made):
        def __call__(self, plan: Plan, within_s: float) -> Trial:
            given.append(within_s)
            return super().__call__(plan, within_s)

    shrink(plan, TARGET, Timed(lambda _: TARGET), budget=Budget(seconds=60))
    assert len(given) > 2
    assert max(given[1:]) <= 11


def test_ctrl_c_keeps_the_best_so_far(plan: Plan) -> None:
    class Stopped(Made):
        def __call__(self, plan: Plan, within_s: float) -> Trial:
            if len(self.plans) == 4:
                raise KeyboardInterrupt
            return super().__call__(plan, within_s)

    made = Stopped(lambda candidate: TARGET if "webhooks.duplicate#3" in ids(candidate) else None)
    shrunk = shrink(plan, TARGET, made)
    assert shrunk.was_stopped
    assert shrunk.plan in made.plans
    assert made.broken(shrunk.plan) == TARGET
    assert len(shrunk.plan.faults) < len(plan.faults)


def test_a_plan_that_makes_no_trial_is_none_that_fails_the_same(plan: Plan) -> None:
    def broken(candidate: Plan) -> Fingerprint:
        if "provider.outage#1" not in ids(candidate):
            raise TrialFailed("it did not end")
        return TARGET

    shrunk = shrink(plan, TARGET, Made(broken))
    assert ids(shrunk.plan) == {"provider.outage#1"}
    assert shrunk.unfit > 0


def test_a_plan_that_does_not_fail_as_it_is_recorded_is_not_shrunk(plan: Plan) -> None:
    with pytest.raises(NotTheSame):
        shrink(plan, TARGET, Made(lambda _: OTHER))


def test_contests_days_and_people_that_are_not_needed_go() -> None:
    plan = make_plan(load("default"), 1)
    person = next(entry.user_id for entry in plan.entries if entry.contest_id == "links-points")

    def broken(candidate: Plan) -> Fingerprint | None:
        entered = {(entry.contest_id, entry.user_id) for entry in candidate.entries}
        return TARGET if ("links-points", person) in entered else None

    shrunk: Shrunk = shrink(plan, TARGET, Made(broken), Suspects(subject=f"entries/x of {person} in links-points"))
    left = shrunk.plan
    assert [contest.id for contest in left.contests] == ["links-points"]
    assert [tournament.id for tournament in left.tournaments] == ["t2"]
    assert [entrant.id for entrant in left.entrants] == [person]
    assert shrunk.before.days == 14
    assert shrunk.after.days == 6
    assert left.contests[0].min_entries == 1
    assert left.recovery_until_at - left.absence_until_at == plan.recovery_until_at - plan.absence_until_at


def test_parameters_become_as_small_as_they_may_and_the_window_goes_with_them(plan: Plan) -> None:
    """Thirty minutes are the least that an outage is declared to last."""
    outage = next(fault for fault in plan.faults if fault.fault == "provider.outage")
    assert outage.params["outage_min"] > 40

    def broken(candidate: Plan) -> Fingerprint | None:
        left = [fault for fault in candidate.faults if fault.id == outage.id]
        return TARGET if left and left[0].params["outage_min"] >= 40 else None

    [left] = shrink(plan, TARGET, Made(broken)).plan.faults
    assert 40 <= left.params["outage_min"] < outage.params["outage_min"]
    assert left.from_at is not None
    assert left.until_at == left.from_at + left.params["outage_min"] * 60_000


# --- plans ---------------------------------------------------------------------------------------------------------


def test_no_plan_of_the_planner_is_unsound() -> None:
    for name in ("default", "operated", "drills", "winrm", "platform", "violations_of_ops", "incident_two_amounts"):
        assert passes.unsound(make_plan(load(name), 1)) == [], name


def test_what_refers_to_something_that_has_gone_goes_with_it() -> None:
    plan = make_plan(load("default"), 1)
    bound = {fault.id for fault in plan.faults if (fault.entity or "").partition("/")[0] in ("t2", "links-points")}
    left = passes.with_contests(plan, ["azalea-strokes", "azalea-points"])
    assert bound
    assert not bound & ids(left)
    assert {entry.contest_id for entry in left.entries} == {"azalea-strokes", "azalea-points"}
    assert passes.unsound(left) == []
    user = next(fault for fault in plan.faults if "/user_" in (fault.entity or ""))
    without = passes.with_people(plan, {entrant.id for entrant in plan.entrants} - {str(user.entity).split("/")[1]})
    assert user.id not in ids(without)


def test_a_fault_takes_its_occasions_with_it(plan: Plan) -> None:
    assert {"winrm.refused#1", "winrm.refused#1/1"} <= ids(plan)
    assert {passes.belongs_to(fault) for fault in plan.faults if fault.id == "winrm.refused#1/1"} == {"winrm.refused#1"}
    gone, *others = (contest.id for contest in plan.contests)
    bound = [
        fault.model_copy(update={"entity": gone}) if fault.id == "winrm.refused#1" else fault for fault in plan.faults
    ]
    left = passes.with_contests(plan.model_copy(update={"faults": bound}), others)
    assert not {"winrm.refused#1", "winrm.refused#1/1"} & ids(left)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: {"contests": []}, "no contest is left"),
        (lambda _: {"tournaments": []}, "is not held on a tournament of the plan"),
        (lambda _: {"entrants": []}, "there is no such contest, or customer"),
        (lambda _: {"entries": []}, "nobody enters"),
        (lambda plan: {"absence_until_at": plan.starts_at}, "ends after the absence"),
        (lambda plan: {"starts_at": plan.contests[0].lock_at}, "opens before the run"),
        (
            lambda plan: {"recovery_until_at": plan.absence_until_at - 9 * passes.DAY_MS},
            "payouts are due after the end",
        ),
        (lambda plan: {"faults": plan.faults * 2}, "claim the same call"),
    ],
)
def test_what_no_planner_plans_is_told(change: Callable[[Plan], dict[str, object]], told: str, plan: Plan) -> None:
    assert any(told in each for each in passes.unsound(plan.model_copy(update=change(plan))))


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("entries/entry_57413b73a113ad7f72acbb99", "entries"),
        ("tr_c39aef8bdbe3afcdd3c8f122", "tr"),
        ("liabilities:user_wallet:user_00012", "liabilities:user_wallet"),
        ("assets:stripe_available", "assets:stripe_available"),
        ("audit_log", "audit_log"),
    ],
)
def test_a_fingerprint_names_a_kind_and_never_one_of_it(subject: str, kind: str) -> None:
    assert kind_of(subject) == kind


# --- the process of the trials -------------------------------------------------------------------------------------


def test_trials_go_on_after_a_plan_that_hangs_and_one_that_cannot_be_run(plan: Plan) -> None:
    small = make_plan(load("small"), 1)
    with tries() as attempt:
        with pytest.raises(TrialFailed, match="did not end"):
            attempt(small, 0)
        with pytest.raises(TrialFailed):
            attempt(small.model_copy(update={"root_key": "no key"}), 120)
        assert attempt(small, 120).status == "PASS"


# --- the command ---------------------------------------------------------------------------------------------------


def test_a_violation_among_faults_is_what_is_left(tmp_path: Path) -> None:
    """And the run that is left replays, and its capsule can be shrunk again, to the same."""
    faults = ("webhooks.duplicate", "violations.founder_login", "provider.empty", "timeouts.transfer_answer_lost")
    ran = absence("run", scenario_with(tmp_path, *faults), "--out", tmp_path, "--name", "run")
    assert ran.exit_code == 10
    told = absence("shrink", tmp_path / "run", "--out", tmp_path / "out", "--json")
    assert told.exit_code == 0, told.stderr
    assert told.json["faults"] == ["violations.founder_login#1"]
    assert told.json["after"]["days"] < told.json["before"]["days"]
    assert told.json["ended_by"] == ""
    assert absence("replay", told.json["run_dir"]).exit_code == 0
    assert absence("verify", told.json["run_dir"]).exit_code == 0
    capsule = capsules.read(tmp_path / "out" / "capsule")
    assert list(capsule.fingerprint or ()) == told.json["fingerprint"]
    assert capsule.plan_json == (Path(told.json["run_dir"]) / "plan.json").read_bytes()
    again = absence(
        "shrink", tmp_path / "out" / "capsule", "--out", tmp_path / "again", "--budget-runs", "1", "--budget-s", "1"
    )
    assert again.exit_code == 0, again.stderr
    assert "a smaller one may be left: the budget of 1 run ended" in again.stdout
    refused = absence("shrink", tmp_path / "run", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "holds what another shrinking left" in refused.stderr


def test_a_defect_is_shrunk_with_the_defect_and_its_test_passes_once_it_is_mended(tmp_path: Path) -> None:
    hidden = next(each for each in HIDDEN if each.defect == "hidden.payouts_stop_after_two")
    extra = [fault for fault in hidden.among_others(tmp_path).faults if fault.fault == "webhooks.duplicate"]
    alone = hidden.alone(tmp_path)
    (tmp_path / "plan.json").write_bytes(alone.model_copy(update={"faults": [*extra[:2], *alone.faults]}).canonical())
    ran = absence(
        "run", "--plan", tmp_path / "plan.json", "--defect", hidden.defect, "--out", tmp_path, "--name", "run"
    )
    assert ran.exit_code == 10
    told = absence("shrink", tmp_path / "run", "--out", tmp_path / "out", "--budget-runs", "8")
    assert told.exit_code == 0, told.stderr
    assert f"Each of them with the defect {hidden.defect} planted." in told.stdout
    left = tmp_path / "out"
    assert {fault.fault for fault in capsules.read(left / "capsule").plan.faults} == {"timeouts.transfer_request_lost"}
    assert absence("replay", left / "run").exit_code == 0
    [test] = (left / "capsule").glob("test_*.py")
    with planted(defect(hidden.defect)) as tree:
        for place, code in ((tree, 1), (ROOT, 0)):
            ended = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(left), str(test)],
                cwd=place, env={"PYTHONPATH": str(place)}, capture_output=True, text=True,
            )  # fmt: skip
            assert ended.returncode == code, ended.stdout


def test_a_run_that_the_guard_has_ended_is_not_shrunk_nor_replayed_tolerantly(small_run: Ran, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_run.path, tmp_path / "copy"))
    with (copy / "journal.jsonl").open("ab") as journal:
        journal.write(canonical({"kind": HALTED, "at": 1, "subject": "ledger", "data": {}}) + b"\n")
    for command in (("shrink", copy), ("replay", copy, "--tolerant")):
        told = absence(*command)
        assert told.exit_code == 20
        assert "was ended early by --halt-on-anomaly" in told.stderr


def test_a_run_that_kept_its_promises_is_not_shrunk(tmp_path: Path) -> None:
    absence("run", "small", "--out", tmp_path, "--name", "run")
    told = absence("shrink", tmp_path / "run", "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert "there is nothing to shrink" in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_whose_plan_was_edited_is_not_shrunk(runs: SharedRuns, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs("violation_row_edited").path, tmp_path / "copy"))
    edited = json.loads((copy / "plan.json").read_bytes()) | {"seed": 99}
    (copy / "plan.json").write_bytes(canonical(edited))
    told = absence("shrink", copy, "--out", tmp_path / "out")
    assert told.exit_code == 30
    assert "plan.json is not the plan that was run" in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "{}", "null", "garbage"])
def test_a_run_whose_verdict_cannot_be_read_is_not_shrunk(
    content: str | None, runs: SharedRuns, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(runs("violation_row_edited").path, tmp_path / "copy"))
    (copy / "verdict.json").unlink()
    if content is not None:
        (copy / "verdict.json").write_text(content)
    told = absence("shrink", copy, "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert f"{copy / 'verdict.json'} cannot be read: " in told.stderr
    assert f"absence report {copy} --out DIRECTORY" in told.stderr


def test_a_failure_that_is_mended_by_now_is_said_to_be(tmp_path: Path) -> None:
    small = make_plan(load("small"), 1)
    capsules.write(tmp_path / "capsule", capsules.Capsule.of(small, TARGET))
    told = absence("shrink", tmp_path / "capsule", "--out", tmp_path / "out")
    assert told.exit_code == 12
    assert "run today, it breaks nothing" in told.stderr
    assert json.loads((tmp_path / "capsule" / "capsule.json").read_text())["fingerprint"] == list(TARGET)


def test_runbooks_that_were_kept_are_in_force_in_all_that_is_run_and_left(tmp_path: Path) -> None:
    """The fault is in a runbook alone, which those that are shipped do not have."""
    kept, name, documents = tmp_path / "kept", "runbooks/backup_contest_data.md", dict(shipped().documents)
    documents[name] = documents[name].replace(b"glob: done: backup_id=* changed=*", b"glob: no such answer")
    plan = make_plan(load("small"), 1, days=7).model_copy(update={"operations": True})
    target = Fingerprint("runbooks.nothing_escalated", "escalations")
    capsules.write(kept, capsules.Capsule.of(plan, target), in_force(documents))
    told = absence("shrink", kept, "--out", tmp_path / "out", "--budget-runs", "1")
    assert told.exit_code == 0, told.stderr
    for left in (tmp_path / "out" / "capsule", tmp_path / "out" / "run"):
        assert {name: (left / name).read_bytes() for name in documents} == documents
    [path] = (tmp_path / "out" / "capsule").glob("test_*.py")
    with pytest.raises(AssertionError) as failed:
        runpy.run_path(str(path))["test_runbooks_nothing_escalated_does_not_break_again"]()
    assert "not in trial.fingerprints" in str(failed.traceback[-1].statement)


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A capsule."""
    return Path(shutil.copytree(CAPSULES / "failures" / "founder_edits_a_row", tmp_path / "edited"))


def frozen(folder: Path) -> Path:
    freezing.freeze(folder, "2026-01-01T00:00:00+00:00", "run-2", "plan.json: is missing")
    return folder


def a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        (a_file, 2, "runs cannot be written to"),
        (lambda folder: a_file(folder) / "below", 2, "runs cannot be written to"),
        (frozen, 30, "is frozen since"),
    ],
)
def test_a_place_where_nothing_can_be_left_is_refused_before_anything_is_tried(
    place: Callable[[Path], Path], code: int, said: str, edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a trial was to be made")

    monkeypatch.setattr("campaigns.tries.tries", never)
    told = absence("shrink", edited, "--out", place(tmp_path))
    assert told.exit_code == code
    assert said in told.stderr


def test_what_was_found_is_kept_though_its_run_cannot_be_made(edited: Path, tmp_path: Path) -> None:
    """Somebody else writes there: the run gives way, as any run does."""
    lock(tmp_path)
    told = absence("shrink", edited, "--out", tmp_path, "--budget-runs", "1")
    assert told.exit_code == 11, told.stderr
    assert "could not be run to be kept" in told.stderr
    assert "To wait for it: absence run --plan" in told.stderr
    assert f"absence replay {tmp_path / 'capsule'}" in told.stderr
    assert capsules.read(tmp_path / "capsule").fingerprint == capsules.read(edited).fingerprint


def test_stopped_by_ctrl_c_it_leaves_the_best_so_far_and_ends_in_130(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def stopped(*arguments: Any) -> Shrunk:
        *first, budget, told = arguments
        given.append(budget)
        shrunk = shrink(*first, Budget(runs=1), told)
        shrunk.ended_by, shrunk.was_stopped = "Ctrl-C stopped it", True
        return shrunk

    monkeypatch.setattr("campaigns.shrinking.shrink", stopped)
    told = absence("shrink", edited, "--out", tmp_path / "out", "--budget-runs", "7", "--budget-s", "9")
    assert told.exit_code == 130
    assert given == [Budget(7, 9)]
    assert "a smaller one may be left: Ctrl-C stopped it" in told.stdout
    assert absence("verify", tmp_path / "out" / "run").exit_code == 0


def test_a_run_that_depends_on_more_than_its_plan_is_said_to(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = next(each for each in LEAKS if each.id == "leaks.global_random")
    monkeypatch.setitem(catalogue(), leak.id, leak)
    leaking = replace(capsules.read(edited), defect=leak.id)
    capsules.write(tmp_path / "leaking", leaking)
    told = absence("shrink", tmp_path / "leaking", "--out", tmp_path / "out", "--budget-runs", "1")
    assert told.exit_code == 30, told.stderr
    assert "a run depends on more than its plan" in told.stderr
    assert "bug of ours" not in told.stderr
    assert capsules.read(tmp_path / "out" / "capsule").plan_json == leaking.plan_json
    assert absence("verify", tmp_path / "out" / "run").exit_code == 0


def test_a_plan_is_run_as_it_is_and_with_nothing_that_would_make_another(tmp_path: Path) -> None:
    small = make_plan(load("small"), 3)
    (tmp_path / "plan.json").write_bytes(small.canonical())
    refused = absence("run", "--plan", tmp_path / "plan.json", "--seed", "4", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "--seed" in refused.stderr
    ran = absence("run", "--plan", tmp_path / "plan.json", "--out", tmp_path, "--name", "run")
    assert ran.exit_code == 0
    assert (tmp_path / "run" / "plan.json").read_bytes() == small.canonical()
