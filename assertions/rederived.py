"""The verdict derived again from the evidence of a run, beside the one that its verdict.json states.

What the same assertions would not have said was not written by them: that is a problem, whoever put every hash right.
What other assertions say otherwise is news. Whatever judged, a verdict that contradicts itself is a problem.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from assertions.judge import Verdict, judge
from assertions.model import Finding, Result, Status, merge, status_of
from evidence.layout import VERDICT
from evidence.run import Evidence
from evidence.verify import Problem, is_plain, printable


@dataclass(slots=True)
class Rederived:
    """`problems`: the verdict is not what its assertions say of this evidence. `news`: other assertions say otherwise,
    each with its id in `where`."""

    problems: list[Problem] = field(default_factory=list)
    news: list[Problem] = field(default_factory=list)


def rederive(run_dir: Path, code: str) -> Rederived:
    """Judge a run, whose evidence can be read, and compare. `code` is the fingerprint of the code that runs: the same
    as the run's, and every result has to be the same. Raises nothing that the evidence could bring about."""
    found = Rederived()
    try:
        stated = _stated(run_dir)
    except Exception as error:  # Whatever stands there, it is told and not raised.
        found.problems.append(_problem("", f"is no verdict: {error}"))
        return found
    evidence = Evidence.open(run_dir)
    try:
        derived = judge(evidence)
    except Exception as error:  # A plan of somebody's own making may be one that nothing follows from.
        found.problems.append(_problem("", f"cannot be derived again: {type(error).__name__}: {error}"))
        return found
    contradictions = list(_contradictions(stated, derived))
    found.problems += contradictions
    judged_by = evidence.manifest.fingerprints.get("code", "")
    if judged_by == code:
        found.problems += _differences(stated, derived) or ([] if contradictions else _of_the_whole(stated, derived))
    else:
        whose = f"code {judged_by[:12]}…, this is {code[:12]}…"
        found.news += [_problem("", f"was judged by other assertions ({whose})"), *_news(stated, derived)]
    return found


def _stated(run_dir: Path) -> Verdict:
    """Raises ValueError, and whatever else reading a verdict that is none brings about."""
    path = run_dir / VERDICT
    if not is_plain(path):
        raise ValueError("it is missing" if not path.is_symlink() and not path.exists() else "it is not a plain file")
    raw = path.read_bytes()
    verdict = Verdict.from_json(raw)
    if verdict.to_json().encode() != raw:
        raise ValueError("it is not laid out as it was written")
    for result in verdict.results:
        if not (isinstance(result.id, str) and isinstance(result.saw, int) and isinstance(result.owed, int)):
            raise ValueError(f"its result {result.id!r} has values of another kind")
    return verdict


def _contradictions(stated: Verdict, derived: Verdict) -> list[Problem]:
    """What no assertions at all can have said: it does not follow from the file itself, or is about another plan."""
    problems = []
    for name in ("scenario", "seed", "plan_sha256"):
        said, is_so = getattr(stated, name), getattr(derived, name)
        if said != is_so:
            problems.append(_problem(name, f"says {said}, the plan makes {is_so}"))
    for result in stated.results:
        follows = status_of(Finding(result.unit, result.saw, result.owed, list(result.broken), list(result.missing)))
        # What an older version lacked is missing from what did not apply to it either.
        if result.status is Status.NOT_APPLICABLE and not (result.saw or result.owed or result.broken):
            continue
        if result.status is not follows:
            problems.append(
                _problem(result.id, f"says {result.status.value}, by its own findings it is {follows.value}")
            )
    merged = merge([result.status for result in stated.results])
    if stated.status is not merged:
        problems.append(_problem("status", f"says {stated.status.value}, its results merge to {merged.value}"))
    first, broken = stated.first_broken, [(one.id, each.message) for one in stated.results for each in one.broken]
    if (first is None) != (not broken) or (first is not None and (first.assertion, first.message) not in broken):
        problems.append(_problem("first_broken", "is not among the broken promises of its results"))
    return problems


def _news(stated: Verdict, derived: Verdict) -> list[Problem]:
    """What today's assertions come to otherwise, by status: how much each saw, and in which words, is theirs to say."""
    said = {result.id: result for result in stated.results}
    both = [(said[result.id], result) for result in derived.results if result.id in said]
    changed = [(before, result) for before, result in both if before.status is not result.status]
    news = [_problem(result.id, f"was {_told(before)}, is {_told(result)} today") for before, result in changed]
    added = Counter(result.status.value for result in derived.results if result.id not in said)
    if added:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(added.items()))
        news.append(_problem("", f"says nothing of {added.total()} assertions that there are today: {counts}"))
    gone = sorted(said.keys() - {result.id for result in derived.results})
    if gone:
        news.append(_problem("", f"speaks of assertions that there are no more: {', '.join(gone)}"))
    if stated.status is not derived.status:
        news.append(_problem("status", f"was {stated.status.value}, is {derived.status.value} today"))
    return news


def _differences(stated: Verdict, derived: Verdict) -> list[Problem]:
    """Each result that differs, in the order of the derived verdict."""
    said = {result.id: result for result in stated.results}
    problems = []
    for result in derived.results:
        before = said.pop(result.id, None)
        if before is None:
            problems.append(_problem(result.id, f"says nothing of it, the evidence makes {_told(result)}"))
        elif before != result:
            problems.append(_problem(result.id, _difference(before, result)))
    return problems + [
        _problem(id, f"says {_told(result)}, and there is no such assertion") for id, result in said.items()
    ]


def _of_the_whole(stated: Verdict, derived: Verdict) -> list[Problem]:
    """The first field that differs though every result is the same."""
    names = ("status", "first_broken", "not_exercised", "results")
    return [
        _problem(name, f"says {getattr(stated, name)}, the evidence makes {getattr(derived, name)}")
        for name in names
        if getattr(stated, name) != getattr(derived, name)
    ][:1]


def _difference(before: Result, result: Result) -> str:
    if before.status is not result.status:
        return f"says {_told(before)}, the evidence makes {_told(result)}"
    names = ("saw", "owed", "broken", "missing", "unit", "claim", "kind", "family")
    name = next(name for name in names if getattr(before, name) != getattr(result, name))
    was, now = getattr(before, name), getattr(result, name)
    if isinstance(was, tuple) and isinstance(now, tuple):
        shared = min(len(was), len(now))
        place = next((place for place in range(shared) if was[place] != now[place]), shared)
        was, now = (_told_one(side[place]) if place < len(side) else "none" for side in (was, now))
        name = f"{name} {place + 1}"
    return f"says {result.status.value}, {name}: {was}; the evidence makes {now}"


def _told(result: Result) -> str:
    why = [one.message for one in result.broken[:1]] or list(result.missing[:1])
    if result.status is Status.INCONCLUSIVE and not why:
        why = [f"saw {result.saw} of {result.owed} {result.unit}"]
    return result.status.value + (f" ({why[0]})" if why else "")


def _told_one(item: object) -> str:
    return str(getattr(item, "message", item))


def _problem(where: str, message: str) -> Problem:
    return Problem(VERDICT, printable(where), printable(message))
