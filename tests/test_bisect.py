"""`git bisect run absence run --bisect` finds the commit that broke a promise, whatever else lies in the history."""

from __future__ import annotations

import errno
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from absence.bisecting import Tell, answer, of
from absence.errors import reported
from absence.exit_codes import INTERRUPTED, ExitCode
from assertions.judge import Verdict
from assertions.model import Result, Status, merge
from tests.support import bisected
from tests.support.bisected import (
    CLI_BREAKS,
    COMMITS,
    IMPORT_BREAKS,
    MIDDLE,
    START_BREAKS,
    Edit,
    History,
    asked,
    build,
    drawn,
)
from tests.support.command import ROOT, absence, process
from tests.support.killing import stop


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bisected.template(tmp_path_factory.mktemp("house"))


# --- whole bisections (twenty seeds: tests/proof/test_bisect_seeds.py) -----------------------------------------------


@pytest.mark.parametrize("seed", range(1))
def test_the_commit_that_broke_the_ledger_is_found(seed: int, house: Path, tmp_path: Path) -> None:
    history = drawn(seed)
    found = asked(build(tmp_path, house, history))
    assert (found.first_bad, found.exit_code) == (history.breaks_at, 0), found.said
    assert found.answers == [(history.answer(commit), commit) for _, commit in found.answers]


def test_the_script_skips_a_commit_at_which_absence_cannot_be_started(house: Path, tmp_path: Path) -> None:
    history = History(breaks_at=9, other=range(4, 14), unbuildable=MIDDLE)
    repository = build(tmp_path, house, history, START_BREAKS)
    script = repository.path / ".git" / "bisect.sh"
    script.write_bytes((ROOT / "examples" / "bisect.sh").read_bytes())
    script.chmod(0o755)
    found = repository.bisect(
        script, "tiny.yaml", "--expect", bisected.EXPECTED, "--out", tmp_path / "runs", env={"PYTHON": sys.executable}
    )
    assert ("skip", MIDDLE) in found.answers
    assert (found.first_bad, found.exit_code) == (9, 0), found.said


def test_seeds_take_turns_in_all_arrangements() -> None:
    histories = [drawn(seed) for seed in range(20)]
    assert all(history.unbuildable not in (history.breaks_at, history.breaks_at - 1) for history in histories)
    assert sum(history.unbuildable == MIDDLE for history in histories) >= 8
    assert {
        (history.other.start < history.breaks_at, history.breaks_at in history.other, COMMITS - 1 in history.other)
        for history in histories
    } == {(True, False, False), (False, False, True), (True, True, False), (True, True, True)}


# --- one commit ------------------------------------------------------------------------------------------------------


def verdict_of(**statuses: str) -> Verdict:
    results = tuple(
        Result(id.replace("__", "."), id.split("__")[0], "", "always", Status(status), "rows", 1, 1, (), ())
        for id, status in statuses.items()
    )
    return Verdict("small", 1, "0" * 64, merge([result.status for result in results]), results, None, ())


@pytest.mark.parametrize(
    ("ledger", "other", "of_it", "of_all"),
    [
        ("PASS", "PASS", Tell.GOOD, Tell.GOOD),
        ("FAIL", "PASS", Tell.BAD, Tell.BAD),
        ("FAIL", "FAIL", Tell.BAD, Tell.BAD),
        ("PASS", "FAIL", Tell.GOOD, Tell.BAD),
        ("PASS", "INCONCLUSIVE", Tell.GOOD, Tell.CANNOT_TELL),
        ("INCONCLUSIVE", "PASS", Tell.CANNOT_TELL, Tell.CANNOT_TELL),
        ("INCONCLUSIVE", "FAIL", Tell.CANNOT_TELL, Tell.BAD),
        ("NOT_APPLICABLE", "PASS", Tell.CANNOT_TELL, Tell.GOOD),
        ("NOT_APPLICABLE", "FAIL", Tell.CANNOT_TELL, Tell.BAD),
    ],
)
def test_what_is_expected_to_break_decides_alone(ledger: str, other: str, of_it: Tell, of_all: Tell) -> None:
    verdict = verdict_of(ledger__reconciles_with_processor=ledger, payouts__exactly_once=other)
    assert of(verdict, "ledger.reconciles_with_processor").tell is of_it
    assert of(verdict, "ledger.reconciles").tell is of_it
    assert of(verdict, None).tell is of_all


def test_a_whole_id_is_meant_even_where_another_begins_with_it() -> None:
    verdict = verdict_of(ledger__reconciles="PASS", ledger__reconciles_with_processor="FAIL")
    assert of(verdict, "ledger.reconciles").tell is Tell.GOOD


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("ledger.", "several promises begin with ledger.: ledger.balances, ledger.reconciles"),
        ("ledger.reconcils", "did you mean ledger.reconciles?"),
    ],
)
def test_a_promise_that_this_commit_does_not_know_says_nothing(expect: str, said: str) -> None:
    told = of(verdict_of(ledger__balances="FAIL", ledger__reconciles="FAIL"), expect)
    assert told.tell is Tell.CANNOT_TELL
    assert said in told.sentence()


