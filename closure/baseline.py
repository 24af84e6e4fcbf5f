"""Scores a candidate run against a baseline: figures, and a blocker for each rail that does not hold.

Invariant: equal runs have no blocker, and each thing that changed for the worse is one blocker, its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from closure import admission, counting, timings
from closure.decision import Blocker, Decision, Figure, Outcome
from closure.rails import Counted, Rails, RailsModel
from closure.relaxed import Relaxed, policy_relaxations, relaxations
from closure.runs import Run
from evidence.layout import DECISIONS, LOG

if TYPE_CHECKING:
    from assertions.model import Result

PHASE = "baseline"
DAY_MS = 86_400_000
EXPLAINED = {admission.DUPLICATES_ONLY: (admission.RATIO, admission.RATE, "unchanged.receipts")}
"""Blocker → others that say the same of the same receipts."""
WORSE = {"PASS": (), "NOT_APPLICABLE": ("INCONCLUSIVE", "FAIL"), "INCONCLUSIVE": ("FAIL",), "FAIL": ()}


class NotComparable(Exception):
    """The baseline is another kind of run than the candidate: `differences` says in what."""

    def __init__(self, candidate: Path, baseline: Path, differences: Sequence[str]) -> None:
        super().__init__(candidate, baseline, differences)
        self.candidate, self.baseline, self.differences = candidate, baseline, differences


def decide(candidate: Run, baseline: Run, rails: Rails) -> Decision:
    """UNLOCK or HOLD_REOPEN, with every figure. Raises NotComparable, BookDamaged."""
    check_comparable(candidate, baseline, rails.model)
    found = list(held(candidate, baseline, rails.model))
    blockers = unexplained(found)
    outcome = Outcome.HOLD_REOPEN if blockers else Outcome.UNLOCK
    figures = [figure for one in found for figure in one.figures]
    return Decision(
        outcome, rails.model.name, rails.sha256, [candidate.used()], blockers, baseline=baseline.used(), figures=figures
    )


def check_comparable(candidate: Run, baseline: Run, rails: RailsModel) -> None:
    """Raises NotComparable."""
    if candidate.path.resolve() == baseline.path.resolve():
        raise NotComparable(candidate.path, baseline.path, ["they are one and the same directory"])
    differences = [told for told in _differences(candidate, baseline) if told.split()[0] in rails.comparable]
    if differences:
        raise NotComparable(candidate.path, baseline.path, differences)


def _differences(now: Run, then: Run) -> Iterator[str]:
    """Each begins with what `comparable` calls it."""
    plans = then.plan, now.plan
    facts = {
        "scenario": [plan.scenario for plan in plans],
        "seed": [str(plan.seed) for plan in plans],
        "days": [f"{(plan.absence_until_at - plan.starts_at) / DAY_MS:g}" for plan in plans],
        "plan": [f"{run.evidence.plan_sha256[:12]}…" for run in (then, now)],
    }
    for name, (was, is_now) in facts.items():
        if was != is_now:
            yield f"{name} {was} in the baseline, {is_now} in the candidate"


class Held(NamedTuple):
    """What one rail comes to: its blocker has its id."""

    id: str
    figures: Sequence[Figure]
    blocker: Blocker | None


def held(now: Run, then: Run, rails: RailsModel, within: Collection[str] = ()) -> Iterator[Held]:
    """Every rail, or those whose ids begin with one of `within`. Raises BookDamaged."""
    sections: dict[str, Callable[[], Iterator[Held]]] = {
        "runtime": lambda: _runtime(now, then, rails),
        "admission": lambda: _admission(now, then, rails),
        "unchanged": lambda: _counts("unchanged", rails.unchanged, now, then),
        "must_not_grow": lambda: _counts("must_not_grow", rails.must_not_grow, now, then),
        "verdict": lambda: _verdicts(now, then),
        "relaxed": lambda: _relaxed(now, then, rails),
    }
    for section, rails_of in sections.items():
        if not within or any(id.startswith(f"{section}.") for id in within):
            yield from (one for one in rails_of() if not within or one.id in within)


def unexplained(found: Iterable[Held]) -> list[Blocker]:
    """The blockers, without those that say no more than another does."""
    blockers = [one.blocker for one in found if one.blocker is not None]
    explained = {id for blocker in blockers for id in EXPLAINED.get(blocker.id, ())}
    return [blocker for blocker in blockers if blocker.id not in explained]


def _single(figure: Figure, where: str) -> Held:
    missing = f"{_told(figure.baseline)} → {_told(figure.candidate)}; {figure.rail}"
    return Held(figure.id, [figure], None if figure.holds else Blocker(figure.id, PHASE, missing, where))


def _told(value: object) -> str:
    return "none" if value is None else str(value)


def _runtime(now: Run, then: Run, rails: RailsModel) -> Iterator[Held]:
    if rails.runtime is not None:
        for figure in timings.gate(now.timings, then.timings, rails.runtime):
            yield _single(figure, str(now.path / LOG))


def _admission(now: Run, then: Run, rails: RailsModel) -> Iterator[Held]:
    if rails.admission is not None:
        windows = [admission.window(run, rails.admission) for run in (now, then)]
        for figure in admission.gate(windows[0], windows[1], rails.admission):
            yield _single(figure, f"{now.path}/books/platform.ingestion_receipts.parquet")


def _counts(section: str, rails: dict[str, Counted], now: Run, then: Run) -> Iterator[Held]:
    may_fall = section == "must_not_grow"
    for name, counted in rails.items():
        id = f"{section}.{name}"
        was, is_now = counting.count(then, counted), counting.count(now, counted)
        if counted.verdict:
            was, is_now = _both_alike(was, is_now, now, then)
        figures = []
        for value in sorted({*was, *is_now}):
            before, after = was.get(value, 0), is_now.get(value, 0)
            holds = after == before or (may_fall and after < before)
            rail = f"at most {before}" if may_fall else "unchanged"
            figures.append(Figure(f"{id}.{value}", before, after, rail, holds))
        broken = [figure for figure in figures if not figure.holds]
        missing = ", ".join(f"{one.id.removeprefix(f'{id}.')} {one.baseline} → {one.candidate}" for one in broken)
        where = f"{now.path}/{counting.where(counted)}"
        yield Held(id, figures, Blocker(id, PHASE, missing, where) if broken else None)


def _both_alike(
    was: dict[str, int], is_now: dict[str, int], now: Run, then: Run
) -> tuple[dict[str, int], dict[str, int]]:
    """Without the assertions whose status has changed: that is told as such."""
    statuses = [{result.id: result.status for result in run.verdict.results} for run in (then, now)]
    alike = {id for id in statuses[0] if statuses[0][id] is statuses[1].get(id)}
    before, after = ({k: v for k, v in found.items() if k.split()[0] in alike} for found in (was, is_now))
    return before, after


def _verdicts(now: Run, then: Run) -> Iterator[Held]:
    """Every assertion, each run judged by today's: what was kept has to stay so, and nothing new may break."""
    results = {result.id: result for result in now.verdict.results}
    for before in then.verdict.results:
        after = results[before.id]
        was, is_now = before.status.value, after.status.value
        stays = is_now == "PASS" if was == "PASS" else is_now not in WORSE[was]
        new = list(_new_errors(before, after))
        rail = f"has to stay {was}" if stays is False or not new else "no new error"
        figure = Figure(f"verdict.{before.id}", was, is_now, rail, stays and not new)
        missing = (
            f"{was} → {is_now}" + (f": {new[0]}" if new else "") + (f", and {len(new) - 1} more" if new[1:] else "")
        )
        blocker = Blocker(figure.id, PHASE, missing, f"absence report {now.path}")
        yield Held(figure.id, [figure], None if figure.holds else blocker)


