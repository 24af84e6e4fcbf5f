"""Whether a run is what was published: its files, and the verdict that they come to. For every command that asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence import verify
from evidence.layout import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
from evidence.manifest import ManifestBroken
from evidence.run import NotARun
from evidence.verify import Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a run. `problems`: it is not what was written. `news`: today's assertions say otherwise than
    those that judged it, which is no problem. `anchors`: its hashes by name, none where the manifest is broken."""

    path: Path
    problems: list[Problem]
    news: list[Problem]
    anchors: Mapping[str, str]

    def json(self) -> dict[str, Any]:
        return {
            "run": str(self.path),
            "verified": not self.problems,
            "problems": list(map(_json, self.problems)),
            "news": list(map(_json, self.news)),
            "anchors": dict(self.anchors),
        }


def _json(problem: Problem) -> dict[str, str]:
    return {"file": problem.file, "where": problem.where, "message": problem.message}


def expect_run(run_dir: Path) -> None:
    """Raise NotARun when nothing in `run_dir` is of a run, and say which runs lie below it, if any do."""
    if any((run_dir / name).exists() for name in (MANIFEST, PLAN, JOURNAL, BOOK_DIRECTORY)):
        return
    runs = sorted(path.parent for path in run_dir.glob(f"[!.]*/{MANIFEST}"))
    raise NotARun(f"{run_dir} is not a run directory" + (f"; did you mean {runs[-1]}?" if runs else ""))


def check(run_dir: Path, anchor: str | None = None) -> Checked:
    """Everything that can be told of a run directory. The verdict is derived again as long as the evidence can be read:
    where a book is not what its hash says, the assertions may know in which row."""
    problems = verify.verify(run_dir, anchor=anchor)
    try:
        anchors = verify.anchors(verify.manifest_of(run_dir))
    except ManifestBroken:
        anchors = {}
    if any(problem.unread for problem in problems):
        return Checked(run_dir, problems, [], anchors)
    from absence.fingerprint import code_fingerprint
    from assertions.rederived import rederive

    derived = rederive(run_dir, code_fingerprint())
    return Checked(run_dir, problems + derived.problems, derived.news, anchors)
