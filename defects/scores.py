"""Defects of scoring: what is official at a cut-off, who scores what, and the replay that checks it."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_SCORING = "contest_platform/domain/scoring.py"
_SCORES = "contest_platform/services/scores.py"

CATALOGUE = (
    Defect(
        "scores.audited_every_second_night",
        "The audit took long, so it is made every other night, and the day between is taken to be covered.",
        (
            Edit(
                "contest_platform/services/score_audit.py",
                "        return self._through + DAY_MS\n",
                "        return self._through + 2 * DAY_MS\n",
            ),
        ),
        ("ingestion.scores_are_audited",),
    ),
    Defect(
        "scores.correction_does_not_count",
        "Official scores are read from what was admitted: that a correction has another verdict was forgotten.",
        (
            Edit(
                _SCORES,
                "    where batch_id > :after and tournament_id = :t and verdict in ('ADMIT', 'CORRECTION')"
                " and published_at <= :until\n",
                "    where batch_id > :after and tournament_id = :t and verdict = 'ADMIT' and published_at <= :until\n",
            ),
        ),
        ("ingestion.official_at_cutoff", "ingestion.scores_are_audited"),
        faults=(Fault("provider.correction"),),
    ),
    Defect(
        "scores.cutoff_is_not_looked_at",
        "Whatever is known when a contest is settled counts for it: the query has no end.",
        (
            Edit(
                _SCORES,
                "    for golfer, round_, hole, strokes in _admitted(tx, tournament_id, until=cutoff_at):\n",
                "    for golfer, round_, hole, strokes in _admitted(tx, tournament_id):\n",
            ),
        ),
        ("ingestion.official_at_cutoff",),
        faults=(Fault("corrections.after_cutoff"),),
    ),
    Defect(
        "scores.missed_round_costs_nothing",
        "A round without a total adds nothing, and nothing is the best that there is where the lowest wins.",
        (
            Edit(
                _SCORING,
                "            scores[golfer] += (missed if total is None else total) - course\n",
                "            scores[golfer] += 0 if total is None else total - course\n",
            ),
        ),
        ("ingestion.official_at_cutoff",),
    ),
    Defect(
        "scores.replay_skips_a_batch",
        "The replay goes on after the last batch that it has seen, and once more one further.",
        (
            Edit(
                _SCORES,
                "    for golfer, round_, hole, strokes in _admitted(tx, tournament_id, after=before.through):\n",
                "    after = before.through + 1 if known else 0\n"
                "    for golfer, round_, hole, strokes in _admitted(tx, tournament_id, after=after):\n",
            ),
        ),
        ("ingestion.scores_are_audited",),
    ),
    Defect(
        "scores.tied_are_ranked_by_id",
        "The leaderboard is sorted, and a place is the row in it: who is tied is told apart by his id.",
        (
            Edit(
                _SCORING,
                """\
    return {name: place_of[score] for name, score in scores.items()}
""",
                """\
    board = sorted(scores, key=lambda name: (place_of[scores[name]], name))
    return {name: row for row, name in enumerate(board, start=1)}
""",
            ),
        ),
        ("ingestion.official_at_cutoff",),
    ),
)
