"""The runs that close Iteration 06, made once a session; copies with their evidence spoiled; the gate asked of both.

A copy shares the files of the original until one is changed, and what is changed is sealed again: nothing but what the
evidence means can tell.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import pytest

from assertions.judge import Verdict
from closure import house
from closure import runs as closure_runs
from closure.coverage import Seen
from closure.house import Read
from closure.runs import Run
from evidence.books import book_path
from evidence.layout import BOOK_DIRECTORY, MANIFEST
from evidence.verify import Problem
from operations.runbooks import Commands
from scenarios import load, shipped
from tests.support import tampering
from tests.support.command import ROOT, SharedRuns, Told, absence, held
from tests.support.tampering import Rows

SCENARIOS = ("iteration06", "drills", "operations_*", "healing_promoted", "processor", "handed_on_*")
COMMAND = ("coverage", *(word for name in SCENARIOS for word in ("--scenarios", name)), "--on-call")
TODAY = "2026-11-22"
"""A day before every deferral of the shipped policy ends."""
SIMULATION = "iteration06"


class Closing:
    """The honest runs, under `folder`: those that the command of docs/gate.md makes. Where ops is on call anyway, a run
    is the session's own. `others`: these, and runs to give in their place."""

    def __init__(self, folder: Path, others: SharedRuns) -> None:
        self.folder = folder
        self.others = others
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [name for name in shipped() if any(fnmatchcase(name, each) for each in SCENARIOS)]
        attended = [name for name in wanted if load(name).model.operations]
        for name in attended[:: -1 if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" else 1]:
            others(name)  # from both ends: of two workers none waits for the other
        with held(folder.parent / f"{folder.name}.lock"):
            if not (folder / ".made").exists():
                for made in (others(name).path for name in attended):
                    shutil.copytree(made, folder / made.name, copy_function=os.link)
                rest = [word for name in wanted if name not in attended for word in ("--scenarios", name)]
                told = absence("coverage", *rest, "--on-call", "--out", folder, "--json")
                assert told.exit_code == 0, told.stderr
                (folder / ".made").touch()

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Scenario → run directory."""
        return {path.parent.name.split("-s1-")[0]: path.parent for path in self.folder.glob(f"[!.]*/{MANIFEST}")}


class Known:
    """What has been found of runs, so that it is not worked out again for every case: whole runs that verify by their
    path, the rest by the manifest of the run."""

    def __init__(self, closing: Closing) -> None:
        self._whole = set(closing.paths.values())
        self._verified: dict[Path, list[Problem]] = {}
        self._judged: dict[str, Verdict] = {}
        self._exercised: dict[str, Seen] = {}
        self._documents: dict[str, Read] = {}
        self._do = (closure_runs.verified, closure_runs.judged, closure_runs.exercised, house.read)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(closure_runs, "verified", self.verified)
        patch.setattr(closure_runs, "judged", self.judged)
        patch.setattr(closure_runs, "exercised", self.exercised)
        patch.setattr(house, "read", self.documents)

    def verified(self, path: Path) -> list[Problem]:
        real = path.resolve()
        if real not in self._whole:
            return self._do[0](path)
        if real not in self._verified:
            self._verified[real] = self._do[0](path)
        return self._verified[real]

    def judged(self, run: Run) -> Verdict:
        key = run.manifest.self_sha256
        if key not in self._judged:
            self._judged[key] = self._do[1](run)
        return self._judged[key]

    def exercised(self, run: Run) -> Seen:
        key = run.manifest.self_sha256
        if key not in self._exercised:
            self._exercised[key] = self._do[2](run)
        return self._exercised[key]

    def documents(self, run: Run, commands: Commands) -> Read:
        key = run.manifest.self_sha256
        if key not in self._documents:
            self._documents[key] = self._do[3](run, commands)
        return self._documents[key]


class Copy:
    """The runs once more, to be spoiled: `runs` is what the gate is given, `tree` what it is to close."""

    def __init__(self, closing: Closing, folder: Path) -> None:
        self.closing = closing
        self.runs = folder / "runs"
        self.runs.mkdir(parents=True)
        for path in closing.paths.values():
            (self.runs / path.name).symlink_to(path)
        self._folder = folder
        self._touched: set[Path] = set()
        self._tree: Path | None = None

    # --- runs -------------------------------------------------------------------------------------------------------

    def path(self, scenario: str) -> Path:
        """A run of the copy."""
        return self.runs / self.closing.paths[scenario].name

    def own(self, scenario: str) -> Path:
        """A run that may be changed; it is sealed again before the gate is asked."""
        path = self.path(scenario)
        if path not in self._touched:
            path.unlink()
            shutil.copytree(self.closing.paths[scenario], path, copy_function=os.link)
            self._touched.add(path)
        return path

    def book(self, scenario: str, book: str, edit: Callable[[Rows], Rows | None]) -> None:
        path = self.own(scenario)
        _unshare(book_path(path / BOOK_DIRECTORY, book))
        tampering.edit_book(path, book, edit)

    def rechain(self, scenario: str) -> None:
        """Put the audit log's hashes and its anchors right, as somebody with the code would."""
        path = self.own(scenario)
        for book in ("platform.audit_log", "anchor.heads"):
            _unshare(book_path(path / BOOK_DIRECTORY, book))
        tampering.rechain_audit(path, anchors=True)

    def text(self, scenario: str, name: str, old: str, new: str) -> None:
        """Change a document or a report of a run."""
        _replace(self.own(scenario) / name, old, new)

    def drop(self, scenario: str) -> None:
        self.path(scenario).unlink()

    def instead(self, name: str, *arguments: str, scenario: Callable[[str], str] = str) -> None:
        """Give another run in the place of this one: of the shipped scenario with `arguments`, or of its text as
        `scenario` leaves it."""
        self.drop(name)
        shipped = (ROOT / "scenarios" / f"{name}.yaml").read_text()
        changed = scenario(shipped)
        path = self.closing.folder.parent / f"{sha256(changed.encode()).hexdigest()[:16]}.yaml"
        path.write_text(changed)
        run = self.closing.others(path if changed != shipped else name, *arguments).path
        (self.runs / run.name).symlink_to(run)

    # --- the tree ---------------------------------------------------------------------------------------------------

    def file(self, name: str, old: str, new: str) -> None:
        """Change a file of the tree that is to be closed."""
        if self._tree is None:
            self._tree = self._folder / "tree"
            for part in ("runbooks", "alerts", "scenarios", "contest_platform"):
                shutil.copytree(ROOT / part, self._tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        _replace(self._tree / name, old, new)

    # --- the gate ---------------------------------------------------------------------------------------------------

    def gate(self, *arguments: str | Path, today: str = TODAY) -> Told:
        for path in sorted(self._touched):
            _unshare(path / MANIFEST)
            tampering.reseal(path)
        self._touched.clear()
        tree = ("--tree", self._tree) if self._tree else ()
        return absence("gate", self.runs, *tree, "--today", today, "--no-record", "--json", *arguments)


def blocked(told: Told) -> set[str]:
    """The criteria that stand in the way."""
    return {blocker["id"] for blocker in told.json["blockers"]}


def _unshare(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _replace(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content, f"{path.name} does not hold {old!r}"
    path.unlink()
    path.write_text(content.replace(old, new))
