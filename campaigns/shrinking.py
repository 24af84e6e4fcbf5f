"""Shrinks a failing plan: to the fewest faults, contests, days and people and the simplest parameters that fail alike.

Invariant: the best plan so far was run, and its first broken promise has the fingerprint of the run it all began with.
A plan that fails otherwise is rejected and counted, however small it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from campaigns import passes
from campaigns.minimal import minimal
from campaigns.trial import Fingerprint, Trial, TrialFailed
from campaigns.tries import Tries
from evidence.plan import Plan
from reports.words import plural

RUNS, SECONDS = 200, 300
_FIRST_S = 900
"""How long the plan as it is may take, a process started for it included: as long as a run may by default."""
_PATIENCE = 10
"""A plan that takes so many times as long as the first, which was larger, hangs."""
_STEPS = 4
"""Trials at most to make one number smaller, the least that it may be included."""

Item = TypeVar("Item")


class NotTheSame(Exception):
    """The plan to be shrunk does not fail now as it is recorded to have failed. `trial`: what it comes to now."""

    def __init__(self, target: Fingerprint, trial: Trial) -> None:
        super().__init__(target, trial)
        self.target, self.trial = target, trial


class _BudgetSpent(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Size:
    """How large a plan is, and its run."""

    faults: int
    contests: int
    people: int
    days: int
    events: int

    @classmethod
    def of(cls, plan: Plan, trial: Trial) -> Size:
        return cls(len(plan.faults), len(plan.contests), len(plan.entrants), passes.days(plan), trial.events)


@dataclass(frozen=True, slots=True)
class Suspects:
    """What is likely to be needed. `faults`: ids of those at work when the promise broke. `subject`: what broke, and
    what was said of it: ids of contests and customers stand in it."""

    faults: Collection[str] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a shrinking may cost: runs, and seconds of waiting for those after the first."""

    runs: int = RUNS
    seconds: float = SECONDS


@dataclass(slots=True)
class Shrunk:
    """How far it has come. `other`: runs that failed otherwise, by what broke first in them. `unfit`: how many made no
    trial at all. `ended_by`: why it was given up before nothing more could be left out, "" if it was not."""

    target: Fingerprint
    before: Size
    plan: Plan
    trial: Trial
    runs: int = 0
    passing: int = 0
    unfit: int = 0
    other: dict[str, int] = field(default_factory=dict)
    ended_by: str = ""
    was_stopped: bool = False
    """By Ctrl-C."""

    @property
    def after(self) -> Size:
        return Size.of(self.plan, self.trial)


Told = Callable[[str, Shrunk], None]
"""Called before each run, with what is being left out."""


def shrink(
    plan: Plan,
    target: Fingerprint,
    tries: Tries,
    suspects: Suspects = Suspects(),
    budget: Budget = Budget(),
    told: Told = lambda *_: None,
) -> Shrunk:
    """The smallest plan found that breaks `target` first, as `plan` does. Ctrl-C ends it with the best so far.

    Raises NotTheSame, and TrialFailed for a plan that makes no trial."""
    asked = time.monotonic()
    trial = tries(plan, _FIRST_S)
    if trial.first != target:
        raise NotTheSame(target, trial)
    begun = time.monotonic()
    took_s = begun - asked
    shrunk = Shrunk(target, Size.of(plan, trial), plan, trial, runs=1)
    shrinking = _Shrinking(shrunk, tries, suspects, budget, begun, took_s * _PATIENCE + 10, told)
    try:
        shrinking.until_nothing_changes()
    except _BudgetSpent as spent:
        shrunk.ended_by = str(spent)
    except KeyboardInterrupt:
        shrunk.ended_by, shrunk.was_stopped = "Ctrl-C stopped it", True
    return shrunk


