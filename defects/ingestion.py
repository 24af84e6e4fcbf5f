"""Defects of ingestion: what the provider answers, what is made of it, and where it goes on after a restart."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_SERVICE = "contest_platform/services/ingestion.py"
_BATCHES = "contest_platform/services/ingestion_batches.py"
_RECEIPTS = "contest_platform/domain/receipts.py"
_POLLING = "contest_platform/domain/polling.py"

_BEGIN = """\
    if checkpoint is None:
        batches = "select 1 from ingestion_batches where tournament_id = :t limit 1"
        if tx.one(batches, {"t": tournament.id}) is not None:
            return None
        checkpoint = dict(FRESH)
        checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)
    return _Memory(ingestion_batches.read_known(tx, tournament.id), checkpoint)
"""
_ADDS_UP = (
    "    broken = frozenset([player_round for player_round, strokes in sums.items()"
    " if totals.get(player_round) != strokes])\n"
)
_CRASH = (Fault("platform.ingestion_crash_at", params={"moment": "play"}),)

CATALOGUE = (
    Defect(
        "ingestion.any_event_will_do",
        "The address names the event, so nobody looks which one it is about; and what has no total adds up.",
        (
            Edit(
                _BATCHES,
                """\
    if answer.event_id != poll.tournament.event_id:
        _refuse_event(tx, poll, checkpoint)
    elif revision is not None and answer.revision < revision:
""",
                """\
    if revision is not None and answer.revision < revision:
""",
            ),
            Edit(_RECEIPTS, _ADDS_UP, _ADDS_UP.replace("get(player_round)", "get(player_round, strokes)")),
        ),
        ("ingestion.admitted_is_published",),
        faults=(Fault("provider.wrong_event"),),
    ),
    Defect(
        "ingestion.cells_of_who_is_out_dropped",
        "Who is out does not play, so the holes of a golfer who is not active any more are left out of the answer.",
        (
            Edit(
                _BATCHES,
                """\
        answer.cells,
        answer.totals,
""",
                """\
        [cell for cell in answer.cells if answer.statuses.get(cell[0], "active") == "active"],
        {of: total for of, total in answer.totals.items() if answer.statuses.get(of[0], "active") == "active"},
""",
            ),
        ),
        ("ingestion.every_publication_has_a_receipt", "ingestion.scores_equal_official"),
        faults=(Fault("provider.correction"),),
    ),
    Defect(
        "ingestion.checkpoint_in_memory",
        "Where ingestion stands is kept by the process, and a new one begins anew.",
        (
            Edit(
                _SERVICE,
                _BEGIN,
                """\
    checkpoint = dict(FRESH)
    checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)
    return _Memory(ingestion_batches.read_known(tx, tournament.id), checkpoint)
""",
            ),
        ),
        ("ingestion.resumes_from_checkpoint",),
        faults=_CRASH,
    ),
    Defect(
        "ingestion.correction_is_a_first_score",
        "The insert is an upsert, and nobody who reads a receipt can tell a correction from a first score.",
        (Edit(_RECEIPTS, '_OTHER = ("CORRECTION", "OTHER_VALUE")\n', '_OTHER = ("ADMIT", "OTHER_VALUE")\n'),),
        ("ingestion.no_readmission", "ingestion.late_corrections_told"),
        faults=(Fault("corrections.after_settled"),),
    ),
    Defect(
        "ingestion.corrections_are_not_shown",
        "What is shown is what was admitted, and a correction has come to have a verdict of its own.",
        (
            Edit(
                _BATCHES,
                "    where batch_id = :batch and (verdict = 'ADMIT' or verdict = 'CORRECTION') order by n\n",
                "    where batch_id = :batch and (verdict = 'ADMIT') order by n\n",
            ),
        ),
        ("ingestion.scores_equal_official", "ingestion.replay_reproduces"),
        faults=(Fault("corrections.next_day"),),
    ),
    Defect(
        "ingestion.dated_on_receipt",
        "A score is dated with when it was received, because the feed's own times were in another zone.",
        (
            Edit(
                _BATCHES,
                """\
        answer.cells,
        answer.totals,
