"""Defects of the ledger: what a transaction is made of, and that each is there once."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_LEDGER = "contest_platform/ledger.py"
_SCHEMA = "contest_platform/store/schema.sql"
_RECONCILIATION = "contest_platform/services/reconciliation.py"

_NOT_UNIQUE = Edit(
    _SCHEMA,
    "    PRIMARY KEY (txn_id),\n    CONSTRAINT posted_once UNIQUE (business_key)\n",
    "    PRIMARY KEY (txn_id)\n",
)
_NO_CONFLICT = Edit(
    _LEDGER,
    "    values (:txn_id, :business_key, :kind, :at, :correlation, :cause) on conflict (business_key) do nothing\n",
    "    values (:txn_id, :business_key, :kind, :at, :correlation, :cause)\n",
)

CATALOGUE = (
    Defect(
        "ledger.dispute_fees_apart",
        "Somebody wants to see what disputes cost, and posts their fees to an account that is in no chart.",
        (
            Edit(
                "contest_platform/services/disputes.py",
                '            tx, ctx, "dispute_fee", f"dispute_fee:{dispute_id}", debit=ledger.FEES, '
                "credit=ledger.AVAILABLE,\n",
                '            tx, ctx, "dispute_fee", f"dispute_fee:{dispute_id}", debit="expenses:dispute_fees", '
                "credit=ledger.AVAILABLE,\n",
            ),
        ),
        ("ledger.no_rounding_account", "ledger.reconciles_with_processor"),
        faults=(Fault("customers.chargeback_lost"),),
    ),
    Defect(
        "ledger.fee_has_one_leg",
        "An opening balance has one leg, so one leg need not balance; the next to use that was the fee of a card.",
        (
            Edit(_LEDGER, "    if total:\n", "    if total and len(lines) > 1:\n"),
            Edit(
                _RECONCILIATION,
                "            ledger.move(\n"
                '                tx, ctx, "fee", f"fee:{movement.id}", debit=ledger.FEES, credit=ledger.PENDING,\n'
                '                cents=movement.fee_cents, reason=f"fee for {movement.source_id}",\n'
                "            )  # fmt: skip\n",
                "            fee = [(ledger.FEES, movement.fee_cents)]\n"
                '            ledger.post(tx, ctx, "fee", f"fee:{movement.id}", fee, f"fee for {movement.source_id}")\n',
            ),
        ),
        ("ledger.transactions_balance", "ledger.reconciles_with_processor"),
    ),
    Defect(
        "ledger.keys_by_correlation",
        "That a key is new is asked among the transactions of one correlation, and a dispute is told of under two.",
        (
            _NOT_UNIQUE,
            _NO_CONFLICT,
            Edit(
                _LEDGER,
                "    if not tx.run(_INSERT_ONCE, row):\n        return False\n",
                '    known = "select 1 from ledger_transactions where correlation = :correlation and business_key = '
                ':business_key"\n'
                "    if tx.one(known, row) is not None:\n"
                "        return False\n"
                "    tx.run(_INSERT_ONCE, row)\n",
            ),
        ),
        ("ledger.business_keys_unique",),
        faults=(Fault("customers.chargeback_lost"),),
    ),
    Defect(
        "ledger.keys_not_unique",
        "A migration made the table of transactions anew and left its constraint behind, and the insert relied on it.",
        (_NOT_UNIQUE, _NO_CONFLICT),
        ("ledger.business_keys_unique",),
        faults=(Fault("timeouts.transfer_request_lost"),),
    ),
    Defect(
        "ledger.last_rows_of_many_lost",
        "Many rows are inserted sixteen at a time, and those that make no sixteen were forgotten.",
        (
            Edit(
                "contest_platform/store/sqlite.py",
                "            rows = self._insert_whole(table, tuple(columns), rows)\n",
                "            self._insert_whole(table, tuple(columns), rows)\n            return\n",
            ),
        ),
        ("ledger.transactions_balance",),
    ),
)
