"""Family runbooks, by the clock: what a document says is due daily or weekly was done each time, and to its end.

Invariant: when something is due is read here, out of the documents that the run kept and its plan's calendar; whether
it was done, out of the notebook of whoever did it and the platform's own record, which both have to say so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from assertions.model import Finding, assertion
from assertions.words import HOUR_MS, duration, instant

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.run import Evidence

WITHIN_MS = 6 * HOUR_MS
"""How long after it is due a procedure may end, with whatever else there was to do."""
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FRONT = re.compile(r"\A---\n(.*?)^---$", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"^schedule\s*:(.*)$", re.MULTILINE)
_SAID = re.compile(
    rf"\s*(['\"]?)(?:daily|weekly\s+on\s+(?P<day>{'|'.join(_DAYS)}))\s+at\s+(?P<hour>\d\d):(?P<minute>\d\d)\1\s*(?:#.*)?"
)


class _Done(NamedTuple):
    """An execution as the notebook has it. `ended_at` is None where it did not end as completed."""

    execution_id: str
    incident: str
    principal: str
    began_at: int
    ended_at: int | None


@assertion("runbooks.procedures_done", "Every scheduled procedure was done each day or week it was due, in time")
def procedures_done(evidence: Evidence) -> Finding:
    found = Finding("procedures")
    if not evidence.plan.operations:
        return found
    done = _notebook(evidence)
    record = {
        row[0]: row[1:]
        for row in evidence.rows(
            "platform.runbook_executions", "id", "runbook_name", "executed_by", "status", "start_time", "end_time"
        )
    }
    for file, text in evidence.documents("runbooks").items():
        front = _FRONT.search(text)
        key = _KEY.search(front[1]) if front else None
        if key is None:
            continue
        said, name = _SAID.fullmatch(key[1]), file.removesuffix(".md")
        if said is None:
            found.missing.append(f"{file} says it is due{key[1]}, and nobody can tell when that is")
            continue
        weekday = None if said["day"] is None else _DAYS.index(said["day"])
        begun = sorted(done.get(name, ()), key=lambda one: (one.began_at, one.execution_id))
        for due_at in _due(evidence.plan, weekday, int(said["hour"]), int(said["minute"])):
            until_at = due_at + WITHIN_MS
            one = next((one for one in begun if due_at <= one.began_at <= until_at), None)
            if one is not None:
                begun.remove(one)
            if until_at >= evidence.plan.recovery_until_at:
                continue  # The run may end before it does.
            found.owed += 1
            problem = _problem(name, one, record.get(one.execution_id) if one else None, due_at, until_at)
            if problem:
                found.breaks(f"{name}, due {instant(due_at)}: {problem}", f"runbooks/{name}", until_at)
            else:
                found.saw += 1
        ordered = {drill.id for drill in evidence.plan.drills}
        for one in [one for one in begun if one.incident not in ordered]:
            found.breaks(
                f"{one.principal} carried out {name} when it was not due",
                f"runbook_executions/{one.execution_id}", one.began_at,
            )  # fmt: skip
    return found


def _problem(
    name: str, one: _Done | None, row: tuple[str, str, str, int, int | None] | None, due_at: int, until_at: int
) -> str | None:
    """What is wrong with the one execution of a procedure that was due, if anything is."""
    late = f"within {duration(WITHIN_MS)}"
    if one is None:
        return f"nobody began it {late}"
    if one.ended_at is None:
        return f"{one.principal} began it {instant(one.began_at)} and did not complete it"
    if one.ended_at > until_at:
        return f"{one.principal} completed it {instant(one.ended_at)}, not {late}"
    if row is None:
        return "the platform has no record of it"
    runbook, by, status, start_at, end_at = row
    if (runbook, by, status) != (name, one.principal, "completed"):
        return f"the platform's record says that {by} has {status} {runbook}"
    if start_at < due_at or end_at is None or end_at > until_at:
        return f"the platform's record has it from {instant(start_at)} to {instant(end_at)}, not {late}"
    return None


def _notebook(evidence: Evidence) -> dict[str, list[_Done]]:
    """The executions of each runbook."""
    began: dict[str, tuple[str, str, str, int]] = {}
    ended: dict[str, int] = {}
    for at, principal, action, incident, runbook, execution_id in evidence.rows(
        "operator.notebook", "at", "principal", "action", "incident", "runbook", "execution_id"
    ):
        if action == "started":
            began.setdefault(execution_id, (runbook, incident, principal, at))
        elif action == "completed":
            ended[execution_id] = at
    done: dict[str, list[_Done]] = defaultdict(list)
    for execution_id, (runbook, incident, principal, at) in began.items():
        done[runbook].append(_Done(execution_id, incident, principal, at, ended.get(execution_id)))
    return done


def _due(plan: Plan, weekday: int | None, hour: int, minute: int) -> Iterator[int]:
    """Every instant (ms) of the run, recovery included, at which it was that time on that day of the week."""
    at = datetime.fromtimestamp(plan.starts_at / 1_000, UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
    while (ms := int(at.timestamp()) * 1_000) < plan.recovery_until_at:
        if ms >= plan.starts_at and weekday in (None, at.weekday()):
            yield ms
        at += timedelta(days=1)
