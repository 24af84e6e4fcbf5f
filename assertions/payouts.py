"""Family payouts: the right people, the right amounts, each exactly once.

Invariant: who is owed what comes from the provider's publications, the processor's intents and the plan; who was paid,
from the processor's transfers, of which each means that the money moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import PLATFORM_KEY, Facts, facts
from assertions.ledgerbook import ledgerbook
from assertions.lifecycle import PAID_OUT_WITHIN_MS, SETTLED_WITHIN_MS
from assertions.model import Finding, assertion
from assertions.words import DAY_MS, MINUTE_MS, dollars, duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

KEY_LIFE_MS = DAY_MS
"""The processor forgets a key after 24 h: the same key is then a new request (docs.stripe.com/idempotency)."""

ON_ITS_WAY_MS = 2 * MINUTE_MS
"""How long a request that was sent before may take to arrive: stripe-python's read timeout is 80 s."""
SAVED_REFUSALS = frozenset({"balance_insufficient"})
"""Refusals that time undoes and that the processor saves under the key: sent again, it only replays them."""
PROVE_NOTHING = frozenset({"api_error", "idempotency_error", "idempotency_key_in_use"})
"""Errors after which the money may have moved (docs.stripe.com/error-low-level), whatever the platform made of them."""


class _Attempt(NamedTuple):
    transfer_id: str
    n: int
    idempotency_key: str
    request_hash: str
    sent_at: int
    finished_at: int | None
    outcome: str | None
    code: str | None


def _payable(known: Facts) -> int:
    return len(known.winners.keys() - known.unpayable)


def _due_at(known: Facts, contest: str) -> int:
    """When the last payout of a contest had to be made: the bounds of settlement and payout, in the recovery phase."""
    due_at = known.cutoff_at(contest) + SETTLED_WITHIN_MS + PAID_OUT_WITHIN_MS
    return min(due_at, known.plan.recovery_until_at)