class _Shrinking:
    def __init__(
        self,
        shrunk: Shrunk,
        tries: Tries,
        suspects: Suspects,
        budget: Budget,
        begun: float,
        patience_s: float,
        told: Told,
    ) -> None:
        self.shrunk, self.tries, self.suspects, self.budget = shrunk, tries, suspects, budget
        self.begun, self.patience_s, self.told = begun, patience_s, told
        self.seen = {shrunk.plan.sha256(): True}
        self.what = ""

    @property
    def plan(self) -> Plan:
        return self.shrunk.plan

    def until_nothing_changes(self) -> None:
        """Fewer faults first; what is smaller for another reason may need fewer still."""
        before = ""
        while before != (before := self.plan.sha256()):
            for what, leave_out in _PASSES:
                self.what = what
                leave_out(self)

    # --- is it still the same failure? ------------------------------------------------------------------------------

    def fails(self, candidate: Plan) -> bool:
        """Whether `candidate` is a plan, and breaks what the first did. It is the best so far then, unless a larger one
        was asked about again."""
        key = candidate.sha256()
        if key not in self.seen:
            self.seen[key] = not passes.unsound(candidate) and self._run(candidate)
        return self.seen[key]

    def _run(self, candidate: Plan) -> bool:
        shrunk = self.shrunk
        left_s = self.budget.seconds - (time.monotonic() - self.begun)
        if shrunk.runs >= self.budget.runs:
            raise _BudgetSpent(f"the budget of {plural(self.budget.runs, 'run')} ended")
        if left_s <= 0:
            raise _BudgetSpent(f"the budget of {self.budget.seconds:g} s ended")
        self.told(self.what, shrunk)
        shrunk.runs += 1
        try:
            trial = self.tries(candidate, min(left_s, self.patience_s))
        except TrialFailed:
            shrunk.unfit += 1
            return False
        if trial.first == shrunk.target:
            shrunk.plan, shrunk.trial = candidate, trial
            return True
        if trial.first is None:
            shrunk.passing += 1
        else:
            shrunk.other[str(trial.first)] = shrunk.other.get(str(trial.first), 0) + 1
        return False

    # --- passes -----------------------------------------------------------------------------------------------------

    def fewest(self, items: Sequence[Item], made: Callable[[Collection[Item]], Plan]) -> None:
        """Keep as few of `items`, the likeliest first, as it takes. `made`: the plan with only some of them."""
        minimal(items, lambda kept: self.fails(made(kept)))

    def faults(self) -> None:
        """With what each was planned as an occasion of, first; then one by one."""
        plan = self.plan
        whole = list(dict.fromkeys(map(passes.belongs_to, plan.faults)))
        suspected = {fault_id.partition("/")[0] for fault_id in self.suspects.faults}
        near = {passes.belongs_to(fault) for fault in plan.faults if passes.named(fault) & self._spoken_of()}
        whole.sort(key=lambda each: (each not in suspected, each not in near))

        def of(kept: Collection[str]) -> Plan:
            return passes.with_faults(plan, [fault.id for fault in plan.faults if passes.belongs_to(fault) in kept])

        self.fewest(whole, of)
        left = self.plan
        if len(left.faults) > len({passes.belongs_to(fault) for fault in left.faults}):
            self.fewest([fault.id for fault in left.faults], lambda kept: passes.with_faults(left, kept))

    def contests(self) -> None:
        plan = self.plan
        needed = self._spoken_of().union(*map(passes.named, plan.faults))
        ids = sorted((contest.id for contest in plan.contests), key=lambda id: id not in needed)
        self.fewest(ids, lambda kept: passes.with_contests(plan, kept))

    def people(self) -> None:
        plan = self.plan
        spoken, bound = self._spoken_of(), set().union(*map(passes.named, plan.faults))
        ids = [entrant.id for entrant in plan.entrants]
        enters = {entry.user_id for entry in plan.entries}
        ids.sort(key=lambda id: (id not in bound, id not in spoken, id not in enters))
        self.fewest(ids, lambda kept: passes.with_people(plan, kept))

    def days(self) -> None:
        """As many as the calendar of what is left needs; if that will not do, at either end by itself."""
        first, until = passes.least_days(self.plan)
        last = passes.days(self.plan)
        for begins, ends in ((first, until), (0, until), (first, last)):
            if self.fails(passes.with_days(self.plan, begins, ends)):
                return

    def parameters(self) -> None:
        for fault_id, what in list(passes.simpler(self.plan)):
            least, value = passes.bounds(self.plan, fault_id, what)
            tried = least
            for _ in range(_STEPS):
                if tried >= value:
                    break
                if self.fails(passes.set_to(self.plan, fault_id, what, tried)):
                    value = tried
                else:
                    least = tried
                tried = (least + value) // 2
                if tried == least:
                    break

    def _spoken_of(self) -> set[str]:
        """The contests and customers that are named where the promise broke."""
        told = self.suspects.subject
        ids = [contest.id for contest in self.plan.contests] + [entrant.id for entrant in self.plan.entrants]
        return {id for id in ids if id in told}


_PASSES: tuple[tuple[str, Callable[[_Shrinking], None]], ...] = (
    ("faults", _Shrinking.faults),
    ("contests", _Shrinking.contests),
    ("days", _Shrinking.days),
    ("people", _Shrinking.people),
    ("parameters", _Shrinking.parameters),
)
"""In the order in which they are worth most: each makes the runs of the next cheaper, too."""
