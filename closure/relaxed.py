"""What was relaxed between a baseline and a candidate: assertions, alert rules, runbooks, the policy of a decision.

Invariant: each relaxation is named with what it was and what it is. What is new is none. A rule or an expectation that
reads otherwise is one, whichever way it moved: that is for whoever agrees to it to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from closure.decision import Decision
from evidence.layout import ALERTS, RUNBOOKS

if TYPE_CHECKING:
    from assertions.judge import Verdict
    from assertions.model import Result
    from closure.runs import Run
    from operations.runbooks import Runbook
    from operations.runbooks.document import Branch

STRICTER = {("always_or_unreached", "always"), ("reachable", "sometimes")}
"""Changes of an assertion's kind, (from, to), after which it asks for more."""
RULE_KEYS = ("expr", "for", "keep_firing_for", "labels")


class Relaxed(NamedTuple):
    """`was` and `now` in words, `now` empty where it is gone; `where` is a place in a run directory."""

    id: str
    was: str
    now: str
    where: str


def relaxations(candidate: Run, baseline: Run) -> list[Relaxed]:
    """In the order of their ids. Raises what reading runs raises."""
    found = [*_assertions(candidate, baseline), *_alerts(candidate, baseline), *_runbooks(candidate, baseline)]
    return sorted({one.id: one for one in reversed(found)}.values())


# --- assertions ----------------------------------------------------------------------------------------------------


def _assertions(candidate: Run, baseline: Run) -> Iterator[Relaxed]:
    """What the baseline was held to when it was made, against what today's assertions hold the same books to, and
    against what the candidate was held to when it was made."""
    if baseline.stated is None:
        return
    yield from _asks_less(baseline.stated, baseline.verdict, "today's assertions", owed=True)
    if candidate.stated is not None:
        # What a run owes follows from its books too, and they are another's: those counts are compared elsewhere.
        yield from _asks_less(baseline.stated, candidate.stated, "verdict.json of the candidate", owed=False)


def _asks_less(before: Verdict, after: Verdict, where: str, owed: bool) -> Iterator[Relaxed]:
    results = {result.id: result for result in after.results}
    for old in before.results:
        id, new = f"relaxed.assertion.{old.id}", results.get(old.id)
        if new is None:
            yield Relaxed(id, f"asserted: {old.claim}", "", where)
        elif new.kind != old.kind and (old.kind, new.kind) not in STRICTER:
            yield Relaxed(id, f"kind {old.kind}", f"kind {new.kind}", where)
        elif new.claim != old.claim:
            yield Relaxed(id, f"claim “{old.claim}”", f"claim “{new.claim}”", where)
        elif owed and _owes_less(old, new):
            yield Relaxed(id, f"owed {old.owed} {old.unit}", f"owed {new.owed} {new.unit}", where)


def _owes_less(old: Result, new: Result) -> bool:
    return new.owed < old.owed


# --- alert rules ---------------------------------------------------------------------------------------------------


def _alerts(candidate: Run, baseline: Run) -> Iterator[Relaxed]:
    then, now = (dict(_rules(run.evidence.documents(ALERTS))) for run in (candidate, baseline)[::-1])
    for name, (rule, file) in then.items():
        id, where = f"relaxed.alert.{name}", f"{ALERTS}/{file}"
        if name not in now:
            yield Relaxed(id, f"alert if {_line(rule.get('expr'))}", "", where)
            continue
        changed = [key for key in RULE_KEYS if _line(rule.get(key)) != _line(now[name][0].get(key))]
        if changed:
            was, is_now = (", ".join(f"{key} {_line(one.get(key))}" for key in changed) for one in (rule, now[name][0]))
            yield Relaxed(id, was, is_now, where)


def _rules(files: Mapping[str, str]) -> Iterator[tuple[str, tuple[dict[str, Any], str]]]:
    """Every rule by group and name, with its file; those of one name in a group are numbered."""
    seen: dict[str, int] = {}
    for file, text in files.items():
        for group in _items(yaml.safe_load(text), "groups"):
            for rule in _items(group, "rules"):
                name = f"{group.get('name')}.{rule.get('alert') or rule.get('record')}"
                seen[name] = seen.get(name, 0) + 1
                yield name if seen[name] == 1 else f"{name}.{seen[name]}", (rule, file)


def _items(data: Any, key: str) -> Iterable[dict[str, Any]]:
    items = data.get(key) if isinstance(data, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _line(value: Any) -> str:
    """On one line: how an expression is folded says nothing."""
    return "none" if value is None else " ".join(str(value).split())


# --- runbooks ------------------------------------------------------------------------------------------------------


def _runbooks(candidate: Run, baseline: Run) -> Iterator[Relaxed]:
    then, now = (run.evidence.documents(RUNBOOKS) for run in (baseline, candidate))
    for file, text in then.items():
        id, where = f"relaxed.runbook.{file.removesuffix('.md')}", f"{RUNBOOKS}/{file}"
        if file not in now:
            yield Relaxed(id, "in force", "", where)
        elif now[file] != text:
            was, is_now = _expected(text, where), _expected(now[file], where)
            for step, expected in was.items():
                if expected != is_now.get(step, ""):
                    yield Relaxed(f"{id}.{step}", expected, is_now.get(step, ""), where)


def _expected(text: str, file: str) -> dict[str, str]:
    """What each step expects, in words."""
    from operations.runbooks import parse

    runbook: Runbook = parse(text, file)[0]
    return {
        step.id: "; ".join(
            [f"status {one.status} within {one.within_s} s", *(f"{line.kind} {line.text}" for line in one.lines)]
            + [f"{capture.name} = {capture.pattern}" for capture in one.captures]
            + [_branch(branch) for branch in step.branches if branch.condition is not None]
        )
        for step in runbook.steps()
        for one in [step.expectation]
    }


def _branch(branch: Branch) -> str:
    assert branch.condition is not None
    line = branch.condition.line
    return f"if status {branch.condition.status}{f', {line.kind} {line.text}' if line else ''} → {branch.target}"


# --- policies ------------------------------------------------------------------------------------------------------


def policy_relaxations(candidate: Decision, baseline: Decision) -> Iterator[Relaxed]:
    """Of two decisions by policies of one name: criteria that were taken out or put off."""
    claims = {one.id: one.claim for one in baseline.proofs} | {one.id: one.claim for one in baseline.deferrals}
    before = [*claims, *dict.fromkeys(one.id for one in baseline.blockers)]
    put_off = {one.id: one.until for one in candidate.deferrals}
    after = {*put_off, *(one.id for one in candidate.proofs), *(one.id for one in candidate.blockers)}
    put_off_before = {one.id for one in baseline.deferrals}
    for id in before:
        relaxed = f"relaxed.policy.{id}", claims.get(id, "a criterion")
        if id not in after:
            yield Relaxed(*relaxed, "", "the policy")
        elif id in put_off and id not in put_off_before:
            yield Relaxed(*relaxed, f"deferred until {put_off[id]}", "the policy")
