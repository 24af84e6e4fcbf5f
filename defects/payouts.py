"""Defects of payouts: keys, answers that are lost, who is paid and how much, and when it is over."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_PAYOUTS = "contest_platform/services/payouts.py"
_ERRORS = "contest_platform/errors.py"

CATALOGUE = (
    Defect(
        "payouts.accounts_by_position",
        "The accounts of the winners come from a second query, which has another order than that of the winners.",
        (
            Edit(
                _PAYOUTS,
                "            for winner in winners:\n",
                '            accounts = sorted(winner["account_id"] for winner in winners)\n'
                "            for winner, account_id in zip(winners, accounts, strict=True):\n",
            ),
            Edit(
                _PAYOUTS,
                '                    "destination": winner["account_id"],\n',
                '                    "destination": account_id,\n',
            ),
        ),
        ("payouts.nobody_else_paid", "ledger.participants_balances"),
    ),
    Defect(
        "payouts.amount_in_dollars",
        "The client of the processor was written for whole dollars, and the cents are cut off on the way.",
        (
            Edit(
                _PAYOUTS,
                '            amount_cents=transfer["amount_cents"],\n',
                '            amount_cents=transfer["amount_cents"] // 100 * 100,\n',
            ),
        ),
        ("payouts.amounts_agree", "payouts.right_people_right_amounts", "ledger.reconciles_with_processor"),
    ),
    Defect(
        "payouts.any_transfer_ends_it",
        "A contest is taken for paid out as soon as one of its transfers is: the test had one winner.",
        (
            Edit(
                _PAYOUTS,
                "      and not exists (select 1 from transfers t where t.contest_id = c.contest_id\n"
                "                      and t.status not in ('PAID', 'FAILED_TERMINAL', 'REVERSED'))\n",
                "      and exists (select 1 from transfers t where t.contest_id = c.contest_id\n"
                "                  and t.status in ('PAID', 'FAILED_TERMINAL', 'REVERSED'))\n",
            ),
        ),
        ("lifecycle.paid_out_means_paid",),
        faults=(Fault("timeouts.transfer_request_lost"),),
    ),
    Defect(
        "payouts.fee_deducted",
        "Somebody has the winners pay what a transfer costs, and tells neither them nor the ledger.",
        (
            Edit(
                _PAYOUTS,
                '                    "amount_cents": winner["prize_cents"],\n',
                '                    "amount_cents": winner["prize_cents"] - 25,\n',
            ),
        ),
        ("payouts.amounts_agree", "payouts.right_people_right_amounts", "ledger.participants_balances"),
    ),
    Defect(
        "payouts.finish_unaudited",
        "The last step of a contest was made quicker by an update that goes past the audited one.",
        (
            Edit(
                _PAYOUTS,
                "            audit.update(\n"
                '                tx, Context(ACTOR, contest_id), "contests", {"contest_id": contest_id},\n'
                '                {"status": "PAID_OUT", "closed_at": tx.now}, "every transfer has ended",\n'
                "            )  # fmt: skip\n",
                "            tx.run(\n"
                "                \"update contests set status = 'PAID_OUT', closed_at = :now where contest_id = :c\",\n"
                '                {"c": contest_id, "now": tx.now},\n'
                "            )\n",
            ),
        ),
        ("lifecycle.states_in_order",),
    ),
    Defect(
        "payouts.given_up_after_three",
        "A loop of retries needs an end, so a transfer that has failed three times is given up.",
        (
            Edit(
                _PAYOUTS,
                "        if what is Meaning.NEVER_WILL:\n            _give_up(tx, ctx, row, code)\n",
                '        if what is Meaning.NEVER_WILL or row["attempts"] >= 3:\n'
                "            _give_up(tx, ctx, row, code)\n",
            ),
        ),
        ("payouts.terminal_failures_have_reasons", "payouts.right_people_right_amounts"),
        faults=(Fault("platform.payouts_held"),),
    ),
    Defect(
        "payouts.key_kept_after_refusal",
        "A refusal is tried again under its own key, and the processor goes on replaying it from its memory.",
        (
            Edit(
                _PAYOUTS,
                'SAVED_REJECTIONS = frozenset({"balance_insufficient"})\n',
                "SAVED_REJECTIONS = frozenset[str]()\n",
            ),
        ),
        ("payouts.attempts_follow_idempotency",),
        faults=(Fault("processor.funds_pending"),),
    ),
    Defect(
        "payouts.key_lives_for_ever",
        "An idempotency key is believed to be good for as long as we keep it; the processor forgets it after a day.",
        (Edit(_PAYOUTS, "KEY_LIFE_MS = 23 * HOUR_MS\n", "KEY_LIFE_MS = 365 * 24 * HOUR_MS\n"),),
        ("payouts.attempts_follow_idempotency", "payouts.exactly_once"),
        faults=(Fault("processor.key_expired"),),
    ),
    Defect(
        "payouts.leaver_is_paid",
        "Only a customer whose row is gone counts as gone; rows of deleted accounts are kept.",
        (
            Edit(
                _PAYOUTS,
                '    return user is None or user["deleted_at"] is not None\n',
                "    return user is None\n",
            ),
        ),
        ("payouts.nobody_else_paid",),
        "platform",
        (Fault("platform.user_deleted"),),
    ),
    Defect(
        "payouts.look_up_by_answer",
        "Past the life of a key the processor is searched for the id that its answer gave; there was no answer.",
        (
            Edit(
                _PAYOUTS,
                '        found = next((made for made in listed if made.metadata.get("transfer_id") == transfer_id),'
                " None)\n",
                '        sent_as = transfer["processor_transfer_id"]\n'
                "        found = next((made for made in listed if made.id == sent_as), None)\n",
            ),
        ),
        ("payouts.exactly_once", "ledger.participants_balances"),
        faults=(Fault("processor.done_and_failed"),),
    ),
    Defect(
        "payouts.new_key_after_unknown",
        "Whatever went wrong is tried again as a new request, with a new key.",
        (
            Edit(
                _PAYOUTS,
                "            self._retry(tx, row, code, new_key=code in SAVED_REJECTIONS)\n",
                "            self._retry(tx, row, code, new_key=True)\n",
            ),
        ),
        ("payouts.exactly_once", "payouts.attempts_follow_idempotency"),
        faults=(Fault("timeouts.transfer_answer_lost"),),
    ),
    Defect(
        "payouts.paid_from_pending",
        "A transfer is booked against the balance that charges come in by, and not against the one it is paid from.",
        (
            Edit(
                _PAYOUTS,
                '            debit=ledger.in_transit(row["user_id"]), credit=ledger.AVAILABLE, '
                'cents=row["amount_cents"],\n',
                '            debit=ledger.in_transit(row["user_id"]), credit=ledger.PENDING, '
                'cents=row["amount_cents"],\n',
            ),
        ),
        ("ledger.reconciles_with_processor",),
    ),
    Defect(
        "payouts.rate_limit_is_final",
        "Every 4xx is taken for an answer that no second try will change; 429 is one.",
        (
            Edit(
                _ERRORS,
                '    "rate_limit": Meaning.DID_NOT_HAPPEN,\n',
                '    "rate_limit": Meaning.NEVER_WILL,\n',
            ),
        ),
        ("payouts.terminal_failures_have_reasons", "payouts.right_people_right_amounts"),
        faults=(Fault("processor.rate_limited"),),
    ),
    Defect(
        "payouts.retryable_is_no_end",
        "A contest is paid out once nothing is on its way, and what is to be tried again was not thought of.",
        (
            Edit(
                _PAYOUTS,
                "                      and t.status not in ('PAID', 'FAILED_TERMINAL', 'REVERSED'))\n",
                "                      and t.status in ('PENDING', 'SUBMITTED'))\n",
            ),
        ),
        ("lifecycle.paid_out_means_paid",),
        faults=(Fault("timeouts.transfer_request_lost"),),
    ),
    Defect(
        "payouts.retryable_never_due",
        "A status was added for transfers that are to be tried again, and one of the two queries does not know it.",
        (
            Edit(
                _PAYOUTS,
                "                \"select min(next_attempt_at) as at from transfers where status in ('PENDING', "
                "'SUBMITTED', 'RETRYABLE')\"\n",
                "                \"select min(next_attempt_at) as at from transfers where status in ('PENDING', "
                "'SUBMITTED')\"\n",
            ),
        ),
        ("lifecycle.every_contest_ends", "lifecycle.on_time", "payouts.right_people_right_amounts"),
        faults=(Fault("timeouts.transfer_request_lost"),),
    ),
    Defect(
        "payouts.terminal_prize_forgotten",
        "What is given up is marked as such, and its money stays on its way in the ledger.",
        (
            Edit(
                _PAYOUTS,
                '    if row["attempts"]:\n'
                "        ledger.move(\n"
                '            tx, ctx, "void", f"void:{row[\'transfer_id\']}", '
                'debit=ledger.in_transit(row["user_id"]),\n'
                '            credit=ledger.prize_payable(row["contest_id"], row["user_id"]), '
                'cents=row["amount_cents"],\n'
                '            reason=f"not sent: {code}",\n'
                "        )  # fmt: skip\n",
                "",
            ),
        ),
        ("ledger.participants_balances",),
        faults=(Fault("processor.account_invalid"),),
    ),
)
