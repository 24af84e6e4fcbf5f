"""Family ingestion: the platform's scores are the official ones, and every hole it was told of left a receipt.

Invariant: what is official is read from the provider's book of publications, never from what the platform received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import facts
from assertions.feed import owed_publications, receipts
from assertions.model import Finding, assertion
from assertions.official import Hole
from assertions.once import once
from assertions.words import DAY_MS, dollars, instant

if TYPE_CHECKING:
    from evidence.run import Evidence


AUDITED_WITHIN_MS = DAY_MS
"""From the end of a day of play, in UTC, to the audit of its scores: it is made every night."""


def told(hole: Hole) -> str:
    return f"{hole[0]}, {hole[1]}, round {hole[2]}, hole {hole[3]}"


def _subject(hole: Hole) -> str:
    return "hole_scores/" + "/".join(map(str, hole))


class _Official:
    """What the holes of tournaments with contests have to be in the end: the last score published until the last
    cut-off. `later` holds what was published after it: the platform may have heard of that, and need not."""

    def __init__(self, evidence: Evidence) -> None:
        known = facts(evidence)
        self.holes: dict[Hole, int] = {}
        self.later: dict[Hole, set[int | None]] = {}
        self.cutoffs: dict[str, int] = {}
        for tournament in known.tournaments:
            until_at = known.last_cutoff_at(tournament)
            if until_at is not None:
                self.cutoffs[tournament] = until_at
                self.holes.update(known.official(tournament, until_at).holes)
                for published_at, hole, strokes in zip(*known.publications[tournament][1:], strict=True):
                    if published_at > until_at:
                        self.later.setdefault(hole, set()).add(strokes)


class _Scores(NamedTuple):
    """The platform's scores, column by column."""

    hole: list[Hole]
    strokes: list[int]
    published_at: list[int]


def _scores(evidence: Evidence) -> _Scores:
    found = _Scores([], [], [])
    columns = ("strokes", "published_at", "tournament_id", "golfer_id", "round", "hole")
    for strokes, published_at, *hole in evidence.chunks("platform.hole_scores", *columns):
        found.hole.extend(zip(*hole, strict=True))
        found.strokes.extend(strokes)
        found.published_at.extend(published_at)
    return found


@assertion(
    "ingestion.every_publication_has_a_receipt",
    "Every hole score that the provider published before the cut-off was received",
)
def every_publication_has_a_receipt(evidence: Evidence) -> Finding:
    owed = owed_publications(evidence)
    found = Finding("publications", len(owed.n), len(owed.n))
    for place in receipts(evidence).unheard(owed):
        at, hole, strokes = owed.published_at[place], owed.hole[place], owed.strokes[place]
        found.breaks(
            f"the provider published {strokes} strokes for {told(hole)} at {instant(at)}, and the platform has no "
            f"receipt of it",
            f"provider.publications/{owed.n[place]}", at,
        )  # fmt: skip
    return found


@assertion(
    "ingestion.admitted_is_published",
    "Every hole score that the platform admitted is one that the provider published, and of that instant",
)
def admitted_is_published(evidence: Evidence) -> Finding:
    known = receipts(evidence)
    found = Finding("admitted scores", known.admitted, len(once(evidence, _Official).holes))
    for at, hole, strokes in known.made_up(owed_publications(evidence), facts(evidence).publications.values()):
        found.breaks(
            f"the platform admitted {strokes} strokes for {told(hole)} as published at {instant(at)}; the provider "
            f"published no such thing",
            _subject(hole), at,
        )  # fmt: skip
    return found


@assertion(
    "ingestion.scores_equal_official",
    "Every hole score of the platform is the official one, and none is missing or made up",
)
def scores_equal_official(evidence: Evidence) -> Finding:
    official, scores = once(evidence, _Official), once(evidence, _scores)
    found = Finding("hole scores", sum([hole[0] in official.cutoffs for hole in scores.hole]), len(official.holes))
    for hole, strokes, published_at in zip(*scores, strict=True):
        due = official.holes.get(hole)
        if strokes != due and hole[0] in official.cutoffs and strokes not in official.later.get(hole, ()):
            said = "never published it" if due is None else f"says {due}"
            found.breaks(
                f"{told(hole)} has {strokes} strokes in the platform, the provider {said}",
                _subject(hole), published_at,
            )  # fmt: skip
    for hole in official.holes.keys() - scores.hole:
        if None not in official.later.get(hole, ()):
            found.breaks(
                f"{told(hole)} has no score in the platform, the provider says {official.holes[hole]}",
                _subject(hole), official.cutoffs[hole[0]],
            )  # fmt: skip
    found.broken.sort(key=lambda broken: broken.subject)
    return found


