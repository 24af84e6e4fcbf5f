"""The score provider: away when it is needed, or of another mind afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fault_injectors.moments import MINUTE_MS, in_play
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Fault,
    Guarantees,
    Parameters,
    RecoverySpec,
    Refuse,
)


class OutageParams(Parameters):
    outage_min: int = Field(ge=30, le=180)


class Outage(Fault):
    id = "provider.outage"
    title = "The score provider is down while play is on"
    seam = "provider"
    operation = "poll"
    imitates = (
        "Outages of 27 and 93 min within one day (stripe.com/rcas/2019-07-10); in the recorded feed of the 2026 Masters"
        " the median gap between answers is 10 min."
    )
    exercises = "Losing the holes played meanwhile, or taking an error for an answer without news."
    recovery = RecoverySpec("itself", "The first poll after the outage asks from the durable checkpoint.", 3_600)
    bite = BiteSpec("provider.requests", {"n": "$victim", "status": 503})
    Params = OutageParams
    params: OutageParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, OutageParams)
        moment = in_play(guarantees, draws, params.outage_min * MINUTE_MS)
        if moment is None:
            return None
        tournament_id, at = moment
        return Binding(entity=tournament_id, from_at=at, until_at=at + params.outage_min * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503) if self.in_window(call) else None


class CertificateParams(Parameters):
    hours: int = Field(ge=1, le=3)


class CertificateExpired(Fault):
    id = "provider.certificate_expired"
    title = "The score provider's certificate has expired, and is renewed hours later"
    seam = "provider"
    operation = "poll"
    imitates = (
        "A wildcard certificate expired where monitoring had a gap (epicgames.com/site/en-US/expiration-date-4-6-2021);"
        " a client that verifies ends the handshake with the alert certificate_expired (RFC 8446, section 6.2)."
    )
    exercises = "Turning verification off to get on, or taking silence for no news."
    recovery = RecoverySpec(
        "itself", "Nothing unverified is read; the first poll after the renewal asks from the checkpoint.", 3_600
    )
    bite = BiteSpec("provider.requests", {"n": "$victim", "status": 0, "glitch": "certificate_expired"})
    Params = CertificateParams
    params: CertificateParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CertificateParams)
        moment = in_play(guarantees, draws, params.hours * 60 * MINUTE_MS)
        if moment is None:
            return None
        tournament_id, at = moment
        return Binding(entity=tournament_id, from_at=at, until_at=at + params.hours * 60 * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return Refuse(0, "certificate_expired") if self.in_window(call) else None


class CorrectionParams(Parameters):
    after_min: int = Field(ge=30, le=600)
    round: int = 0
    hole: int = 0
    strokes: int = 0
    """Round, hole and strokes are settled by the binding: the cell, and what the provider says of it from then on."""


class Correction(Fault):
    id = "provider.correction"
    title = "The provider corrects a hole after the event has ended"
    seam = "provider"
    operation = "correct"
    imitates = (
        "Two overnight corrections in the recorded feed of the 2026 Masters (Campbell, round 1, hole 1: 3 to 4; Novak,"
        " round 1, hole 1: 4 to 5); a penalty of the next day changed round 3 during round 4 (ANA 2017, cbssports.com);"
        " accuracy is promised only 12 to 24 h after the event (SportsDataIO)."
    )
    exercises = "Settling on the scores as they stood at the end, not on those official at the cut-off."
    recovery = RecoverySpec(
        "itself", "The full poll after the cut-off admits the correction; scores are recomputed.", 26 * 3_600
    )
    bite = BiteSpec("provider.publications", {"n": "$victim", "correction": True})
    Params = CorrectionParams
    params: CorrectionParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, CorrectionParams)
        cells = guarantees.correctable()
        if not cells:
            return None
        tournament_id, golfer_id, round_, hole, strokes, official_end_at = draws.choice(cells, "cell")
        by = -1 if strokes > 1 and draws.below(2, "better") else 1
        return Binding(
            entity=f"{tournament_id}/{golfer_id}",
            from_at=official_end_at + params.after_min * MINUTE_MS,
            params={"round": round_, "hole": hole, "strokes": strokes + by},
        )

    def actions(self) -> Sequence[Action]:
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        assert self.params.hole > 0, f"{self.fault_id}: an explicit binding must give round, hole and strokes too"
        cell = {"round": self.params.round, "hole": self.params.hole, "strokes": self.params.strokes}
        return [Action(self.binding.from_at, "provider.correct", self.binding.entity, cell)]
