"""Plants a defect: a copy of the project in which the platform has it, and nothing else is different.

The copy is of links but for the rooms that are edited, so it costs a few milliseconds. What runs from it cannot tell:
to the code fingerprint it is another platform, which it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import unified_diff
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from defects.model import Defect, Edit

ROOT = Path(__file__).parent.parent
PLANTED = "PLANTED"
"""The file at the root of a planted tree that holds the id of the defect."""
_LEFT_OUT = ("build", "tests", "runs")


class StaleEdit(Exception):
    """The text that an edit replaces does not stand exactly once in its file: the platform has moved on."""


@contextmanager
def planted(defect: Defect) -> Iterator[Path]:
    """The root of a tree with `defect` in it, while open. Raises StaleEdit."""
    with TemporaryDirectory(prefix="absence-defect-") as scratch:
        tree = Path(scratch)
        plant(defect, tree)
        yield tree


def plant(defect: Defect, tree: Path) -> None:
    """Make `tree`, an empty directory, a project with the defect. Raises StaleEdit."""
    edited = {Path(edit.file).parts[0] for edit in defect.edits}
    for room in sorted(ROOT.iterdir()):
        if not room.is_dir() or room.name.startswith(".") or room.name in _LEFT_OUT:
            continue
        if room.name in edited:
            # Its bytecode too: the times of its sources are kept. Not what another process writes it to first, which
            # may be gone before it is copied.
            shutil.copytree(room, tree / room.name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            (tree / room.name).symlink_to(room, target_is_directory=True)
    for edit in defect.edits:
        place = tree / edit.file
        place.write_text(edited_text(defect.id, edit, place.read_text()))
        for bytecode in place.parent.glob(f"__pycache__/{place.stem}.*.pyc"):
            bytecode.unlink()  # it may be of the same second and size, or not look at its source at all
    (tree / PLANTED).write_text(f"{defect.id}\n")


@cache
def planted_here() -> str | None:
    """The defect of the tree that this process runs from, if it is a planted one."""
    try:
        return (ROOT / PLANTED).read_text().strip()
    except FileNotFoundError:
        return None


def edited_text(id: str, edit: Edit, text: str) -> str:
    """`text` with the edit made. Raises StaleEdit."""
    if (times := text.count(edit.old)) != 1:
        raise StaleEdit(f"{id}: what it replaces stands {times} times in {edit.file}, not once:\n{edit.old}")
    return text.replace(edit.old, edit.new)


def as_patch(defect: Defect) -> str:
    """The defect as a unified diff, as `git apply` takes it. Raises StaleEdit."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for edit in defect.edits:
        text = before.setdefault(edit.file, (ROOT / edit.file).read_text())
        after[edit.file] = edited_text(defect.id, edit, after.get(edit.file, text))
    return "".join(
        line
        for file, text in before.items()
        for line in unified_diff(text.splitlines(True), after[file].splitlines(True), f"a/{file}", f"b/{file}")
    )
