"""Failures that were kept come back on today's code: strictly as they were, or as far as today's code can follow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import capsules
from campaigns.capsules import Capsule
from campaigns.lenient import PlanUnreadable, read_leniently, read_plan
from defects.model import Defect, Edit
from evidence.canonical import canonical
from tests.support.capsules import CAPSULES
from tests.support.command import Ran, SharedRuns, absence, start
from tests.support.refactors import replayed_after, together

CORPUS = CAPSULES / "failures"
NAMES = sorted(path.name for path in CORPUS.iterdir())
EDITED, AMONG, LOGGED_IN, ROUNDED = (
    CORPUS / name for name in ("founder_edits_a_row", "edit_among_faults", "founder_logs_in", "prize_keeps_a_cent")
)


def altered(folder: Path, capsule: Path, **changes: Any) -> Path:
    """A copy of a capsule, of whose plan some values are others."""
    copy = Path(shutil.copytree(capsule, folder / "copy"))
    values = json.loads((copy / "plan.json").read_bytes())
    values.update(changes)
    (copy / "plan.json").write_bytes(canonical(values))
    return copy


def faults_of(capsule: Path) -> list[dict[str, Any]]:
    faults: list[dict[str, Any]] = json.loads((capsule / "plan.json").read_bytes())["faults"]
    return faults


# --- strictly --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_failure_that_was_kept_comes_back(name: str) -> None:
    capsule = capsules.read(CORPUS / name)
    assert capsule.fingerprint is not None
    assert capsule.note
    assert (capsule.plan.scenario, capsule.plan.seed) == (capsule.scenario, capsule.seed)
    assert read_plan(capsule.plan_json).canonical() == capsule.plan_json
    found = capsules.replay(capsule)
    assert found.trial.first == capsule.fingerprint
    assert found.reproduced
    assert (found.silent, found.left_out) == ((), ())
    assert found.statuses[capsule.fingerprint.assertion] == "FAIL"


def test_a_failure_whose_defect_is_mended_does_not_come_back(tmp_path: Path) -> None:
    capsules.write(tmp_path, replace(capsules.read(ROUNDED), defect=None))
    told = absence("replay", tmp_path)
    assert told.exit_code == 10
    first, today, *_ = told.stdout.splitlines()
    assert first == "✕ NOT REPRODUCED  ingestion.official_at_cutoff:outcomes"
    assert today.split() == ["today", "no", "promise", "is", "broken:", "PASS"]


def test_a_capsule_reads_as_it_was_written(tmp_path: Path) -> None:
    for path in (EDITED, ROUNDED):
        capsules.write(tmp_path / path.name, capsules.read(path))
        for name in ("plan.json", "capsule.json"):
            assert (tmp_path / path.name / name).read_bytes() == (path / name).read_bytes()
    nothing = Capsule.of(capsules.read(EDITED).plan, None)
    capsules.write(tmp_path / "nothing", nothing)
    assert capsules.read(tmp_path / "nothing") == nothing


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "capsule.json"),
        ("[]", "capsule.json"),
        ('{"fingerprint": null, "seed": 1}', "does not say 'scenario'"),
        ('{"fingerprint": ["a"], "scenario": "s", "seed": 1}', "capsule.json"),
    ],
)
def test_what_is_no_capsule_is_refused(tmp_path: Path, content: str, said: str) -> None:
    shutil.copyfile(EDITED / "plan.json", tmp_path / "plan.json")
    (tmp_path / "capsule.json").write_text(content)
    told = absence("replay", tmp_path)
    assert told.exit_code == 20
    assert said in told.stderr


@pytest.mark.parametrize(
    "given", [("--until", "day 3", "--show", "user_1"), ("--store", "postgresql://nobody@nowhere/x")]
)
@pytest.mark.parametrize(("tolerant", "named"), [((), "replay of a capsule"), (("--tolerant",), "--tolerant")])
def test_what_would_not_be_looked_at_is_refused(given: tuple[str, ...], tolerant: tuple[str, ...], named: str) -> None:
    told = absence("replay", EDITED, *tolerant, *given)
    assert told.exit_code == 2
    assert f"{named} compares what a whole run comes to, on sqlite: leave {given[0]} out." in told.stderr


# --- with its defect planted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerant", [(), ("--tolerant",)])
def test_a_plan_that_cannot_be_read_is_refused_though_a_defect_is_to_be_planted(
    tmp_path: Path, tolerant: tuple[str, ...]
) -> None:
    told = absence("replay", altered(tmp_path, ROUNDED, contests="none", weather={"rain": True}), *tolerant)
    assert told.exit_code == 20
    assert told.stderr.startswith("plan.json: contests: ")
    shutil.rmtree(tmp_path / "copy")
    told = absence("replay", altered(tmp_path, ROUNDED, weather={"rain": True}))
    assert told.exit_code == 20
    assert told.stderr.startswith("weather: no such field. ")


@pytest.mark.parametrize(
    ("now", "code", "said"),
    [
        ("    if failures or (failures := ['the clock is off']):", 10, "  the clock is off"),
        ("    __import__('os')._exit(3)\n    if failures:", 50, "said nothing"),
        ("    raise ValueError('off by a cent')\n    if failures:", 50, "ValueError: off by a cent"),
    ],
    ids=["preflight", "silent", "raised"],
)
def test_how_a_planted_tree_fails_is_told(
    now: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fails = Defect("prizes.fails", "", (Edit("simulator/run.py", "    if failures:", now),), ())
    monkeypatch.setattr(capsules, "defect", lambda _: fails)
    capsules.write(tmp_path / "capsule", replace(capsules.read(ROUNDED), defect=fails.id))
    told = absence("replay", tmp_path / "capsule")
    assert told.exit_code == code
    assert said in told.stderr
    assert "a bug of ours" not in told.stderr


def test_stopped_by_ctrl_c_in_a_planted_tree_it_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = start("replay", ROUNDED, env={"TMPDIR": str(scratch)}, start_new_session=True)
    while not list(scratch.glob("absence-scratch-*")):
        assert command.poll() is None
        time.sleep(0.01)
    os.killpg(command.pid, signal.SIGINT)
    command.communicate(timeout=60)
    assert command.returncode == 130
    assert list(scratch.iterdir()) == []


# --- after the code has changed --------------------------------------------------------------------------------------


def test_a_failure_comes_back_after_changes_that_change_nothing() -> None:
    """All of them at once; tests/proof makes each by itself."""
    digest = capsules.replay(capsules.read(AMONG)).trial.digest
    assert replayed_after(together(), AMONG) == [(True, digest, 0)]


# --- tolerantly ------------------------------------------------------------------------------------------------------


def test_what_today_does_not_know_of_a_plan_is_left_out_and_said(tmp_path: Path) -> None:
    faults = faults_of(AMONG)
    faults[0] |= {"fault": "webhooks.of_another_age"}
    faults[1] |= {"mood": "grim"}
    faults[2]["params"] |= {"colour": "red"}
    copy = altered(tmp_path, AMONG, faults=faults, weather={"rain": True})
    told = absence("replay", copy)
    assert told.exit_code == 20
    assert "`absence replay DIR --tolerant` reads it as far as it goes." in told.stderr
    capsules.write(copy, replace(capsules.read(copy), defect="prizes.long_gone"))
    assert absence("replay", copy).exit_code == 2
    told = absence("replay", copy, "--tolerant", "--json")
    assert told.exit_code == 0
    forgotten, *left_out = told.json["left_out"]
    assert "prizes.long_gone" in forgotten
    assert left_out == [
        "faults.1.mood: no such field",
        "weather: no such field",
        f"faults.0 ({faults[0]['id']}, webhooks.of_another_age): there is no such fault: it is left out",
        f"faults.2 ({faults[2]['id']}, {faults[2]['fault']}): params.colour: no such parameter",
    ]
    assert told.json["first"] == list(capsules.read(AMONG).fingerprint or ())


def test_a_fault_that_is_never_met_is_named_with_what_it_was_bound_to(tmp_path: Path) -> None:
    faults = faults_of(AMONG)
    gone = next(fault for fault in faults if fault["fault"] == "timeouts.transfer_answer_lost")
    gone |= {"entity": "a-contest-of-another-age", "occurrence": 3}
    told = absence("replay", altered(tmp_path, AMONG, faults=faults), "--tolerant", "--json")
    assert told.exit_code == 0
    assert told.json["silent"] == [
        {
            "id": gone["id"], "fault": gone["fault"], "seam": "processor", "operation": "transfers.create",
            "entity": "a-contest-of-another-age", "occurrence": 3, "why": "never acted",
        }
    ]  # fmt: skip


def test_a_fault_that_cannot_be_read_is_left_out_whole(tmp_path: Path) -> None:
    faults = faults_of(AMONG)
    faults[0]["params"]["gap_s"] = -1
    del faults[1]["seam"]
    told = absence("replay", altered(tmp_path, AMONG, faults=faults), "--tolerant", "--json")
    assert told.exit_code == 0
    places = ("faults.1.seam: ", f"faults.0 ({faults[0]['id']}, webhooks.duplicate): params.gap_s: ")
    assert [said.startswith(place) for said, place in zip(told.json["left_out"], places, strict=True)] == [True, True]
    assert ["this fault is left out" in said for said in told.json["left_out"]] == [True, True]


def test_a_run_is_replayed_with_the_rules_that_it_has_beside_it(runs: SharedRuns, tmp_path: Path) -> None:
    ran = runs("operated")
    copy = Path(shutil.copytree(ran.path, tmp_path / "copy"))
    rules = min((copy / "alerts").iterdir())
    rules.write_text(rules.read_text() + "# of another age\n")
    told = absence("replay", copy, "--tolerant", "--json")
    assert told.exit_code == 0
    assert told.json["digest"] != ran.evidence.manifest.digest


def test_what_is_left_must_be_a_plan(tmp_path: Path) -> None:
    told = absence("replay", altered(tmp_path, EDITED, contests="none"), "--tolerant")
    assert told.exit_code == 20
    assert "plan.json: contests: " in told.stderr


def test_a_run_is_replayed_tolerantly_by_what_it_came_to(runs: SharedRuns, tmp_path: Path) -> None:
    ran: Ran = runs("violation_row_edited")
    copy = Path(shutil.copytree(ran.path, tmp_path / "copy"))
    verdict = json.loads((copy / "verdict.json").read_bytes())
    kept, gone = verdict["results"][0], verdict["results"].pop()
    assert kept["status"] == "PASS"
    kept["status"] = "INCONCLUSIVE"
    verdict["first_broken"]["assertion"] = "payouts.nothing_like_it"
    (copy / "verdict.json").write_text(json.dumps(verdict))
    told = absence("replay", copy, "--tolerant", "--json")
    assert told.exit_code == 10
    assert told.json["digest"] == ran.evidence.manifest.digest
    assert told.json["recorded"] == ["payouts.nothing_like_it", "database.sessions"]
    assert told.json["first"] == ["absence.database_sessions", "database.sessions"]
    assert told.json["promises"] == sorted(
        [
            {"assertion": kept["id"], "was": "INCONCLUSIVE", "now": "PASS"},
            {"assertion": gone["id"], "was": "NOT_JUDGED", "now": gone["status"]},
        ],
        key=lambda turn: turn["assertion"],
    )


@pytest.mark.parametrize("content", ['{"first_broken": null}', '{"first_broken": null, "results": [1]}', "null"])
def test_a_run_whose_verdict_is_none_is_not_replayed_tolerantly(content: str, runs: SharedRuns, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs("violation_row_edited").path, tmp_path / "copy"))
    (copy / "verdict.json").write_text(content)
    told = absence("replay", copy, "--tolerant")
    assert told.exit_code == 20
    assert str(copy) in told.stderr


PLACES: tuple[tuple[str | int, ...], ...] = (
    (), ("contests", 0), ("contests", 0, "scoring"), ("entrants", 3), ("faults", 0, "bite"),
)  # fmt: skip


def test_a_capsule_comes_back_only_if_the_same_promise_breaks_first_and_of_the_same_kind() -> None:
    capsule = capsules.read(EDITED)
    trial = capsules.replay(capsule).trial
    assert trial.first is not None
    later = [one for one in trial.fingerprints if one != trial.first]
    for other in (later[0], trial.first._replace(kind="rows")):
        assert not capsules.replay(replace(capsule, fingerprint=other)).reproduced


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(PLACES)), st.text("abcxyz", min_size=9, max_size=12))
def test_a_plan_is_itself_again_without_the_fields_that_nobody_knows(
    places: set[tuple[str | int, ...]], name: str
) -> None:
    raw = (AMONG / "plan.json").read_bytes()
    values = json.loads(raw)
    for place in places:
        inner = values
        for step in place:
            inner = inner[step]
        inner[name] = 1
    plan, left_out = read_leniently(canonical(values))
    assert plan.canonical() == raw
    assert set(left_out) == {f"{'.'.join(map(str, (*place, name)))}: no such field" for place in places}
    if places:
        with pytest.raises(PlanUnreadable):
            read_plan(canonical(values))
