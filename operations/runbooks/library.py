"""All runbooks of a folder, checked together.

Invariant: a library that is returned has no problem, and one document for each id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from operations.runbooks.check import check
from operations.runbooks.commands import Commands
from operations.runbooks.document import Runbook
from operations.runbooks.parse import read
from operations.runbooks.problems import Problem, RunbooksInvalid
from operations.runbooks.rules import Link, links

Library = Mapping[str, Runbook]
"""Id -> runbook, in the order of the ids."""


def files_in(paths: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """The files among `paths`, and those with one of the suffixes in the folders among them, in the order of their
    names."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
        found += [file for file in inside if file not in found]
    return found


def load(
    runbooks: Sequence[Path],
    commands: Commands,
    alerts: Sequence[Path] | None = None,
    all_of_them: bool = True,
    root: Path | None = None,
) -> Library:
    """The runbooks in files or folders. `alerts`: rule files or folders of them, None to leave alerts out. `root`:
    places and records name files from there. Raises RunbooksInvalid with every problem of every file."""
    found: list[Problem] = []
    documents: list[Runbook] = []
    for path in files_in(runbooks, (".md",)):
        document, problems = read(path, _shown(path, root))
        found += problems
        documents += [document] if document else []
    rules: list[Link] = []
    for path in files_in(alerts or (), (".yml", ".yaml")):
        some, problems = links(path, _shown(path, root))
        rules += some
        found += problems
    found += check(documents, commands, None if alerts is None else rules, all_of_them)
    if found:
        raise RunbooksInvalid(found)
    return {document.id.text: document for document in sorted(documents, key=lambda one: one.id.text)}


def _shown(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)
