"""A defect: a bug of the platform as it is born in real life, as an edit of the real code.

Invariant: text that is replaced stands exactly once in its file; a defect whose text is gone does not plant silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Edit:
    """Of `file` (from the project's root), the text `old` gives way to `new`. Both are whole lines."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a defect needs to show: as an item of a scenario's `faults` says it."""

    fault: str
    count: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)
    bind: Mapping[str, Any] = field(default_factory=dict)
    """To what, where the planner is not to choose."""

    def item(self) -> dict[str, Any]:
        """As an item of a scenario's `faults`."""
        item = {"fault": self.fault, "count": self.count, "params": dict(self.params)}
        return {**item, "bind": dict(self.bind)} if self.bind else item


@dataclass(frozen=True, slots=True)
class Defect:
    """`born`: how such a bug comes about, in a sentence. `breaks`: the assertions that must fail when it is planted,
    the one that names it best first; others may fail besides. It shows in `scenario` with `faults` in the place of the
    scenario's own (None: with its own)."""

    id: str
    born: str
    edits: tuple[Edit, ...]
    breaks: tuple[str, ...]
    scenario: str = "small"
    faults: tuple[Fault, ...] | None = ()