""",
                """\
        [(*cell[:4], poll.received_at) for cell in answer.cells],
        answer.totals,
""",
            ),
        ),
        ("ingestion.admitted_is_published",),
    ),
    Defect(
        "ingestion.empty_answer_starts_over",
        "An answer without a field means that the provider has begun anew, so ingestion does too.",
        (
            Edit(
                _BATCHES,
                """\
    checkpoint["empty"] += 1
""",
                """\
    checkpoint["empty"] += 1
    checkpoint["revision"] = None
""",
            ),
        ),
        ("ingestion.resumes_from_checkpoint",),
        faults=(Fault("provider.empty"),),
    ),
    Defect(
        "ingestion.no_poll_after_settlement",
        "Once every contest is settled the provider is not asked any more, to save what each call costs.",
        (
            Edit(
                _POLLING,
                """\
        at = next_tick(tick, AFTERWARDS_PERIOD_MS)
        return at if at <= standing.over_at + AFTERWARDS_MS else None
""",
                """\
        return None
""",
            ),
        ),
        ("ingestion.late_corrections_told",),
        faults=(Fault("corrections.after_settled"),),
    ),
    Defect(
        "ingestion.one_open_batch",
        "Only the last batch that did not add up is remembered: there had never been two of them.",
        (
            Edit(
                _BATCHES,
                '        checkpoint["open"].append(batch_id)\n',
                '        checkpoint["open"] = [batch_id]\n',
            ),
        ),
        ("ingestion.no_quarantine_left",),
        faults=(Fault("provider.scrambled", params={"lasts_min": 60}),),
    ),
    Defect(
        "ingestion.only_as_admitted_resolves",
        "A quarantine is resolved once its own values are admitted; that others may come instead was forgotten.",
        (
            Edit(
                _BATCHES,
                '        if row is None or not row["cells"] or row["resolved"]:\n',
                '        if row is None or not row["cells"] or row["resolved"] or row["admitted"] != row["cells"]:\n',
            ),
        ),
        ("ingestion.no_quarantine_left",),
        faults=(Fault("provider.scrambled"),),
    ),
    Defect(
        "ingestion.over_is_final",
        "Once an event has ended its scores are taken for final, and what is told of them afterwards is not read.",
        (
            Edit(
                _BATCHES,
                """\
    judgement = receipts.judge(
        answer.cells,
        answer.totals,
""",
                """\
    is_over = poll.received_at > tournament.ends_at
    judgement = receipts.judge(
        () if is_over else answer.cells,
        {} if is_over else answer.totals,
""",
            ),
        ),
        (
            "ingestion.every_publication_has_a_receipt",
            "ingestion.official_at_cutoff",
            "ingestion.scores_equal_official",
        ),
        faults=(Fault("provider.correction"),),
    ),
    Defect(
        "ingestion.play_in_local_time",
        "The calendar has local times and is read as UTC: the last hours of each day of play are polled hourly.",
        (
            Edit(
                _SERVICE,
                "    return tuple((from_at, until_at) for from_at, until_at in orjson.loads(play))\n",
                "    west = 5 * 3_600_000\n"
                "    return tuple((from_at - west, until_at - west) for from_at, until_at in orjson.loads(play))\n",
            ),
        ),
        ("ingestion.received_in_time",),
    ),
    Defect(
        "ingestion.polled_hourly",
        "The provider asked for fewer calls, and the period of the poll was put up to an hour, also in play.",
        (Edit(_POLLING, "PERIOD_MS = 10 * MINUTE_MS\n", "PERIOD_MS = HOUR_MS\n"),),
        ("ingestion.received_in_time",),
    ),
    Defect(
        "ingestion.quarantine_without_reason",
        "The reason of a quarantine was to be written by whoever looks into it.",
        (
            Edit(
                _RECEIPTS,
                '_MISMATCH = ("QUARANTINE", "HOLE_SUM_MISMATCH")\n',
                '_MISMATCH = ("QUARANTINE", "")\n',
            ),
        ),
        ("ingestion.nothing_rejected_silently",),
        faults=(Fault("provider.scrambled"),),
    ),
    Defect(
        "ingestion.rejects_are_not_kept",
        "What was rejected takes room and is of no use to anybody, so its receipts are not stored any more.",
        (
            Edit(
                _BATCHES,
                """\
        tx.insert_many("ingestion_receipts", _RECEIPT_COLUMNS, receipt_rows)
""",
                """\
        kept = [row for row in receipt_rows if row[8] != "REJECT"]
        tx.insert_many("ingestion_receipts", _RECEIPT_COLUMNS, kept)
""",
            ),
        ),
        ("ingestion.nothing_rejected_silently", "audit.rows_match_images"),
        faults=(Fault("provider.wrong_event"),),
    ),
    Defect(
        "ingestion.restart_knows_nothing",
        "A worker fills its memory as it goes, checkpoint and scores, and a restart has it begin with neither.",
        (
            Edit(
                _SERVICE,
                _BEGIN,
                """\
    checkpoint = dict(FRESH)
    checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)
    known = ingestion_batches.read_known(tx, tournament.id)
    return _Memory(Known(known.field, ingestion_batches.Scores.of([])), checkpoint)
""",
            ),
        ),
        ("ingestion.no_readmission", "ingestion.resumes_from_checkpoint"),
        faults=_CRASH,
    ),
    Defect(
        "ingestion.revision_past_a_quarantine",
        "The revision moves on with every answer, and what did not add up is not asked for again.",
        (
            Edit(
                _BATCHES,
                """\
    checkpoint["refused"] = checkpoint["empty_since"] = None
""",
                """\
    checkpoint["refused"] = checkpoint["empty_since"] = None
    checkpoint["revision"] = answer.revision
""",
            ),
        ),
        ("ingestion.received_in_time",),
        faults=(Fault("provider.scrambled"),),
    ),
    Defect(
        "ingestion.shown_once",
        "A row that is there is left alone: an insert's conflict was silenced, and corrections with it.",
        (
            Edit(
                _BATCHES,
                "        do update set strokes = excluded.strokes, batch_id = excluded.batch_id,"
                " published_at = excluded.published_at\n",
                "        do nothing\n",
            ),
        ),
        ("ingestion.replay_reproduces", "ingestion.scores_are_audited", "ingestion.scores_equal_official"),
        faults=(Fault("provider.correction"),),
    ),
    Defect(
        "ingestion.since_is_taken_for_inclusive",
        "The provider is asked from the revision after ours, as if it gave the one it is asked from as well.",
        (
            Edit(
                _SERVICE,
                '        since = None if full else memory.checkpoint["revision"]\n',
                '        revision = memory.checkpoint["revision"]\n'
                "        since = None if full or revision is None else revision + 1\n",
            ),
        ),
        ("ingestion.received_in_time",),
    ),
    Defect(
        "ingestion.status_only_with_scores",
        "Statuses are read where scores are: an answer that tells of no score is taken to tell nothing.",
        (
            Edit(
                _BATCHES,
                "        told = _update_statuses(tx, poll, field)\n",
                "        told = _update_statuses(tx, poll, field) if learned else field\n",
            ),
        ),
        ("ingestion.statuses_equal_official",),
        faults=(Fault("golfers.disqualified"),),
    ),
    Defect(
        "ingestion.totals_are_not_compared",
        "The check against the provider's totals was taken out on a day when these were wrong, and not put back.",
        (Edit(_RECEIPTS, _ADDS_UP, "    broken: frozenset[PlayerRound] = frozenset()\n"),),
        ("ingestion.admitted_is_published",),
        faults=(Fault("provider.scrambled"),),
    ),
    Defect(
        "ingestion.vocabulary_of_another_feed",
        "The statuses were taken from another provider, who writes MC for a missed cut.",
        (
            Edit(
                _BATCHES,
                "STATUSES = frozenset(get_args(GolferStatus))\n",
                'STATUSES = frozenset({"active", "MC", "withdrawn", "disqualified", "did_not_start"})\n',
            ),
        ),
        ("ingestion.statuses_equal_official",),
    ),
)
