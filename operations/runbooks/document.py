"""A runbook as parsed: front matter, sections, steps, and where each of them stands in its file.

Invariant: a document is what its text says and no more; whether that makes sense is for `check` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from operations.runbooks.problems import Place
from operations.runbooks.schedule import Schedule

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "failure": ("Detection", "Diagnosis", "Recovery", "Verification", "Rollback", "Documentation"),
    "task": ("Prerequisites", "Steps", "Verification", "Rollback"),
    "scheduled": ("Prerequisites", "Steps", "Verification", "Rollback"),
    "escalation": ("Criteria", "Information", "Contacts", "Verification"),
    "promotion": ("Prerequisites", "Checklist", "Promotion", "Verification", "Rollback"),
}
"""Kind -> its sections, all of them required, in this order (source 004, "Documentation Requirements")."""

SCHEDULED = "scheduled"
"""The kind that the clock opens, and nothing else."""

ROLLBACK = "Rollback"
"""The section that is entered by a step that fails, and in no other way."""

NEEDS_STEPS = frozenset({"Recovery", "Steps", "Checklist", "Information", "Promotion", "Verification"})
"""Sections in which something has to be done. The others may be prose, but not empty."""

MAY_CHANGE = frozenset({"Recovery", "Steps", "Promotion", ROLLBACK})
"""Sections in which a command may change anything. In the others one only looks."""

ROLES = ("ops",)
"""Who carries runbooks out. A runbook that needs anybody else cannot be carried out in their absence."""

ANSWER_WITHIN_S = 60
"""How long a command may take where its step does not say."""


@dataclass(frozen=True, slots=True)
class Command:
    """One `opsctl` line. `template` is the line as it stands, without its indent; `place` is its first character."""

    template: str
    place: Place


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of output must be. `any` stands for any number of lines, none included."""

    kind: Literal["line", "glob", "regex", "any"]
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Capture:
    """The first group of `pattern`, in the first line of the output in which it is found, becomes `{name}`."""

    name: str
    pattern: str
    place: Place


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a command must answer. `every_s`: it is sent again so often until it does, `within_s` at most.

    `place` is the opening fence; `ends` the number of the line with the closing one."""

    lines: tuple[Line, ...]
    captures: tuple[Capture, ...]
    status: int
    within_s: int
    every_s: int | None
    place: Place
    ends: int

    @property
    def answer_s(self) -> int:
        """How long one answer may take."""
        return self.within_s if self.every_s is None else min(self.within_s, ANSWER_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Condition:
    """When a branch is taken: that exit status, and if `line` is given, some line of the output like it."""

    status: int
    line: Line | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a branch leads: to a step, or out of the runbook."""

    to: Literal["step", "done", "partial", "escalate"]
    section: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.section}/{self.number}" if self.to == "step" else self.to


@dataclass(frozen=True, slots=True)
class Branch:
    """`condition` None is `otherwise`: as expected, and none of the conditions above."""

    condition: Condition | None
    target: Target
    place: Place


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered item. `after`: of Rollback only; the step without whose having been sent this one is not needed."""

    section: str
    number: int
    text: str
    command: Command
    expectation: Expectation
    branches: tuple[Branch, ...]
    after: Target | None
    after_place: Place
    place: Place

    @property
    def id(self) -> str:
        return f"{self.section}/{self.number}"

    @property
    def regular(self) -> Target | None:
        """Where it leads when all is as expected; None: to the next step."""
        return next((branch.target for branch in self.branches if branch.condition is None), None)

    @property
    def ways(self) -> tuple[str, ...]:
        """Every way in which the step may go as written, in the words of its record (`matched`): what a coverage of
        runbooks counts."""
        branches = tuple(
            "otherwise" if branch.condition is None else f"branch {number}"
            for number, branch in enumerate(self.branches, start=1)
        )
        return branches if self.regular is not None else (*branches, "expected")


@dataclass(frozen=True, slots=True)
class Prose:
    """A line of text for the reader, outside every fence."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    steps: tuple[Step, ...]
    prose: tuple[Prose, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Named:
    """A word of the front matter, and where it stands."""

    text: str
    place: Place

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Runbook:
    """A document. What its front matter lacks is an empty text: the parser has said so. `schedule`: of the scheduled
    kind only; None too where it cannot be read, which the parser has said."""

    file: str
    id: Named
    version: str
    date: str
    kind: Named
    role: str
    alerts: tuple[Named, ...]
    failure_modes: tuple[Named, ...]
    schedule: Schedule | None
    title: str
    prose: tuple[Prose, ...]
    sections: tuple[Section, ...]
    source: str
    sha256: str

    def section(self, name: str) -> Section | None:
        return next((section for section in self.sections if section.name == name), None)

    def steps(self) -> Iterator[Step]:
        for section in self.sections:
            yield from section.steps

    def step(self, target: Target) -> Step | None:
        section = self.section(target.section)
        return next((step for step in section.steps if step.number == target.number), None) if section else None

    def path(self, rollback: bool = False) -> list[Step]:
        """The steps in the order in which they are taken where no branch says otherwise."""
        return [step for step in self.steps() if (step.section == ROLLBACK) is rollback]
