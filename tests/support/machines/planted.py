"""Defects for the machines, and how a machine meets one: in a process of its own, on a planted tree.

Invariant: every promise of a machine (an invariant, or what its teardown asks of the end) has a defect that it tells of
before any other does: a promise that nothing can break is none.
"""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

from defects.model import Defect, Edit
from defects.planting import planted

ROOT = Path(__file__).parents[3]
_START = (
    "import sys; sys.path[:0] = sys.argv[1:3]; from tests.support.machines.planted import main; main(*sys.argv[3:])"
)

_BATCHES = "contest_platform/services/ingestion_batches.py"
_PAYMENTS = "contest_platform/services/payments.py"
_REFUNDS = "contest_platform/services/refunds.py"
_RECEIPTS = "contest_platform/domain/receipts.py"
_SCORES = "contest_platform/services/scores.py"
_SETTLEMENT = "contest_platform/services/settlement.py"
_POLLING = "contest_platform/domain/polling.py"
_LEASE = "contest_platform/services/settlement_lease.py"
_PAYOUTS = "contest_platform/services/payouts.py"


def _defect(id: str, tells: str, born: str, file: str, old: str, new: str) -> Defect:
    """`tells`: the invariant, the rule or the teardown of the machine that has to fail first."""
    return Defect(id, born, (Edit(file, old, new),), (tells,))


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "ingestion": (
        _defect(
            "ingestion.believes_any_total", "every_receipt_is_true_and_no_hole_is_admitted_twice",
            "The check of sums is off since a provider left them out.", _RECEIPTS,
            "    if broken:\n        after = ", "    broken = frozenset()\n    if broken:\n        after = ",
        ),
        _defect(
            "ingestion.keeps_the_first_score", "what_is_shown_is_what_the_receipts_say",
            "A score is shown once, and its correction is not.", _BATCHES,
            "        do update set strokes = excluded.strokes, batch_id = excluded.batch_id,"
            " published_at = excluded.published_at\n",
            "        do nothing\n",
        ),
        _defect(
            "ingestion.moves_on_from_what_does_not_add_up", "teardown",
            "The cursor moves though the answer was refused.", _BATCHES,
            "    if not broken:\n        # Statuses",
            '    checkpoint["revision"] = answer.revision\n    if not broken:\n        # Statuses',
        ),
        _defect(
            "ingestion.resolves_what_it_admits", "teardown",
            "What was quarantined is resolved when it is admitted; another value that came instead is none of it.",
            _BATCHES,
            '        if row is None or not row["cells"] or row["resolved"]:\n            continue',
            '        if row is None or row["admitted"] != row["cells"] or row["resolved"]:\n            continue',
        ),
    ),
    "ledger": (
        _defect(
            "payments.capture_by_the_instant", "teardown",
            "The business key of a capture holds when we learnt of it.", _PAYMENTS,
            'f"capture:{intent_id}", debit=ledger.PENDING', 'f"capture:{intent_id}:{tx.now}", debit=ledger.PENDING',
        ),
        _defect(
            "payments.late_news_stays_in_the_wallet", "every_account_holds_what_the_processor_has_told",
            "Escrow is filled at the lock, and only then.", _PAYMENTS,
            '    if row["contest_status"] != "SCHEDULED":\n', "    if False:\n",
        ),
        _defect(
            "refunds.new_key_after_any_failure", "refunds_are_sent",  # the processor sees that more goes than came
            "A refund that failed is sent as a new one.", _REFUNDS,
            "        if rejected and what is Meaning.DID_NOT_HAPPEN:\n", "        if True:\n",
        ),
        _defect(
            "refunds.less_what_they_cost", "only_who_paid_too_late_has_his_fee_back_and_all_of_it",
            "The processor keeps its own fee for a payment that goes back, so that is held back.", _REFUNDS,
            '            amount_cents=refund["amount_cents"],\n',
            '            amount_cents=refund["amount_cents"] - 88,\n',
        ),
        _defect(
            "refunds.wait_for_the_disputes", "teardown",
            "A refund waits until the customer's bank can take the money back no more.", _REFUNDS,
            '        "next_attempt_at": tx.now,\n', '        "next_attempt_at": tx.now + 120 * 24 * HOUR_MS,\n',
        ),
    ),
    "settlement": (
        _defect(
            "settlement.any_link_will_do", "a_pack_ends_once_as_its_link_says",
            "A pack that has a link to an outcome has its own.", _SETTLEMENT,
            '        elif pack["outcome_of"] != pack["entry_id"]:\n', '        elif pack["outcome_id"] is None:\n',
        ),
        _defect(
            "settlement.unexecuted_by_the_link", "every_cent_is_where_it_belongs",
            "What a pack leaves unexecuted is the prize of its outcome, also where that is another's.", _SETTLEMENT,
            'cents=pack["own_cents"] or 0, reason=code,\n', 'cents=pack["prize_cents"] or 0, reason=code,\n',
        ),
        _defect(
            "settlement.one_name_for_every_life", "nobody_takes_a_lease_that_another_still_holds",
            "A daemon has the same name in every life, so that a restarted one need not wait for its lease.",
            _SETTLEMENT,
            "{ports.ids.new('daemon')}\"\n", "{ports.ids.new('daemon', ACTOR)}\"\n",
        ),
        _defect(
            "settlement.takes_the_lease_of_the_living", "a_daemon_has_its_turn",  # the database refuses it
            "Whose lease is found must be dead.",
            _LEASE, '    elif held["holder"] != holder:\n        return None\n', "",
        ),
        _defect(
            "settlement.scores_of_today", "prizes_come_from_the_official_scores",
            "The official score is read as of now, not as of the cut-off.", _SCORES,
            "in _admitted(tx, tournament_id, until=cutoff_at):\n", "in _admitted(tx, tournament_id, until=tx.now):\n",
        ),
        _defect(
            "settlement.a_poll_of_the_cut_off_will_do", "there_is_a_pack_for_every_entry_or_for_none",
            "At the cut-off is as good as after it, and what is published later in that millisecond is missed.",
            _POLLING, "begun_at > cutoff_at\n", "begun_at >= cutoff_at\n",
        ),
        _defect(
            "settlement.packs_for_winners", "there_is_a_pack_for_every_entry_or_for_none",
            "Who has won nothing needs no pack.", _SETTLEMENT,
            '            audit.insert(tx, ctx, "settlement_packs", pack,',
            '            if not outcome["prize_cents"]:\n                continue\n'
            '            audit.insert(tx, ctx, "settlement_packs", pack,',
        ),
        _defect(
            "settlement.closes_what_is_executed", "teardown",
            "A contest is settled when all of its packs are executed.", _SETTLEMENT,
            "where contest_id = :c and status = 'PENDING' limit 1\", {\"c\": contest_id}\n",
            "where contest_id = :c and status <> 'EXECUTED' limit 1\", {\"c\": contest_id}\n",
        ),
    ),
    "payouts": (
        _defect(
            "payouts.time_outs_recorded_as_rejections", "every_request_is_on_record",
            "An attempt that has failed is recorded as rejected, whatever is known of it.", _PAYOUTS,
            '"UNKNOWN" if what is Meaning.UNKNOWN else "REJECTED", code)\n', '"REJECTED", code)\n',
        ),
        _defect(
            "payouts.new_key_after_any_failure", "keys_are_used_as_the_processor_keeps_them",
            "A time-out is taken for a rejection.", _PAYOUTS,
            "            self._retry(tx, row, code, new_key=code in SAVED_REJECTIONS)\n",
            "            self._retry(tx, row, code, new_key=True)\n",
        ),
        _defect(
            "payouts.key_believed_for_a_month", "keys_are_used_as_the_processor_keeps_them",
            "Somebody read that keys of the API's version 2 live for 30 days.",
            _PAYOUTS, "KEY_LIFE_MS = 23 * HOUR_MS\n", "KEY_LIFE_MS = 30 * 24 * HOUR_MS\n",
        ),
        _defect(
            "payouts.searches_another_group", "nobody_is_paid_twice_or_another_sum",
            "Transfers were grouped by entry once; the search of the processor's books still goes by that.", _PAYOUTS,
            'list_transfers(transfer_group=transfer["contest_id"])\n',
            'list_transfers(transfer_group=transfer["entry_id"])\n',
        ),
        _defect(
            "payouts.whole_dollars", "nobody_is_paid_twice_or_another_sum",
            "Payouts come out of a report that is in whole dollars.", _PAYOUTS,
            '"amount_cents": winner["prize_cents"],\n', '"amount_cents": winner["prize_cents"] // 100 * 100,\n',
        ),
        _defect(
            "payouts.given_up_in_transit", "the_books_say_where_each_prize_is",
            "Money is taken to be on its way while its transfer is SUBMITTED, and not while it is to be tried again.",
            _PAYOUTS, '    if row["attempts"]:\n', '    if row["status"] == "SUBMITTED":\n',
        ),
        _defect(
            "payouts.deleted_without_a_look", "what_is_said_of_a_transfer_is_so",
            "Whoever is gone is given up, without asking whether he was paid.",
            _PAYOUTS, "        if gone and not _in_doubt(tx, row):\n", "        if gone:\n",
        ),
        _defect(
            "payouts.never_due_again", "teardown",
            "A status is added to what is worked on, and not to the question when there is work.", _PAYOUTS,
            "as at from transfers where status in ('PENDING', 'SUBMITTED', 'RETRYABLE')\"\n",
            "as at from transfers where status in ('PENDING', 'SUBMITTED')\"\n",
        ),
    ),
}  # fmt: skip
"""By the machine that has to fail."""


