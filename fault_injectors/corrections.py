"""Corrections of hole scores that are not the last word, or come too late to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS, while_settled
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec

PENALTY = 4
Cell = tuple[str, str, int, int, int, int]


class CellParams(Parameters):
    round: int = 0
    hole: int = 0
    strokes: int = 0
    """Round, hole and strokes are settled by the binding: the cell, and what the provider says of it from then on."""


def other_strokes(draws: Draws, strokes: int) -> int:
    """What a correction makes of `strokes`: one more or one less."""
    return strokes + (-1 if strokes > 1 and draws.below(2, "better") else 1)


class _Correcting(Fault):
    """Acts by publishing another value of one hole, once."""

    seam = "provider"
    operation = "correct"
    params: CellParams

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        assert self.params.hole > 0, f"{self.fault_id}: an explicit binding must give round, hole and strokes too"
        cell = {"round": self.params.round, "hole": self.params.hole, "strokes": self.params.strokes}
        return [Action(self.binding.from_at, "provider.correct", self.binding.entity, cell)]


class RevertedParams(CellParams):
    after_min: int = Field(ge=30, le=300)
    reverted_after_min: int = Field(ge=60, le=240)
    strokes_before: int = 0
    """Settled by the binding: what the hole is corrected back to."""


class Reverted(_Correcting):
    id = "corrections.reverted"
    title = "The provider corrects a hole after the event, and takes it back hours later"
    imitates = (
        "Both overnight corrections in the recorded feed of the 2026 Masters (Campbell, round 1, hole 1: 3 to 4; Novak,"
        " round 1, hole 1: 4 to 5) were reverted two and a half hours later."
    )
    exercises = "Dropping the second change as a value that was seen before, or settling on the first."
    recovery = RecoverySpec(
        "itself", "Each is a correction of its own; the last one before the cut-off counts.", 26 * 3_600
    )
    bite = BiteSpec("provider.publications", {"n": "$victim", "correction": True}, at_least=2)
    Params = RevertedParams
    params: RevertedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, RevertedParams)
        cells = guarantees.correctable()
        if not cells:
            return None
        tournament_id, golfer_id, round_, hole, strokes, official_end_at = draws.choice(cells, "cell")
        from_at = official_end_at + params.after_min * MINUTE_MS
        return Binding(
            entity=f"{tournament_id}/{golfer_id}",
            from_at=from_at,
            until_at=from_at + params.reverted_after_min * MINUTE_MS,
            params={
                "round": round_, "hole": hole, "strokes": other_strokes(draws, strokes), "strokes_before": strokes,
            },
        )  # fmt: skip

    def actions(self) -> Sequence[Action]:
        [corrected] = super().actions()
        assert self.binding.until_at is not None
        cell = {**corrected.params, "strokes": self.params.strokes_before}
        return [corrected, Action(self.binding.until_at, corrected.lever, corrected.entity, cell)]


class NextDay(_Correcting):
    id = "corrections.next_day"
    title = "A penalty of four strokes changes a hole of the day before while the next round is played"
    imitates = (
        "Two strokes for a ball put back wrongly and two for the card that was signed, told of by a viewer, changed"
        " round 3 during round 4 (L. Thompson, ANA Inspiration 2017, cbssports.com)."
    )
    exercises = "Taking a round that has been played for final, or a change so large for scrambled."
    recovery = RecoverySpec("itself", "The next poll admits the correction; scores are recomputed.", 3_600)
    bite = BiteSpec("provider.publications", {"n": "$victim", "correction": True})
    Params = CellParams
    params: CellParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        first: dict[str, int] = {}
        later = []
        for tournament_id, from_at, until_at in guarantees.play():
            played = (from_at - first.setdefault(tournament_id, from_at) + DAY_MS // 2) // DAY_MS
            if played:
                later.append((tournament_id, played, from_at, until_at))
        if not later:
            return None
        tournament_id, played, from_at, until_at = draws.choice(later, "window")
        cells = [cell for cell in guarantees.correctable() if (cell[0], cell[2]) == (tournament_id, played)]
        if not cells:
            return None
        _, golfer_id, round_, hole, strokes, _ = draws.choice(cells, "cell")
        return Binding(
            entity=f"{tournament_id}/{golfer_id}",
            from_at=draws.between(from_at, (from_at + until_at) // 2, "instant"),
            params={"round": round_, "hole": hole, "strokes": strokes + PENALTY},
        )


class _Late(_Correcting):
    @classmethod
    def after_cutoff(cls, guarantees: Guarantees, draws: Draws, when: Callable[[int], int]) -> Binding | None:
        """A cell of a tournament, corrected at what `when` makes of the last cut-off on it."""
        cutoffs, cells = dict(guarantees.cutoffs()), guarantees.correctable()
        cells = [cell for cell in cells if cell[0] in cutoffs]
        if not cells:
            return None
        tournament_id, golfer_id, round_, hole, strokes, _ = draws.choice(cells, "cell")
        return Binding(
            entity=f"{tournament_id}/{golfer_id}",
            from_at=when(cutoffs[tournament_id]),
            params={"round": round_, "hole": hole, "strokes": other_strokes(draws, strokes)},
        )


class AfterCutoffParams(CellParams):
    after_min: int = Field(ge=2, le=8)


class AfterCutoff(_Late):
    """The full poll that settlement waits for brings it."""

    id = "corrections.after_cutoff"
    title = "The provider corrects a hole just after the cut-off, while contests are being settled"
    imitates = (
        "Accuracy is promised 12 to 24 h after the event (SportsDataIO), and corrections come all the same: statistics"
        " corrected after a contest is final do not change it (draft.com, rules)."
    )
    exercises = "Settling on whatever the last poll brought, instead of on what was official at the cut-off."
    recovery = RecoverySpec(
        "itself", "It is recorded as late and told to the pager; the cut-off decides what counts.", 8 * 3_600
    )
    bite = BiteSpec("provider.publications", {"n": "$victim", "correction": True})
    Params = AfterCutoffParams
    params: AfterCutoffParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AfterCutoffParams)
        minutes = params.after_min
        return cls.after_cutoff(guarantees, draws, lambda cutoff_at: while_settled(cutoff_at, minutes))


class AfterSettledParams(CellParams):
    after_h: int = Field(ge=3, le=12)


class AfterSettled(_Late):
    id = "corrections.after_settled"
    title = "The provider corrects a hole after the contests have been settled and paid"
    imitates = (
        "Statistics corrected after a contest is final do not change it (draft.com, rules); what was paid on a wrong"
        " result is litigated, not clawed back (DraftKings 2023, thedailyrecord.com)."
    )
    exercises = "Clawing prizes back, paying new winners as well, or losing the correction without a word."
    recovery = RecoverySpec(
        "itself", "It is recorded as late and told to the pager; nothing is settled again.", 8 * 3_600
    )
    bite = BiteSpec("provider.publications", {"n": "$victim", "correction": True})
    Params = AfterSettledParams
    params: AfterSettledParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, AfterSettledParams)
        after_ms = params.after_h * HOUR_MS
        return cls.after_cutoff(guarantees, draws, lambda cutoff_at: cutoff_at + after_ms)
