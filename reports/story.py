"""What the first screen says: the verdict, the first broken promise, what was going on then, what was not exercised.

Invariant: it repeats the judge's verdict and the books' facts; it judges nothing itself.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import facts
from assertions.model import Broken, Result, Status
from assertions.windows import Span, spans
from evidence.layout import JOURNAL, PLAN
from reports import words
from reports.attended import Attended, attended
from reports.lab import Lab, lab_of

if TYPE_CHECKING:
    from assertions.judge import FirstBroken, Verdict
    from evidence.halts import Halt
    from evidence.plan import FaultPlan, Plan
    from evidence.run import Evidence

SYMBOLS = {Status.PASS: "✓", Status.FAIL: "✕", Status.INCONCLUSIVE: "?", Status.NOT_APPLICABLE: "–"}
WORDS = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.INCONCLUSIVE: "inconclusive",
    Status.NOT_APPLICABLE: "not applicable",
}
_BAD_FIRST = {Status.FAIL: 0, Status.INCONCLUSIVE: 1, Status.PASS: 2, Status.NOT_APPLICABLE: 3}


class Bite(NamedTuple):
    """A row of the injector's book."""

    at: int
    seam: str
    operation: str
    entity: str
    effect: str
    victim: str


class FaultStory(NamedTuple):
    """A fault as planned, the bites that the injector recorded, and when it was at work (None: it never was).
    `number` is its short name in pictures: F1, F2, …"""

    number: int
    plan: FaultPlan
    bites: list[Bite]
    span: Span | None

    @property
    def label(self) -> str:
        return f"F{self.number}"

    @property
    def window(self) -> tuple[int, int] | None:
        """The planned [from, until) of an outage; None for a fault that binds to an occurrence."""
        from_at, until_at = self.plan.from_at, self.plan.until_at
        return None if from_at is None or until_at is None else (from_at, until_at)

    def recovery(self) -> str:
        planned = self.plan.recovery
        if planned.by == "none":
            return "none: a violation, to be caught"
        return f"by {planned.by}, within {words.duration(planned.within_s * 1000)}: {planned.how}"


class Step(NamedTuple):
    """A runbook step that was being executed: a remediation order of the healing engine, from its issue to its end."""

    order_id: str
    runbook_id: str
    rule_id: str
    host: str
    status: str
    from_at: int
    until_at: int | None

    def words(self) -> str:
        rule = f"rule {self.rule_id}, " if self.rule_id else ""
        return f"{self.runbook_id or 'no runbook'} on {self.host} ({rule}order {self.order_id}, {self.status})"


class Story(NamedTuple):
    plan: Plan
    verdict: Verdict
    results: list[Result]
    """FAIL first, then INCONCLUSIVE, PASS, NOT_APPLICABLE; the judge's order within each."""
    faults: list[FaultStory]
    steps: list[Step]
    attended: Attended
    """What ops did; of a run with nobody on call nothing."""
    lab: Lab
    """What became of hosts that drifted; of a run without nothing."""
    halt: Halt | None
    """Why the run was ended before its time, if it was."""
    end_at: int
    """The last instant of the run that anybody recorded."""
    events: int
    """How many lines the journal has."""
    digest: str
    """SHA-256 over the canonical plan and the journal: what a replay must reproduce."""
    defect: str | None
    """The bug that was planted in the platform, if one was."""

    @property
    def status(self) -> Status:
        return self.verdict.status

    @property
    def first(self) -> FirstBroken | None:
        return self.verdict.first_broken

    def broken(self) -> list[tuple[Result, Broken]]:
        """Every broken promise, in simulated time; those without an instant last."""
        pairs = [(result, broken) for result in self.verdict.results for broken in result.broken]
        return sorted(pairs, key=lambda pair: (pair[1].at is None, pair[1].at or 0))

    def of(self, status: Status) -> list[Result]:
        return [result for result in self.results if result.status is status]

    def active_steps(self) -> list[Step]:
        """The runbook steps that were being executed when the first promise broke."""
        at = self.first.at if self.first else None
        if at is None:
            return []
        return [step for step in self.steps if step.from_at <= at and (step.until_at is None or at <= step.until_at)]

    def when(self, at: int | None) -> str:
        return words.instant(at, self.plan.starts_at)

    def fault_sentence(self) -> str:
        """Which fault was active at the first broken promise, in words that also fit where none was."""
        first = self.first
        if first is None:
            return "none"
        labels = {fault.plan.id: fault.label for fault in self.faults}
        active = "; ".join(f"{labels.get(fault.fault_id, '')} {fault.title}".strip() for fault in first.active_faults)
        if first.at is None:
            return f"not known, no book says when it broke; at work in this run: {active or 'none'}"
        if active:
            return active
        before = [fault for fault in self.faults if fault.span is not None and fault.span.until_at <= first.at]
        if not before:
            return "none so far"
        last = max(before, key=lambda fault: (fault.span.until_at if fault.span else 0, -fault.number))
        earlier = words.duration(first.at - last.span.until_at) if last.span else ""
        return f"none; the last was {last.label} {last.plan.title}, over {earlier} earlier"

    def risk_sentence(self) -> str:
        """The money at risk by the first broken promise; a larger sum that another puts at risk is named too. They are
        not added up: one missing sum breaks several promises."""
        if self.first is None:
            return "none"
        own = self.first.money_cents
        most = max((broken.money_cents for _, broken in self.broken()), default=own)
        if most <= own:
            return words.dollars(own)
        return f"{words.dollars(own)} by this alone, up to {words.dollars(most)} by another breach"

    def step_sentence(self) -> str:
        """Which runbook step was active at the first broken promise."""
        if self.first is None:
            return "none"
        if self.first.at is None:
            return "not known, no book says when it broke"
        active = [step.words() for step in self.active_steps()] + self.attended.during(self.first.at)
        return "; ".join(active) or "none was being executed"


