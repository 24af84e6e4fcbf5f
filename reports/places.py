"""Which line of which file a broken promise leads to: the runbook step that did not go as written, or the fault in the
scenario that was at work.

Invariant: a line is only named of a file that is still what the run was made of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.annotations import Place

if TYPE_CHECKING:
    from assertions.model import Broken, Result
    from reports.attended import Execution
    from reports.story import FaultStory, Story


class Source(NamedTuple):
    """A file as the run had it. `path` from the root of the repository."""

    path: str
    text: str


class Places:
    """`scenario`: None, and a runbook is missing in `runbooks` (by id), if the file is not at hand, or has changed."""

    def __init__(self, story: Story, scenario: Source | None, runbooks: Mapping[str, Source]) -> None:
        self._story, self._scenario, self._runbooks = story, scenario, runbooks

    def find(self, result: Result, broken: Broken | None) -> Place | None:
        """Where `broken` leads to, or else a result that was not exercised."""
        execution = self._execution(broken) if broken else None
        if execution is not None and execution.runbook in self._runbooks:
            return Place(self._runbooks[execution.runbook].path, _line_of_step(execution))
        if self._scenario is None:
            return None
        faults = self._at_work(broken) if broken else self._named(result)
        return Place(self._scenario.path, _line_of_fault(self._scenario.text, faults))

    def _execution(self, broken: Broken) -> Execution | None:
        """The execution that did not go as written and that the promise is about, by its id or its incident."""
        kind, _, name = broken.subject.partition("/")
        if kind not in ("runbook_executions", "escalations"):
            return None
        wrong = [one for one in self._story.attended.executions if not one.went_as_written]
        return next((one for one in wrong if name in (one.execution_id, one.incident)), None)

    def _at_work(self, broken: Broken) -> list[FaultStory]:
        """The fault that the promise is about; else those at work when it broke, where that is known."""
        faults = self._story.faults
        about = [one for one in faults if f"faults/{one.plan.id}" == broken.subject]
        if about or broken.at is None:
            return about or [one for one in faults if one.bites and len(faults) == 1]
        return [one for one in faults if one.span is not None and one.span.is_active(broken.at)]

    def _named(self, result: Result) -> list[FaultStory]:
        return [one for one in self._story.faults if any(one.plan.id in what for what in result.missing)]


def _line_of_step(execution: Execution) -> int:
    """Of the last step whose output did not fit: what came after it was the way back."""
    lines = [sent.line for sent in execution.sent if not sent.ok] or [sent.line for sent in execution.sent]
    return lines[-1] if lines else 1


def _line_of_fault(scenario: str, faults: Sequence[FaultStory]) -> int:
    """Where the scenario names the fault, of several the one that began last; the first line if it names none."""
    last = max(faults, key=lambda one: (one.span.from_at if one.span else 0, one.number), default=None)
    if last is None:
        return 1
    named = re.compile(rf"\bfault:\s*['\"]?{re.escape(last.plan.fault)}(?![\w.])")
    return next((n for n, line in enumerate(scenario.splitlines(), 1) if named.search(line)), 1)
