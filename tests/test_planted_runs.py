"""A run with a planted defect: it says so wherever it is told of, it is no evidence, and it can be replayed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evidence.manifest import Manifest
from tests.support.command import ROOT, Ran, absence, process, runs_in
from tests.support.locks import dead_pid, lock

DEFECT = "payouts.new_key_after_unknown"
SAYS = f"With the defect {DEFECT} planted, so evidence of nothing:"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run with the defect, in the scenario in which it shows."""
    out = tmp_path_factory.mktemp("planted")
    told = process("run", "--defect", DEFECT, "--out", out)
    [path] = runs_in(out)
    return Ran(told.exit_code, told.stdout, told.stderr, path)


def test_the_bug_is_caught_and_terminal_and_reports_begin_with_what_was_planted(planted: Ran) -> None:
    assert planted.exit_code == 10
    assert planted.status("payouts.exactly_once") == "FAIL"
    assert planted.stdout.splitlines()[0].startswith(f"✕ FAIL  {SAYS}")
    assert f"absence replay {planted.path}" in planted.stdout
    assert SAYS in (planted.path / "report.html").read_text()
    assert (planted.path / "report.md").read_text().split("\n\n")[1].startswith(SAYS)
    assert Manifest.read(planted.path / "manifest.json").defect == DEFECT


def test_the_report_that_is_made_anew_from_the_evidence_says_it_too(planted: Ran, tmp_path: Path) -> None:
    told = absence("report", planted.path, "--out", tmp_path)
    assert told.stdout.splitlines()[0] == planted.stdout.splitlines()[0]
    assert (tmp_path / "report.html").read_bytes() == (planted.path / "report.html").read_bytes()


def test_a_run_without_a_defect_says_nothing_of_one(small_run: Ran) -> None:
    assert "planted" not in small_run.stdout
    assert Manifest.read(small_run.path / "manifest.json").defect is None


@pytest.mark.parametrize("command", ["gate", "score", "score of a baseline"])
def test_no_decision_is_made_of_it(command: str, planted: Ran, small_run: Ran) -> None:
    told = {
        "gate": lambda: absence("gate", small_run.path, planted.path, "--no-record"),
        "score": lambda: absence("score", planted.path, "--baseline", small_run.path, "--no-record"),
        "score of a baseline": lambda: absence("score", small_run.path, "--baseline", planted.path, "--no-record"),
    }[command]()
    assert told.exit_code == 20
    assert told.stdout == ""
    assert told.errors[0] == f"{planted.path}: it was run with the defect {DEFECT} planted in the platform"
    assert "Nothing was decided." in told.errors[1]


def test_it_is_replayed_with_its_defect(planted: Ran) -> None:
    told = process("replay", planted.path)
    assert told.exit_code == 0
    assert told.stdout.startswith("REPRODUCED")
    assert "code" not in told.stdout


def test_a_defect_that_there_is_not_is_refused_with_the_nearest() -> None:
    told = absence("run", "--defect", "payouts.fee_deductd")
    assert told.exit_code == 2
    assert "did you mean payouts.fee_deducted?" in told.stderr


def test_git_is_told_what_the_run_with_the_defect_came_to(tmp_path: Path) -> None:
    told = process("run", "small", "--defect", "canary.first_prize_cut_off", "--bisect", "--out", tmp_path)
    assert told.stdout.splitlines()[-1] == "bisect: bad (1), the verdict is FAIL"
    assert told.exit_code == 1


def test_what_is_told_and_noted_is_the_command_as_it_was_given_once(tmp_path: Path) -> None:
    """The command that runs it stands in a tree that is gone afterwards, and is not told of the defect."""
    lock(tmp_path, pid=dead_pid())
    told = process("run", "--defect", DEFECT, "--out", tmp_path)
    command = f"absence run --defect {DEFECT} --out {tmp_path}"
    assert told.exit_code == 40
    assert f'To break it and go on: {command} --force-lock-break --reason "…"' in told.errors
    [incident] = (tmp_path / "incidents").iterdir()
    assert json.loads(incident.read_bytes())["command"] == command


CHILD = """
import signal, sys, time
try:
    time.sleep(0.2)
    open(sys.argv[1], "w").close()
    signal.pause()
finally:
    time.sleep(1)
    open(sys.argv[1] + "-put-away", "w").close()
"""
PARENT = "import subprocess, sys; from campaigns.waiting import waited_for; waited_for({command!r}, **{options})"


@pytest.mark.parametrize("options", ["{}", "dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)"])
def test_on_ctrl_c_a_command_that_was_started_is_waited_for_however_long_it_puts_away(
    options: str, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    command = [sys.executable, "-c", CHILD, str(left)]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(command=command, options=options)], cwd=ROOT, start_new_session=True,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not left.exists():
        assert parent.poll() is None
        time.sleep(0.01)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert (tmp_path / "left-put-away").exists()


def test_a_command_that_was_not_stopped_with_the_one_that_started_it_is_told_to(tmp_path: Path) -> None:
    left = tmp_path / "left"
    told = "import campaigns.waiting; campaigns.waiting.GRACE_S = 0.1; "
    command = [sys.executable, "-c", CHILD, str(left)]
    parent = subprocess.Popen(
        [sys.executable, "-c", told + PARENT.format(command=command, options="{}")], cwd=ROOT, stderr=subprocess.PIPE
    )
    while not left.exists():
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)
    assert (tmp_path / "left-put-away").exists()
