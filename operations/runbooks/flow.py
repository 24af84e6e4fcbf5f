"""Where a runbook can go, and what is known by then: branch targets, unreachable steps, undefined placeholders.

Invariant: a placeholder passes only if it is bound on every way that leads to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from operations.runbooks.document import ROLLBACK, Branch, Runbook, Step
from operations.runbooks.problems import Place, Problem, did_you_mean
from operations.runbooks.render import placeholders

_Names = frozenset[str]
_FROM_ALERT = "alert."


def problems(runbook: Runbook) -> Iterator[Problem]:
    """Everything that is wrong with the ways through a document."""
    yield from _targets(runbook)
    known: dict[str, _Names] = {}
    for rollback in (False, True):
        path = runbook.path(rollback)
        known |= _bound(runbook, path, known)
        for step in path:
            if step.id not in known:
                yield Problem(step.place, f"step {step.number} of {step.section} is never reached: no way leads here")
    for step in runbook.steps():
        if step.id in known:
            yield from _undefined(runbook, step, known[step.id])


def _targets(runbook: Runbook) -> Iterator[Problem]:
    for step in runbook.steps():
        for branch in step.branches:
            yield from _target(runbook, step, branch)
        if step.after is not None and runbook.step(step.after) is None:
            yield Problem(step.after_place, f"there is no step {step.after.number} in {step.after.section}")


def _target(runbook: Runbook, step: Step, branch: Branch) -> Iterator[Problem]:
    target = branch.target
    inside = step.section == ROLLBACK
    if target.to == "partial" and inside:
        yield Problem(branch.place, "a Rollback is done or fails: write done or escalate")
    if target.to != "step":
        return
    if inside and target.section != ROLLBACK:
        yield Problem(branch.place, f"Rollback leads nowhere else: {target} is outside it")
    elif runbook.step(target) is None:
        section = runbook.section(target.section)
        if section is None:
            names = [one.name for one in runbook.sections]
            why = f"there is no section {target.section}{did_you_mean(target.section, names)}"
        elif not section.steps:
            why = f"{target.section} has no steps"
        else:
            why = f"{target.section} has steps 1 to {section.steps[-1].number}"
        yield Problem(branch.place, f"unknown branch target: there is no step {target}; {why}")


def _bound(runbook: Runbook, path: list[Step], before: dict[str, _Names]) -> dict[str, _Names]:
    """Step id -> the captures that are bound whenever the step is sent, for each step of `path` that can be reached.
    `before`: the same of the steps that may have been sent before `path` is entered."""
    known: dict[str, _Names] = {}
    waiting: list[tuple[Step, _Names]] = [(path[0], frozenset())] if path else []
    while waiting:
        step, names = waiting.pop()
        if step.id in known and known[step.id] <= names:
            continue
        known[step.id] = names = known.get(step.id, names) & names
        following = next((path[n + 1] for n, one in enumerate(path[:-1]) if one is step), None)
        caught = names | {capture.name for capture in step.expectation.captures}
        if step.after is not None and following is not None:
            waiting.append((following, names))  # where it is not needed
        for branch in step.branches:
            to = runbook.step(branch.target) if branch.target.to == "step" else None
            if to is not None:
                waiting.append((to, names if branch.condition else caught))
        if step.regular is None and following is not None:
            waiting.append((following, caught))
    for step in path:
        if step.id in known and step.after is not None:
            known[step.id] |= before.get(str(step.after), frozenset())
    return known


def _undefined(runbook: Runbook, step: Step, known: _Names) -> Iterator[Problem]:
    for text, place in _texts(step):
        for name, offset in placeholders(text):
            at = Place(place.file, place.line, place.column + offset)
            if name.startswith(_FROM_ALERT):
                if runbook.id.text and not runbook.alerts:  # without an id, the front matter could not be read
                    yield Problem(at, f"undefined placeholder {{{name}}}: no alert opens this runbook")
            elif name not in known:
                yield Problem(at, f"undefined placeholder {{{name}}}: {_why(runbook, step, name, known)}")


def _why(runbook: Runbook, step: Step, name: str, known: _Names) -> str:
    catchers = [one.id for one in runbook.steps() for capture in one.expectation.captures if capture.name == name]
    if not catchers:
        return f"no capture of that name{did_you_mean(name, known)}"
    if step.section == ROLLBACK:
        return (
            f"captured in {', '.join(catchers)}, which may not have been taken; "
            "say `only after` a step before which it is always bound"
        )
    return f"captured in {', '.join(catchers)}, but there is a way to here that does not capture it"


def _texts(step: Step) -> Iterator[tuple[str, Place]]:
    """What is filled in: the command, the lines expected, captures and conditions; with where the text begins."""
    yield step.command.template, step.command.place
    for line in step.expectation.lines:
        yield line.text, line.place
    for capture in step.expectation.captures:
        yield capture.pattern, capture.place
    for branch in step.branches:
        if branch.condition and branch.condition.line:
            yield branch.condition.line.text, branch.condition.line.place
