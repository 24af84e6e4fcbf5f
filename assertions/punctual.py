"""Family ingestion, its times: what the provider published was received soon, and what came too late to count was told.

Invariant: a bound is put off only by a fault that overlaps it, as for everything that is due.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, cast

from assertions.facts import facts
from assertions.feed import owed_publications, receipts
from assertions.ingestion import told
from assertions.model import Finding, assertion
from assertions.official import Hole
from assertions.words import HOUR_MS, MINUTE_MS, duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

IN_PLAY_WITHIN_MS = 30 * MINUTE_MS
"""By when a score published in play is received: the provider is asked every ten minutes, and one poll may fail."""
TOLD_WITHIN_MS = 7 * HOUR_MS
"""By when somebody has been told of a late correction: the provider is asked every six hours then."""
COLLECTED_FOR_MS = 40 * HOUR_MS
"""How long after the last cut-off corrections are still collected, at least."""


@assertion(
    "ingestion.received_in_time", "Every hole score was received soon after its publication, not only at the end"
)
def received_in_time(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("admitted scores", receipts(evidence).admitted, len(owed_publications(evidence).n) and 1)
    tournaments = {tournament.event_id: tournament.id for tournament in evidence.plan.tournaments}
    polls: dict[str, list[tuple[int, bool]]] = {}
    for event_id, at, status, glitch in evidence.rows("provider.requests", "event_id", "at", "status", "glitch"):
        if status == 200 and event_id in tournaments:
            polls.setdefault(tournaments[event_id], []).append((at, glitch is None))
    for tournament_id, hole, strokes, published_at, received_at in receipts(evidence).slow(IN_PLAY_WITHIN_MS):
        play = known.tournaments[tournament_id].play if tournament_id in known.tournaments else []
        in_play = any(from_at <= published_at < until_at for from_at, until_at in play)
        bound_ms = IN_PLAY_WITHIN_MS if in_play else TOLD_WITHIN_MS
        told_at = _told_at(polls.get(tournament_id, []), published_at)
        if received_at > known.deadline(told_at, bound_ms)[0]:
            found.breaks(
                f"{strokes} strokes for {told(hole)}, published at {instant(published_at)}, were received only "
                f"{duration(received_at - published_at)} later",
                "hole_scores/" + "/".join(map(str, hole)), published_at,
            )  # fmt: skip
    return found


def _told_at(polls: list[tuple[int, bool]], published_at: int) -> int:
    """When the provider first told it, by its own book of (instant, whether the answer was sound): at the first poll
    after the publication, unless what it served then was not what it had published."""
    place = bisect_right(polls, (published_at, False))
    if place == len(polls) or polls[place][1]:
        return published_at
    return next((at for at, sound in polls[place:] if sound), published_at)


@assertion(
    "ingestion.late_corrections_told",
    "Every correction published after a cut-off was recorded as late, and the pager was told of it",
)
def late_corrections_told(evidence: Evidence) -> Finding:
    known = facts(evidence)
    late: list[tuple[str, int, int, Hole, int | None]] = []
    cutoffs = {
        tournament: [(contest, known.cutoff_at(contest)) for contest in known.valid
                     if known.contests[contest].tournament_id == tournament]
        for tournament in known.publications
    }  # fmt: skip
    for tournament, published in known.publications.items():
        instants = [cutoff_at for _, cutoff_at in cutoffs[tournament]]
        place = bisect_right(published.published_at, min(instants)) if instants else len(published.n)
        collected_until_at = max(instants, default=0) + COLLECTED_FOR_MS
        for n, at, hole, strokes in zip(*[column[place:] for column in published], strict=True):
            bound = known.deadline(at, TOLD_WITHIN_MS)[0]
            if at <= collected_until_at and bound <= known.ended_at:
                late.append((tournament, n, at, hole, strokes))
    found = Finding("late corrections", 0, len(late))
    if not late:
        return found
    holes = {hole for _, _, _, hole, _ in late}
    recorded = {
        (at, hole, strokes)
        for strokes, at, verdict, reason, *cell in evidence.rows(
            "platform.ingestion_receipts",
            "strokes", "published_at", "verdict", "reason", "tournament_id", "golfer_id", "round", "hole",
        )
        if verdict == "CORRECTION" and (reason or "").startswith("AFTER_CUTOFF:")
        for hole in [cast(Hole, tuple(cell))]
        if hole in holes
    }  # fmt: skip
    pages = list(evidence.rows("pager.events", "at", "action", "dedup_key"))
    for tournament, n, at, hole, strokes in late:
        subject = f"provider.publications/{n}"
        what = f"the correction of {told(hole)} to {strokes} at {instant(at)}, after the cut-off,"
        found.saw += (at, hole, strokes) in recorded
        if (at, hole, strokes) not in recorded:
            found.breaks(f"{what} was not recorded as late", subject, at)
        until_at = known.deadline(at, TOLD_WITHIN_MS)[0]
        for contest, cutoff_at in cutoffs[tournament]:
            key = f"late_correction:{contest}"
            told_of = any(at <= paged <= until_at and (action, to) == ("trigger", key) for paged, action, to in pages)
            if cutoff_at < at and not told_of:
                told_to = f"was not told to the pager for contest {contest} by {instant(until_at)}"
                found.breaks(f"{what} {told_to}", subject, at)
    return found
