"""Defects of refunds: how much is given back, out of which account, and how often."""

from __future__ import annotations

from defects.model import Defect, Edit

_REFUNDS = "contest_platform/services/refunds.py"
_ENTRIES = "contest_platform/services/entries.py"
_CANCELLED = "incident_webhook_before_row"
"""A cheap scenario with a contest that is cancelled."""

CATALOGUE = (
    Defect(
        "refunds.done_is_not_posted",
        "A refund is marked done, and that its money has left is told to the ledger by nobody.",
        (
            Edit(
                _REFUNDS,
                "    ledger.move(\n"
                '        tx, ctx, "refund", f"refund:{refund_id}", debit=ledger.refund_payable(row["user_id"]), '
                "credit=ledger.AVAILABLE,\n"
                '        cents=row["amount_cents"], reason=f"refunded as {processor_refund_id}",\n'
                "    )  # fmt: skip\n",
                "",
            ),
        ),
        ("ledger.reconciles_with_processor", "ledger.participants_balances"),
        _CANCELLED,
    ),
    Defect(
        "refunds.fee_kept",
        "The processor keeps its fee of a refunded payment, so the customer was made to pay it.",
        (
            Edit(
                _ENTRIES,
                '        left_cents = row["amount_cents"] - row["refunded_cents"]\n',
                '        left_cents = row["amount_cents"] - row["refunded_cents"] - 30\n',
            ),
        ),
        ("lifecycle.cancelled_are_refunded", "ledger.escrow_empty_after_settlement", "ledger.participants_balances"),
        _CANCELLED,
    ),
    Defect(
        "refunds.owed_from_the_wallet",
        "What is refunded comes out of the wallet, as it did before fees went into escrow.",
        (
            Edit(
                _ENTRIES,
                "        source = ledger.escrow(contest_id) if in_escrow else wallet\n",
                "        source = wallet\n",
            ),
        ),
        ("ledger.escrow_empty_after_settlement", "ledger.participants_balances"),
        _CANCELLED,
    ),
    Defect(
        "refunds.too_late_is_kept",
        "A payment that comes after the lock buys nothing; that it has to go back nobody wrote.",
        (
            Edit(
                "contest_platform/services/payments.py",
                "        refunds.owe(\n"
                '            tx, ctx, entry_id=entry_id, user_id=row["user_id"], intent_id=intent_id, '
                "amount_cents=amount_cents,\n"
                "            source=wallet, reason=why_not,\n"
                "        )  # fmt: skip\n",
                "",
            ),
        ),
        ("lifecycle.cancelled_are_refunded",),
        "default",
    ),
)