def tell(evidence: Evidence, verdict: Verdict, defect: str | None = None) -> Story:
    """Read what the first screen needs. Cost grows with the number of bites and orders, not with that of entries.
    `defect` is what the manifest states or is going to: the story may be told before that is written."""
    plan = evidence.plan
    bites: dict[str, list[Bite]] = {}
    columns = ("fault_id", "at", "seam", "operation", "entity", "effect", "victim")
    for fault_id, *rest in evidence.rows("injector.bites", *columns):
        bites.setdefault(fault_id, []).append(Bite(*rest))
    acted = [(fault_id, bite.at) for fault_id, found in bites.items() for bite in found]
    at_work = {span.fault_id: span for span in spans(plan.faults, acted)}
    columns = ("order_id", "runbook_id", "rule_id", "host", "status", "issued_at", "finished_at")
    return Story(
        plan,
        verdict,
        sorted(verdict.results, key=lambda result: _BAD_FIRST[result.status]),
        [
            FaultStory(number, fault, bites.get(fault.id, []), at_work.get(fault.id))
            for number, fault in enumerate(plan.faults, 1)
        ],
        [Step(*row) for row in evidence.rows("platform.remediation_orders", *columns)],
        attended(evidence, facts(evidence).ended_at),
        lab_of(evidence),
        evidence.halt,
        facts(evidence).ended_at,
        len(facts(evidence).event_instants),
        _digest(evidence),
        defect,
    )


def _digest(evidence: Evidence) -> str:
    """Worked out anew: reports are written before the manifest is."""
    digest = sha256()
    for name in (PLAN, JOURNAL):
        with (evidence.path / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def why_not_exercised(result: Result) -> str:
    """Why a result is INCONCLUSIVE or NOT_APPLICABLE, in words."""
    if result.status is Status.NOT_APPLICABLE:
        return f"nothing owed, no {result.unit} seen"
    reasons = list(result.missing)
    if result.saw < result.owed:
        reasons.insert(0, f"saw {result.saw:,} of {result.owed:,} {result.unit} owed")
    return "; ".join(reasons)


def headline(story: Story) -> str:
    """The verdict in one sentence; of a run that was halted, first why, and before all what was planted."""
    said = _verdict(story)
    if story.halt is not None:
        said = f"Halted by the anomaly guard on {story.when(story.halt.at)}: {story.halt.sentence()}. {said}"
    return said if story.defect is None else f"With the defect {story.defect} planted, so evidence of nothing: {said}"


def _verdict(story: Story) -> str:
    judged = [result for result in story.results if result.status is not Status.NOT_APPLICABLE]
    failed, unsure = len(story.of(Status.FAIL)), len(story.of(Status.INCONCLUSIVE))
    if story.status is Status.FAIL:
        return f"{failed:,} of {words.plural(len(judged), 'promise')} broken."
    if story.status is Status.INCONCLUSIVE:
        if not judged:
            return "Nothing was exercised, so nothing is proven."
        if not unsure:
            return f"Nothing had broken of {words.plural(len(judged), 'promise')}, and the rest of the run is missing."
        return f"Nothing broke, but {unsure:,} of {words.plural(len(judged), 'promise')} could not be proven."
    return f"All {words.plural(len(judged), 'promise')} kept."
