"""Defects of the audit log: its chain, what a row says of a change, and the heads that go outside."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_AUDIT = "contest_platform/audit.py"
_ANCHORING = "contest_platform/services/anchoring.py"
_ENTRIES = "contest_platform/services/entries.py"
_PAYOUTS = "contest_platform/services/payouts.py"
_REFUNDS = "contest_platform/services/refunds.py"
_WEBHOOKS = "contest_platform/services/webhooks.py"

_OCCASION = "    at, actor, correlation, cause = tx.now, ctx.actor, ctx.correlation, tx.cause\n"

CATALOGUE = (
    Defect(
        "audit.anchored_daily",
        "The head goes outside once a day, when the backups do, because that seemed often enough.",
        (
            Edit(
                _ANCHORING,
                "        next_at = next_tick(now + 1, HOUR_MS)  # not an hour from now: this may have come late\n",
                "        next_at = next_tick(now + 1, 24 * HOUR_MS)\n",
            ),
        ),
        ("audit.head_matches_anchor",),
    ),
    Defect(
        "audit.anchors_the_hash_before",
        "The anchor takes the wrong one of a row's two hashes: that of the row before it.",
        (
            Edit(
                _ANCHORING,
                "    seq, head = audit.head(tx)\n",
                '    [(seq, head)] = tx.tuples("select seq, prev_hash from audit_log order by seq desc limit 1")\n',
            ),
        ),
        ("audit.head_matches_anchor",),
    ),
    Defect(
        "audit.before_is_read_afterwards",
        "The image of the row before a change is read for the log once the change has been written.",
        (
            Edit(
                _AUDIT,
                '    append(tx, ctx, f"{table}.update", subject(table, key), before=before, after=changes,'
                " reason=reason)\n",
                '    append(tx, ctx, f"{table}.update", subject(table, key), before=tx.one(select, key), after=changes,'
                " reason=reason)\n",
            ),
        ),
        ("audit.rows_match_images",),
    ),
    Defect(
        "audit.cause_and_correlation_swapped",
        "Two texts stand beside each other, and whoever put them in order had them the wrong way round.",
        (
            Edit(
                _AUDIT,
                _OCCASION,
                "    at, actor, cause, correlation = tx.now, ctx.actor, ctx.correlation, tx.cause\n",
            ),
        ),
        ("audit.every_row_has_a_cause",),
    ),
    Defect(
        "audit.chain_begins_anew_with_a_process",
        "The last hash is kept in memory, and a process that has none begins a chain of its own.",
        (
            Edit(
                _AUDIT,
                """\
        rows = tx.tuples("select seq, hash from audit_log order by seq desc limit 1")
        known = tx.known["audit.head"] = rows[0] if rows else (0, GENESIS)
""",
                """\
        rows = tx.tuples("select max(seq) from audit_log")
        known = tx.known["audit.head"] = (rows[0][0] or 0, GENESIS)
""",
            ),
        ),
        ("audit.chain_holds",),
    ),
    Defect(
        "audit.counter_is_not_audited",
        "How often a webhook came is a mere counter, so it is counted up past the audit.",
        (
            Edit(
                _WEBHOOKS,
                '            audit.update(tx, ctx, "webhook_inbox", {"event_id": event.id}, changes, "delivered again",'
                " read=row)\n",
                '            tx.run("update webhook_inbox set deliveries = :deliveries where event_id = :event",\n'
                '                   {**changes, "event": event.id})\n',
            ),
        ),
        ("audit.rows_match_images",),
        faults=(Fault("webhooks.duplicate"),),
    ),
    Defect(
        "audit.intent_written_by_hand",
        "The id of an intent is filled in with a quick update where the audited one was in the way of a retry.",
        (
            Edit(
                _ENTRIES,
                """\
            try:
                audit.update(tx, Context(ACTOR, entry_id), "payments", key, changes, "intent created", _NO_INTENT)
            except LookupError:
""",
                """\
            written = "update payments set intent_id = :intent_id where entry_id = :entry_id and intent_id is null"
            if not tx.run(written, {**key, **changes}):
""",
            ),
        ),
        ("audit.external_effects_are_audited", "audit.rows_match_images"),
    ),
    Defect(
        "audit.jobs_have_no_cause",
        "Only what somebody asked for is given a cause: jobs were thought to begin by themselves.",
        (
            Edit(
                _AUDIT,
                _OCCASION,
                _OCCASION + '    cause = "" if actor.startswith("system:") else cause\n',
            ),
        ),
        ("audit.every_row_has_a_cause",),
    ),
    Defect(
        "audit.reason_is_cut_once_hashed",
        "The column was made shorter, and a long reason is cut to fit after it has been hashed in full.",
        (
            Edit(
                _AUDIT,
                "    digest = sha256(hashed).hexdigest()\n",
                "    digest, reason = sha256(hashed).hexdigest(), reason[:24]\n",
            ),
        ),
        ("audit.chain_holds",),
    ),
    Defect(
        "audit.refund_id_only_in_the_reason",
        "The processor's id of a refund is told in the reason, for people to read, and kept in no column.",
        (
            Edit(
                _REFUNDS,
                '        "status": "DONE", "processor_refund_id": processor_refund_id, "next_attempt_at": None,'
                ' "done_at": tx.now,\n',
                '        "status": "DONE", "next_attempt_at": None, "done_at": tx.now,\n',
            ),
        ),
        ("audit.external_effects_are_audited",),
        faults=(Fault("customers.refund_requested"),),
    ),
    Defect(
        "audit.row_after_the_commit",
        "The audit row is written in a transaction of its own after the change, and a crash comes between the two.",
        (
            Edit(
                _PAYOUTS,
                """\
        await store.transact("payouts.open", self._open)
""",
                """\
        self._opened: list[dict[str, Any]] = []
        await store.transact("payouts.open", self._open)
        await store.transact("payouts.opened", self._note_opened)
""",
            ),
            Edit(
                _PAYOUTS,
                """\
                audit.insert(tx, Context(ACTOR, contest_id), "transfers", row, f"prize of place {winner['place']}")
""",
                """\
                tx.insert("transfers", row)
                self._opened.append(row)

    def _note_opened(self, tx: Tx) -> None:
        for row in self._opened:
            ctx, subject = Context(ACTOR, row["contest_id"]), f"transfers/{row['transfer_id']}"
            audit.append(tx, ctx, "transfers.insert", subject, after=row, reason="a prize is owed")
""",
            ),
        ),
        ("audit.rows_match_images",),
        faults=(Fault("platform.crash_in_step", params={"step": "payouts.open", "committed": True}),),
    ),
    Defect(
        "audit.transfer_id_is_not_kept",
        "A transfer is found again by our own id in its metadata, so the processor's is not written down.",
        (
            Edit(
                _PAYOUTS,
                '        _end(tx, Context(ACTOR, row["contest_id"]), row, "PAID", None, processor_transfer_id)\n',
                '        _end(tx, Context(ACTOR, row["contest_id"]), row, "PAID", None)\n',
            ),
        ),
        ("audit.external_effects_are_audited",),
    ),
)