@assertion("ingestion.statuses_equal_official", "Every golfer of the field has the status that the provider published")
def statuses_equal_official(evidence: Evidence) -> Finding:
    known = facts(evidence)
    allowed: dict[tuple[str, str], list[str]] = {}
    for tournament in known.tournaments:
        until_at = known.last_cutoff_at(tournament)
        if until_at is not None:
            for at in (until_at, max(until_at, known.ended_at)):  # what came after the cut-off may be known, or not
                for golfer, status in known.official(tournament, at).statuses.items():
                    allowed.setdefault((tournament, golfer), []).append(status)
    found = Finding("golfers", 0, len(allowed))
    for tournament, golfer, status in evidence.rows("platform.golfers", "tournament_id", "golfer_id", "status"):
        due = allowed.get((tournament, golfer))
        found.saw += due is not None
        if due is not None and status not in due:
            found.breaks(
                f"{golfer} in {tournament} is {status} in the platform, the provider says {due[0]}",
                f"golfers/{tournament}/{golfer}",
                known.last_cutoff_at(tournament),
            )
    return found


@assertion(
    "ingestion.resumes_from_checkpoint",
    "Ingestion goes on from where it stood: until a cut-off it never asks for everything again",
)
def resumes_from_checkpoint(evidence: Evidence) -> Finding:
    known = facts(evidence)
    until: dict[str, int] = {}
    for contest in known.contests:
        event_id = known.tournaments[known.contests[contest].tournament_id].event_id
        until[event_id] = min(until.get(event_id, known.cutoff_at(contest)), known.cutoff_at(contest))
    found = Finding("events", 0, len(until))
    went_on: set[str] = set()
    for n, at, event_id, since in evidence.rows("provider.requests", "n", "at", "event_id", "since_revision"):
        if since is not None:
            went_on.add(event_id)
        elif event_id in went_on and at < until.get(event_id, at):
            found.breaks(
                f"the platform asked for all of {event_id} again at {instant(at)}: it had forgotten where it stood",
                f"provider.requests/{n}", at,
            )  # fmt: skip
    found.saw = len(went_on & until.keys())
    return found


@assertion(
    "ingestion.official_at_cutoff",
    "Every valid entry has one outcome: the score, place and prize of the official scores",
)
def official_at_cutoff(evidence: Evidence) -> Finding:
    known = facts(evidence)
    expected = {contest: known.standings(contest) for contest in known.valid}
    found = Finding("outcomes", 0, sum(map(len, expected.values())))
    seen: set[str] = set()
    for outcome, contest, entry, score, place, prize, at in evidence.rows(
        "platform.outcomes", "outcome_id", "contest_id", "entry_id", "score", "place", "prize_cents", "created_at"
    ):
        found.saw += 1
        due = expected.get(contest, {}).get(entry)
        if due is None:
            found.breaks(
                f"outcome {outcome} gives {dollars(prize)} to {entry} in {contest}, which is no valid entry of it",
                f"outcomes/{outcome}", at, prize,
            )  # fmt: skip
            continue
        if entry in seen:
            found.breaks(f"{entry} in {contest} has a second outcome, {outcome}", f"outcomes/{outcome}", at, prize)
        seen.add(entry)
        if (score, place, prize) != (due.score, due.place, due.prize_cents):
            found.breaks(
                f"{entry} of {due.user_id} in {contest} has score {score}, place {place}, prize {dollars(prize)}; "
                f"official at the cut-off {instant(known.cutoff_at(contest))} are score {due.score}, place "
                f"{due.place}, prize {dollars(due.prize_cents)}",
                f"outcomes/{outcome}", at, abs(prize - due.prize_cents),
            )  # fmt: skip
    for contest, standings in expected.items():
        if contest not in known.contest_rows or known.contest_rows[contest].settled_at is None:
            continue  # that it was never settled is told by lifecycle; that its outcomes were not seen, by the count
        for entry, due in standings.items():
            if entry not in seen:
                found.breaks(
                    f"{entry} of {due.user_id} in {contest} has no outcome; official are place {due.place} and "
                    f"{dollars(due.prize_cents)}",
                    f"entries/{entry}", known.contest_rows[contest].settled_at, due.prize_cents,
                )  # fmt: skip
    return found


@assertion(
    "ingestion.replay_reproduces", "Replaying the admitted and corrected receipts gives exactly the platform's scores"
)
def replay_reproduces(evidence: Evidence) -> Finding:
    replayed = dict(receipts(evidence).replayed)
    scores = once(evidence, _scores)
    found = Finding("hole scores", len(scores.hole), len(once(evidence, _Official).holes))
    for hole, strokes in zip(scores.hole, scores.strokes, strict=True):
        from_receipts = replayed.pop(hole, None)
        if from_receipts != strokes:
            said = "no admitted receipt" if from_receipts is None else f"receipts that lead to {from_receipts}"
            found.breaks(f"{told(hole)} has {strokes} strokes, but {said}", _subject(hole))
    for hole, strokes in replayed.items():
        found.breaks(f"{told(hole)} was admitted with {strokes} strokes and has no score", _subject(hole))
    return found


