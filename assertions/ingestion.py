"""Family ingestion: the platform's scores are the official ones, and every hole it was told of left a receipt.

Invariant: what is official is read from the provider's book of publications, never from what the platform received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.feed import owed_publications, receipts
from assertions.model import Finding, assertion
from assertions.once import once
from assertions.rows import Cell
from assertions.words import DAY_MS, dollars, instant

if TYPE_CHECKING:
    from evidence.run import Evidence


def _hole(tournament: str, cell: Cell) -> str:
    return f"{tournament}, {cell[0]}, round {cell[1]}, hole {cell[2]}"


class _Official:
    """By tournament, what its holes have to be in the end: the last score published until the last cut-off of its
    contests. `later` holds what was published after it: the platform may have heard of that, and need not."""

    def __init__(self, evidence: Evidence) -> None:
        known = facts(evidence)
        self.holes: dict[str, dict[Cell, int]] = {}
        self.later: dict[str, dict[Cell, set[int | None]]] = {}
        for tournament in known.tournaments:
            until_at = known.last_cutoff_at(tournament)
            if until_at is None:
                continue
            self.holes[tournament] = known.official(tournament, until_at).cells
            later = self.later[tournament] = {}
            for row in known.publications[tournament]:
                if row.published_at > until_at:
                    later.setdefault((row.golfer_id, row.round, row.hole), set()).add(row.strokes)
        self.count = sum(map(len, self.holes.values()))


@assertion(
    "ingestion.every_publication_has_a_receipt",
    "Every hole score that the provider published before the cut-off was received",
)
def every_publication_has_a_receipt(evidence: Evidence) -> Finding:
    received = receipts(evidence).received
    found = Finding("publications", 0, 0)
    for tournament, publications in owed_publications(evidence).items():
        for row in publications:
            found.owed += 1
            found.saw += 1
            if row.n not in received:
                cell = (row.golfer_id, row.round, row.hole)
                found.breaks(
                    f"the provider published {row.strokes} strokes for {_hole(tournament, cell)} at "
                    f"{instant(row.published_at)}, and the platform has no receipt of it",
                    f"provider.publications/{row.n}", row.published_at,
                )  # fmt: skip
    return found


@assertion(
    "ingestion.scores_equal_official",
    "Every hole score of the platform is the official one, and none is missing or made up",
)
def scores_equal_official(evidence: Evidence) -> Finding:
    official = once(evidence, _Official)
    found = Finding("hole scores", 0, official.count)
    seen: dict[str, set[Cell]] = {tournament: set() for tournament in official.holes}
    for tournament, golfer, number, hole, strokes, published_at in evidence.rows(
        "platform.hole_scores", "tournament_id", "golfer_id", "round", "hole", "strokes", "published_at"
    ):
        if tournament not in seen:
            continue
        cell = (golfer, number, hole)
        found.saw += 1
        seen[tournament].add(cell)
        due = official.holes[tournament].get(cell)
        if strokes != due and strokes not in official.later[tournament].get(cell, ()):
            said = "never published it" if due is None else f"says {due}"
            found.breaks(
                f"{_hole(tournament, cell)} has {strokes} strokes in the platform, the provider {said}",
                f"hole_scores/{tournament}/{golfer}/{number}/{hole}", published_at,
            )  # fmt: skip
    for tournament, holes in official.holes.items():
        for cell in holes.keys() - seen[tournament]:
            if None not in official.later[tournament].get(cell, ()):
                found.breaks(
                    f"{_hole(tournament, cell)} has no score in the platform, the provider says {holes[cell]}",
                    f"hole_scores/{tournament}/{cell[0]}/{cell[1]}/{cell[2]}",
                    facts(evidence).last_cutoff_at(tournament),
                )
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
    replayed = {tournament: dict(cells) for tournament, cells in receipts(evidence).replayed.items()}
    found = Finding("hole scores", 0, once(evidence, _Official).count)
    for tournament, golfer, number, hole, strokes in evidence.rows(
        "platform.hole_scores", "tournament_id", "golfer_id", "round", "hole", "strokes"
    ):
        found.saw += 1
        cell = (golfer, number, hole)
        from_receipts = replayed.get(tournament, {}).pop(cell, None)
        if from_receipts != strokes:
            said = "no admitted receipt" if from_receipts is None else f"receipts that lead to {from_receipts}"
            found.breaks(
                f"{_hole(tournament, cell)} has {strokes} strokes, but {said}",
                f"hole_scores/{tournament}/{golfer}/{number}/{hole}",
            )
    for tournament, cells in replayed.items():
        for cell, strokes in cells.items():
            found.breaks(
                f"{_hole(tournament, cell)} was admitted with {strokes} strokes and has no score",
                f"hole_scores/{tournament}/{cell[0]}/{cell[1]}/{cell[2]}",
            )
    return found


@assertion(
    "ingestion.scores_are_audited", "The platform audited its scores for every day of play, and found no mismatch"
)
def scores_are_audited(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("score audits", 0, 0)
    for publications in owed_publications(evidence).values():
        days = {row.published_at // DAY_MS for row in publications if row.published_at + 2 * DAY_MS < known.ended_at}
        found.owed += len(days)
    for audit, tournament, at, holes, mismatches in evidence.rows(
        "platform.score_audits", "audit_id", "tournament_id", "at", "holes", "mismatches"
    ):
        found.saw += 1
        if mismatches:
            found.breaks(
                f"the audit of {tournament} at {instant(at)} found {mismatches} of {holes} holes that do not follow "
                f"from their receipts",
                f"score_audits/{audit}", at,
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
    found = Finding("receipts", known.count, sum(map(len, owed_publications(evidence).values())))
    for batch, n, verdict in known.silent:
        found.breaks(f"receipt {n} of batch {batch} is {verdict} without a reason", f"ingestion_batches/{batch}")
    for batch, at, what in known.wrong_counts:
        found.breaks(f"batch {batch} of {instant(at)}: {what}", f"ingestion_batches/{batch}", at)
    return found


@assertion("ingestion.no_readmission", "A hole is admitted once: a restarted worker does not admit it again")
def no_readmission(evidence: Evidence) -> Finding:
    known = receipts(evidence)
    found = Finding("admitted holes", sum(map(len, known.replayed.values())), once(evidence, _Official).count)
    for batch, n, tournament, cell in known.readmitted:
        found.breaks(
            f"{_hole(tournament, cell)} was admitted again by receipt {n} of batch {batch}",
            f"ingestion_batches/{batch}",
        )
    return found
