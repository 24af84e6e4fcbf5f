"""Family ledger: the platform's money, to the cent, against the books of the processor, the provider and the plan.

Invariant: what an account should hold is computed without the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from assertions.facts import PLATFORM_KEY, Facts, facts
from assertions.ledgerbook import (
    AVAILABLE,
    CAPITAL,
    DISPUTE_LOSS,
    DISPUTED,
    ESCROW,
    FEES,
    IN_TRANSIT,
    PENDING,
    PRIZE_PAYABLE,
    REFUND_PAYABLE,
    WALLET,
    LedgerBook,
    Txn,
    is_in_chart,
    ledgerbook,
)
from assertions.model import Finding, assertion
from assertions.trail import trail
from assertions.words import HOUR_MS, dollars, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

PAID_EVENT = "payment_intent.succeeded"
POSTED_WITHIN_MS = 2 * HOUR_MS
"""What moved at the processor is in the ledger after this time: reconciliation runs hourly."""


def _movements(evidence: Evidence) -> int:
    """How many movements the processor's balance had: each has a transaction in the ledger."""
    return evidence.count("processor.balance")


def _broke_at(evidence: Evidence, txn_id: int, txn: Txn) -> int | None:
    """When a transaction came to be as it is: when it was posted, if it was audited like that; nobody knows, if not."""
    return txn.at if trail(evidence).posts.get(str(txn_id)) == txn.fingerprint else None


@assertion("ledger.transactions_balance", "Every ledger transaction has postings, and they sum to zero")
def transactions_balance(evidence: Evidence) -> Finding:
    book = ledgerbook(evidence)
    found = Finding("ledger transactions", len(book.sums), _movements(evidence))
    for txn_id, txn in book.sums.items():
        if txn.sum_cents or txn.postings < 2:
            found.breaks(
                f"ledger transaction {txn_id} ({txn.business_key}, {instant(txn.at)}) has {txn.postings} postings that "
                f"sum to {dollars(txn.sum_cents)}",
                f"ledger_transactions/{txn_id}", _broke_at(evidence, txn_id, txn), abs(txn.sum_cents),
            )  # fmt: skip
    for txn_id, account, cents in book.stray:
        found.breaks(
            f"a posting of {dollars(cents)} to {account} belongs to transaction {txn_id}, which does not exist",
            f"ledger_postings/{txn_id}",
            money_cents=abs(cents),
        )
    return found


@assertion("ledger.business_keys_unique", "No fact is posted twice: every business key has one transaction")
def business_keys_unique(evidence: Evidence) -> Finding:
    book = ledgerbook(evidence)
    found = Finding("business keys", len(book.by_key), _movements(evidence))
    for txn_id, key, at in book.repeated:
        cents = book.sums[txn_id].debit_cents
        found.breaks(
            f"{key} was posted again at {instant(at)}, as transaction {txn_id} over {dollars(cents)}",
            f"ledger_transactions/{txn_id}", at, cents,
        )  # fmt: skip
    return found


