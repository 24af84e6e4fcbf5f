"""Defects of the platform, planted one at a time: each takes away what a fault is met with, and nothing else.

Invariant: a platform with one of them passes as long as the fault does not come, or nothing like it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.domain import receipts
from contest_platform.domain.receipts import Judgement, Scores
from contest_platform.ports import Tx
from contest_platform.services import (
    disputes,
    ingestion,
    ingestion_batches,
    payments,
    reconciliation,
    refunds,
    scores,
    webhooks,
    withdrawals,
)
from contest_platform.services.ingestion_batches import Known, Poll
from contest_platform.services.settlement import SettlementService
from contest_platform.services.webhooks import Effect, Event

Plant = Callable[[pytest.MonkeyPatch], None]


# --- webhooks --------------------------------------------------------------------------------------------------------


def _captures_again(patch: pytest.MonkeyPatch) -> None:
    """The ledger does not know a capture by its intent: whoever applies one a second time posts it a second time."""
    times, move = Counter[str](), ledger.move

    def careless(tx: Tx, ctx: Context, kind: str, key: str, **rest: Any) -> bool:
        if kind == "capture":
            times[key] += 1
            key = key if times[key] == 1 else f"{key}:{times[key]}"
        return move(tx, ctx, kind, key, **rest)

    patch.setattr(payments.ledger, "move", careless)


def twins_are_two(patch: pytest.MonkeyPatch) -> None:
    _captures_again(patch)
    patch.setattr(webhooks, "change_key", lambda event: event.id)


def delivered_is_applied(patch: pytest.MonkeyPatch) -> None:
    """Whatever is delivered is applied, known or not."""
    _captures_again(patch)
    record = webhooks.record

    def careless(tx: Tx, event: Event, *, delivered: bool) -> str:
        known = tx.one("select 1 from webhook_inbox where event_id = :event", {"event": event.id}) is not None
        status = record(tx, event, delivered=delivered)
        if delivered and known:
            webhooks.EFFECTS[event.type].apply(tx, Context(webhooks.ACTOR, event.id), event)
        return status

    patch.setattr(webhooks, "record", careless)


def webhooks_are_the_truth(patch: pytest.MonkeyPatch) -> None:
    """Reconciliation neither applies the events that are listed nor asks about intents that are still unpaid."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(reconciliation, "_apply_event", lambda _tx, _listed: None)
    patch.setattr(reconciliation.ReconciliationService, "_ask_for_unpaid", nothing)


def pending_refund_is_foreign(patch: pytest.MonkeyPatch) -> None:
    """A refund of ours that has not ended is not ours: the webhook must be about somebody else's."""

    def careless(tx: Tx, ctx: Context, event: Event) -> str:
        intent_id, total_cents = event.object["payment_intent"], event.object["amount_refunded"]
        entry_id = payments.entry_of(tx, None, intent_id)
        ours = tx.all("select * from refunds where intent_id = :intent and status = 'DONE'", {"intent": intent_id})
        unknown_cents = total_cents - sum(row["amount_cents"] for row in ours)
        if entry_id is not None and unknown_cents > 0:
            made = f"{intent_id}_{total_cents}"
            refunds.made_elsewhere(tx, ctx, entry_id, intent_id, unknown_cents, made, None, event.created_at)
        return webhooks.APPLIED

    effect = webhooks.EFFECTS["charge.refunded"]
    patch.setitem(webhooks.EFFECTS, "charge.refunded", Effect(careless, effect.distinct))


def no_signature_is_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(webhooks, "signature_problem", lambda *_: None)


def signatures_never_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(webhooks, "TOLERANCE_MS", 1 << 60)


def one_secret_is_known(patch: pytest.MonkeyPatch) -> None:
    check = webhooks.signature_problem
    patch.setattr(webhooks, "signature_problem", lambda value, raw, signers, now: check(value, raw, signers[:1], now))


def old_events_are_refused(patch: pytest.MonkeyPatch) -> None:
    """The age of the event is taken for the age of its signature."""
    check = webhooks.signature_problem

    def careless(value: str, raw: bytes, signers: Any, now: int) -> str | None:
        problem = check(value, raw, signers, now)
        old = now - orjson.loads(raw)["created"] * 1000 > webhooks.TOLERANCE_MS if problem is None else False
        return "signed too long ago" if old else problem

    patch.setattr(webhooks, "signature_problem", careless)


# --- customers -------------------------------------------------------------------------------------------------------


def a_lost_dispute_stays_a_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disputes, "_write_off", lambda _tx, _ctx, _dispute: None)


def what_a_bank_has_given_stays_owed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "given_by_bank", lambda _tx, _ctx, _intent: None)


def what_a_bank_gives_back_is_not_posted(patch: pytest.MonkeyPatch) -> None:
    post = disputes._post

    def careless(tx: Tx, ctx: Context, movement: Any) -> None:
        if movement.amount_cents < 0:
            post(tx, ctx, movement)

    patch.setattr(disputes, "_post", careless)