def _new_errors(before: Result, after: Result) -> Iterator[str]:
    """Broken promises and what was not exercised, as far as the baseline does not have them too."""
    known = {*((one.message, one.subject) for one in before.broken), *before.missing}
    yield from (one.message for one in after.broken if (one.message, one.subject) not in known)
    yield from (one for one in after.missing if one not in known)


def _relaxed(now: Run, then: Run, rails: RailsModel) -> Iterator[Held]:
    found = [*relaxations(now, then), *_policies(now, then)]
    for one in found:
        is_agreed = one.id in rails.agreed
        rail = "agreed" if is_agreed else "not relaxed"
        figure = Figure(one.id, one.was, one.now or None, rail, is_agreed)
        missing = f"was {one.was}; now {one.now or 'gone'}"
        blocker = Blocker(one.id, PHASE, missing, f"{now.path}/{one.where}")
        yield Held(one.id, [figure], None if is_agreed else blocker)


def _policies(now: Run, then: Run) -> Iterator[Relaxed]:
    """Where the gate has decided on both runs by one policy: was that relaxed? The decisions lie in the run roots."""
    before, after = ({one.policy: one for one in _decisions(run)} for run in (then, now))
    for policy in sorted(before.keys() & after.keys()):
        yield from policy_relaxations(after[policy], before[policy])


def _decisions(run: Run) -> Iterator[Decision]:
    """What the gate decided that this run was part of, the latest last."""
    kept = (run.path.parent / DECISIONS).glob("*.json")
    for path in sorted(kept, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        with suppress(ValueError):  # of another version, or no decision
            decision = Decision.from_json(path.read_bytes())
            named = [one.identity for one in decision.runs]
            if decision.outcome in (Outcome.CLOSE, Outcome.HOLD) and run.manifest.identity in named:
                yield decision
