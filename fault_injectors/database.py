"""The database itself: steps that it cancels, pages that it cannot read, rows that its indexes do not find.

Invariant: what it holds stays what it was; nothing is lost but what is not found or not read for a while.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fault_injectors.moments import HOUR_MS, MINUTE_MS
from seams.draws import Draws
from seams.faults import (
    Abort,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    Overlook,
    Parameters,
    RecoverySpec,
    Refuse,
)

_TO_BEGIN_MS = 30 * MINUTE_MS
"""A settlement begins so long after the hold at the latest: the end is heard of, and the full poll answered."""
_LOCKED_MS = 10 * MINUTE_MS
"""So long after its lock time a contest is locked, and play has not begun."""


class StepCancelledParams(Parameters):
    step: Literal["contests.advance", "settlement.open", "settlement.execute", "settlement.close"] = "settlement.open"
    minutes: int = Field(ge=20, le=50)


class StepCancelled(Fault):
    id = "database.step_cancelled"
    title = "The database cancels each attempt to have a contest begin or be settled, while something blocks it"
    seam = "store"
    operation = "transact"
    imitates = (
        "canceling statement due to statement timeout (PostgreSQL error 57014, query_canceled): a step waits for a lock"
        " that a long transaction holds, is cancelled and rolled back, and so again until that one has ended."
    )
    exercises = "Giving a contest up, or settling it in part, because a step of it failed that only had to wait."
    recovery = RecoverySpec("itself", "The step is tried again until it is let through; nothing is done twice.", 3_600)
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "rolled_back"})
    Params = StepCancelledParams
    params: StepCancelledParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, StepCancelledParams)
        if not guarantees.settlements():
            return None
        contest_id, from_at, _ = draws.choice(guarantees.settlements(), "settlement")
        if params.step == "contests.advance":
            from_at = dict(guarantees.locks())[contest_id] + _LOCKED_MS
        return Binding(
            entity=params.step, from_at=from_at, until_at=from_at + params.minutes * MINUTE_MS + _TO_BEGIN_MS
        )

    def effect(self, call: Call) -> Effect | None:
        return Abort(1) if self.in_window(call) else None


class PageDamagedParams(Parameters):
    step: Literal["settlement.open", "settlement.execute", "settlement.close"] = "settlement.open"
    occurrence: int = Field(default=0, ge=0)
    """Settled by the binding: the first time that the page is read in vain."""
    times: int = Field(default=1, ge=1, le=100)
    """How often it is read in vain, until the storage gives it whole."""


class PageDamaged(Fault):
    id = "database.page_damaged"
    title = "The database cannot read a page as a contest is settled, until its storage gives it whole"
    seam = "store"
    operation = "transact"
    imitates = (
        "invalid page in block %u of relation %s, page verification failed (PostgreSQL, data checksums; error XX001,"
        " data_corrupted): a page that a bad cable or one side of a mirror has spoilt reads well from the other side."
    )
    exercises = "Settling on what could be read, trying for ever, or holding up every other contest for one."
    recovery = RecoverySpec(
        "runbook", "The daemon gives the contest up; ops has the scores made anew and it settled again.", 4 * 3_600,
        "settlement_failed_mid_run",
    )  # fmt: skip
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "data_corrupted"})
    Params = PageDamagedParams
    params: PageDamagedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, PageDamagedParams)
        settlements = guarantees.settlements()
        if not settlements or not guarantees.on_call():
            return None
        # A contest is opened, executed and closed once at least.
        occurrence = params.occurrence or draws.between(1, len(settlements), "settlement")
        return Binding(entity=params.step, occurrence=occurrence, params={"occurrence": occurrence})

    def effect(self, call: Call) -> Effect | None:
        first = self.params.occurrence
        hit = self.binding.entity == call.entity and first <= call.occurrence < first + self.params.times
        return Refuse(0, "data_corrupted") if hit else None


class RowMissedParams(Parameters):
    what: Literal["the link of the last", "the link of the first", "the outcome of the first"] = "the link of the last"
    """Of the entries of the contest that is being settled; the last has won nothing."""


class RowMissed(Fault):
    id = "database.row_missed"
    title = "An index of the database does not find a row: the official outcome of a pack is missing"
    seam = "store"
    operation = "transact"
    imitates = (
        "Indexes that lack entries of rows that are there: REINDEX CONCURRENTLY before PostgreSQL 14.4 (release notes,"
        " 2022), and text keys after the collations of glibc 2.28 (wiki.postgresql.org, Locale data changes)."
    )
    exercises = "Settling an entry by an outcome that was not found, or leaving every other one unsettled for it."
    recovery = RecoverySpec("itself", "The pack ends unexecuted, with a post-mortem; all others are settled.", 7_200)
    bite = BiteSpec("database.incidents", {"n": "$victim", "operation": "$entity", "outcome": "row_missed"})
    Params = RowMissedParams
    params: RowMissedParams

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        super().__init__(fault_id, binding, params)
        self._missed = False

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        settlements = guarantees.settlements()
        if not settlements:
            return None
        _, from_at, until_at = draws.choice(settlements, "settlement")
        return Binding(entity="settlement.execute", from_at=from_at, until_at=until_at + 6 * HOUR_MS)

    def effect(self, call: Call) -> Effect | None:
        if self._missed or not self.in_window(call):
            return None
        assert isinstance(self.params, RowMissedParams)
        self._missed = True  # What was looked for once is known: only the first packs of the first contest are met.
        return Overlook(self.params.what)
