"""The command line as people and programs meet it: what it says, where it puts things, and the code it ends in."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
import pytest

from absence import __version__
from absence.cli import cli
from absence.errors import reported
from absence.exit_codes import MEANING, ExitCode
from absence.pipeline import execute
from absence.progress import Bar, Budget, OverBudget
from fault_injectors import registry
from scenarios import load, make_plan, shipped
from tests.support.after_kills import remains_of, told_of
from tests.support.command import ROOT, Ran, SharedRuns, absence, process, run_into
from tests.support.killing import RECOVER, half_written, stop
from tests.support.terminal import in_terminal

FIVE_MISTAKES = """\
name: mine
title: Five mistakes
owner_capital_usd: 5000
entrants: {pool: 30, abandon_pb: 500}
tournaments:
  - {id: spring, name: The Short Open, starts_day: 3, golfers: 20}
contests:
  - id: short-strokes
    tournament: sprng
    name: Short Strokes
    fee_cents: 10.5
    entries: 20
    max_entries: 20
    prizes: {shares_bp: [5000, 3000, 2000]}
    scoring: {kind: stroke, roster_size: 4, counting: 3}
faults:
  - {fault: webhooks.dublicate}
"""


@pytest.fixture
def mistaken(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FIVE_MISTAKES)
    return path


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


COMMANDS = dict(commands())


# --- bad input ------------------------------------------------------------------------------------------------------


def test_all_mistakes_of_a_scenario_are_told_at_once_each_with_its_place_and_a_remedy(
    mistaken: Path, tmp_path: Path
) -> None:
    told = absence("run", mistaken, "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert told.errors == [
        f"{mistaken}:4:22: unknown key abandon_pb (did you mean abandon_bp?)",
        f"{mistaken}:9:17: there is no tournament sprng (did you mean spring?)",
        f"{mistaken}:11:16: fee_cents: expected a whole number of cents, got 10.5",
        f"{mistaken}:15:21: kind: expected 'strokes' or 'points', got 'stroke' (did you mean strokes?)",
        f"{mistaken}:17:13: there is no fault webhooks.dublicate (did you mean webhooks.duplicate?)",
    ]
    assert told.stdout == ""


@pytest.mark.parametrize("arguments", [("run",), ("scenarios", "check")])
def test_bad_input_writes_nothing_but_its_incident(arguments: tuple[str, ...], mistaken: Path, tmp_path: Path) -> None:
    told = process(*arguments, mistaken, cwd=tmp_path)
    assert told.exit_code == 20
    [incident] = (tmp_path / "runs" / "incidents").iterdir()
    assert sorted(tmp_path.rglob("*")) == [mistaken, tmp_path / "runs", incident.parent, incident]


def test_bad_input_is_told_as_json_too(mistaken: Path, tmp_path: Path) -> None:
    told = absence("run", mistaken, "--out", tmp_path / "out", "--json")
    assert told.exit_code == told.json["exit_code"] == 20
    assert told.json["error"] == told.errors
    assert len(told.json["error"]) == 5
    assert told.stderr.splitlines()[-1] == f"Incident: {told.json['incident']}"


def test_a_scenario_that_does_not_exist_is_told_with_the_nearest_that_does(tmp_path: Path) -> None:
    told = absence("run", "defalt", "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert "did you mean default?" in told.stderr


def test_a_fault_that_the_scenario_lacks_is_told_with_the_nearest_that_it_has(tmp_path: Path) -> None:
    told = absence("run", "--only", "webhooks.losst", "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert "did you mean webhooks.lost?" in told.stderr
    assert "default.yaml:" in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--seed", "-1"),
        ("run", "--seed", str(2**64)),
        ("run", "--days", "0"),
        ("run", "--only", "webhooks.lost", "--no-faults"),
        ("run", "--feed", "nowhere.csv"),
        ("replay", "nowhere"),
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_in_2_and_says_what_was_wrong(arguments: tuple[str, ...]) -> None:
    told = absence(*arguments)
    assert told.exit_code == 2
    assert "Error: " in told.stderr
    assert arguments[-1] in told.stderr


# --- where runs go --------------------------------------------------------------------------------------------------


def test_an_output_directory_that_is_a_file_is_refused_before_the_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    told = absence("run", "small", "--out", out)
    assert told.exit_code == 2
    assert f"runs cannot be written to {out}" in told.stderr
    assert "Give a directory" in told.stderr
    assert out.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc on this system to be refused by")
def test_an_output_directory_that_nobody_can_write_to_is_refused_before_the_run() -> None:
    told = absence("run", "small", "--out", "/proc/absence-runs")
    assert told.exit_code == 2
    assert "runs cannot be written to /proc/absence-runs" in told.stderr


def test_the_refusal_comes_before_anything_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    days: list[int] = []
    with pytest.raises(Exception, match="cannot be written"):
        execute(make_plan(load("small"), 1), tmp_path / "out", progress=lambda done, _: days.append(done))
    assert days == []


def test_the_same_run_again_says_that_it_existed_and_touches_nothing(tmp_path: Path) -> None:
    first = run_into(tmp_path / "out", "small")
    assert "existed already" not in first.stdout
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = run_into(tmp_path / "out", "small")
    assert again.exit_code == 0
    assert "existed already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    told = absence("run", "small", "--out", tmp_path / "out", "--json")
    assert told.json["existed"] is True


def test_a_name_that_another_run_holds_is_refused_and_that_run_left_alone(tmp_path: Path) -> None:
    first = absence("run", "small", "--out", tmp_path, "--name", "mine")
    assert first.exit_code == 0
    plan = (tmp_path / "mine" / "plan.json").read_bytes()
    second = absence("run", "small", "--seed", "2", "--out", tmp_path, "--name", "mine")
    assert second.exit_code == 2
    assert "is another run" in second.stderr
    assert "--name" in second.stderr
    assert (tmp_path / "mine" / "plan.json").read_bytes() == plan
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# --- stopped in the middle ------------------------------------------------------------------------------------------


def test_killed_at_any_instant_it_leaves_no_half_written_run_and_the_next_run_works(tmp_path: Path) -> None:
    whole_s = stop(tmp_path / "whole", None).written_s
    random = Random(14)
    out = tmp_path / "out"
    out.mkdir()
    killed = 0
    for sixth in range(6):
        stopped = stop(out, whole_s * (sixth + random.random()) / 6)
        killed += stopped.returncode == -signal.SIGKILL
        assert half_written(out) == [], f"killed after {stopped.written_s:.3f} of {whole_s:.3f} s"
        remains = remains_of(out)
    assert killed >= 3, "the kills came too late to mean anything"
    told = absence("run", "small", "--out", out, *RECOVER)
    assert told.exit_code == 0
    told_of(remains, told)
    [run_dir] = [path for path in out.iterdir() if path.is_dir()]
    assert absence("verify", run_dir).exit_code == 0


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_ctrl_c_leaves_nothing_and_ends_in_130(tmp_path: Path, after_s: float) -> None:
    stopped = stop(tmp_path / "out", after_s, signal.SIGINT, scenario="default")
    assert stopped.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []
    assert stopped.stderr.strip() == "Stopped. Nothing half-written was left behind."
    assert stopped.stdout == ""


def test_a_run_over_its_budget_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OverBudget, match=r"given up on day 1 of 18: .* Raise it with --budget-s"):
        execute(make_plan(load("small"), 1), tmp_path, progress=Budget(0, Bar(shown=False)))
    assert list(tmp_path.iterdir()) == []


# --- what it says ---------------------------------------------------------------------------------------------------


def test_a_run_as_json_holds_what_programs_need(small_run: Ran, tmp_path: Path) -> None:
    told = absence("run", "small", "--out", tmp_path / "out", "--json").json
    assert set(told) == {
        "verdict", "exit_code", "run_dir", "report", "digest", "existed", "same_as", "first_broken", "not_exercised",
        "assertions", "work", "seconds",
    }  # fmt: skip
    assert told["verdict"] == "PASS"
    assert told["exit_code"] == 0
    assert Path(told["report"]).is_file()
    assert json.loads((Path(told["run_dir"]) / "manifest.json").read_text())["digest"] == told["digest"]
    assert told["first_broken"] is None
    assert told["assertions"] == {result.id: result.status.value for result in small_run.verdict.results}
    assert set(told["seconds"]) == {"plan", "simulate", "seal", "judge", "report", "publish"}
    assert set(told["work"]) == {"events", "inserts", "transactions", "journal_lines", "audit_lines"}


def test_a_failed_run_as_json_says_what_broke_first(tmp_path: Path) -> None:
    told = absence("run", "violation_founder_login", "--out", tmp_path, "--json")
    assert told.exit_code == told.json["exit_code"] == 10
    assert told.json["verdict"] == "FAIL"
    first = told.json["first_broken"]
    assert set(first) == {"assertion", "message", "at", "money_cents"}
    assert first["message"].startswith("founder:")


def test_an_inconclusive_run_as_json_says_what_was_not_exercised(tmp_path: Path) -> None:
    told = absence("run", "never_bites", "--out", tmp_path, "--json")
    assert told.exit_code == told.json["exit_code"] == 12
    assert {item["assertion"] for item in told.json["not_exercised"]} == {"recovery.every_fault_bit"}
    assert any("provider.outage#1" in item["what"] for item in told.json["not_exercised"])


def test_report_says_again_what_the_run_said(small_run: Ran) -> None:
    told = absence("report", small_run.path)
    assert told.exit_code == 0
    assert told.stdout == small_run.stdout


def test_report_as_json_is_the_verdict(small_run: Ran) -> None:
    told = absence("report", small_run.path, "--json")
    assert told.stdout == (small_run.path / "verdict.json").read_text()


def test_report_renders_every_file_elsewhere_from_the_evidence_alone(small_run: Ran, tmp_path: Path) -> None:
    told = absence("report", small_run.path, "--out", tmp_path / "deep" / "again")
    assert told.exit_code == 0
    rendered = {"report.html", "report.md", "junit.xml", "trace.json", "ledger.beancount", "verdict.json"}
    assert {path.name for path in (tmp_path / "deep" / "again").iterdir()} == rendered
    for name in rendered:
        assert (tmp_path / "deep" / "again" / name).read_bytes() == (small_run.path / name).read_bytes(), name
    assert str(tmp_path / "deep" / "again" / "report.html") in told.stdout


def test_a_report_that_cannot_be_written_is_no_bug_of_ours(small_run: Ran, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = absence("report", small_run.path, "--out", tmp_path / "file" / "below")
    assert told.exit_code == 2
    assert "The system refused" in told.stderr
    assert "bug" not in told.stderr


def test_report_of_a_failed_run_ends_in_10(runs: SharedRuns) -> None:
    ran = runs("violation_founder_login")
    told = absence("report", ran.path)
    assert told.exit_code == 10
    assert "First broken promise" in told.stdout


@pytest.mark.parametrize("command", ["verify", "replay", "report"])
def test_a_directory_that_holds_no_run_is_told_from_a_damaged_one(command: str, small_run: Ran, tmp_path: Path) -> None:
    told = absence(command, tmp_path)
    assert told.exit_code == 20
    assert f"{tmp_path} is not a run directory" in told.stderr
    told = absence(command, small_run.path.parent)
    assert told.exit_code == 20
    assert f"did you mean {small_run.path}?" in told.stderr


def test_the_shipped_scenarios_are_listed_with_their_titles() -> None:
    told = absence("scenarios", "list")
    assert told.exit_code == 0
    assert [line.split()[0] for line in told.stdout.splitlines()] == shipped()
    titles = {name: load(name).model.title for name in shipped()}
    assert absence("scenarios", "list", "--json").json == titles
    assert all(title in told.stdout for title in titles.values())


def test_every_shipped_scenario_passes_its_check_and_is_counted() -> None:
    told = absence("scenarios", "check", *shipped(), "--json")
    assert told.exit_code == 0
    assert set(told.json) == set(shipped())
    assert told.json["default"]["contests"] == 5
    assert told.json["calm"]["faults"] == 0
    assert "default: 5 contests, 401 entries" in absence("scenarios", "check", "default").stdout


def test_a_check_tells_the_mistakes_of_all_files_at_once(mistaken: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("name: [")
    told = absence("scenarios", "check", mistaken, other, "default")
    assert told.exit_code == 20
    assert len(told.errors) == 6
    assert f"{other}:" in told.stderr


def test_every_fault_is_listed_with_all_that_it_declares() -> None:
    told = absence("faults", "list", "--json").json
    assert set(told) == set(registry())
    for fault in told.values():
        assert set(fault) == {"kind", "title", "seam", "parameters", "imitates", "exercises", "recovery"}
        assert all(fault[name] for name in fault if name != "parameters")
    assert told["webhooks.delayed"]["parameters"] == {"delay_h": "integer 2..60"}
    plain = absence("faults", "list").stdout
    assert all(f"{name} (" in plain for name in registry())


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(COMMANDS), ids=" ".join)
def test_the_help_of_every_command_shows_an_example(path: tuple[str, ...]) -> None:
    told = absence(*path, "--help")
    assert told.exit_code == 0
    usage, _, rest = told.stdout.partition("\n")
    assert usage.startswith("Usage: ")
    assert re.search(rf"^ +{' '.join(('absence', *path))}\b", rest, re.MULTILINE), told.stdout


@pytest.mark.parametrize(
    "path", [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)], ids=" ".join
)
def test_every_command_that_tells_something_can_tell_it_as_json(path: tuple[str, ...]) -> None:
    assert "--json" in absence(*path, "--help").stdout


def test_the_help_lists_every_exit_code() -> None:
    told = absence("--help").stdout
    for code, meaning in MEANING.items():
        assert re.search(rf"^ +{int(code)}  {re.escape(meaning)}", told, re.MULTILINE), code


def test_the_exit_codes_are_those_that_were_agreed() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "SUCCESS": 0, "USAGE": 2, "BUSINESS_REJECT": 10, "BUSINESS_SKIP": 11, "INCONCLUSIVE": 12, "DATA_INVALID": 20,
        "STATE_CORRUPT": 30, "LOCK_TIMEOUT": 40, "INTERNAL_ERROR": 50, "ANOMALY_HALT": 60,
    }  # fmt: skip


def test_an_error_that_nobody_foresaw_says_that_it_is_our_bug(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported(as_json=False):
        raise RuntimeError("out of cheese")
    assert ended.value.code == 50
    told = capsys.readouterr().err
    assert "This is a bug of ours: RuntimeError: out of cheese" in told
    assert "Traceback" in told


def test_a_full_disk_is_no_bug_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported(as_json=False):
        raise OSError(28, "No space left on device", "runs/x")
    assert ended.value.code == 2
    assert "No space left on device (runs/x)" in capsys.readouterr().err


def test_a_disk_that_fills_up_under_the_platform_is_no_crash_of_the_platform(tmp_path: Path) -> None:
    most = 300_000
    """Bytes in a file: enough for the plan, too few for the database."""
    large = "from simulator import opening; opening.ENTRIES_IN_MEMORY_MAX = 0; from absence.main import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", large, "run", "small", "--out", tmp_path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 2, told.stderr
    assert "as the platform's database grew. Nothing half-written was left behind." in told.stderr
    assert "Traceback" not in told.stderr
    assert list(tmp_path.iterdir()) == []


# --- processes and terminals ----------------------------------------------------------------------------------------


def test_the_version_costs_no_import_of_anything_heavy() -> None:
    code = (
        "import sys; sys.argv = ['absence', '--version']; from absence.main import main; main(); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    version, modules = told.splitlines()
    assert version == f"absence {__version__}"
    heavy = {
        "click",
        "rich",
        "pandas",
        "numpy",
        "pyarrow",
        "simpy",
        "pydantic",
        "yaml",
        "sqlalchemy",
        "faker",
        "jinja2",
    }
    assert not heavy & set(modules.split())


def test_a_run_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "import sys; from absence.cli import invoke\n"
        f"try: invoke(['run', 'small', '--out', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('absence.cli_')))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    *_, rooms, commands = told.splitlines()
    assert commands == "absence.cli_run"
    modules = set(rooms.split())
    assert {"simpy", "pyarrow", "pydantic"} <= modules
    assert not modules & {
        "pandas",
        "rich",
        "sqlalchemy",
        "faker",
        "beancount",
        "hypothesis",
        "stripe",
        "jwt",
        "freezegun",
        "staging",
    }


def test_nothing_is_drawn_where_nobody_looks(tmp_path: Path) -> None:
    told = process("run", "small", "--out", tmp_path)
    assert told.exit_code == 0
    assert told.stderr == ""
    assert "\x1b" not in told.stdout


def test_on_a_terminal_the_run_shows_its_progress_and_the_verdict_in_colour(tmp_path: Path) -> None:
    drawn = in_terminal("run", "small", "--out", tmp_path)
    assert "simulating" in drawn
    assert re.search(r"\x1b\[[\d;]*m✓ PASS", drawn)
    [run_dir] = tmp_path.iterdir()
    assert str(run_dir / "report.html") in drawn.replace("\r\n", "\n"), "a path is never broken over lines"


def test_a_terminal_that_wants_no_colour_gets_none(small_run: Ran) -> None:
    assert "\x1b[" in in_terminal("report", small_run.path)
    drawn = in_terminal("report", small_run.path, NO_COLOR="1")
    assert "\x1b" not in drawn
    assert drawn.replace("\r\n", "\n") == small_run.stdout


def test_a_reader_who_has_seen_enough_is_no_error_worth_a_traceback() -> None:
    told = subprocess.run(
        f"{sys.executable} -m absence faults list | head -1", shell=True, cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    assert told.stdout.count("\n") == 1
    assert "Traceback" not in told.stderr
    assert "bug" not in told.stderr
