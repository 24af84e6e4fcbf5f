"""Family audit: every change in any party's books has its row, and nobody can have altered the rows afterwards.

When somebody altered what had been written is in no book of the platform: such a broken promise carries no instant.
Invariant: what has to be audited is counted in the books of the others, and the chain is recomputed from genesis.
"""

from __future__ import annotations

from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.feed import receipts
from assertions.ledgerbook import ledgerbook
from assertions.model import Finding, assertion
from assertions.trail import ANCHOR_WITHIN_MS, KEPT_MAX, Damages, trail
from assertions.words import DAY_MS, dollars, duration, instant
from evidence.schemas import BOOKS

if TYPE_CHECKING:
    from evidence.run import Evidence


def _tell(found: Finding, damages: Damages, at_known: bool) -> None:
    """Tell the first of `damages` one by one, and how many more there are. A row that is not what it was says when it
    was written, not when it was changed: then `at_known` is False."""
    for damage in damages.first:
        at = damage.at if at_known else None
        found.breaks(f"audit row {damage.seq} of {instant(damage.at)} {damage.what}", f"audit_log/{damage.seq}", at)
    if damages.count > len(damages.first):
        more = damages.count - len(damages.first)
        found.breaks(f"and {more} more audit rows of the same kind", "audit_log")


@assertion(
    "audit.chain_holds", "The audit log runs from 1 without a gap, and every row hashes to what it and the next say"
)
def chain_holds(evidence: Evidence) -> Finding:
    known = trail(evidence)
    found = Finding("audit rows", known.rows, len(facts(evidence).effects))
    _tell(found, known.broken_chain, at_known=False)
    return found


@assertion(
    "audit.head_matches_anchor", "The heads that were anchored outside are still in the audit log, at most 90 min old"
)
def head_matches_anchor(evidence: Evidence) -> Finding:
    known, truth = trail(evidence), facts(evidence)
    busy_days = {at // DAY_MS for at in (*(item.created_at for item in truth.intents),
                                         *(item.created_at for item in truth.transfers))}  # fmt: skip
    found = Finding("anchored heads", 0, len(busy_days))
    highest = 0
    for n, at, seq, head in evidence.rows("anchor.heads", "n", "at", "head_seq", "head_hash"):
        found.saw += 1
        ours = known.heads.get(seq)
        if ours is None:
            found.breaks(
                f"the head anchored at {instant(at)} was audit row {seq}, but the log ends with row {known.last_seq}: "
                f"its tail has been cut off",
                f"anchor.heads/{n}",
            )
        elif ours != head:
            found.breaks(
                f"audit row {seq} hashes to {ours[:12]}…, but {head[:12]}… was anchored for it at {instant(at)}: "
                f"the log has been written anew",
                f"audit_log/{seq}",
            )
        if seq < highest:
            found.breaks(f"row {seq} was anchored at {instant(at)}, after row {highest}", f"anchor.heads/{n}", at)
        highest = max(highest, seq)
    for seq, at, anchored_at in known.unanchored[:KEPT_MAX]:
        after = "never" if anchored_at is None else f"only {duration(anchored_at - at)} later"
        found.breaks(
            f"audit row {seq} of {instant(at)} was {after} anchored outside; {duration(ANCHOR_WITHIN_MS)} are allowed",
            f"audit_log/{seq}",
            at + ANCHOR_WITHIN_MS,
        )
    return found


@assertion(
    "audit.rows_match_images", "Every row of the platform is what its audit rows say, and none is there without them"
)
def rows_match_images(evidence: Evidence) -> Finding:
    known = trail(evidence)
    found = Finding("rows", 0, len(facts(evidence).effects))
    _tell(found, known.odd_rows, at_known=True)
    for table, differences in known.differences.items():
        found.saw += differences.rows
        for key in differences.unaudited:
            found.breaks(f"{table}/{key} is in the database, but no audit row tells of it", f"{table}/{key}")
        for key in differences.missing:
            found.breaks(f"{table}/{key} was audited, but is no longer in the database", f"{table}/{key}")
        _tell_changes(evidence, found, table, differences.changed)
    _tell_postings(evidence, found)
    _tell_golfers(evidence, found)
    for batch in receipts(evidence).wrong_hashes:
        found.breaks(
            f"the receipts of ingestion batch {batch} are not those that were hashed when it was audited",
            f"ingestion_batches/{batch}",
        )
    return found