def met(machine: str, defect: Defect | None, examples: int) -> str:
    """What `machine` says of a platform with `defect`: who told (an invariant, a rule or the teardown), a colon, and
    the first line of what was raised; `held` when nothing broke."""
    if defect is None:
        return _explored(machine, ROOT, examples)
    with planted(defect) as tree:
        return _explored(machine, tree, examples)


def _explored(machine: str, tree: Path, examples: int) -> str:
    process = subprocess.run(
        [sys.executable, "-c", _START, tree, ROOT, machine, str(examples)], capture_output=True, text=True, cwd=tree
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def main(machine: str, examples: str) -> None:
    from tests.support.machines import MACHINES, explore

    explored = MACHINES[machine]()
    try:
        explore(explored, int(examples), shrink=False)
    except Exception as broken:  # what a service raises where nothing should be raised tells as much as an invariant
        by, first = _told_first(explored, broken)
        print(f"{by}: {type(first).__name__} {first}".splitlines()[0])
    else:
        print("held")


def _told_first(machine: type, broken: BaseException) -> tuple[str, BaseException]:
    """The part of `machine` that told, and what it raised: what a teardown raises stands before it, for Hypothesis
    tears down what is broken too. Raises `broken` where no part of the machine has raised anything."""
    raised: list[BaseException] = []
    error: BaseException | None = broken
    while error is not None:
        raised.append(error)
        error = error.__context__
    file = sys.modules[machine.__module__].__file__
    for error in reversed(raised):
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename == file and frame.name in vars(machine) and not frame.name.startswith("_"):
                return frame.name, error
    raise broken
