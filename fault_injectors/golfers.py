"""Golfers who do not finish, against the plan of the feed: they leave half a card, or no place."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.moments import MINUTE_MS, while_settled
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec


class _Retiring(Fault):
    """The golfer's `status` is published, and what he would have played from then on is not."""

    seam = "provider"
    operation = "retire"
    status = ""
    reason = ""

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        what = {"status": self.status, "reason": self.reason}
        return [Action(self.binding.from_at, "provider.retire", self.binding.entity, what)]


class Withdrawn(_Retiring):
    id = "golfers.withdrawn"
    title = "A golfer withdraws in the middle of his second round"
    status, reason = "withdrawn", "injury"
    imitates = (
        "Withdrawals with half a round on the card (Jaidee 2010: 74, 44; mastersdotcom, 192 W/D), which ESPN gives as"
        " STATUS_CUT with the description Withdrawn."
    )
    exercises = "Counting half a round as a whole one, or waiting for holes that are never played."
    recovery = RecoverySpec(
        "itself", "The status comes with the next answer; the round counts as not completed.", 3_600
    )
    bite = BiteSpec("provider.statuses", {"n": "$victim", "status": "withdrawn", "reason": "injury"})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        golfers = guarantees.also_rans()
        if not golfers:
            return None
        tournament_id, golfer_id, from_at, until_at = draws.choice(golfers, "golfer")
        return Binding(entity=f"{tournament_id}/{golfer_id}", from_at=draws.between(from_at, until_at - 1, "instant"))


class DisqualifiedParams(Parameters):
    after_min: int = Field(ge=30, le=600)


class Disqualified(_Retiring):
    id = "golfers.disqualified"
    title = "A golfer is disqualified after the event has ended"
    status, reason = "disqualified", "scorecard"
    imitates = (
        "Disqualifications follow from a wrong scorecard, hours after the round (10 DQ in the score files 1970-2017,"
        " mastersdotcom; a penalty of the next day changed round 3 during round 4, ANA 2017, cbssports.com)."
    )
    exercises = "Settling on the leaderboard as it was at the end, with a golfer on it who is out."
    recovery = RecoverySpec(
        "itself", "The next answer gives his status; he takes no place, and those behind him move up.", 26 * 3_600
    )
    bite = BiteSpec("provider.statuses", {"n": "$victim", "status": "disqualified", "reason": "scorecard"})
    Params = DisqualifiedParams
    params: DisqualifiedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, DisqualifiedParams)
        golfers = sorted({(cell[0], cell[1], cell[5]) for cell in guarantees.correctable()})
        if not golfers:
            return None
        tournament_id, golfer_id, official_end_at = draws.choice(golfers, "golfer")
        return Binding(entity=f"{tournament_id}/{golfer_id}", from_at=official_end_at + params.after_min * MINUTE_MS)


class DisqualifiedLateParams(Parameters):
    after_min: int = Field(ge=2, le=8)


class DisqualifiedLate(_Retiring):
    """The full poll that settlement waits for brings it: what the golfer was at the cut-off counts all the same."""

    id = "golfers.disqualified_late"
    title = "A golfer is disqualified just after the cut-off, while contests are being settled"
    status, reason = "disqualified", "late ruling"
    imitates = (
        "Rulings come after results are final, and do not change contests that are (draft.com, rules: statistics"
        " corrected after a contest is finalized); a penalty of the next day (ANA 2017, cbssports.com)."
    )
    exercises = "Knowing when a score was published, and not when a status was: the cut-off holds for one of them only."
    recovery = RecoverySpec(
        "itself", "It is known and told to the pager; the status at the cut-off decides what counts.", 8 * 3_600
    )
    bite = BiteSpec("provider.statuses", {"n": "$victim", "status": "disqualified", "reason": "late ruling"})
    Params = DisqualifiedLateParams
    params: DisqualifiedLateParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, DisqualifiedLateParams)
        cutoffs = dict(guarantees.cutoffs())
        golfers = sorted({cell[:2] for cell in guarantees.correctable() if cell[0] in cutoffs})
        if not golfers:
            return None
        tournament_id, golfer_id = draws.choice(golfers, "golfer")
        from_at = while_settled(cutoffs[tournament_id], params.after_min)
        return Binding(entity=f"{tournament_id}/{golfer_id}", from_at=from_at)


class CutParams(Parameters):
    after_min: int = Field(ge=10, le=240)


class Cut(_Retiring):
    id = "golfers.cut"
    title = "A golfer who made the cut is cut before the last round"
    status, reason = "cut", "second cut"
    imitates = (
        "A second cut after 54 holes where too many made the first: MDF, made the cut, did not finish, which feeds give"
        " as MDF, CUT, MC or C (status vocabularies of pgatour.com, mastersdotcom and ESPN)."
    )
    exercises = "Knowing one cut only: a golfer with three rounds counts as one who is still to play the fourth."
    recovery = RecoverySpec("itself", "The status comes with the next answer; the last round counts as missed.", 3_600)
    bite = BiteSpec("provider.statuses", {"n": "$victim", "status": "cut", "reason": "second cut"})
    Params = CutParams
    params: CutParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CutParams)
        golfers = guarantees.before_last_round()
        if not golfers:
            return None
        tournament_id, golfer_id, over_at = draws.choice(golfers, "golfer")
        return Binding(entity=f"{tournament_id}/{golfer_id}", from_at=over_at + params.after_min * MINUTE_MS)
