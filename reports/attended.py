"""What ops did: every runbook that was opened, on what occasion and by whom, step by step; and what was handed on.

Invariant: it is told from the operator's and the pager's own books, and nothing is judged here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from assertions.hands import ENDS
from reports import words

if TYPE_CHECKING:
    from evidence.run import Evidence

COMPLETED = "completed"
OUTPUT_MAX = 400
"""So much of an output is shown; the operator's notebook has all of it."""

Row = tuple[Any, ...]
Occasion = Literal["page", "drill", "due"]


class Sent(NamedTuple):
    """A step's command as it was sent, `times` in a row until its output fitted; the last output stands for all. `line`
    is that of the step in the runbook."""

    at: int
    step: str
    command: str
    times: int
    exit_status: int | None
    output: str
    matched: str
    ok: bool
    line: int


class Execution(NamedTuple):
    """A runbook that was opened. `called_at`: when the page came or the drill was ordered, None for what was due.
    `until_at` None: it had not ended when the run did. `reason`: why it did not go as written."""

    execution_id: str
    runbook: str
    incident: str
    occasion: Occasion
    principal: str
    called_at: int | None
    from_at: int
    until_at: int | None
    status: str
    reason: str
    sent: tuple[Sent, ...]

    @property
    def went_as_written(self) -> bool:
        return self.status == COMPLETED

    @property
    def is_routine(self) -> bool:
        """A procedure that was due and went as written: one like every other."""
        return self.occasion == "due" and self.went_as_written

    def step_at(self, at: int) -> str:
        """The step that was being carried out at an instant; a step is noted once it is answered."""
        return next((sent.step for sent in self.sent if sent.at >= at), self.sent[-1].step if self.sent else "")

    def why(self) -> str:
        if self.occasion == "page":
            return f"page {self.incident}"
        return "drill" if self.occasion == "drill" else "due"


class HandedOn(NamedTuple):
    """What ops could not do with a runbook. `patch`: a diff of the document in which the failed step expects what came,
    empty where there is none; `alone_ms`: how long the platform stood alone from then on."""

    at: int
    principal: str
    incident: str
    runbook: str
    execution_id: str
    reason: str
    patch: str
    alone_ms: int

    def sentence(self) -> str:
        tried = f"the runbook {self.runbook}" if self.runbook else "no runbook"
        return (
            f"{self.principal} had {tried} for {self.incident} and handed it on: {self.reason}. From then on the"
            f" platform stood alone, for {words.duration(self.alone_ms)}."
        )


class Routine(NamedTuple):
    """A procedure that was due several times and went as written each time."""

    runbook: str
    times: int
    mean_ms: int


class Attended(NamedTuple):
    pages: int
    executions: tuple[Execution, ...]
    handed_on: tuple[HandedOn, ...]

    @property
    def eventful(self) -> list[Execution]:
        return [one for one in self.executions if not one.is_routine]

    @property
    def routines(self) -> list[Routine]:
        of = sorted((one for one in self.executions if one.is_routine), key=lambda one: one.runbook)
        return [_routine(runbook, list(group)) for runbook, group in groupby(of, key=lambda one: one.runbook)]

    def during(self, at: int) -> list[str]:
        """What was being carried out, or was just handed on, at an instant, in words."""
        handed_on = {one.execution_id: one.at for one in self.handed_on}
        return [
            f"{one.runbook} {one.step_at(at)} by {one.principal}"
            for one in self.executions
            if one.from_at <= at and (one.until_at is None or at <= handed_on.get(one.execution_id, one.until_at))
        ]

    def sentence(self) -> str:
        """All of it in one sentence."""
        by: dict[Occasion, int] = {"page": 0, "drill": 0, "due": 0}
        for one in self.executions:
            by[one.occasion] += 1
        opened = [f"{words.plural(by['page'], 'runbook')} opened for {words.plural(self.pages, 'page')}"]
        opened += [words.plural(by["drill"], "drill")] if by["drill"] else []
        opened += [words.plural(by["due"], "procedure") + " that were due"] if by["due"] else []
        failed = len(self.executions) - sum(one.went_as_written for one in self.executions)
        ends = f"{failed:,} did not go as written" if failed else "all as written"
        handed = f"; {len(self.handed_on):,} handed on" if self.handed_on else ""
        return f"{', '.join(opened)}; {ends}{handed}" if self.executions or self.pages else "nothing was there to do"


NOBODY = Attended(0, (), ())
"""Nobody was on call."""


def attended(evidence: Evidence, end_at: int) -> Attended:
    """All of it, in the order in which it was begun. Cost grows with the number of steps sent."""
    if not evidence.plan.operations:
        return NOBODY
    drills = {drill.id: drill.at for drill in evidence.plan.drills}
    paged: dict[str, list[int]] = {}
    acknowledged = 0
    for at, action, key in evidence.rows("pager.events", "at", "action", "dedup_key"):
        acknowledged += action == "acknowledge"
        if action == "trigger":
            paged.setdefault(key, []).append(at)
    noted = ("execution_id", "at", "principal", "action", "incident", "runbook", "step", "line", "sent", "exit_status",
             "output", "matched", "ok", "detail")  # fmt: skip
    notes: dict[str, list[Row]] = {}
    for execution_id, *note in evidence.rows("operator.notebook", *noted):
        notes.setdefault(execution_id, []).append(tuple(note))
    executions = tuple(_execution(one, of, drills, paged) for one, of in notes.items())
    columns = ("at", "principal", "incident", "runbook", "execution_id", "reason", "package")
    handed_on = tuple(_handed_on(row, end_at) for row in evidence.rows("operator.escalations", *columns))
    return Attended(acknowledged, executions, handed_on)


def _execution(
    execution_id: str, notes: Sequence[Row], drills: dict[str, int], paged: dict[str, list[int]]
) -> Execution:
    from_at, principal, _, incident, runbook, *_ = notes[0]
    occasion: Occasion = "drill" if incident in drills else "page" if incident in paged else "due"
    called_at = drills.get(incident) or max([at for at in paged.get(incident, ()) if at <= from_at], default=None)
    until_at, status, reason = None, "in progress", ""
    for at, _, action, *_, detail in notes:
        if action in ENDS:
            until_at, status, reason = at, action, detail
    return Execution(
        execution_id, runbook, incident, occasion, principal, called_at, from_at, until_at, status, reason,
        tuple(_sent(notes)),
    )  # fmt: skip


def _handed_on(row: Row, end_at: int) -> HandedOn:
    at, principal, incident, runbook, execution_id, reason, package = row
    patch = json.loads(package).get("patch", "")
    return HandedOn(at, principal, incident, runbook, execution_id, reason, patch, max(end_at - at, 0))


def _sent(notes: Iterable[Row]) -> Iterable[Sent]:
    steps = [(at, *rest) for at, _, action, _, _, *rest, _ in notes if action == "step"]
    for _, group in groupby(steps, key=lambda step: step[1]):
        *_, last = of = list(group)
        at, step, line, command, exit_status, output, matched, ok = last
        shown = output.rstrip("\n")
        cut = shown if len(shown) <= OUTPUT_MAX else shown[:OUTPUT_MAX] + "…"
        yield Sent(at, step, command, len(of), exit_status, cut, matched, ok, line)


def _routine(runbook: str, of: Sequence[Execution]) -> Routine:
    took = sum((one.until_at or one.from_at) - one.from_at for one in of)
    return Routine(runbook, len(of), took // len(of))
