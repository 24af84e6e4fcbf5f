"""Defects that show only under faults, most of them only where two or three come together: what shrinking has to find
among the many faults of a run that have nothing to do with it."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_PAYOUTS = "contest_platform/services/payouts.py"
_ENTRIES = "contest_platform/services/entries.py"
_REFUNDS = "contest_platform/services/refunds.py"
_INGESTION = "contest_platform/services/ingestion.py"
_BATCHES = "contest_platform/services/ingestion_batches.py"
_HEALING = "contest_platform/services/healing.py"
_WEBHOOKS = "contest_platform/services/webhooks.py"
_ERRORS = "contest_platform/errors.py"
_DISPUTES = "contest_platform/services/disputes.py"

_GIVES_UP = "        if what is Meaning.NEVER_WILL:\n            _give_up(tx, ctx, row, code)\n"
_KEEPS_KEY = "            self._retry(tx, row, code, new_key=code in SAVED_REJECTIONS)\n"
_SAYS_FAILED = '            await store.transact("payouts.failed", lambda tx: self._failed(tx, transfer_id, n, code))\n'
_PAYOUTS_BEGIN = "        self._ports, self._config = ports, config\n        self._gauges = {\n"
_ENTRIES_BEGIN = (
    "        self._ports, self._config = ports, config\n"
    '        self._orphaned_gauge = Gauge(ports.metrics, "payment_intent_orphaned_oldest_timestamp_seconds")\n'
)
_REFUNDS_BEGIN = (
    "        self._ports, self._config = ports, config\n"
    '        self._oldest_gauge = Gauge(ports.metrics, "refund_request_oldest_timestamp_seconds")\n'
)
_REFUND_SAYS_FAILED = (
    '            await store.transact("refunds.failed", lambda tx: self._failed(tx, refund_id, code, rejected))\n'
)
_REFUND_BEGINS = '        refund_id, store = refund["refund_id"], self._ports.store\n        try:\n'
_REFUND_FAILS = "        if what is Meaning.NEVER_WILL:\n            fail(tx, ctx, refund_id, code)\n"
_CAME_BACK = (
    '            back = tx.one(f"{_SAME} and status = \'RESOLVED\' and {_IN_QUESTION}", {**about, "now": tx.now})\n'
)
_FAIL = '    checkpoint["failures"] += 1\n'

_ONE = "short-strokes"


def _lost(occurrence: int) -> Fault:
    return Fault("timeouts.transfer_request_lost", bind={"entity": _ONE, "occurrence": occurrence})


CATALOGUE = (
    Defect(
        "hidden.anchor_given_up",
        "A book outside that cannot be reached is not bothered again: the next hour is booked only after a success.",
        (
            Edit(
                "contest_platform/services/anchoring.py",
                '        await ports.store.transact("anchoring.done", remember)\n        self._next_at = next_at\n',
                '        await ports.store.transact("anchoring.done", remember)\n'
                '        self._next_at = next_at if known["seq"] == seq else None\n',
            ),
            Edit(
                "contest_platform/services/anchoring.py",
                "        if self._next_at is None:\n            known = await",
                "        if self._next_at is None and not self._begun:\n"
                "            self._begun = True\n"
                "            known = await",
            ),
            Edit(
                "contest_platform/services/anchoring.py",
                "        self._next_at: int | None = None\n",
                "        self._next_at: int | None = None\n        self._begun = False\n",
            ),
        ),
        ("audit.head_matches_anchor",),
        faults=(Fault("platform.anchor_down"),),
    ),
    Defect(
        "hidden.backoff_by_the_day",
        "The back-off of payouts grows a hundredfold with each attempt, up to a week: seconds were meant, not minutes.",
        (
            Edit(_PAYOUTS, "BACKOFF_MAX_MS = HOUR_MS\n", "BACKOFF_MAX_MS = 7 * 24 * HOUR_MS\n"),
            Edit(
                _PAYOUTS,
                "        full = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << min(n - 1, 16))\n",
                "        full = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << min(7 * (n - 1), 16))\n",
            ),
        ),
        ("lifecycle.on_time",),
        faults=(_lost(1), _lost(4), _lost(5)),
    ),
    Defect(
        "hidden.cancel_in_doubt_is_done",
        "An intent that is to be canceled is canceled in our books, whatever the processor says, or does not say.",
        (
            Edit(
                _ENTRIES,
                "            unreachable.append(error)\n",
                "            unreachable.append(error)\n"
                '            reason = "abandoned, and canceled"\n'
                '            await store.transact("entries.canceled",'
                " lambda tx: payments.cancel(tx, ctx, entry_id, reason))\n",
            ),
        ),
        ("recovery.converged",),
        faults=(Fault("timeouts.cancel_request_lost"),),
    ),
    Defect(
        "hidden.cancellations_stop_after_two",
        "A breaker that opens after two calls without an answer was put before cancellations, and nothing closes it.",
        (
            Edit(_ENTRIES, _ENTRIES_BEGIN, f"{_ENTRIES_BEGIN}        self._unanswered_cancels = 0\n"),
            Edit(
                _ENTRIES,
                "        if unreachable:\n            return\n",
                "        if unreachable or self._unanswered_cancels >= 2:\n            return\n",
            ),
            Edit(
                _ENTRIES,
                "            unreachable.append(error)\n",
                "            self._unanswered_cancels += 1\n            unreachable.append(error)\n",
            ),
        ),
        ("recovery.converged",),
        faults=(Fault("timeouts.cancel_request_lost", 2),),
    ),
    Defect(
        "hidden.checkpoint_with_failures_not_trusted",
        "A worker that starts where polls had failed begins anew, to be on the safe side.",
        (
            Edit(
                _INGESTION,
                "    return _Memory(ingestion_batches.read_known(tx, tournament.id), checkpoint)\n",
                '    if checkpoint["failures"]:\n'
                "        checkpoint = dict(FRESH)\n"
                "        checkpoints.save(tx, checkpoint_name(tournament.id), checkpoint)\n"
                "    return _Memory(ingestion_batches.read_known(tx, tournament.id), checkpoint)\n",
            ),
        ),
        ("ingestion.resumes_from_checkpoint",),
        faults=(
            Fault("provider.outage", bind={"entity": "t1", "from": "day 3 16:00", "until": "day 3 17:00"}),
            Fault("platform.crash"),
        ),
    ),
    Defect(
        "hidden.corrections_two_at_most",
        "More than two corrections of an event were thought to be a mistake of the provider, and are left out.",
        (
            Edit(
                _BATCHES,
                "    broken, rows = judgement.broken, _mark_late(tx, poll, judgement.receipts, checkpoint)\n",
                '    corrected = tx.tuples(_CORRECTED, {"t": tournament.id})[0][0]\n'
                "    if corrected >= 2:\n"
                '        kept = [row for row in judgement.receipts if row[5] != "CORRECTION"]\n'
                "        judgement.receipts[:] = kept\n"
                "    broken, rows = judgement.broken, _mark_late(tx, poll, judgement.receipts, checkpoint)\n",
            ),
            Edit(
                _BATCHES,
                "_RECEIPT_COLUMNS = (\n",
                '_CORRECTED = "select coalesce(sum(corrections), 0) from ingestion_batches where tournament_id = :t"\n'
                "_RECEIPT_COLUMNS = (\n",
            ),
        ),
        ("ingestion.scores_equal_official",),
        faults=(Fault("provider.correction", 3),),
    ),
    Defect(
        "hidden.key_in_use_is_final",
        "The processor says that a request is in hand already, and that is taken for a refusal.",
        (
            Edit(
                _ERRORS,
                '    "idempotency_key_in_use": Meaning.UNKNOWN,\n',
                '    "idempotency_key_in_use": Meaning.NEVER_WILL,\n',
            ),
        ),
        ("payouts.terminal_failures_have_reasons", "lifecycle.paid_out_means_paid"),
        faults=(Fault("processor.key_in_use"),),
    ),
    Defect(
        "hidden.payouts_rate_limited_thrice",
        "A rate limit that was hit three times is taken for a ban of the account, and what hits it then is given up.",
        (
            Edit(
                _PAYOUTS,
                _PAYOUTS_BEGIN,
                _PAYOUTS_BEGIN.replace("        self._gauges", "        self._limited = 0\n        self._gauges"),
            ),
            Edit(
                _PAYOUTS,
                _GIVES_UP,
                '        self._limited += code == "rate_limit"\n'
                '        if what is Meaning.NEVER_WILL or (code == "rate_limit" and self._limited >= 3):\n'
                "            _give_up(tx, ctx, row, code)\n",
            ),
        ),
        ("payouts.terminal_failures_have_reasons",),
        faults=(Fault("processor.rate_limited", 3),),
    ),
    Defect(
        "hidden.payouts_second_doubt_new_key",
        "A request that has had no answer twice is believed never to have arrived, and is made anew with a new key.",
        (
            Edit(
                _PAYOUTS,
                _KEEPS_KEY,
                '            is_lost = what is Meaning.UNKNOWN and row["attempts"] >= 2\n'
                "            self._retry(tx, row, code, new_key=is_lost or code in SAVED_REJECTIONS)\n",
            ),
        ),
        ("payouts.exactly_once", "payouts.attempts_follow_idempotency"),
        faults=(Fault("timeouts.transfer_answer_lost", bind={"entity": _ONE, "occurrence": 1}), _lost(4)),
    ),
    Defect(
        "hidden.payouts_stop_after_two",
        "A breaker that opens after two calls without an answer was put before payouts, and nothing closes it.",
        (
            Edit(
                _PAYOUTS,
                _PAYOUTS_BEGIN,
                _PAYOUTS_BEGIN.replace("        self._gauges", "        self._unanswered = 0\n        self._gauges"),
            ),
            Edit(_PAYOUTS, "        if due:\n", "        if due and self._unanswered < 2:\n"),
            Edit(
                _PAYOUTS,
                _SAYS_FAILED,
                f"            self._unanswered += meaning(code) is Meaning.UNKNOWN\n{_SAYS_FAILED}",
            ),
        ),
        ("lifecycle.every_contest_ends", "recovery.converged"),
        faults=(Fault("timeouts.transfer_request_lost", 2),),
    ),
    Defect(
        "hidden.payouts_third_attempt_is_last",
        "A transfer is tried three times, as everything else is by the client that somebody copied this from.",
        (
            Edit(
                _PAYOUTS,
                _GIVES_UP,
                '        if what is Meaning.NEVER_WILL or (what is Meaning.UNKNOWN and row["attempts"] >= 3):\n'
                "            _give_up(tx, ctx, row, code)\n",
            ),
        ),
        ("payouts.terminal_failures_have_reasons",),
        faults=(_lost(1), _lost(4), _lost(5)),
    ),
    Defect(
        "hidden.payouts_two_kinds_of_trouble",
        "A transfer that fails in two ways is believed to be wrong in itself, and is given up.",
        (
            Edit(
                _PAYOUTS,
                _GIVES_UP,
                '        if what is Meaning.NEVER_WILL or (row["reason"] is not None and row["reason"] != code):\n'
                "            _give_up(tx, ctx, row, code)\n",
            ),
        ),
        ("payouts.terminal_failures_have_reasons",),
        faults=(Fault("processor.rate_limited", bind={"entity": _ONE, "occurrence": 1}), _lost(4)),
    ),
    Defect(
        "hidden.polls_budgeted",
        "An event is allowed ten polls without an answer in all, and after that it is not asked about any more.",
        (
            Edit(
                _INGESTION,
                '        retry=checkpoint["failing_since"] is not None or checkpoint["page"] is not None,\n    )\n',
                '        retry=checkpoint["failing_since"] is not None or checkpoint["page"] is not None,\n    )\n'
                '    if checkpoint["failures"] > 10:\n'
                '        return _Due(None, standing.owed_at, checkpoint["page"], checkpoint["failing_since"])\n',
            ),
        ),
        ("ingestion.every_publication_has_a_receipt",),
        faults=(Fault("provider.outage", 2, {"outage_min": 60}),),
    ),
    Defect(
        "hidden.polls_end_with_an_error",
        "An event whose poll fails is left alone until somebody asks for it: the grid was meant for good days.",
        (
            Edit(
                _INGESTION,
                "    next_at = next_poll(tournament, standing, after)\n",
                "    next_at = None if standing.retry else next_poll(tournament, standing, after)\n",
            ),
        ),
        ("ingestion.every_publication_has_a_receipt",),
        faults=(Fault("provider.outage"),),
    ),
    Defect(
        "hidden.polls_two_kinds_of_trouble",
        "A provider that fails in two ways is believed to have moved, and is not asked until somebody looks into it.",
        (
            Edit(
                _INGESTION,
                _FAIL,
                f'{_FAIL}    checkpoint["codes"] = sorted({{*checkpoint.get("codes", []), code}})\n',
            ),
            Edit(
                _INGESTION,
                "    next_at = next_poll(tournament, standing, after)\n",
                '    has_moved = len(checkpoint.get("codes", [])) >= 2\n'
                "    next_at = None if has_moved else next_poll(tournament, standing, after)\n",
            ),
        ),
        ("ingestion.every_publication_has_a_receipt",),
        faults=(Fault("provider.outage"), Fault("provider.malformed")),
    ),
    Defect(
        "hidden.refunds_in_doubt_are_final",
        "Whatever is not surely undone is marked as failed, for somebody to look into.",
        (
            Edit(
                _REFUNDS,
                _REFUND_FAILS,
                "        if what is not Meaning.DID_NOT_HAPPEN:\n            fail(tx, ctx, refund_id, code)\n",
            ),
        ),
        ("lifecycle.cancelled_are_refunded",),
        "default",
        (Fault("timeouts.refund_request_lost"),),
    ),
    Defect(
        "hidden.refunds_stop_after_three",
        "A breaker that opens after three calls without an answer was put before refunds, and nothing closes it.",
        (
            Edit(_REFUNDS, _REFUNDS_BEGIN, f"{_REFUNDS_BEGIN}        self._unanswered = 0\n"),
            Edit(
                _REFUNDS,
                '        refund_id, store = refund["refund_id"], self._ports.store\n        try:\n',
                "        if self._unanswered >= 3:\n            return\n"
                '        refund_id, store = refund["refund_id"], self._ports.store\n        try:\n',
            ),
            Edit(
                _REFUNDS,
                _REFUND_SAYS_FAILED,
                f"            self._unanswered += not rejected\n{_REFUND_SAYS_FAILED}",
            ),
        ),
        ("lifecycle.cancelled_are_refunded",),
        "default",
        (Fault("timeouts.refund_request_lost", 3),),
    ),
    Defect(
        "hidden.refunds_two_kinds_of_trouble",
        "Refunds that fail in two ways are believed to be wrong in themselves, and none is sent until a restart.",
        (
            Edit(_REFUNDS, _REFUNDS_BEGIN, f"{_REFUNDS_BEGIN}        self._codes: set[str] = set()\n"),
            Edit(_REFUNDS, _REFUND_BEGINS, f"        if len(self._codes) >= 2:\n            return\n{_REFUND_BEGINS}"),
            Edit(_REFUNDS, _REFUND_SAYS_FAILED, f"            self._codes.add(code)\n{_REFUND_SAYS_FAILED}"),
        ),
        ("lifecycle.cancelled_are_refunded",),
        "default",
        (Fault("timeouts.refund_request_lost"), Fault("processor.charge_locked")),
    ),
    Defect(
        "hidden.worker_restarted_once",
        "An incident that was resolved once is found again when the same check fails, and taken for done.",
        (
            Edit(
                _HEALING,
                _CAME_BACK,
                "            done = tx.one(f\"{_SAME} and status = 'RESOLVED'\", about)\n"
                "            if done is not None:\n"
                '                return str(done["incident_id"])\n'
                f"{_CAME_BACK}",
            ),
        ),
        ("ingestion.every_publication_has_a_receipt",),
        faults=(Fault("platform.crash", 2),),
    ),
    Defect(
        "hidden.worker_restarted_twice",
        "A check that fails for the third time is said to flap, and what flaps is left to ops; nobody told ops.",
        (
            Edit(
                _HEALING,
                '        rule = self._rule(tx, incident)\n        ctx = Context(ACTOR, incident["incident_id"])\n',
                '        about = {key: incident[key] for key in ("host", "check_name", "target")}\n'
                "        rule = None if len(tx.all(_SAME, about)) > 2 else self._rule(tx, incident)\n"
                '        ctx = Context(ACTOR, incident["incident_id"])\n',
            ),
        ),
        ("ingestion.every_publication_has_a_receipt",),
        faults=(Fault("platform.crash", 3),),
    ),
)
