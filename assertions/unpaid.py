"""Prizes that are rightly not paid: what cannot be paid, and what came back, each of it documented.

Invariant: that a payout could not be made, or was taken back, is the processor's or the customer's own word; that
somebody has looked into what came back is in the operator's notebook. The platform's word alone excuses nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from assertions.once import once

if TYPE_CHECKING:
    from assertions.facts import Facts
    from evidence.run import Evidence

NOBODY_FAILS_TWICE = frozenset({
    "account_closed", "account_invalid", "insufficient_capabilities_for_transfer", "no_account", "resource_missing",
    "transfers_not_allowed",
})  # fmt: skip
"""Error codes of the processor after which a payout cannot succeed: closed account, missing capability (SPEC 1.6)."""
_LOOKED_INTO = re.compile(r"opsctl transfers (resolve|unresolve) (\S+) ")

Winner = tuple[str, str]
"""(contest, entry)"""


def given_up(evidence: Evidence, known: Facts) -> set[Winner]:
    """Winners whose payout ended FAILED_TERMINAL with a reason, and whose account the processor refused for good or
    who had left."""
    failed = {
        transfer: ((contest, entry), user)
        for transfer, contest, entry, user, status, reason in evidence.rows(
            "platform.transfers", "transfer_id", "contest_id", "entry_id", "user_id", "status", "reason"
        )
        if status == "FAILED_TERMINAL" and reason
    }
    found = {entry for entry, user in failed.values() if user in known.left_at}
    if failed:
        for transfer, key in evidence.rows("platform.transfer_attempts", "transfer_id", "idempotency_key"):
            requests = known.transfer_requests.get(key, ())
            if transfer in failed and any(request.error_code in NOBODY_FAILS_TWICE for request in requests):
                found.add(failed[transfer][0])
    return found


def taken_back(evidence: Evidence, known: Facts) -> set[Winner]:
    """Winners to whom nothing is left of what was sent, because the processor took it back in full, and of whose
    payout ops has noted in a runbook that was carried out to its end that somebody has looked into it."""
    empty = {
        winner
        for winner, transfers in known.received.items()
        if transfers and all(transfer.reversed_cents == transfer.amount_cents for transfer in transfers)
    }
    if not empty:
        return empty
    looked_into = once(evidence, _looked_into)
    return {
        (contest, entry)
        for transfer, contest, entry, status in evidence.rows(
            "platform.transfers", "transfer_id", "contest_id", "entry_id", "status"
        )
        if status == "REVERSED" and transfer in looked_into and (contest, entry) in empty
    }


def _looked_into(evidence: Evidence) -> frozenset[str]:
    """Payouts that were noted, by ops' own notebook, and whose note stands."""
    notes: list[tuple[str, str, bool]] = []
    completed = set()
    for action, execution_id, sent, ok in evidence.rows("operator.notebook", "action", "execution_id", "sent", "ok"):
        if action == "completed":
            completed.add(execution_id)
        noted = _LOOKED_INTO.match(sent or "")
        if noted is not None and ok:
            notes.append((execution_id, noted[2], noted[1] == "resolve"))
    standing = {transfer: stands for execution_id, transfer, stands in notes if execution_id in completed}
    return frozenset(transfer for transfer, stands in standing.items() if stands)
