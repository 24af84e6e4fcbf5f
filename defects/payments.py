"""Defects of what the processor tells: events, twins of them, what comes late, fees and disputes."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_PAYMENTS = "contest_platform/services/payments.py"
_RECONCILIATION = "contest_platform/services/reconciliation.py"
_WEBHOOKS = "contest_platform/services/webhooks.py"

CATALOGUE = (
    Defect(
        "payments.dedupe_by_event_id",
        "An event that was seen before is known by its id; the processor tells of one change under two ids.",
        (
            Edit(
                _WEBHOOKS,
                "    distinct = EFFECTS.get(event.type, _NO_EFFECT).distinct(event)\n"
                '    return ":".join(part for part in (event.type, event.object["id"], distinct) if part)\n',
                "    return event.id\n",
            ),
        ),
        ("ledger.events_are_applied_once",),
        faults=(Fault("webhooks.twin"),),
    ),
    Defect(
        "payments.fees_not_posted",
        "What a card costs is on the processor's invoice at the end of the month, so nobody posts it.",
        (
            Edit(
                _RECONCILIATION,
                "        if movement.fee_cents:\n",
                '        if movement.fee_cents and movement.kind != "charge":\n',
            ),
        ),
        ("ledger.reconciles_with_processor",),
    ),
    Defect(
        "payments.late_capture_is_late",
        "Whether a payment was in time is asked of the clock as its event comes, and not of the event.",
        (
            Edit(
                _PAYMENTS,
                "    why_not = _why_not(row, amount_cents, captured_at)\n",
                "    why_not = _why_not(row, amount_cents, tx.now)\n",
            ),
        ),
        ("ledger.participants_balances", "ledger.pool_is_conserved"),
        "default",
        (Fault("webhooks.lost", 2),),
    ),
    Defect(
        "payments.late_entry_without_escrow",
        "Fees go into escrow at the lock; of an entry that is known to be valid only after it nobody thought.",
        (
            Edit(
                _PAYMENTS,
                '    if row["contest_status"] != "SCHEDULED":\n',
                '    if row["contest_status"] == "COMPLETE":\n',
            ),
        ),
        ("ledger.pool_is_conserved", "ledger.participants_balances"),
        "default",
        (Fault("webhooks.lost", 2),),
    ),
    Defect(
        "payments.listed_events_ignored",
        "Of payments the webhooks tell, so the list of events is read for everything else.",
        (
            Edit(
                _RECONCILIATION,
                "    if listed.type in webhooks.EFFECTS:\n",
                '    if listed.type in webhooks.EFFECTS and listed.type != "payment_intent.succeeded":\n',
            ),
        ),
        ("ledger.events_are_applied_once",),
        faults=(Fault("webhooks.lost"),),
    ),
    Defect(
        "payments.lost_dispute_is_a_claim",
        "A dispute is written off once it is `closed`, which is how its event is called and not how a dispute is.",
        (
            Edit(
                "contest_platform/services/disputes.py",
                '    if row is None or row["status"] != "lost" or _posted_cents(tx, "dispute_won", dispute_id):\n',
                '    if row is None or row["status"] != "closed" or _posted_cents(tx, "dispute_won", dispute_id):\n',
            ),
        ),
        ("ledger.reconciles_with_processor",),
        faults=(Fault("customers.chargeback_lost"),),
    ),
    Defect(
        "payments.noted_before_applied",
        "A webhook is answered as soon as it is noted, and applied when there is time for it.",
        (
            Edit(
                _WEBHOOKS,
                "    status = DUPLICATE if twin is not None else EFFECTS.get(event.type, _NO_EFFECT)."
                "apply(tx, ctx, event)\n",
                "    later = delivered and event.type in EFFECTS and twin is None\n"
                "    if later:\n"
                '        checkpoints.save(tx, f"webhook:{event.id}", asdict(event))\n'
                '        tx.notify("webhooks")\n'
                "    status = (\n"
                "        DUPLICATE if twin is not None else APPLIED if later\n"
                "        else EFFECTS.get(event.type, _NO_EFFECT).apply(tx, ctx, event)\n"
                "    )\n",
            ),
            Edit(
                _WEBHOOKS,
                '        changes = {"status": status, "applied_at": tx.now if status == APPLIED else None}\n'
                '        audit.update(tx, ctx, "webhook_inbox", {"event_id": event.id}, changes, '
                '"our own row is there now")\n',
                "",
            ),
        ),
        ("ledger.events_are_applied_once",),
    ),
)