def _tell_changes(evidence: Evidence, found: Finding, table: str, keys: list[str]) -> None:
    if not keys:
        return
    wanted = {f"{table}/{key}": key for key in keys[:KEPT_MAX]}
    images = trail(evidence).final_images(wanted)
    schema = BOOKS[f"platform.{table}"]
    names = evidence.columns(f"platform.{table}")
    for row in evidence.rows(f"platform.{table}", *names):
        values = dict(zip(names, row, strict=True))
        subject = f"{table}/" + "/".join(str(values[name]) for name in schema.key)
        if subject in wanted:
            image = images[subject]
            told = [
                f"{name} is {_say(name, values[name])}, audited as {_say(name, image.get(name))}"
                for name in names
                if values[name] != image.get(name)
            ]
            cents = sum(abs((values[name] or 0) - (image.get(name) or 0)) for name in names if name.endswith("_cents"))
            found.breaks(f"{subject}: {'; '.join(told) or 'its audited changes do not add up'}", subject, None, cents)
    if len(keys) > KEPT_MAX:
        found.breaks(f"and {len(keys) - KEPT_MAX} more rows of {table} differ from their audit", table)


def _say(name: str, value: object) -> str:
    return dollars(value) if name.endswith("_cents") and isinstance(value, int) else repr(value)


def _tell_postings(evidence: Evidence, found: Finding) -> None:
    posts, book = trail(evidence).posts, ledgerbook(evidence)
    found.saw += len(book.sums)
    for txn_id, total in book.sums.items():
        audited = posts.get(str(txn_id))
        if audited != total.fingerprint:
            told = "is not what was audited when it was posted" if audited is not None else "was never audited"
            found.breaks(
                f"ledger transaction {txn_id} ({total.business_key}, {instant(total.at)}) {told}",
                f"ledger_transactions/{txn_id}",
                money_cents=abs(total.debit_cents),
            )
    for txn in sorted(posts.keys() - {str(txn_id) for txn_id in book.sums}):
        found.breaks(f"ledger transaction {txn} was audited, but is not in the ledger", f"ledger_transactions/{txn}")


def _tell_golfers(evidence: Evidence, found: Finding) -> None:
    audited = dict(trail(evidence).golfers)
    for tournament, golfer, status in evidence.rows("platform.golfers", "tournament_id", "golfer_id", "status"):
        found.saw += 1
        key = f"{tournament}/{golfer}"
        told = audited.pop(key, None)
        if told != status:
            said = "no audit row tells of it" if told is None else f"its audit says {told}"
            found.breaks(f"golfers/{key} is {status}, but {said}", f"golfers/{key}")
    for key in sorted(audited):
        found.breaks(f"golfers/{key} was audited, but is no longer in the database", f"golfers/{key}")


@assertion(
    "audit.external_effects_are_audited",
    "Every object that the platform's key made at the processor is named by an audit row",
)
def external_effects_are_audited(evidence: Evidence) -> Finding:
    named, truth = trail(evidence).effects, facts(evidence)
    cents = {
        **{item.intent_id: (item.created_at, item.amount_cents, "payment intent") for item in truth.intents},
        **{item.refund_id: (item.created_at, item.amount_cents, "refund") for item in truth.refunds},
        **{item.transfer_id: (item.created_at, item.amount_cents, "transfer") for item in truth.transfers},
    }
    found = Finding("objects at the processor", 0, len(truth.effects))
    for object_id in truth.effects:
        found.saw += 1
        if quote(object_id) not in named:
            at, amount, kind = cents[object_id]
            found.breaks(
                f"the platform's key made the {kind} {object_id} over {dollars(amount)} at {instant(at)}, and no audit "
                f"row names it",
                object_id, at, amount,
            )  # fmt: skip
    return found


@assertion("audit.every_row_has_a_cause", "Every audit row names an earlier event of the journal as its cause")
def every_row_has_a_cause(evidence: Evidence) -> Finding:
    known = trail(evidence)
    found = Finding("audit rows", known.rows, len(facts(evidence).effects))
    _tell(found, known.uncaused, at_known=True)
    return found
