"""The catalogue of defects: assertions kill those that are planted; all of them, and their scenes: `make mutants`."""

from __future__ import annotations

import py_compile
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import defects
from assertions.judge import discover
from assertions.model import REGISTRY
from campaigns.mutants import Nursery
from defects import catalogue, planting
from defects.model import Defect, Edit
from defects.planting import as_patch, plant
from tests.support.command import ROOT

discover()
DEFECTS_MIN, EACH_MIN = 50, 2


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as process:
        yield process


def some() -> list[str]:
    """For each assertion that breaks in the smallest scenario, a defect that it is to kill there."""
    chosen: dict[str, Defect] = {}
    for assertion in sorted(REGISTRY):
        offered = [one for one in catalogue().values() if assertion in one.breaks and one.scenario == "small"]
        if offered and not any(assertion in one.breaks for one in chosen.values()):
            chosen[offered[0].id] = offered[0]
    return sorted(chosen)


@pytest.mark.parametrize("id", some())
def test_a_defect_is_killed_by_all_that_it_breaks(id: str, nursery: Nursery) -> None:
    found = nursery.detect(catalogue()[id])
    assert not found.missed, f"{id} is alive after {found.tried} seeds; broken: {', '.join(found.broken)}"


def test_there_are_defects_enough() -> None:
    assert len(catalogue()) >= DEFECTS_MIN


@pytest.mark.parametrize("times", range(1, EACH_MIN + 1))
def test_every_assertion_is_broken_by_defects(times: int) -> None:
    broken = Counter(assertion for defect in catalogue().values() for assertion in set(defect.breaks))
    short = {assertion: broken[assertion] for assertion in sorted(REGISTRY) if broken[assertion] < times}
    assert not short, f"broken by fewer than {times} defects: {', '.join(short)}"


def test_defects_break_assertions_that_there_are() -> None:
    unknown = {name for defect in catalogue().values() for name in defect.breaks} - set(REGISTRY)
    assert not unknown
    assert all(defect.breaks for defect in catalogue().values())


def test_modules_stand_in_the_order_of_ids_and_a_defect_is_named_after_its_module() -> None:
    for family in defects.families():
        ids = [defect.id for defect in family.CATALOGUE]
        assert ids == sorted(ids), family.__name__
        assert {id.partition(".")[0] for id in ids} == {family.__name__.rpartition(".")[2]}


def test_every_defect_is_a_patch_that_git_applies(tmp_path: Path) -> None:
    for id, defect in catalogue().items():
        (tmp_path / f"{id}.patch").write_text(as_patch(defect))
    checked = [
        (patch.stem, subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True))
        for patch in sorted(tmp_path.iterdir())
    ]
    refused = {name: process.stderr for name, process in checked if process.returncode}
    assert len(checked) == len(catalogue())
    assert not refused


def test_what_another_process_is_about_to_load_from_is_left_behind_and_what_is_edited_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    (root / "room").mkdir(parents=True)
    tree.mkdir()
    for name in ("edited", "edited_not"):
        (root / "room" / f"{name}.py").write_text("A = 1\n")
        py_compile.compile(
            str(root / "room" / f"{name}.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    cached = root / "room" / "__pycache__"
    [kept] = cached.glob("edited_not.*")
    (cached / f"{kept.name}.140").symlink_to("renamed meanwhile")
    monkeypatch.setattr(planting, "ROOT", root)
    plant(Defect("a.b", "", (Edit("room/edited.py", "A = 1", "A = 2"),), ()), tree)
    assert [path.name for path in (tree / "room" / "__pycache__").iterdir()] == [kept.name]
    code = "import edited, edited_not; print(edited.A, edited_not.A)"
    told = subprocess.run([sys.executable, "-c", code], cwd=tree / "room", capture_output=True, text=True, check=True)
    assert told.stdout == "2 1\n"
