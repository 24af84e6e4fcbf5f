"""Incident files: every code from 20 up leaves one that can be looked into tomorrow, and ends as it would without."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from absence import __version__, incidents
from absence.errors import reported
from absence.exit_codes import INTERRUPTED, ExitCode
from evidence import atomic
from evidence.layout import MANIFEST
from evidence.manifest import Manifest
from tests.support.command import ROOT, Ran, absence, process
from tests.support.killing import stop
from tests.support.locks import lock as leave_lock
from tests.support.stored_runs import put


def only(root: Path) -> dict[str, Any]:
    """The one incident of a root."""
    [path] = (root / "incidents").iterdir()
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def test_an_incident_says_what_was_done_where_with_what_and_what_was_told(tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    told = absence("run", "defalt", "--out", tmp_path, "--seed", "7")
    incident = only(tmp_path)
    assert incident == {
        "version": 1, "code": 20, "name": "DATA_INVALID", "at": incident["at"],
        "command": f"absence run defalt --out {tmp_path} --seed 7", "cwd": os.getcwd(), "pid": os.getpid(),
        "root": str(tmp_path), "run": None, "lines": told.errors, "traceback": None, "versions": incident["versions"],
    }  # fmt: skip
    assert before < datetime.fromisoformat(incident["at"]) < datetime.now(UTC) + timedelta(seconds=1)
    assert incident["versions"]["absence"] == __version__
    assert incident["versions"]["python"] == platform.python_version()
    assert "did you mean default?" in incident["lines"][0]


def test_its_name_says_when_and_what_and_the_command_says_where_it_is(tmp_path: Path) -> None:
    told = absence("run", "defalt", "--out", tmp_path)
    [path] = (tmp_path / "incidents").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-DATA_INVALID-[0-9a-f]{8}\.json", path.name)
    at = datetime.fromisoformat(only(tmp_path)["at"])
    assert path.name.startswith(f"{at:%Y%m%dT%H%M%SZ}")
    content = json.loads(path.read_text())
    assert path.stem.endswith(sha256(json.dumps(content).encode()).hexdigest()[:8])
    assert told.stderr.splitlines()[-1] == f"Incident: {path}"


def test_paths_in_an_incident_do_not_depend_on_where_one_stands(tmp_path: Path) -> None:
    put(tmp_path / "runs", 1, name="one")
    (tmp_path / "runs" / "one" / "plan.json").write_text("{}")
    told = process("verify", "runs/one", cwd=tmp_path)
    assert told.exit_code == 30
    incident = only(tmp_path / "runs")
    assert incident["cwd"] == str(tmp_path)
    assert incident["root"] == str(tmp_path / "runs")
    assert incident["run"] == {
        "path": str(tmp_path / "runs" / "one"), "name": "one",
        "identity": Manifest.read(tmp_path / "runs" / "one" / MANIFEST).identity,
    }  # fmt: skip


def test_the_incident_of_a_damaged_run_holds_what_is_wrong_with_it(tmp_path: Path) -> None:
    run = put(tmp_path, 1)
    (run / MANIFEST).write_text("{}")
    assert absence("verify", run).exit_code == 30
    incident = only(tmp_path)
    assert incident["run"]["identity"] == ""
    assert any(line.startswith("manifest.json: ") for line in incident["lines"])


def test_the_incident_of_a_replay_that_differs_holds_the_event(small_run: Ran, tmp_path: Path) -> None:
    run = shutil.copytree(small_run.path, tmp_path / "runs" / "copy")
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join([*lines[:100], *lines[101:]]))
    told = absence("replay", run)
    assert told.exit_code == 30
    incident = only(run.parent)
    assert incident["lines"] == [told.stdout.rstrip("\n")]
    assert "event e101" in incident["lines"][0]
    assert incident["run"]["name"] == "copy"


def test_a_bug_of_ours_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheese(*_: object, **__: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("absence.pipeline.execute", cheese)
    assert absence("run", "small", "--out", tmp_path).exit_code == 50
    incident = only(tmp_path)
    assert incident["name"] == "INTERNAL_ERROR"
    assert "out of cheese" in incident["lines"][0]
    assert incident["traceback"].startswith("Traceback (most recent call last)")
    assert "in cheese" in incident["traceback"]


def test_codes_below_20_and_ctrl_c_leave_none(tmp_path: Path) -> None:
    leave_lock(tmp_path)
    assert absence("run", "small", "--out", tmp_path).exit_code == 11
    assert absence("run", "--nonsense").exit_code == 2
    assert absence("run", "never_bites", "--out", tmp_path / "12").exit_code == 12
    assert stop(tmp_path / "130", 0.0, 2).returncode == INTERRUPTED  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("incidents"))


@pytest.mark.parametrize("code", [1, 125, 128, 130, None, "said"])
def test_other_codes_leave_none_however_large(code: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "DEFAULT_ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended, reported(as_json=False):
        sys.exit(code)  # type: ignore[arg-type]
    assert ended.value.code == code
    assert os.listdir(tmp_path) == []


def test_a_command_about_several_runs_leaves_it_in_the_root_of_the_first(tmp_path: Path) -> None:
    run = put(tmp_path / "runs", 1)
    (run / "plan.json").write_text("{}")
    assert absence("coverage", run, put(tmp_path / "others", 2)).exit_code == 20
    assert only(tmp_path / "runs")["run"] is None


def test_a_command_about_all_runs_of_a_root_leaves_it_there(tmp_path: Path) -> None:
    put(tmp_path / "runs", 1)
    assert absence("verify", tmp_path / "runs").exit_code == 20
    assert only(tmp_path / "runs")["root"] == str(tmp_path / "runs")


@pytest.mark.parametrize("code", [code for code in ExitCode if code >= 20], ids=lambda code: code.name)
def test_every_code_from_20_up_leaves_one_however_the_command_ends_in_it(
    code: ExitCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "DEFAULT_ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended, reported(as_json=False):
        sys.exit(code)
    assert ended.value.code == code
    assert (only(tmp_path)["code"], only(tmp_path)["name"]) == (code, code.name)


def test_a_command_without_a_run_root_leaves_it_in_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: [")
    told = process("scenarios", "check", "mine.yaml", cwd=tmp_path)
    assert told.exit_code == 20
    assert only(tmp_path / "runs")["command"] == "absence scenarios check mine.yaml"


def test_a_directory_that_is_no_run_makes_the_one_above_it_no_run_root(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    told = process("verify", "photos", cwd=tmp_path)
    assert told.exit_code == 20
    assert only(tmp_path / "runs")["run"] is None


def test_an_incident_that_cannot_be_written_is_said_and_the_code_stays(tmp_path: Path) -> None:
    (tmp_path / "incidents").write_text("in the way")
    told = absence("run", "defalt", "--out", tmp_path, "--json")
    assert told.exit_code == told.json["exit_code"] == 20
    assert told.json["incident"] is None
    assert f"No incident file could be written to {tmp_path / 'incidents'}: " in told.stderr


def test_a_path_that_is_no_text_can_be_told_in_an_incident(tmp_path: Path) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff-runs")
    told = absence("run", "defalt", "--out", out)
    assert told.exit_code == 20
    assert only(Path(out))["root"] == out


def test_incidents_are_listed_newest_first_until_they_are_closed(tmp_path: Path) -> None:
    assert absence("runs", "incidents", tmp_path).stdout == "No open incidents.\n"
    for code, at in ((20, "20260101T000000Z"), (30, "20260102T000000Z")):
        content = {
            "version": 1, "code": code, "name": ExitCode(code).name, "at": "2026-01-01T00:00:00.000+00:00",
            "command": "absence verify runs/x", "run": {"name": "x"} if code == 30 else None,
            "lines": [f"the first of {code}", "the second"],
        }  # fmt: skip
        atomic.write_json(tmp_path / "incidents" / f"{at}-{ExitCode(code).name}-0.json", content)
    (tmp_path / "incidents" / "20260103T000000Z-torn.json").write_text("{")
    listed = absence("runs", "incidents", tmp_path, "--json").json
    assert [(one["code"], one["run"], one["told"].partition(":")[0]) for one in listed] == [
        (0, None, "cannot be read"), (30, "x", "the first of 30"), (20, None, "the first of 20"),
    ]  # fmt: skip
    plain = absence("runs", "incidents", tmp_path).stdout
    assert "2026-01-01T00:00:00  30 STATE_CORRUPT  absence verify runs/x" in plain
    assert all(one["file"] in plain and one["told"] in plain for one in listed)
    for one in listed:
        Path(one["file"]).unlink()
    assert absence("runs", "incidents", tmp_path, "--json").json == []


def test_an_incident_of_a_frozen_root_is_noted_all_the_same(tmp_path: Path) -> None:
    run = put(tmp_path, 1)
    (run / "plan.json").write_text("{}")
    absence("verify", run)
    absence("run", "small", "--out", tmp_path)
    codes = [json.loads(path.read_text())["command"].split()[1] for path in (tmp_path / "incidents").iterdir()]
    assert sorted(codes) == ["run", "verify"]


def test_what_is_written_outside_a_staging_directory_goes_through_one_helper() -> None:
    """What is written in place is half there when its writer is killed."""
    staged = {"evidence/writer.py", "evidence/manifest.py", "evidence/books.py"}
    appended = {"absence/publishing.py"}  # to a file of the CI system, which says that it is to be appended to
    wanting = [
        path.relative_to(ROOT).as_posix()
        for room in ("absence", "evidence", "closure", "reports")
        for path in sorted((ROOT / room).rglob("*.py"))
        if re.search(r"\.write_(text|bytes)\(|open\([^)]*[\"'][wax]", path.read_text())
    ]
    assert set(wanting) == staged | appended, "use evidence.atomic"
