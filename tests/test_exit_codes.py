"""The exit codes as the specification lists them, a test for each row, through the command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from absence.exit_codes import MEANING, ExitCode
from tests.support.command import ROOT, Told, process, runs_in
from tests.support.locks import lock as leave_lock
from tests.support.stored_runs import put

BUG = """
import absence.pipeline
def execute(*_, **__): raise RuntimeError("a bug that nobody has seen")
absence.pipeline.execute = execute
from absence.main import main
main()
"""


def success(root: Path) -> Told:
    return process("run", "small", "--out", root)


def usage(root: Path) -> Told:
    return process("run", "small", "--out", root, "--days", "0")


def a_promise_is_broken(root: Path) -> Told:
    return process("run", "violation_founder_login", "--out", root)


def another_run_is_at_it(root: Path) -> Told:
    leave_lock(root)
    return process("run", "small", "--out", root)


def a_fault_never_bites(root: Path) -> Told:
    return process("run", "never_bites", "--out", root)


def a_scenario_is_bad(root: Path) -> Told:
    (root / "mine.yaml").write_text("name: mine\nowner: 1\n")
    return process("run", root / "mine.yaml", "--out", root)


def evidence_does_not_verify(root: Path) -> Told:
    run = put(root, 1)
    (run / "journal.jsonl").write_text("")
    return process("verify", run)


def waited_in_vain(root: Path) -> Told:
    leave_lock(root)
    return process("run", "small", "--out", root, "--wait", "0.3")


def the_guard_halts(root: Path) -> Told:
    return process("run", "violation_row_edited", "--halt-on-anomaly", "--out", root)


def our_own_bug(root: Path) -> Told:
    done = subprocess.run(
        [sys.executable, "-c", BUG, "run", "small", "--out", root],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    return Told(done.returncode, done.stdout, done.stderr)


ROWS: dict[ExitCode, tuple[Callable[[Path], Told], str]] = {
    ExitCode.SUCCESS: (success, "PASS"),
    ExitCode.USAGE: (usage, "Invalid value for '--days'"),
    ExitCode.BUSINESS_REJECT: (a_promise_is_broken, "First broken promise"),
    ExitCode.BUSINESS_SKIP: (another_run_is_at_it, "is locked by"),
    ExitCode.INCONCLUSIVE: (a_fault_never_bites, "INCONCLUSIVE"),
    ExitCode.DATA_INVALID: (a_scenario_is_bad, "mine.yaml:"),
    ExitCode.STATE_CORRUPT: (evidence_does_not_verify, "does not verify"),
    ExitCode.LOCK_TIMEOUT: (waited_in_vain, "Waited 0.3 s in vain"),
    ExitCode.INTERNAL_ERROR: (our_own_bug, "This is a bug of ours: RuntimeError: a bug that nobody has seen"),
    ExitCode.ANOMALY_HALT: (the_guard_halts, "Halted by the anomaly guard"),
}
"""How each code comes about, and what is said then."""


def test_every_code_has_its_row() -> None:
    assert set(ROWS) == set(ExitCode)
    assert set(ROWS) <= set(MEANING), "absence --help lists them"


@pytest.mark.parametrize("code", ROWS, ids=lambda code: f"{int(code)}-{code.name}")
def test_each_row_of_the_table_comes_about_as_it_says(code: ExitCode, tmp_path: Path) -> None:
    how, said = ROWS[code]
    told = how(tmp_path)
    assert told.exit_code == code, told.stdout + told.stderr
    assert said in told.stdout + told.stderr
    incidents = [path.name for path in tmp_path.glob("incidents/*")]
    assert len(incidents) == (code >= 20), incidents
    assert all(f"-{code.name}-" in name for name in incidents)
    assert not list(tmp_path.glob(".staging-*"))
    published = [path for path in runs_in(tmp_path) if path.is_dir()]
    assert len(published) == (code in (0, 10, 12, 30, 60)), published
