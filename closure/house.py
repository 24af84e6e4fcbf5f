"""What a decision holds runs against: the tree that is to be closed, and what this house knows of commands and faults.

Invariant: what was worked out of one set of documents is not worked out again for a run that kept the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from closure.runs import DOCUMENTS, Run

if TYPE_CHECKING:
    from operations.runbooks import Commands, Runbook
    from reports.coverage import Coverage, FaultCover

SUFFIXES = (".md", ".yml", ".yaml")


class Read(NamedTuple):
    """Documents as they were understood; `problems` is what `absence runbooks check` would say, each at its place."""

    runbooks: tuple[Runbook, ...]
    alert_rules: tuple[str, ...]
    problems: tuple[str, ...]


class House:
    """`tree`: the root of what is to be closed. `commands`, `faults`: what `opsctl` takes, and every fault there is."""

    def __init__(self, tree: Path, commands: Commands, faults: Sequence[FaultCover]) -> None:
        self.tree = tree
        self._commands, self._faults = commands, faults
        self._read: dict[str, Read] = {}
        self._kept: dict[tuple[str, str], list[str]] = {}
        self._covered: dict[tuple[str, ...], Coverage] = {}
        self._committed: dict[str, str] | None = None

    def documents(self, run: Run) -> Read:
        """The documents in force during a run. Those that cannot be read are among the problems only."""
        key = _sha256(run.documents)
        if key not in self._read:
            self._read[key] = read(run, self._commands)
        return self._read[key]

    def kept(self, run: Run, wanted: str, work: Callable[[], list[str]]) -> list[str]:
        """What `work` finds about the documents of a run, once for all runs that kept the same and are asked the same
        (`wanted`)."""
        key = (_sha256(run.documents), wanted)
        if key not in self._kept:
            self._kept[key] = work()
        return self._kept[key]

    def committed(self) -> dict[str, str]:
        """The documents of the tree, by path."""
        if self._committed is None:
            files = [path for at in DOCUMENTS for path in sorted((self.tree / at).glob("*")) if path.suffix in SUFFIXES]
            self._committed = {path.relative_to(self.tree).as_posix(): path.read_text() for path in files}
        return self._committed

    def scenario_sha256(self, name: str) -> str:
        """Of the scenario of that name in the tree; nothing if there is none."""
        path = self.tree / "scenarios" / f"{name}.yaml"
        return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def coverage(self, runs: Sequence[Run]) -> Coverage:
        """What the runs have exercised together, of the documents of the last of them."""
        from closure.coverage import Seen, of_runs

        key = tuple(run.manifest.self_sha256 for run in runs)
        if key not in self._covered:
            found = Seen()
            for run in runs:
                found.add(run.exercised)
            last = self.documents(runs[-1])
            self._covered[key] = of_runs(found, last.runbooks, last.alert_rules, self._faults)
        return self._covered[key]


def read(run: Run, commands: Commands) -> Read:
    """The documents that a run has kept, parsed and checked."""
    from closure.coverage import alert_names
    from operations import alerts, runbooks
    from operations.runbooks.rules import links

    problems: list[str] = []
    parsed: list[Runbook] = []
    rules, groups = [], list[alerts.Group]()
    for path, text in run.documents.items():
        if path.startswith("runbooks/"):
            document, found = runbooks.parse(text, path)
            parsed += [document] if document else []
            problems += map(str, found)
            continue
        linked, found = links(run.path / path, path)
        rules += linked
        problems += map(str, found)
        try:
            groups += alerts.read_text(text, path)
        except alerts.RulesInvalid as invalid:
            problems += map(str, invalid.mistakes)
    problems += map(str, runbooks.check(parsed, commands, rules))
    return Read(tuple(parsed), tuple(alert_names(groups)), tuple(dict.fromkeys(problems)))


def _sha256(documents: Mapping[str, str]) -> str:
    told = sha256()
    for path, text in sorted(documents.items()):
        told.update(f"{path}\0{sha256(text.encode()).hexdigest()}\n".encode())
    return told.hexdigest()