@assertion(
    "payouts.right_people_right_amounts", "Every winner has received exactly the prize that the official scores give"
)
def right_people_right_amounts(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("winners", 0, len(known.winners))
    for winner, due in known.winners.items():
        found.saw += 1
        contest, entry = winner
        transfers = known.received.get(winner, ())
        got = sum(transfer.net_cents for transfer in transfers)
        if got != due.prize_cents and not (got == 0 and winner in known.unpayable):
            found.breaks(
                f"{due.user_id} won {dollars(due.prize_cents)} in {contest} (place {due.place}) and received "
                f"{dollars(got)}",
                f"entries/{entry}", transfers[-1].created_at if transfers else _due_at(known, contest),
                abs(due.prize_cents - got),
            )  # fmt: skip
    return found


@assertion("payouts.exactly_once", "No prize was sent twice: one transfer that stands for each winning entry")
def exactly_once(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("paid entries", 0, _payable(known))
    for (contest, entry), transfers in known.received.items():
        found.saw += 1
        standing = [transfer for transfer in transfers if transfer.net_cents > 0]
        for again in standing[1:]:
            found.breaks(
                f"{again.user_id} was paid for {entry} in {contest} {len(standing)} times: {again.transfer_id} over "
                f"{dollars(again.net_cents)} by {again.caller} at {instant(again.created_at)} came after "
                f"{standing[0].transfer_id}",
                f"entries/{entry}", again.created_at, again.net_cents,
            )  # fmt: skip
    return found


@assertion(
    "payouts.nobody_else_paid",
    "Every transfer went to the account of somebody who had won in that contest, and had not left before",
)
def nobody_else_paid(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("transfers", 0, _payable(known))
    for transfer in known.transfers:
        found.saw += 1
        due = known.winners.get((transfer.contest_id or "", transfer.entry_id or ""))
        if due is None:
            why = "for no winning entry"
        elif transfer.user_id != due.user_id:
            why = f"for an entry of {due.user_id}"
        elif transfer.destination != known.accounts.get(due.user_id):
            why = f"to the account {transfer.destination}, which is not that customer's"
        elif transfer.created_at > known.left_at.get(due.user_id, transfer.created_at) + ON_ITS_WAY_MS:
            why = f"who had deleted his account at {instant(known.left_at[due.user_id])}"
        else:
            continue
        found.breaks(
            f"{transfer.caller} sent {dollars(transfer.net_cents)} to {transfer.user_id or transfer.destination} at "
            f"{instant(transfer.created_at)} {why} ({transfer.transfer_id}; {transfer.contest_id})",
            f"processor.transfers/{transfer.transfer_id}", transfer.created_at, abs(transfer.net_cents),
        )  # fmt: skip
    return found


@assertion(
    "payouts.attempts_follow_idempotency",
    "Each request has its attempt; after an unknown outcome the same key is used while it lives; a new one only "
    "after a rejection or a look-up",
)
def attempts_follow_idempotency(evidence: Evidence) -> Finding:
    known = facts(evidence)
    requests = known.transfer_requests
    found = Finding("keys at the processor", 0, len(requests))
    amounts: dict[str, int] = dict(evidence.rows("platform.transfers", "transfer_id", "amount_cents"))
    attempted: Counter[str] = Counter()
    attempts = map(_Attempt._make, evidence.rows("platform.transfer_attempts", *_Attempt._fields))
    for transfer, group in groupby(attempts, key=itemgetter(0)):
        cents = amounts.get(transfer, 0)
        born: dict[str, int] = {}
        tries = list(group)
        for attempt in tries:
            attempted[attempt.idempotency_key] += 1
            age_ms = attempt.sent_at - born.setdefault(attempt.idempotency_key, attempt.sent_at)
            if age_ms >= KEY_LIFE_MS:
                _tell(
                    found, attempt, cents, f"used a key that was {duration(age_ms)} old: a new request to the processor"
                )
        for before, after in pairwise(tries):
            why = _why_wrong(known, before, after)
            if why:
                _tell(found, after, cents, why)
    found.saw = len(attempted.keys() & requests.keys())
    for key in sorted(requests.keys() - attempted.keys()):
        first = requests[key][0]
        found.breaks(
            f"the processor got a transfer request under the key {key} at {instant(first.at)} that no attempt tells of",
            f"processor.requests/{key}", first.at,
        )  # fmt: skip
    for key, sent in requests.items():
        if 0 < attempted[key] < len(sent):
            found.breaks(
                f"the processor got {len(sent)} transfer requests under the key {key}, and only {attempted[key]} "
                f"attempts tell of them",
                f"processor.requests/{key}", sent[attempted[key]].at,
            )  # fmt: skip
        if len({request.request_hash for request in sent}) > 1:
            found.breaks(f"the key {key} was sent with different requests", f"processor.requests/{key}", sent[-1].at)
    return found


def _why_wrong(known: Facts, before: _Attempt, after: _Attempt) -> str | None:
    """Why `after` may not follow `before`, in words; None when it may."""
    sent = [item for item in known.transfer_requests.get(before.idempotency_key, ()) if item.at < after.sent_at]
    if after.idempotency_key == before.idempotency_key:
        if after.request_hash != before.request_hash:
            return "sent another request under the same key"
        if any(request.error_code in SAVED_REFUSALS for request in sent):
            return "sent a key again under which the processor only replays its refusal"
        return None
    done = [request for request in sent if request.object_id is not None]
    if done:
        return f"used a new key although the processor had made {done[0].object_id} under the old one"
    if before.outcome == "REJECTED" and not (sent and sent[-1].error_code in PROVE_NOTHING):
        return None
    place = bisect_left(known.lookups, before.sent_at)
    if place < len(known.lookups) and known.lookups[place] <= after.sent_at:
        return None
    return f"used a new key after an outcome that was {before.outcome or 'never known'} and no proof, without a look-up"


def _tell(found: Finding, attempt: _Attempt, cents: int, why: str) -> None:
    found.breaks(
        f"attempt {attempt.n} of {attempt.transfer_id} over {dollars(cents)} at {instant(attempt.sent_at)} {why}",
        f"transfer_attempts/{attempt.transfer_id}/{attempt.n}", attempt.sent_at, cents,
    )  # fmt: skip


@assertion(
    "payouts.terminal_failures_have_reasons",
    "A payout is given up only with a reason that the processor or the customer confirms",
)
def terminal_failures_have_reasons(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("payouts given up", 0, 0)
    for transfer, contest, entry, user, cents, status, reason, at in evidence.rows(
        "platform.transfers",
        "transfer_id",
        "contest_id",
        "entry_id",
        "user_id",
        "amount_cents",
        "status",
        "reason",
        "done_at",
    ):
        if status != "FAILED_TERMINAL":
            continue
        found.saw += 1
        if (contest, entry) not in known.unpayable:
            said = f"for {reason!r}, which no other book confirms" if reason else "without a reason"
            found.breaks(
                f"the payout of {dollars(cents)} to {user} for {entry} was given up {said}",
                f"transfers/{transfer}", at, cents,
            )  # fmt: skip
    return found


@assertion("payouts.amounts_agree", "Outcome, transfer, processor and ledger say the same amount for every payout")
def amounts_agree(evidence: Evidence) -> Finding:
    known, book = facts(evidence), ledgerbook(evidence)
    prizes: dict[str, int] = dict(evidence.rows("platform.outcomes", "entry_id", "prize_cents"))
    packs: dict[str, str] = dict(evidence.rows("platform.settlement_packs", "entry_id", "pack_id"))
    found = Finding("payouts", 0, _payable(known))
    for transfer, contest, entry, user, cents, status, at in evidence.rows(
        "platform.transfers", "transfer_id", "contest_id", "entry_id", "user_id", "amount_cents", "status", "created_at"
    ):
        found.saw += 1
        sides = {
            "the outcome": prizes.get(entry),
            "the ledger's prize": book.amount(f"prize:{packs.get(entry)}"),
        }
        if status in ("PAID", "REVERSED"):
            sent = known.received.get((contest, entry), ())
            sides["the processor"] = sum(item.amount_cents for item in sent if item.caller == PLATFORM_KEY)
            sides["the ledger's payout"] = book.amount(f"payout:{transfer}")
            sides["the ledger's paid"] = book.amount(f"paid:{transfer}")
        differ = [
            f"{who} says {'nothing' if said is None else dollars(said)}" for who, said in sides.items() if said != cents
        ]
        if differ:
            found.breaks(
                f"the transfer {transfer} to {user} for {entry} is over {dollars(cents)}; {'; '.join(differ)}",
                f"transfers/{transfer}", at,
                max(abs(cents - (said or 0)) for said in sides.values()),
            )  # fmt: skip
    return found