@assertion(
    "ingestion.scores_are_audited",
    "The platform audited its scores for every day of play, and found none wrong but what its disk had made wrong",
)
def scores_are_audited(evidence: Evidence) -> Finding:
    """What turns over on the disk is no mistake of the platform's if it is put right: by the injector's book no more
    holes may be wrong than have turned over since the last audit that found none, and the last audit finds none."""
    known = facts(evidence)
    owed = owed_publications(evidence)
    instants = {(hole[0], at) for hole, at in zip(owed.hole, owed.published_at, strict=True)}
    days = {(tournament, at // DAY_MS) for tournament, at in instants if at + 2 * DAY_MS < known.ended_at}
    found = Finding("score audits", 0, len(days))
    rotten: dict[str, list[int]] = {}
    columns = ("at", "seam", "operation", "entity")
    for at, seam, operation, tournament in evidence.rows("injector.bites", *columns):
        if (seam, operation) == ("database", "rot"):
            rotten.setdefault(tournament, []).append(at)
    audits = list(evidence.rows("platform.score_audits", "audit_id", "tournament_id", "at", "holes", "mismatches"))
    last = {tournament: audit for audit, tournament, *_ in audits}
    right_at: dict[str, int] = {}
    for audit, tournament, at, holes, mismatches in audits:
        found.saw += 1
        turned = sum(right_at.get(tournament, 0) <= since <= at for since in rotten.get(tournament, ()))
        if not mismatches:
            right_at[tournament] = at
        elif mismatches > turned or last[tournament] == audit:
            found.breaks(
                f"the audit of {tournament} at {instant(at)} found {mismatches} of {holes} holes that do not follow "
                f"from their receipts",
                f"score_audits/{audit}", at,
            )  # fmt: skip
    instants_of: dict[str, list[int]] = {}
    for _, tournament, at, *_ in audits:
        instants_of.setdefault(tournament, []).append(at)
    for tournament, day in sorted(days):
        from_at = (day + 1) * DAY_MS
        until_at = known.deadline(from_at, AUDITED_WITHIN_MS)[0]
        if not any(from_at <= at <= until_at for at in instants_of.get(tournament, ())):
            found.breaks(
                f"the scores of {tournament} published on the day before {instant(from_at)} were not audited by "
                f"{instant(until_at)}",
                f"score_audits/{tournament}", until_at,
            )  # fmt: skip
    return found


@assertion("ingestion.no_quarantine_left", "Every quarantined batch was resolved by a later one")
def no_quarantine_left(evidence: Evidence) -> Finding:
    quarantined = receipts(evidence).quarantined
    scrambled = any(
        glitch == "scrambled" and cells for glitch, cells in evidence.rows("provider.requests", "glitch", "cells")
    )
    found = Finding("quarantined batches", 0, int(scrambled))
    resolved: dict[int, int | None] = dict(
        evidence.rows("platform.quarantine_resolutions", "batch_id", "resolved_by_batch_id")
    )
    for batch, at, holes in quarantined:
        found.saw += 1
        by_batch = resolved.get(batch)
        if batch not in resolved or (by_batch is not None and by_batch <= batch):
            found.breaks(
                f"batch {batch} of {instant(at)} put {holes} holes into quarantine, and no later batch resolved it",
                f"ingestion_batches/{batch}", at,
            )  # fmt: skip
    return found


@assertion(
    "ingestion.nothing_rejected_silently",
    "Every refused score has a reason, and every batch counts the receipts it has",
)
def nothing_rejected_silently(evidence: Evidence) -> Finding:
    known = receipts(evidence)
    found = Finding("receipts", known.count, len(owed_publications(evidence).n))
    for batch, n, verdict in known.silent:
        found.breaks(f"receipt {n} of batch {batch} is {verdict} without a reason", f"ingestion_batches/{batch}")
    for batch, at, what in known.wrong_counts:
        found.breaks(f"batch {batch} of {instant(at)}: {what}", f"ingestion_batches/{batch}", at)
    return found


@assertion("ingestion.no_readmission", "A hole is admitted once: a restarted worker does not admit it again")
def no_readmission(evidence: Evidence) -> Finding:
    known = receipts(evidence)
    found = Finding("admitted holes", len(known.replayed), len(once(evidence, _Official).holes))
    for batch, n, hole in known.readmitted:
        found.breaks(
            f"{told(hole)} was admitted again by receipt {n} of batch {batch}",
            f"ingestion_batches/{batch}",
        )
    return found
