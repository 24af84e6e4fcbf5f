"""How much of what came in was let in: ADMIT of all receipts, and ADMIT a minute, in the run's own window.

Invariant: the figures are counted from the receipts of the run itself, whatever any report says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from closure.decision import Figure
from closure.rails import Admission

if TYPE_CHECKING:
    from closure.runs import Run

DAY_MS, MINUTE_MS = 86_400_000, 60_000
GAP_MS = 60 * MINUTE_MS
"""A feed that says nothing for longer is not active: a night, the days between two tournaments."""
ADMIT, DUPLICATE = "ADMIT", "DUPLICATE"
DUPLICATES_ONLY, RATIO, RATE = "admission.duplicates_only", "admission.ratio", "admission.rate"


@dataclass(frozen=True, slots=True)
class Window:
    """The receipts of a window by verdict, and the minutes in which answers came: what lies between two of them, unless
    that is more than GAP_MS."""

    verdicts: Mapping[str, int]
    minutes: float

    @property
    def receipts(self) -> int:
        return sum(self.verdicts.values())

    @property
    def ratio(self) -> float | None:
        return self.verdicts.get(ADMIT, 0) / self.receipts if self.receipts else None

    @property
    def rate(self) -> float | None:
        """A minute. One answer alone takes a minute."""
        return self.verdicts.get(ADMIT, 0) / max(self.minutes, 1.0) if self.receipts else None

    @property
    def holds_duplicates_only(self) -> bool:
        return self.receipts > 0 and self.verdicts.get(DUPLICATE, 0) == self.receipts


def window(run: Run, rails: Admission) -> Window:
    """Raises BookDamaged."""
    begins = run.plan.starts_at
    from_at = begins + int((rails.from_day or 0) * DAY_MS)
    until_at = run.plan.recovery_until_at if rails.until_day is None else begins + int(rails.until_day * DAY_MS)
    batches = {
        batch: at
        for batch, at in run.evidence.rows("platform.ingestion_batches", "batch_id", "received_at")
        if at is not None and from_at <= at <= until_at
    }
    verdicts: Counter[str] = Counter()
    came: set[int] = set()
    for batch, verdict in run.evidence.rows("platform.ingestion_receipts", "batch_id", "verdict"):
        if batch in batches:
            verdicts[verdict] += 1
            came.add(batches[batch])
    gaps = [after - before for before, after in pairwise(sorted(came))]
    return Window(dict(verdicts), sum(gap for gap in gaps if gap <= GAP_MS) / MINUTE_MS)


def gate(candidate: Window, baseline: Window, rails: Admission) -> Iterator[Figure]:
    duplicates = candidate.holds_duplicates_only
    yield Figure(
        DUPLICATES_ONLY, _told(baseline), _told(candidate), "a window with receipts has to hold more than duplicates",
        not duplicates,
    )  # fmt: skip
    allowed = rails.ratio_falls_by_at_most, rails.rate_falls_by_percent_at_most
    then, now = baseline.ratio, candidate.ratio
    least = None if then is None else then - allowed[0]
    yield _figure(RATIO, then, now, least, f"the baseline's less {allowed[0]:g}")
    then, now = baseline.rate, candidate.rate
    least = None if then is None else then * (1 - allowed[1] / 100)
    yield _figure(RATE, then, now, least, f"a minute: the baseline's less {allowed[1]:g} %")


def _figure(id: str, then: float | None, now: float | None, least: float | None, words: str) -> Figure:
    was, is_now = (None if value is None else round(value, 6) for value in (then, now))
    if least is None:
        return Figure(id, was, is_now, "no receipts in the baseline", True)
    return Figure(id, was, is_now, f"at least {least:.6f}, {words}", now is not None and now >= least)


def _told(one: Window) -> str:
    return ", ".join(f"{verdict} {times}" for verdict, times in sorted(one.verdicts.items())) or "no receipts"