@assertion(
    "ledger.escrow_empty_after_settlement", "Once a contest is settled or cancelled, nothing is left in its escrow"
)
def escrow_empty_after_settlement(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    found = Finding("contests", 0, len(known.contests))
    for contest_id in known.contests:
        row = known.contest_rows.get(contest_id)
        if row is None or row.status not in ("SETTLED", "PAID_OUT", "CANCELLED"):
            found.missing.append(
                f"{contest_id} was never settled or cancelled ({row.status if row else 'no such row'})"
            )
            continue
        found.saw += 1
        left = book.owed(ESCROW + contest_id)
        if left:
            found.breaks(
                f"{dollars(left)} are left in the escrow of {contest_id}, which is {row.status}",
                f"contests/{contest_id}", row.settled_at or row.closed_at, abs(left),
            )  # fmt: skip
    return found


@assertion("ledger.pool_is_conserved", "In every contest, fees collected = prizes + rake - overlay, to the cent")
def pool_is_conserved(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    found = Finding("contests", 0, len(known.valid))
    for contest_id, entries in known.valid.items():
        due = known.money(contest_id)
        paid_in = sum(intent.amount_cents for intent in entries)
        moved = {
            kind: book.escrow.get((contest_id, kind), 0)
            for kind in ("lock", "unlock", "overlay", "rake", "prize", "unexecuted")
        }
        found.saw += (contest_id, "lock") in book.escrow
        row = known.contest_rows.get(contest_id)
        at = row.settled_at if row else None
        for what, is_cents, should_cents in (
            ("was collected by the processor", paid_in, due.collected_cents),
            ("was locked into escrow", -moved["lock"] - moved["unlock"], due.collected_cents),
            ("was taken as rake", moved["rake"], due.rake_cents),
            ("was added as overlay", -moved["overlay"], due.overlay_cents),
            ("was given to prizes", moved["prize"] + moved["unexecuted"], due.pool_cents),
        ):
            if is_cents != should_cents:
                found.breaks(
                    f"{contest_id} with {len(entries)} valid entries: {dollars(is_cents)} {what}, it should be "
                    f"{dollars(should_cents)}",
                    f"contests/{contest_id}", at, abs(is_cents - should_cents),
                )  # fmt: skip
    return found


@assertion("ledger.reconciles_with_processor", "The ledger's processor accounts equal the processor's own balance")
def reconciles_with_processor(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    found = Finding("balance transactions", 0)
    end, held = known.ended_at, _cents()
    disputes: dict[str, str] = dict(evidence.rows("processor.disputes", "dispute_id", "status"))
    columns = ("balance_transaction_id", "kind", "source_id", "amount_cents", "fee_cents", "net_cents", "created_at",
               "available_at")  # fmt: skip
    for moved, kind, source, amount, fee, net, created_at, available_at in evidence.rows("processor.balance", *columns):
        found.owed += 1
        found.saw += 1
        held["fees"] += fee
        if kind == "topup":
            held["capital"] += amount
        is_available = available_at <= end
        if is_available and available_at > created_at and f"available:{moved}" not in book.by_key:
            # Reconciliation may not have come round yet; what it has come round to has a posting.
            is_available = known.deadline(available_at, POSTED_WITHIN_MS)[0] < end
        held[AVAILABLE if is_available else PENDING] += net
        key, fee_key = {"charge": f"capture:{source}", "topup": f"topup:{moved}"}.get(kind), f"fee:{moved}"
        if kind == "adjustment" and source in disputes:
            held[DISPUTE_LOSS if disputes[source] == "lost" else DISPUTED] -= amount
            came_back = amount > 0
            key = f"{'dispute_won' if came_back else 'dispute'}:{source}"
            fee_key = f"{'dispute_fee_back' if came_back else 'dispute_fee'}:{source}"
        posted = book.amount(key) if key else None
        latest_at = known.deadline(created_at, POSTED_WITHIN_MS)[0]
        if key and posted != abs(amount):
            said = "nothing" if posted is None else dollars(posted)
            at = latest_at if posted is None else None
            found.breaks(
                f"the processor moved {dollars(amount)} ({kind} {source}, {instant(created_at)}), the ledger has "
                f"{said} under {key}",
                moved, at, abs(abs(amount) - (posted or 0)),
            )  # fmt: skip
        elif key and book.by_key[key].at > latest_at:
            found.breaks(
                f"the processor moved {dollars(amount)} ({kind} {source}, {instant(created_at)}), the ledger told "
                f"of it only at {instant(book.by_key[key].at)}",
                moved, latest_at, abs(amount),
            )  # fmt: skip
        if fee and book.amount(fee_key) != abs(fee):
            found.breaks(
                f"the processor kept a fee of {dollars(fee)} for {kind} {source}, the ledger has "
                f"{dollars(book.amount(fee_key) or 0)} under {fee_key}",
                moved, created_at, abs(fee),
            )  # fmt: skip
    # What a bank gave to a customer whom it was owed is no loss.
    owed_anyhow = sum([known.charged_back_cents.get(intent.intent_id, 0) for intent in known.to_refund])
    for account, is_cents, should_cents in (
        (PENDING, book.balances.get(PENDING, 0), held[PENDING]),
        (AVAILABLE, book.balances.get(AVAILABLE, 0), held[AVAILABLE]),
        (FEES, book.balances.get(FEES, 0), held["fees"]),
        (CAPITAL, -book.balances.get(CAPITAL, 0), held["capital"]),
        (DISPUTED, book.balances.get(DISPUTED, 0), held[DISPUTED]),
        (DISPUTE_LOSS, book.balances.get(DISPUTE_LOSS, 0), held[DISPUTE_LOSS] - owed_anyhow),
    ):
        if is_cents != should_cents:
            found.breaks(
                f"at the end {account} holds {dollars(is_cents)} in the ledger and {dollars(should_cents)} by the "
                f"processor's books",
                account,
                money_cents=abs(is_cents - should_cents),
            )
    return found


@assertion(
    "ledger.participants_balances", "What every customer is owed and has received equals an independent recomputation"
)
def participants_balances(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    people = _People(known)
    found = Finding("customers", 0, len(people.paid))
    held = _held(book)
    captured = {intent.intent_id: intent.amount_cents for intent in known.captured}
    for n, at, user, contest, cents, intent_id in known.payments:
        if captured.get(intent_id) != cents:
            found.breaks(
                f"{user} paid {dollars(cents)} for {contest} at {instant(at)}, the processor has "
                f"{dollars(captured.get(intent_id, 0))}",
                f"entrants.actions/{n}", at, cents,
            )  # fmt: skip
    for user in sorted(people.paid.keys() | people.sent.keys() | held.keys()):
        found.saw += user in people.paid
        is_held = held.get(user, _NOTHING)
        won, paid_out = people.won[user], people.paid_out[user]
        for what, is_cents, should_cents in (
            ("in the wallet", is_held[WALLET], people.paid[user] - people.locked[user] - people.refund_due[user]),
            ("of refunds still to be paid", is_held[REFUND_PAYABLE], people.refund_due[user] - people.refunded[user]),
            ("of prizes still to be paid", is_held[PRIZE_PAYABLE], won - paid_out),
            ("on its way", is_held[IN_TRANSIT], 0),
        ):
            if is_cents != should_cents:
                found.breaks(
                    f"{user} has {dollars(is_cents)} {what} in the ledger, it should be {dollars(should_cents)}",
                    f"users/{user}",
                    money_cents=abs(is_cents - should_cents),
                )
        received, due = (
            people.sent[user] + people.refunded[user],
            won - people.unpayable[user] + people.refund_due[user],
        )
        if received != due:
            found.breaks(
                f"{user} paid {dollars(people.paid[user])} and received {dollars(received)}, it should be "
                f"{dollars(due)} ({dollars(won)} won, {dollars(people.refund_due[user])} to be given back)",
                f"users/{user}",
                money_cents=abs(received - due),
            )
    return found


_NOTHING: dict[str, int] = dict.fromkeys((WALLET, REFUND_PAYABLE, PRIZE_PAYABLE, IN_TRANSIT), 0)


def _held(book: LedgerBook) -> dict[str, dict[str, int]]:
    """What the ledger says each customer has, by the kind of account (prize_payable over all contests)."""
    held: dict[str, dict[str, int]] = {}
    for account, balance in book.balances.items():
        for kind in _NOTHING:
            if balance and account.startswith(kind):
                mine = held.setdefault(account.rpartition(":")[2], dict(_NOTHING))
                mine[kind] -= balance
    return held


def _cents() -> defaultdict[str, int]:
    return defaultdict(int)


class _People:
    """Every customer's money in cents, from the processor's books, the plan and the official scores."""

    def __init__(self, known: Facts) -> None:
        self.paid = _cents()
        self.locked = _cents()
        self.refund_due = _cents()
        self.refunded = _cents()
        self.won = _cents()
        self.paid_out = _cents()
        self.sent = _cents()
        self.unpayable = _cents()
        for intent in known.captured:
            self.paid[intent.user_id] += intent.amount_cents
            self.refunded[intent.user_id] += known.refunded_cents.get(intent.intent_id, 0)
        for entries in known.valid.values():
            for intent in entries:
                self.locked[intent.user_id] += intent.amount_cents
        for intent in known.to_refund:
            self.refund_due[intent.user_id] += intent.amount_cents
            self.refunded[intent.user_id] += known.charged_back_cents.get(intent.intent_id, 0)
        for winner, standing in known.winners.items():
            self.won[standing.user_id] += standing.prize_cents
            if winner in known.unpayable:
                self.unpayable[standing.user_id] += standing.prize_cents
        owners = {account: user for user, account in known.accounts.items()}
        for transfer in known.transfers:
            user = owners.get(transfer.destination, transfer.destination)
            self.sent[user] += transfer.net_cents
            if transfer.caller == PLATFORM_KEY:
                self.paid_out[user] += transfer.net_cents


@assertion(
    "ledger.events_are_applied_once",
    "Every payment that the processor told of is noted as applied once, and never before its money is in the ledger",
)
def events_are_applied_once(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    applied: dict[str, list[int | None]] = {}
    for object_id, kind, status, at in evidence.rows(
        "platform.webhook_inbox", "object_id", "type", "status", "applied_at"
    ):
        if kind == PAID_EVENT and status == "APPLIED":
            applied.setdefault(object_id, []).append(at)
    cents = {intent.intent_id: intent.amount_cents for intent in known.captured}
    told = {
        object_id: at
        for object_id, kind, at in evidence.rows("processor.events", "object_id", "type", "created_at")
        if kind == PAID_EVENT and known.deadline(at, POSTED_WITHIN_MS)[0] < known.ended_at
    }
    found = Finding("payments told of", 0, len(told))
    for intent, told_at in told.items():
        found.saw += 1
        noted = applied.get(intent, [])
        posted = book.by_key.get(f"capture:{intent}")
        if len(noted) != 1:
            why, at = f"noted as applied {len(noted)} times", known.deadline(told_at, POSTED_WITHIN_MS)[0]
        elif posted is None or (noted[0] or 0) < posted.at:
            why, at = "noted as applied before it was in the ledger", noted[0] or told_at
        else:
            continue
        found.breaks(
            f"the payment {intent}, which the processor told of at {instant(told_at)}, was {why}",
            intent, at, cents.get(intent, 0),
        )  # fmt: skip
    return found


@assertion("ledger.no_rounding_account", "There is no account but those of the chart: nothing is rounded away")
def no_rounding_account(evidence: Evidence) -> Finding:
    book, known = ledgerbook(evidence), facts(evidence)
    found = Finding("accounts", len(book.balances), len({intent.user_id for intent in known.captured}))
    for account in sorted(book.balances):
        if not is_in_chart(account):
            cents = book.balances[account]
            found.breaks(
                f"{account} is no account of the chart and holds {dollars(cents)}", account, money_cents=abs(cents)
            )
    return found
