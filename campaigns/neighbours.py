"""The nearest plan that passes, of one that fails: what is different between the two is what it takes to fail.

Nearest first: the plan without one of its faults, those first that were at work when the promise broke; without any;
then the next seeds of its scenario. The first that passes is the neighbour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from assertions.model import Status
from campaigns.scratch import Scratch, run_in_scratch
from evidence.plan import Plan
from scenarios import ScenarioInvalid
from simulator.operations import Operations
from simulator.run import PreflightFailed

SEEDS = 20
"""So many seeds after its own are tried."""


class Candidate(NamedTuple):
    """`how`: what is different in it, in words that go on from "the same plan"."""

    how: str
    plan: Plan


class NoNeighbour(Exception):
    """None of those that were tried passes. `tried` says how each ended."""

    def __init__(self, tried: Sequence[tuple[str, str]], out_of_time: bool) -> None:
        super().__init__(tried, out_of_time)
        self.tried, self.out_of_time = tuple(tried), out_of_time


class OutOfTime(Exception):
    """The candidate that runs is given up: the time is over."""


def candidates(plan: Plan, suspects: Sequence[str], seeds: Callable[[int], Plan] | None) -> Iterator[Candidate]:
    """Every plan that is tried for `plan`, nearest first. `suspects`: ids of its faults that come first. `seeds` plans
    the scenario with a seed, None: the scenario is not known any more."""
    order = sorted(plan.faults, key=lambda fault: suspects.index(fault.id) if fault.id in suspects else len(suspects))
    for out in order:
        rest = [fault for fault in plan.faults if fault.id != out.id]
        yield Candidate(f"without {out.id}", plan.model_copy(update={"faults": rest}))
    if len(plan.faults) > 1:
        yield Candidate("without any fault", plan.model_copy(update={"faults": []}))
    if seeds is not None:
        for seed in range(plan.seed + 1, plan.seed + 1 + SEEDS):
            try:
                planned = seeds(seed)
            except ScenarioInvalid:  # at that seed a fault of the scenario finds nothing to befall
                continue
            yield Candidate(f"with seed {seed}", planned)


@contextmanager
def nearest_passing(
    tries: Iterator[Candidate],
    operations: Operations,
    budget_s: float,
    say: Callable[[str, int], None],
    code_sha256: str,
) -> Iterator[tuple[Candidate, Scratch, tuple[tuple[str, str], ...]]]:
    """The first of `tries` that passes, its run while this is open, and how those before it ended. `say` is told of
    each before it runs. Raises NoNeighbour."""
    until, tried = time.monotonic() + budget_s, list[tuple[str, str]]()

    def watch(done: int, days: int) -> None:
        if time.monotonic() > until:
            raise OutOfTime

    for number, candidate in enumerate(tries, 1):
        say(candidate.how, number)
        try:
            with run_in_scratch(candidate.plan, operations, watch, code_sha256) as run:
                if run.verdict.status is Status.PASS:
                    yield candidate, run, tuple(tried)
                    return
                tried.append((candidate.how, run.verdict.status.value))
        except PreflightFailed:
            tried.append((candidate.how, Status.FAIL.value))
        except OutOfTime:
            raise NoNeighbour(tried, out_of_time=True) from None
    raise NoNeighbour(tried, out_of_time=False)
