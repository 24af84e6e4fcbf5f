"""A fault by itself, on the smallest scenario that it can befall, with or without somebody on call.

Invariant: a run is made by the harness' own pipeline; all that a test may change is which documents are in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assertions.judge import Verdict, judge
from evidence.journal import JournalWriter
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import ScenarioInvalid, load, make_plan
from simulator.onlookers import Onlooker
from simulator.operations import NONE, Operations, in_force, shipped
from simulator.run import simulate
from tests.support.command import CANCELLED, ROOT

SMALL = ROOT / "scenarios" / "small.yaml"
TIED = SMALL.read_text().replace("entrants: {pool: 30", "entrants: {pool: 40") + "    ties: 3\n"
"""Three share the best roster: they win whatever the scores are."""
WORLDS = (SMALL.read_text(), SMALL.read_text() + CANCELLED, TIED)
HOMES = ("webhooks", "operated", "platform", "processor", "provider", "customers", "outage", "default")


@dataclass(frozen=True)
class Run:
    path: Path

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence.open(self.path)

    @cached_property
    def verdict(self) -> Verdict:
        return judge(self.evidence)

    @property
    def status(self) -> str:
        return str(self.verdict.status.value)

    def rows(self, book: str, **where: Any) -> list[Any]:
        return [row for row in self.evidence.records(book) if all(getattr(row, k) == v for k, v in where.items())]

    def broken(self) -> dict[str, list[str]]:
        return {one.id: [each.message for each in one.broken] for one in self.verdict.results if one.broken}


def plan_of(fault: str, folder: Path) -> Plan:
    """The smallest plan that has the fault and no other: a small scenario's, else that of a shipped one, else that of a
    small one with ops on call."""
    for number, world in enumerate(WORLDS):
        path = folder / f"alone{number}.yaml"
        path.write_text(f"{world}\nfaults:\n  - {{fault: {fault}}}\n")
        try:
            return make_plan(load(path), 1)
        except ScenarioInvalid as invalid:
            if any("cannot be bound" not in str(error) for error in invalid.errors):
                raise
    for name in HOMES:
        scenario = load(name)
        if any(one.fault == fault for one in scenario.model.faults):
            return make_plan(scenario.with_faults((fault,)), 1)
    path = folder / "alone_on_call.yaml"
    path.write_text(f"{SMALL.read_text()}\noperations: true\nfaults:\n  - {{fault: {fault}}}\n")
    with suppress(ScenarioInvalid):
        return make_plan(load(path), 1)
    raise AssertionError(f"{fault} bites in no scenario that is known here: add one to tests/support/alone.py")


def on_call(plan: Plan) -> Plan:
    return plan.model_copy(update={"operations": True})


def simulated(
    plan: Plan, folder: Path, operations: Operations | None = None, onlookers: Sequence[Onlooker] = ()
) -> Run:
    """The run of a plan; `operations` in the place of those that are shipped."""
    there = operations or (shipped() if plan.operations else NONE)
    with RunWriter(folder, "run") as writer:
        writer.write_plan(plan)
        for path, content in there.documents.items():
            writer.write(path, content)
        simulate(plan, JournalWriter(writer.journal), writer.books, None, there, onlookers=onlookers)
        writer.seal({"code": "c0de" * 16})
        writer.publish()
    return Run(folder / "run")


def changed(change: Callable[[dict[str, bytes]], Mapping[str, bytes]]) -> Operations:
    """What is shipped, with other documents."""
    return in_force(change({**shipped().documents}))
