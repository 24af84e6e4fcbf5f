"""Iteration 06 may close; and without any one piece of its evidence it may not, and the gate says which is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from closure.policy import FOLDER, load
from tests.support.closing import COMMAND, TODAY, Closing, Copy, Known, blocked
from tests.support.command import ROOT, SharedRuns, absence
from tests.support.spoils import SPOILS

POLICY = load()
CRITERIA = {criterion.id: criterion for _, criterion in POLICY.criteria()}
DEFERRED = sorted(name for name, criterion in CRITERIA.items() if criterion.deferred)
AFTER_ALL = "2099-01-01"
LINES = {
    "06A completion": 4, "all 06A": 4, "all 06B": 18, "all 06C": 11, "closure": 3, "06C completion": 8, "success": 8,
    "failure": 8, "before": 6, "during": 5, "after": 5, "sequence": 11, "validation": 6, "testing": 4, "silent": 3,
    "documentation": 4, "snapshot start": 3, "snapshot end": 5, "snapshot review": 5, "constraints 06A": 4,
    "constraints 06B": 15, "constraints 06C": 7,
}  # fmt: skip
"""The lists of the source document, and how many lines each has."""


@pytest.fixture(scope="session")
def closing(shared: Path, runs: SharedRuns) -> Closing:
    return Closing(shared / "closing", runs)


@pytest.fixture(scope="session")
def known(closing: Closing) -> Known:
    return Known(closing)


@pytest.fixture
def copy(closing: Closing, known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    known.patch(monkeypatch)
    yield Copy(closing, tmp_path)
    shutil.rmtree(tmp_path)


def test_every_line_of_the_source_document_is_stood_for_by_a_criterion() -> None:
    wanted = {f"{name} {number}" for name, count in LINES.items() for number in range(1, count + 1)}
    assert {line for criterion in CRITERIA.values() for line in criterion.source} == wanted


def test_the_runs_of_the_document_close_the_iteration(closing: Closing, tmp_path: Path) -> None:
    told = absence("gate", closing.folder, "--today", TODAY, "--out", tmp_path / "said", "--no-record")
    assert told.exit_code == 0, told.stdout
    assert told.stdout.startswith("CLOSE: iteration06")
    said = json.loads((tmp_path / "said" / "decision.json").read_text())
    proven, deferred = ({one["id"] for one in said[kind]} for kind in ("proofs", "deferrals"))
    assert proven | deferred == set(CRITERIA)
    assert deferred == set(DEFERRED)
    assert said["blockers"] == []
    assert {run["scenario"] for run in said["runs"]} == set(closing.paths)
    for name in DEFERRED:
        assert name in told.stdout
        assert str(CRITERIA[name].deferred.until) in told.stdout  # type: ignore[union-attr]
        assert name in (tmp_path / "said" / "decision.md").read_text()


def test_the_document_tells_the_command_that_makes_these_runs() -> None:
    words = " ".join(f"'{word}'" if "*" in word else word for word in COMMAND)
    assert f"absence {words} --out closing" in (ROOT / "docs" / "gate.md").read_text().replace(" \\\n  ", " ")


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - set(DEFERRED)))
def test_without_its_evidence_a_criterion_holds_the_iteration_open(criterion: str, copy: Copy) -> None:
    SPOILS[criterion](copy)
    told = copy.gate()
    assert blocked(told) == {criterion, *CRITERIA[criterion].shares}, told.stdout
    assert told.exit_code == 10
    assert told.json["outcome"] == "HOLD"


@pytest.mark.parametrize("criterion", DEFERRED)
def test_what_is_deferred_blocks_once_its_date_has_passed(criterion: str, copy: Copy, tmp_path: Path) -> None:
    policy = yaml.safe_load((FOLDER / "iteration06.yaml").read_text())
    [one] = [one for phase in policy["phases"].values() for one in phase if one["id"] == criterion]
    one["deferred"]["until"] = "2026-11-21"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(policy, allow_unicode=True).replace("'2026-11-21'", "2026-11-21"))
    told = copy.gate("--policy", path)
    assert (told.exit_code, blocked(told)) == (10, {criterion})
    [blocker] = told.json["blockers"]
    assert one["deferred"]["reason"] in blocker["missing"]


def test_all_that_is_deferred_blocks_on_a_day_after_all_dates(copy: Copy) -> None:
    told = copy.gate(today=AFTER_ALL)
    assert (told.exit_code, blocked(told)) == (10, set(DEFERRED))


def test_every_criterion_that_looks_at_a_run_that_is_not_given_is_blocked_and_says_which(copy: Copy) -> None:
    copy.drop("drills")
    told = copy.gate()
    assert told.exit_code == 10
    sets = {"exercises", "drills"}
    assert blocked(told) == {name for name in CRITERIA if name not in DEFERRED and sets & set(CRITERIA[name].in_)}
    assert {blocker["missing"] for blocker in told.json["blockers"]} == {"no run of drills was given"}


def test_a_run_of_other_code_is_a_blocker(copy: Copy) -> None:
    path = copy.own("drills")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["fingerprints"]["code"] = "0" * 64
    (path / "manifest.json").unlink()
    (path / "manifest.json").write_text(json.dumps(manifest))
    told = copy.gate()
    assert (told.exit_code, blocked(told)) == (10, {"same_code"})
    [blocker] = told.json["blockers"]
    assert "000000000000…: 1 of 21 runs" in blocker["missing"]