def ends_in(code: object) -> Callable[[], int]:
    def command() -> int:
        sys.exit(code)  # type: ignore[arg-type]

    return command


@pytest.mark.parametrize("code", ExitCode)
def test_no_exit_code_of_ours_is_taken_for_a_bad_commit_but_that_of_a_broken_promise(code: ExitCode) -> None:
    told = answer(ends_in(code), expects=False)
    assert (told == Tell.BAD) == (code in (ExitCode.BUSINESS_REJECT, ExitCode.ANOMALY_HALT))
    assert (told == Tell.GOOD) == (code is ExitCode.SUCCESS)
    assert told in (Tell.GOOD, Tell.BAD, Tell.CANNOT_TELL) or told >= 128
    assert answer(ends_in(code), expects=True) != Tell.BAD


def test_what_stands_in_the_way_of_every_commit_stops_git() -> None:
    in_the_way = (ExitCode.USAGE, ExitCode.BUSINESS_SKIP, ExitCode.LOCK_TIMEOUT, ExitCode.STATE_CORRUPT)
    assert {code for code in ExitCode if answer(ends_in(code), expects=False) == Tell.STOP} == set(in_the_way)


@pytest.mark.parametrize("code", [0, 1, 3, 127, "this commit needs something", None])
def test_a_process_that_the_commit_itself_ended_says_nothing(code: object) -> None:
    assert answer(ends_in(code), expects=True) == Tell.CANNOT_TELL


def test_an_error_before_any_command_is_the_commits(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise ModuleNotFoundError("No module named 'what_is_not_there'")

    assert answer(command, expects=False) == Tell.CANNOT_TELL
    assert "what_is_not_there" in capsys.readouterr().err


# --- as a process ----------------------------------------------------------------------------------------------------


def test_a_run_that_passes_is_good_and_says_of_what(tmp_path: Path) -> None:
    told = process("run", "small", "--bisect", "--expect", "ledger.reconciles", "--out", tmp_path)
    assert told.exit_code == 0
    assert told.stdout.splitlines()[-1] == "bisect: good (0), ledger.reconciles_with_processor is PASS"


def test_a_run_that_breaks_another_promise_is_good_and_its_json_says_so(tmp_path: Path) -> None:
    arguments = ("run", "violation_founder_login", "--bisect", "--json", "--out", tmp_path)
    assert process(*arguments).json["exit_code"] == 1
    told = process(*arguments, "--expect", "ledger.reconciles")
    assert (told.exit_code, told.json["exit_code"], told.json["verdict"]) == (0, 0, "FAIL")
    assert told.json["bisect"] == "ledger.reconciles_with_processor is PASS"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("no_such_scenario",), 125),
        (("small", "--no-such-option"), 128),
        (("small", "--store", "nonsense"), 128),
        (("small", "--out", "/proc/nowhere"), 128),
        (("small", "--budget-s", "0"), 128),
    ],
)
def test_what_the_commit_brings_is_skipped_and_what_the_command_line_brings_stops(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    told = process("run", *arguments, "--bisect", cwd=tmp_path)
    assert told.exit_code == code
    assert told.stderr


def test_an_expectation_without_the_question_is_wrong_usage() -> None:
    told = absence("run", "small", "--expect", "ledger.reconciles")
    assert told.exit_code == 2
    assert "--bisect" in told.stderr


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_machine_that_gives_out_is_no_fault_of_the_commit(error: Exception) -> None:
    def command() -> int:
        with reported(as_json=False):
            raise error

    assert answer(command, expects=False) == Tell.STOP


def test_ctrl_c_stops_git_too(tmp_path: Path) -> None:
    stopped = stop(tmp_path / "out", 0.1, signal.SIGINT, "default", "--bisect")
    assert stopped.returncode == INTERRUPTED >= 128


@pytest.mark.parametrize("edit", [IMPORT_BREAKS, CLI_BREAKS])
def test_a_commit_that_cannot_be_imported_is_skipped(edit: Edit, house: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(house, tmp_path / "copy")
    (copy / edit.path).write_text(edit.apply((copy / edit.path).read_text()))
    told = process("run", "tiny.yaml", "--bisect", cwd=copy, env={"PYTHONPATH": str(copy)})
    assert told.exit_code == 125
    assert "what_is_not_there" in told.stderr


def test_nothing_is_compiled_that_the_next_checkout_could_be_taken_for(house: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(house, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": str(copy)}
    assert process("run", "tiny.yaml", "--bisect", cwd=copy, env=env).exit_code == 0
    # The entry point is read before anybody has seen --bisect.
    compiled = {path.relative_to(copy).as_posix().split(".")[0] for path in copy.rglob("*.pyc")}
    assert compiled <= {f"absence/__pycache__/{name}" for name in ("__init__", "__main__", "main")}
