"""The decision: every criterion of a policy held against the runs, and what is put off held against the date.

Invariant: CLOSE means that nothing stands in the way; what nobody exercised stands in the way.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from fnmatch import fnmatchcase

from closure.decision import Blocker, Decision, Deferral, Outcome, Proof
from closure.house import House
from closure.policy import Criterion, Policy, RunSet
from closure.proofs import shown
from closure.runs import Run

CODE, ALL = "same_code", "all"
"""The id and the phase of the blocker that says that the runs are of different code."""


def decide(policy: Policy, runs: Sequence[Run], house: House, today: datetime.date) -> Decision:
    """What the policy says of the runs. They have been verified (see `closure.runs.opened`)."""
    blockers: list[Blocker] = []
    proofs: list[Proof] = []
    deferrals: list[Deferral] = []
    if policy.model.same_code:
        blockers += _code(runs)
    for phase, criterion in policy.criteria():
        found, lacking = _held(criterion, policy, runs, house)
        deferred = criterion.deferred
        if found is not None and not lacking:
            proofs.append(Proof(criterion.id, phase, criterion.claim, *found))
        elif deferred is None:
            blockers += [Blocker(criterion.id, phase, missing, where) for missing, where in lacking]
        elif deferred.until < today:
            missing = f"was put off until {deferred.until} ({deferred.reason}), and is not proven"
            blockers.append(Blocker(criterion.id, phase, missing, f"{policy.path.name}: {criterion.id}"))
        else:
            deferrals.append(
                Deferral(criterion.id, phase, criterion.claim, deferred.reason, deferred.by, str(deferred.until))
            )
    return Decision(
        Outcome.HOLD if blockers else Outcome.CLOSE,
        policy.model.name,
        policy.sha256,
        tuple(run.used() for run in runs),
        tuple(dict.fromkeys(blockers)),
        tuple(proofs),
        tuple(deferrals),
    )


def _held(
    criterion: Criterion, policy: Policy, runs: Sequence[Run], house: House
) -> tuple[tuple[int, str, str] | None, list[tuple[str, str]]]:
    """What proves a criterion (how much, in which unit, where), or what it lacks. None and nothing: it names no
    evidence."""
    if not criterion.proves:
        return None, []
    chosen: list[Run] = []
    absent: list[tuple[str, str]] = []
    for name in criterion.in_ if criterion.looks_at_runs else ():
        wanted = policy.model.sets[name]
        for pattern in wanted.scenarios:
            some = [run for run in runs if _is_of(run, pattern, wanted)]
            chosen += [run for run in some if run not in chosen]
            if not some:
                bearing = f" with the fingerprint {wanted.fingerprint}" if wanted.fingerprint else ""
                absent.append((f"no run of {pattern}{bearing} was given", f"{policy.path.name}: sets"))
    if absent:
        return None, absent
    all_shown = shown(criterion, chosen, house)
    lacks = [(lack.missing, lack.where) for one in all_shown for lack in one.lacks]
    best = max(all_shown, key=lambda one: one.saw)
    return (best.saw, best.unit, "; ".join(dict.fromkeys(one.where for one in all_shown))), lacks


def _is_of(run: Run, pattern: str, wanted: RunSet) -> bool:
    bears = wanted.fingerprint is None or wanted.fingerprint in run.manifest.fingerprints
    return bears and fnmatchcase(run.scenario, pattern)


def _code(runs: Sequence[Run]) -> list[Blocker]:
    of_code: dict[str, list[Run]] = {}
    for run in runs:
        of_code.setdefault(run.code, []).append(run)
    if len(of_code) < 2:
        return []
    told = "; ".join(f"{code[:12]}…: {len(some)} of {len(runs)} runs" for code, some in of_code.items())
    few = min(of_code.values(), key=len)
    return [
        Blocker(CODE, ALL, f"the runs are of {len(of_code)} different codes: {told}", f"{few[0].path}/manifest.json")
    ]
