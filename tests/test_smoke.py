"""`absence smoke`: what it checks, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from absence import smoke
from absence.exit_codes import ExitCode
from evidence import freezing
from tests.support.command import ROOT, Told, absence

NAMES = [check.name for check in smoke.CHECKS]


def statuses(told: Told) -> dict[str, str]:
    """Name of a check -> how it went; every line but the last is one of a check."""
    lines = told.stdout.splitlines()[:-1]
    return {name: next(line.split()[0] for line in lines if f"  {name:<12}  " in line) for name in NAMES}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and where temporary files go: both empty."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path


def test_a_sound_machine_passes_every_check_and_nothing_is_left(elsewhere: Path) -> None:
    told = absence("smoke")
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, "STATUS=PASS")
    assert statuses(told) == dict.fromkeys(NAMES, "PASS") | {"promtool": "NEWS"}
    assert len(told.stdout.splitlines()) == len(NAMES) + 1
    assert [path for folder in elsewhere.iterdir() for path in folder.iterdir()] == []


def test_with_out_the_small_run_is_kept_and_verifies(tmp_path: Path) -> None:
    told = absence("smoke", "--out", tmp_path, "--json")
    assert told.exit_code == 0
    assert (told.json["status"], told.json["failed"], told.json["exit_code"]) == ("PASS", None, 0)
    assert [one["name"] for one in told.json["checks"]] == NAMES
    assert absence("verify", tmp_path / smoke.NAME).exit_code == 0
    assert absence("smoke", "--out", tmp_path).exit_code == 0  # the same run once more


def test_a_root_that_cannot_be_written_to_fails_with_its_code_and_skips_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told = absence("smoke", "--out", tmp_path / "file")
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (ExitCode.USAGE, "STATUS=FAIL root")
    skipped = {name for name, status in statuses(told).items() if status == "SKIP"}
    assert skipped == {"run", "verify", "replay", "gate"}


def test_a_frozen_root_fails_as_corrupt(tmp_path: Path) -> None:
    freezing.freeze(tmp_path, "2026-06-02T00:00:00Z", "some-run", "a book is damaged")
    told = absence("smoke", "--out", tmp_path, "--json")
    assert (told.exit_code, told.json["failed"]) == (ExitCode.STATE_CORRUPT, "root")
    assert "a book is damaged" in told.stdout


def test_a_dependency_that_cannot_be_imported_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(smoke.MODULES, "nosuch", "no_such_module")
    with pytest.raises(smoke.CheckFailed, match=r"cannot be imported: nosuch \(.*set up anew") as failed:
        smoke._dependencies(smoke.Bench(Path(), Path()))
    assert failed.value.code == ExitCode.USAGE


def test_the_dependencies_that_are_tried_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = {line.partition(">=")[0].partition("[")[0] for line in project["dependencies"]}
    assert smoke.MODULES.keys() == stated


@pytest.mark.parametrize(
    ("scenario", "code"), [("violation_row_edited", ExitCode.BUSINESS_REJECT), ("never_bites", ExitCode.INCONCLUSIVE)]
)
def test_a_small_run_that_does_not_pass_fails_with_the_code_of_its_verdict(
    scenario: str, code: ExitCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "SCENARIO", scenario)
    told = absence("smoke", "--out", tmp_path)
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (code, "STATUS=FAIL run")
    assert statuses(told)["verify"] == "SKIP"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    assert absence("smoke", "--out", folder).exit_code == 0
    return folder


@pytest.mark.parametrize(
    ("check", "file", "was", "becomes", "code"),
    [
        ("verify", "journal.jsonl", b'"seed":1', b'"seed":2', ExitCode.STATE_CORRUPT),
        ("replay", "snapshots.jsonl", b'"days":3', b'"days":4', ExitCode.STATE_CORRUPT),
        ("gate", "verdict.json", b'"status": "PASS"', b'"status": "FAIL"', ExitCode.BUSINESS_REJECT),
    ],
)
def test_a_run_that_is_not_as_it_was_fails_the_check_that_looks_at_it(
    check: str, file: str, was: bytes, becomes: bytes, code: ExitCode, kept: Path
) -> None:
    class Ran:
        class published:
            path = kept / smoke.NAME

    path = kept / smoke.NAME / file
    whole = path.read_bytes()
    assert was in whole
    path.write_bytes(whole.replace(was, becomes, 1))
    try:
        [one] = [each for each in smoke.CHECKS if each.name == check]
        told = smoke._told(one, smoke.Bench(kept, kept, Ran))  # type: ignore[arg-type]
    finally:
        path.write_bytes(whole)
    assert (told.status, told.code) == ("FAIL", code)
    assert smoke._told(one, smoke.Bench(kept, kept, Ran)).status == "PASS"  # type: ignore[arg-type]


def test_a_clock_that_is_behind_the_program_or_leaps_is_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = smoke.Bench(Path(), Path())
    assert smoke._clock(bench)
    assert smoke._clock_steady(bench)
    leapt = smoke.Bench(Path(), Path(), begun=(bench.begun[0] + 60, bench.begun[1]))
    with pytest.raises(smoke.CheckFailed, match=r"leapt by -\d+\.\d s"):
        smoke._clock_steady(leapt)
    monkeypatch.setattr("absence.smoke.time.time", lambda: 0.0)
    with pytest.raises(smoke.CheckFailed, match="behind the newest file"):
        smoke._clock(bench)


def test_machines_are_told_how_each_check_went(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told = absence("smoke", "--out", tmp_path / "file", "--json")
    assert {one["name"]: one["status"] for one in told.json["checks"]}["run"] == "SKIP"
    assert json.loads(told.stdout)["exit_code"] == told.exit_code == ExitCode.USAGE
