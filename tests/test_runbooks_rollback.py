"""Every runbook fails at every step of it in turn, and leaves the platform as it found it.

Each is first carried out to its end on a platform that works. Then, on the same platform with its daemons asleep, one
step after the other is answered wrongly, whether or not it was carried out. Whoever looks is told what he saw the first
time; whatever acts, acts. So whatever differs in the end was done by ops and not taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from absence.opsctl_commands import known_commands
from contest_platform import opsctl
from operations.runbooks import Alert, Outcome, Output, Runbook, execute
from operations.runbooks.commands import effect
from operations.runbooks.document import ROLLBACK
from simulator.operations import shipped
from tests.support.at_work import CASES, Case
from tests.support.runbooks import finish
from tests.support.tried import Tried, tables

LIBRARY: Mapping[str, Runbook] = {one.id.text: one for one in shipped().runbooks.values()}
WITH_ROLLBACK = sorted(name for name, one in LIBRARY.items() if one.section(ROLLBACK) is not None)
WRONG = Output(9, "error: this is not what anybody expected\n")
Told = dict[str, list[Output]]

Difference = tuple[str, str]
"""(table, column), (table, "+") where rows were added and the others are as they were, (table, "-") for anything else;
("checkpoints", name), ("state", what `opsctl state` says), ("setting", name)."""
ASKED = {
    "payments reconcile": {("checkpoints", "payments.asked")},
    "ingestion poll": {("checkpoints", "ingestion.asked")},
    "backup create": {("backups", "+")},
    "scores replay": {("score_audits", "+"), ("hole_scores", "strokes"), ("hole_scores", "-")},
    "quarantine resolve": {("quarantine_resolutions", "+"), ("state", "quarantine_open")},
    "orders issue": {("remediation_orders", "+"), ("state", "orders_open")},
    "settlement backfill": {("outcome_pack_links", "+")},
    "settlement rerun": {("contests", "status"), ("contests", "error_code"), ("state", "contests_error"),
                         ("state", "contests_complete")},
}  # fmt: skip
"""What is left of a command that has the platform do now what it would do by itself: that it was asked to, or that it
has been done."""
TAKEN_FURTHER = {
    "contests lock": {("contests", "status"), ("state", "contests_locked"), ("state", "contests_scheduled"),
                      ("ledger_transactions", "+"), ("ledger_postings", "+")},
}  # fmt: skip
"""A lock is not taken back, and the documents say so: its time had come, and entries made after it must not count."""
LEFT: Mapping[str, set[Difference]] = {**ASKED, **TAKEN_FURTHER}


def carry_out(name: str, case: Case, control: Tried) -> Outcome:
    runbook = LIBRARY[name]
    alert = Alert(runbook.alerts[0].text, case.labels, control.now()) if runbook.alerts else None
    return finish(execute(runbook, alert, control))


@cache
def to_the_end(name: str, number: int) -> tuple[Told, list[str]]:
    """What each step was answered, in order, and the steps in the order in which they were first taken."""
    case = CASES[name][number]
    control = case.begin()
    outcome = carry_out(name, case, control)
    assert outcome.status == "completed", outcome.escalation and outcome.escalation.reason
    told: Told = {}
    for record in outcome.records:
        if record.status is not None:
            told.setdefault(f"{record.section}/{record.number}", []).append(Output(record.status, record.output))
    return told, list(told)


@dataclass
class Failing(Tried):
    """`told`: what those steps that come before `wrong` are answered. From `wrong` on nobody is told anything but how
    it is. `done`: `wrong` is carried out all the same."""

    told: Told = field(default_factory=dict)
    wrong: str = ""
    done: bool = False
    failed: bool = False
    acted: list[Sequence[str]] = field(default_factory=list)

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        if step.startswith(f"{ROLLBACK}/"):
            return await super().send(execution_id, step, argv, timeout_s)
        if step != self.wrong or (self.done and not self.failed):
            await self._carried_out(execution_id, step, argv, timeout_s)
        if step == self.wrong:
            self.failed = True
            return WRONG
        answers = self.told[step]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def _carried_out(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> None:
        spec = next(spec for words, spec in known_commands().items() if tuple(argv[: len(words)]) == words)
        if spec.effect != "reads" and "--dry-run" not in argv:
            self.acted.append(argv)
            await super().send(execution_id, step, argv, timeout_s)


def kept(control: Tried) -> dict[str, Any]:
    """The platform as it is: its rows, what it says of its state, and the configuration that it has and runs with."""
    rows = tables(control.world)
    del rows["config_versions"]  # each change is a version more: what counts is what is in force
    shown = finish(opsctl.run(["config", "show"], control.world.app.handle, control.world.headers())).text
    settings = {line.split()[0]: line for line in shown.splitlines()[1:]}
    return {**rows, "state": dict(finish(control.state())), "setting": settings}


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for name, was in before.items():
        now = after[name]
        if name in ("state", "setting"):
            yield from ((name, key) for key in was if now.get(key) != was[key])
        elif name == "checkpoints":
            yield from ((name, row["name"].partition(":")[0]) for row in (*was, *now) if (row in was) != (row in now))
        elif len(now) == len(was):
            yield from ((name, column) for old, new in zip(was, now, strict=True) for column in old
                        if old[column] != new[column])  # fmt: skip
        else:
            yield name, "+" if all(row in now for row in was) else "-"


def failed_at(name: str, number: int, step: str, done: bool) -> tuple[Outcome, set[Difference]]:
    """How it ends, and what is left of it that must not be."""
    case, (told, _) = CASES[name][number], to_the_end(name, number)
    control = Failing(case.begin().world, told={step: [*answers] for step, answers in told.items()}, wrong=step)
    control.done = done
    before = kept(control)
    outcome = carry_out(name, case, control)
    allowed = set().union(*(LEFT.get(" ".join(argv[:2]), set()) for argv in control.acted))
    return outcome, set(differences(before, kept(control))) - allowed


def acts(name: str, step: str) -> bool:
    command = next(one.command for one in LIBRARY[name].steps() if one.id == step)
    return effect(command, known_commands()) != "reads"


def test_every_runbook_with_a_rollback_has_a_world_in_which_it_has_work() -> None:
    """Write one into tests/support/at_work.py for a new runbook: without it, nobody knows whether it can be undone."""
    assert sorted(CASES) == WITH_ROLLBACK


@pytest.mark.parametrize("name", WITH_ROLLBACK)
def test_every_step_of_it_is_taken_in_one_of_its_worlds(name: str) -> None:
    taken = {step for number in range(len(CASES[name])) for step in to_the_end(name, number)[1]}
    assert taken == {step.id for step in LIBRARY[name].path()}


@pytest.mark.parametrize("name", WITH_ROLLBACK)
def test_whichever_step_fails_the_platform_is_as_it_was(name: str) -> None:
    left: dict[str, set[Difference]] = {}
    for number in range(len(CASES[name])):
        for step in to_the_end(name, number)[1]:
            for done in (False, True) if acts(name, step) else (False,):
                outcome, found = failed_at(name, number, step, done)
                where = f"{name} {step}, {'done' if done else 'not done'}, case {number}"
                assert outcome.status == "failed", where
                assert outcome.escalation is not None
                assert outcome.escalation.failed_step == step, where
                assert outcome.escalation.rolled_back, f"{where}: {outcome.escalation.reason}"
                if found:
                    left[where] = found
    assert left == {}


@pytest.mark.parametrize(
    ("name", "step"),
    [("configuration_change", "Steps/4"), ("emergency_rollback", "Steps/3"), ("payout_transfer_failed", "Recovery/2")],
)
def test_without_its_rollback_it_would_not_be(name: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is what a Rollback is for."""
    assert failed_at(name, 0, step, False)[1] == set()
    whole = LIBRARY[name]
    bare = tuple(replace(one, steps=()) if one.name == ROLLBACK else one for one in whole.sections)
    monkeypatch.setitem(LIBRARY, name, replace(whole, sections=bare))  # type: ignore[arg-type]
    assert failed_at(name, 0, step, False)[1]