def who_withdraws_plays_on(patch: pytest.MonkeyPatch) -> None:
    """The refund is owed, and the entry stays what it was."""
    leave = withdrawals._leave

    def careless(tx: Tx, ctx: Context, row: Any) -> str:
        status = leave(tx, ctx, row)
        audit.update(tx, ctx, "entries", {"entry_id": row["entry_id"]}, {"status": "VALID"}, "stays")
        return status

    patch.setattr(withdrawals, "_leave", careless)


# --- the provider ----------------------------------------------------------------------------------------------------


class _Whatever:
    """A total that every round adds up to."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class _AnyTotals(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return _Whatever()

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def totals_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    judge = receipts.judge

    def careless(cells: Any, totals: Any, known: Scores, **rest: Any) -> Judgement:
        return judge(cells, _AnyTotals(), known, **rest)

    patch.setattr(receipts, "judge", careless)


def an_empty_answer_starts_over(patch: pytest.MonkeyPatch) -> None:
    def careless(tx: Tx, poll: Poll, checkpoint: dict[str, Any]) -> None:
        checkpoint["revision"] = None

    patch.setattr(ingestion_batches, "_refuse_empty", careless)


def any_event_will_do(patch: pytest.MonkeyPatch) -> None:
    """Neither is it asked which event an answer is about, nor do its rounds have to add up."""
    totals_are_not_compared(patch)
    apply = ingestion_batches.apply

    def careless(tx: Tx, poll: Poll, checkpoint: dict[str, Any], known: Known) -> Known:
        answer = replace(poll.answer, event_id=poll.tournament.event_id)
        return apply(tx, replace(poll, answer=answer), checkpoint, known)

    patch.setattr(ingestion_batches, "apply", careless)


def a_failure_starts_over(patch: pytest.MonkeyPatch) -> None:
    fail = ingestion._fail

    def careless(tx: Tx, tournament: Any, checkpoint: dict[str, Any], code: str) -> None:
        fail(tx, tournament, checkpoint, code)
        checkpoint["revision"] = None

    patch.setattr(ingestion, "_fail", careless)


def a_stale_answer_is_the_truth(patch: pytest.MonkeyPatch) -> None:
    """The provider is at an older revision: so are we."""
    apply = ingestion_batches.apply

    def careless(tx: Tx, poll: Poll, checkpoint: dict[str, Any], known: Known) -> Known:
        revision = checkpoint["revision"]
        if revision is not None and poll.answer.revision < revision:
            checkpoint["revision"] = poll.answer.revision
            known.scores.holes = {
                place: cell for place, cell in known.scores.holes.items() if cell[4] <= poll.answer.published_at
            }
            known.scores.sums = Scores.of(known.scores.holes.values()).sums
        return apply(tx, poll, checkpoint, known)

    patch.setattr(ingestion_batches, "apply", careless)


def a_value_once_left_does_not_return(patch: pytest.MonkeyPatch) -> None:
    judge, seen = receipts.judge, set[tuple[Any, ...]]()

    def careless(cells: Any, totals: Any, known: Scores, **rest: Any) -> Judgement:
        fresh = []
        for cell in cells:
            current = known.holes.get(cell[:3])
            if current is None or current[3] == cell[3] or cell[:4] not in seen:
                fresh.append(cell)
            seen.add(cell[:4])
        return judge(fresh, _AnyTotals(), known, **rest)

    patch.setattr(receipts, "judge", careless)


def late_is_like_any_other(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingestion_batches, "_mark_late", lambda _tx, _poll, rows, _checkpoint: rows)


def the_cut_off_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Whatever is known when a contest is settled counts for it."""
    official = scores.official_cards
    patch.setattr(scores, "official_cards", lambda tx, tournament, _cutoff_at: official(tx, tournament, 1 << 60))


def what_was_read_is_still_so(patch: pytest.MonkeyPatch) -> None:
    """A settlement daemon looks at its lease, and not at the contest, before it writes."""
    patch.setattr(SettlementService, "_hold", lambda self, tx, _contest_id: self._lease(tx))


def _dropping(patch: pytest.MonkeyPatch, is_dropped: Callable[[Poll, Mapping[str, str], str], bool]) -> None:
    update = ingestion_batches._update_statuses

    def careless(tx: Tx, poll: Poll, field: Mapping[str, str]) -> Mapping[str, str]:
        kept = {golfer: s for golfer, s in poll.answer.statuses.items() if not is_dropped(poll, field, s)}
        return update(tx, replace(poll, answer=replace(poll.answer, statuses=kept)), field)

    patch.setattr(ingestion_batches, "_update_statuses", careless)


def withdrawals_are_not_noticed(patch: pytest.MonkeyPatch) -> None:
    _dropping(patch, lambda _poll, _field, status: status == "withdrawn")


def after_the_end_nothing_changes(patch: pytest.MonkeyPatch) -> None:
    def is_late(poll: Poll, _field: Mapping[str, str], status: str) -> bool:
        return status == "disqualified" and poll.begun_at > poll.tournament.ends_at

    _dropping(patch, is_late)


def there_is_one_cut(patch: pytest.MonkeyPatch) -> None:
    _dropping(patch, lambda _poll, field, status: status == "cut" and "cut" in field.values())
