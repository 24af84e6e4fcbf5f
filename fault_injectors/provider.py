"""The score provider: away when it is needed, there and wrong, or of another mind afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from fault_injectors.moments import MINUTE_MS, while_in_play
from seams.draws import Draws
from seams.faults import (
    Action,
    Binding,
    BiteSpec,
    Call,
    Effect,
    Falsify,
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
        return while_in_play(guarantees, draws, params.outage_min * MINUTE_MS)

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
        return while_in_play(guarantees, draws, params.hours * 60 * MINUTE_MS)

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


class LyingParams(Parameters):
    lasts_min: int = Field(ge=45, le=180)


class _Lying(Fault):
    """For a while in play every poll is answered at 200 OK with something that is not so: `lie` says with what."""

    seam = "provider"
    operation = "poll"
    lie: ClassVar[str]
    Params: ClassVar[type[Parameters]] = LyingParams
    params: LyingParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        assert isinstance(params, LyingParams)
        return while_in_play(guarantees, draws, params.lasts_min * MINUTE_MS)

    def effect(self, call: Call) -> Effect | None:
        return Falsify(self.lie, since_at=self.binding.from_at or 0) if self.in_window(call) else None


class Empty(_Lying):
    id = "provider.empty"
    title = "The score provider answers at 200 OK with nothing while play is on"
    lie = "empty"
    imitates = (
        "Two of the 112 pulls of the recorded feed of the 2026 Masters came at 200 OK with zero holes in the middle of"
        " play (that recording, see its notes)."
    )
    exercises = "Taking no news for good news: calling the feed healthy, or the scores gone."
    recovery = RecoverySpec(
        "itself", "An empty answer is no success: the next one is asked from the same revision.", 3_600
    )
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "empty"})


class WrongEvent(_Lying):
    id = "provider.wrong_event"
    title = "The score provider serves last year's event under this year's address"
    lie = "wrong_event"
    imitates = (
        "The first pull of the recorded feed of the 2026 Masters was the 2025 field: 35 of its 96 golfers did not play"
        " (the ids equal those of the 2025 payload)."
    )
    exercises = "Admitting another event's scores, or believing that the event is over because that one is."
    recovery = RecoverySpec(
        "itself", "What is about another event is rejected with that reason; nothing of it counts.", 3_600
    )
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "wrong_event"})


class Scrambled(_Lying):
    id = "provider.scrambled"
    title = "The score provider serves scrambled strokes under true totals"
    lie = "scrambled"
    imitates = (
        "1,098 holes of the recorded feed were posted scrambled and all replaced 26 min later; a free-trial key gets"
        " plausible but false numbers at 200 OK (sportsdata.io/developers/faq)."
    )
    exercises = "Believing 200 OK: false strokes reach the scores, and nobody notices that rounds do not add up."
    recovery = RecoverySpec(
        "itself", "Rounds that do not add up are quarantined until an answer comes that does.", 3_600
    )
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "scrambled"})


class Garbled(_Lying):
    id = "provider.garbled"
    title = "The score provider serves holes, rounds, golfers and strokes that cannot be"
    lie = "garbled"
    imitates = (
        "Cells that hold what they cannot in published score files: '78 81' in one, a status in another"
        " (Masters 1970-2017, mastersdotcom)."
    )
    exercises = "Rejecting a cell and going on: the true score behind it is never asked for again."
    recovery = RecoverySpec("itself", "What cannot be is rejected; the revision stays until the round adds up.", 3_600)
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "garbled"})


class Malformed(_Lying):
    id = "provider.malformed"
    title = "The score provider's answers end in the middle"
    lie = "unreadable"
    imitates = (
        "A body cut off, or HTML at 200 OK, is no JSON (requests: ChunkedEncodingError; measured with a fake server)."
    )
    exercises = "Dying of an answer that cannot be parsed, or taking what was read of it for all."
    recovery = RecoverySpec("itself", "It counts as no answer: the next poll asks from the same revision.", 3_600)
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "unreadable"})


class StaleParams(LyingParams):
    age_min: int = Field(ge=20, le=180)


class Stale(_Lying):
    id = "provider.stale"
    title = "The score provider serves an old snapshot again and again"
    lie = "stale"
    imitates = (
        "Overnight corrections of the recorded feed were reverted two and a half hours later, as an older state"
        " came back; a cache serves what it has when its origin is slow (RFC 5861, stale-if-error)."
    )
    exercises = "Going back to an older revision: scores that were known are lost, or admitted once more."
    recovery = RecoverySpec("itself", "A revision older than ours is no success; ours is asked from again.", 3_600)
    bite = BiteSpec("provider.requests", {"n": "$victim", "glitch": "stale"})
    Params = StaleParams
    params: StaleParams

    def effect(self, call: Call) -> Effect | None:
        if not self.in_window(call):
            return None
        return Falsify(self.lie, since_at=self.binding.from_at or 0, age_ms=self.params.age_min * MINUTE_MS)
