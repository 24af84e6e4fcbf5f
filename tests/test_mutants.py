"""`absence mutants` and what is below it: what counts as killed, what it says, and that it ends cleanly."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

import defects
from campaigns.mutants import detect_all, score
from defects.model import Defect, Edit
from tests.support.command import absence, start

PAYOUTS = "contest_platform/services/payouts.py"
HARMLESS = Edit(PAYOUTS, "CONCURRENT = 8\n", "CONCURRENT = 7\n")
BROKEN = Edit(PAYOUTS, "CONCURRENT = 8\n", "CONCURRENT = eight\n")
STALE = Edit(PAYOUTS, "CONCURRENT = 9\n", "CONCURRENT = 7\n")


def only(monkeypatch: pytest.MonkeyPatch, *known: Defect) -> None:
    monkeypatch.setattr(defects, "catalogue", lambda: {defect.id: defect for defect in known})


def test_what_is_killed_is_told_with_its_seed_and_what_else_it_broke() -> None:
    told = absence("mutants", "--only", "payouts.fee_*", "--workers", "1")
    assert told.exit_code == 0
    first, _, last = told.stdout.splitlines()
    assert first.startswith("✓ payouts.fee_deducted  seed 1  payouts.amounts_agree, payouts.right_people_right_amounts")
    assert last == "killed 1 of 1 planted; 3 of 3 assertions killed at least one"


def test_what_nothing_kills_is_alive_and_the_command_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, Defect("payouts.one_less", "Nothing of it shows.", (HARMLESS,), ("payouts.exactly_once",)))
    told = absence("mutants", "--seeds", "1", "--json")
    assert told.exit_code == 10
    assert (told.json["planted"], told.json["killed"]) == (1, 0)
    assert told.json["defects"]["payouts.one_less"]["missed"] == ["payouts.exactly_once"]
    assert "payouts.exactly_once" in told.json["never_killed"]


def test_a_defect_whose_scene_fails_without_it_counts_as_alive() -> None:
    defect = Defect("a.b", "", (HARMLESS,), ("absence.access_log",), "violation_founder_login", None)
    came = score(detect_all([defect], 1), defect.breaks)
    assert came.detections[0].seed == 1
    assert came.detections[0].unsound == (1,)
    assert (came.killed, came.never) == (0, ("absence.access_log",))


def test_a_defect_that_breaks_less_than_it_is_said_to_counts_as_alive() -> None:
    real = defects.defect("payouts.fee_deducted")
    more = (*real.breaks, "absence.access_log")
    came = score(detect_all([replace(real, id="a.b", breaks=more)], 1, 1), more)
    assert (came.killed, came.detections[0].missed) == (0, ("absence.access_log",))


def test_a_defect_that_nothing_kills_is_alive_though_its_faults_find_nothing_to_befall_at_some_seeds() -> None:
    real = next(one for one in defects.catalogue().values() if one.id == "hidden.cancellations_stop_after_two")
    faultless = Defect("a.b", "", (HARMLESS,), ("payouts.exactly_once",), real.scenario, real.faults)
    came = score(detect_all([faultless], 1, 5), faultless.breaks)
    assert (came.killed, came.detections[0].tried) == (0, 5)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (STALE, "defect payouts.x: what it replaces stands 0 times in contest_platform/services/payouts.py, not once:"),
        (BROKEN, "payouts.x: NameError: name 'eight' is not defined"),
    ],
)
def test_what_cannot_be_planted_or_run_is_invalid(edit: Edit, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, Defect("payouts.x", "", (edit,), ("payouts.exactly_once",)))
    told = absence("mutants", "--workers", "1")
    assert told.exit_code == 20
    assert says in told.stderr


def test_a_pattern_that_no_defect_is_like_is_wrong_usage() -> None:
    assert absence("mutants", "--only", "nothing.*").exit_code == 2


def test_changes_of_the_assertions_are_judged_over_no_seeds() -> None:
    told = absence("mutants", "--only", "nothing.*", "--generic", "3", "--seeds", "5")
    assert told.exit_code == 2
    assert "leave --seeds out" in told.stderr


def test_where_the_system_tells_no_affinity_it_counts_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    only(monkeypatch, Defect("payouts.x", "", (STALE,), ("payouts.exactly_once",)))
    told = absence("mutants")
    assert told.exit_code == 20
    assert "not once" in told.stderr


def test_stopped_by_ctrl_c_it_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = start("mutants", "--only", "p*", "--workers", "2", env={"TMPDIR": str(scratch)})
    while not list(scratch.glob("absence-trial-*")):
        assert command.poll() is None
        time.sleep(0.01)
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=60)
    assert command.returncode == 130
    assert list(scratch.iterdir()) == []
