"""Reconciliation: reads at the processor what happened there, and applies whatever nobody has told us.

Invariant: a cursor moves only in the transaction that applied what lies before it, so nothing is skipped or done twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from contest_platform import audit, checkpoints, ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job, next_tick
from contest_platform.metrics import Gauge, count_failure, export_skew
from contest_platform.ports import (
    BalanceTransaction,
    Dispute,
    Intent,
    PortError,
    Ports,
    ProcessorEvent,
    StoreBusy,
    Tx,
)
from contest_platform.service import Config, Route
from contest_platform.services import disputes, payments, undelivered, webhooks

ACTOR = "system:payments"
RETRY_MS = 5 * MINUTE_MS
PAGE = 100
"""The most that a list call of Stripe gives (docs.stripe.com/api/pagination)."""
CONCURRENT = 8

RECONCILED = "payments.reconciled"
ASKED = "payments.asked"
EVENTS = "payments.events"
BALANCE = "payments.balance"
PENDING = "available:{at:015d}:"
"""Notes of charges whose money becomes available at `at`: sorted by name they are sorted by instant."""
_PENDING_NOTES = ("available:", "available;")

WITHOUT_POSTING = frozenset({"refund", "transfer", "transfer_reversal"})
"""Kinds of balance transactions whose money is posted by the flow that made them."""


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=_HasId)
T = TypeVar("T")


class ReconciliationService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._failed_at: int | None = None
        self._next_at: int | None = None
        """When the next pass is due, once it is known."""
        self._notified: int | None = None
        self._success_gauge = Gauge(ports.metrics, "payment_reconciliation_last_success_timestamp_seconds")
        self._dispute_gauge = Gauge(ports.metrics, "dispute_opened_timestamp_seconds")
        self._up_gauge = Gauge(ports.metrics, "processor_up")
        self._missing_gauge = Gauge(ports.metrics, "payment_webhook_missing_oldest_timestamp_seconds")
        self._skew_gauge = Gauge(ports.metrics, "host_clock_skew_seconds")
        """Told here because a pass comes once an hour, whatever else app has to do or not."""

    def jobs(self) -> Sequence[Job]:
        return (Job("payments.reconciliation", "payments", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        """The next full hour or the next lock after the last good pass; after a bad one, the next five minutes."""
        seen = self._ports.signals.seen("payments")
        if self._next_at is None or seen != self._notified:
            began = self._notified is None
            next_at, through, disputed_at = await self._ports.store.transact("reconciliation.due", _earliest_pass)
            self._next_at, self._notified = next_at, seen
            self._dispute_gauge.tell_of(disputed_at)
            if began:
                # Of a platform that has not read them yet, its beginning.
                self._success_gauge.tell_of(self._ports.runtime.now() if through is None else through)
        return (
            self._next_at if self._failed_at is None else max(self._next_at, next_tick(self._failed_at + 1, RETRY_MS))
        )

    async def _work(self) -> None:
        """One pass. Whatever the processor does not answer ends it, and it begins again: what is done stays done."""
        began_at = self._ports.runtime.now()
        processor, transact = self._ports.processor, self._ports.store.transact
        try:
            begun = await transact("reconciliation.begin", lambda tx: _begin(tx, began_at))
            self._missing_gauge.tell_of(begun.missing_at)
            export_skew(self._skew_gauge, self._ports.runtime.now(), begun.store_at)
            await self._read_on(EVENTS, begun.events_after, processor.list_events, _apply_event)
            if begun.locked or begun.asked:
                await self._ask_for_unpaid(began_at, begun.asked)
            await self._read_on(BALANCE, begun.balance_after, processor.list_balance_transactions, _apply_balance)
            next_at, asked = None, set[str]()
            while next_at is None:
                concluded = await transact(
                    "reconciliation.conclude", lambda tx: _conclude(tx, began_at, begun.locked, asked)
                )
                if concluded.unasked:
                    await self._ask_about(concluded.unasked)
                    asked.update(concluded.unasked)
                next_at = concluded.next_at
            self._next_at, self._failed_at = next_at, None
            self._success_gauge.tell_of(began_at)
            self._dispute_gauge.tell_of(concluded.disputed_at)
            self._up_gauge.tell_of(1)
        except PortError as error:
            self._failed_at = self._ports.runtime.now()
            if isinstance(error, StoreBusy):
                count_failure(self._ports.metrics, error)
            else:
                self._up_gauge.tell_of(0)

    async def _read_on(
        self,
        cursor: str,
        after: str | None,
        listing: Callable[..., Awaitable[list[Item]]],
        apply: Callable[[Tx, Item], None],
    ) -> None:
        """Read a list of the processor from `after`, where we left off, to its end, and apply each page as it comes."""
        while True:
            page = await self._ports.runtime.deadline(
                listing(after=after, limit=PAGE), self._config.processor_timeout_ms
            )
            if not page:
                return
            after = last = page[-1].id
            at_end = len(page) < PAGE

            def apply_page(tx: Tx, page: list[Item] = page, last: str = last) -> None:
                for item in page:
                    apply(tx, item)
                checkpoints.save(tx, cursor, last)

            await self._ports.store.transact("reconciliation.page", apply_page)
            if at_end:
                return

    async def _ask_for_unpaid(self, began_at: int, everywhere: bool) -> None:
        """Ask about each intent that is still unpaid in a contest that has locked since the last good pass: an event
        may never have been made (docs.stripe.com/webhooks), but money captured before the lock makes an entry.
        `everywhere`: about every other one too of which we know no outcome, for somebody wants to know."""

        def unpaid(tx: Tx) -> dict[str, str]:
            rows = tx.all(
                "select p.entry_id, p.intent_id from contests c"
                " join entries e on e.contest_id = c.contest_id join payments p on p.entry_id = e.entry_id"
                " where (:everywhere and p.status = 'CREATED'"
                "     or c.lock_at > :through and c.lock_at <= :began and e.status = 'PENDING_PAYMENT')"
                " and p.intent_id is not null order by p.entry_id",
                {"everywhere": everywhere, "through": _through(tx) or 0, "began": began_at},
            )
            return {row["intent_id"]: row["entry_id"] for row in rows}

        async def apply(intent_id: str, intent: Intent) -> None:
            if intent.captured_at is not None or intent.status == "canceled":
                await transact("reconciliation.intent", lambda tx: _apply_intent(tx, entries[intent_id], intent))

        processor, transact = self._ports.processor, self._ports.store.transact
        entries = await transact("reconciliation.unpaid", unpaid)
        await self._ask_each(list(entries), lambda intent_id: processor.retrieve_intent(intent_id=intent_id), apply)

    async def _ask_about(self, open_disputes: Sequence[str]) -> None:
        """Ask how disputes stand that are open for all we know: no movement of the balance tells whose one is, or that
        it was lost, and an event may never have been made."""

        async def apply(dispute_id: str, found: Dispute) -> None:
            dispute = replace(found, created_at=payments.whole_seconds(found.created_at))
            ctx = Context(ACTOR, dispute_id)
            await transact("reconciliation.dispute", lambda tx: disputes.tell(tx, ctx, dispute))

        processor, transact = self._ports.processor, self._ports.store.transact
        await self._ask_each(open_disputes, lambda dispute_id: processor.retrieve_dispute(dispute_id=dispute_id), apply)

    async def _ask_each(
        self, ids: Sequence[str], retrieve: Callable[[str], Awaitable[T]], apply: Callable[[str, T], Awaitable[None]]
    ) -> None:
        """Retrieve each object, some at once, and apply it. Raises the first failure to retrieve one, after which no
        other is begun."""
        failures: list[PortError] = []

        async def ask(object_id: str) -> None:
            if failures:
                return
            try:
                found = await self._ports.runtime.deadline(retrieve(object_id), self._config.processor_timeout_ms)
            except PortError as error:
                failures.append(error)
                return
            await apply(object_id, found)

        await self._ports.runtime.gather([ask(object_id) for object_id in ids], CONCURRENT)
        if failures:
            raise failures[0]


def _through(tx: Tx) -> int | None:
    """When the last good pass began: everything that had happened at the processor by then is applied."""
    value = checkpoints.read(tx, RECONCILED)
    return None if value is None else int(value["through"])


@dataclass(frozen=True, slots=True)
class _Begun:
    """Where a pass goes on from, whether a contest has locked since the last good one, and whether it was asked for.
    `missing_at`: when the oldest payment was made that an earlier pass has found, and no webhook has told of since.
    `store_at`: when the pass begins, by the store's clock."""

    events_after: str | None
    balance_after: str | None
    locked: bool
    asked: bool
    missing_at: int | None
    store_at: int


def _begin(tx: Tx, began_at: int) -> _Begun:
    lock_at = _next_lock(tx, _through(tx) or 0)
    locked = lock_at is not None and lock_at <= began_at
    asked = checkpoints.read(tx, ASKED) is not None
    events_after, balance_after = checkpoints.read(tx, EVENTS), checkpoints.read(tx, BALANCE)
    return _Begun(events_after, balance_after, locked, asked, undelivered.oldest(tx), tx.now)


def _earliest_pass(tx: Tx) -> tuple[int, int | None, int | None]:
    """When the next pass is due, when the last good one began, and when the newest open dispute was opened."""
    through = _through(tx)
    if through is None or checkpoints.read(tx, ASKED) is not None:
        return tx.now, through, disputes.newest_open(tx)
    return _next_pass(tx, through), through, disputes.newest_open(tx)


def ask(tx: Tx) -> bool:
    """Have a pass made at the next minute, whenever it would be due; False: that was asked before and is still to
    come."""
    tx.notify("payments")
    if checkpoints.read(tx, ASKED) is not None:
        return False
    checkpoints.save(tx, ASKED, {"at": tx.now})
    return True


def _next_pass(tx: Tx, through: int) -> int:
    """When the pass after the one that began at `through` is due."""
    next_hour, lock_at = next_tick(through + 1, HOUR_MS), _next_lock(tx, through)
    return next_hour if lock_at is None else min(next_hour, lock_at)


def _next_lock(tx: Tx, after: int) -> int | None:
    """When the first contest locks after that instant."""
    locks = audit.remembered(tx, "contests", "select distinct lock_at from contests order by lock_at")
    return next((lock_at for (lock_at,) in locks if lock_at > after), None)


@dataclass(frozen=True, slots=True)
class _Concluded:
    """`next_at`: when the next pass is due, None while this one is not over; `unasked`: open disputes still to be asked
    about in this pass; `disputed_at`: when the newest open dispute was opened."""

    next_at: int | None
    unasked: list[str]
    disputed_at: int | None


_OPEN_DISPUTES = "select dispute_id, opened_at from disputes where closed_at is null order by dispute_id"


def _conclude(tx: Tx, began_at: int, locked: bool, asked: Container[str]) -> _Concluded:
    """The pass is over once every open dispute was asked about and all that has become available is posted."""
    disputed = audit.remembered(tx, "disputes", _OPEN_DISPUTES)
    disputed_at = max([opened_at for _, opened_at in disputed], default=None)
    unasked = [dispute_id for dispute_id, _ in disputed if dispute_id not in asked]
    if unasked or _post_available(tx):
        return _Concluded(None, unasked, disputed_at)
    webhooks.retry_waiting(tx)
    checkpoints.save(tx, RECONCILED, {"through": began_at})
    by_hand = checkpoints.read(tx, ASKED)
    if by_hand is not None and by_hand["at"] <= began_at:
        checkpoints.remove(tx, ASKED)
    if locked:
        tx.notify("contests")  # Their entries may be final now.
    return _Concluded(_next_pass(tx, began_at), [], disputed_at)


def _apply_event(tx: Tx, listed: ProcessorEvent) -> None:
    if listed.type in webhooks.EFFECTS:
        webhooks.record(tx, webhooks.of_listing(listed), delivered=False)


def _apply_intent(tx: Tx, entry_id: str, intent: Intent) -> None:
    ctx = Context(ACTOR, entry_id)
    if intent.captured_at is not None:
        captured_at = payments.whole_seconds(intent.captured_at)
        payments.capture(tx, ctx, entry_id, intent.id, intent.amount_cents, captured_at)
    else:
        payments.cancel(tx, ctx, entry_id, "canceled at the processor")


def _apply_balance(tx: Tx, movement: BalanceTransaction) -> None:
    """Post what only the balance tells: the owner's capital, fees, and (once it has come) that money is available."""
    ctx = Context(ACTOR, movement.id)
    if movement.kind == "topup":
        ledger.move(
            tx, ctx, "topup", f"topup:{movement.id}", debit=ledger.AVAILABLE, credit=ledger.CAPITAL,
            cents=movement.net_cents, reason="paid in by the owner",
        )  # fmt: skip
    elif movement.kind == "charge":
        if movement.fee_cents:
            ledger.move(
                tx, ctx, "fee", f"fee:{movement.id}", debit=ledger.FEES, credit=ledger.PENDING,
                cents=movement.fee_cents, reason=f"fee for {movement.source_id}",
            )  # fmt: skip
        note = PENDING.format(at=movement.available_at) + movement.id
        checkpoints.save(tx, note, {"id": movement.id, "net_cents": movement.net_cents})
    elif disputes.is_of_dispute(movement):
        disputes.moved(tx, ctx, movement)
    elif movement.kind not in WITHOUT_POSTING:
        audit.append(
            tx, ctx, "refuse.balance_transaction", f"balance_transactions/{movement.id}",
            after={"kind": movement.kind, "net_cents": movement.net_cents}, reason="no rule posts this kind",
        )  # fmt: skip


def _post_available(tx: Tx) -> bool:
    """Post a page of the charges whose money has become available. Returns whether there may be more."""
    due = PENDING.format(at=tx.now + 1)
    first = checkpoints.first_between(tx, *_PENDING_NOTES)
    if first is None or first >= due:
        return False
    notes = checkpoints.between(tx, _PENDING_NOTES[0], due, PAGE)
    for name, note in notes:
        ledger.move(
            tx, Context(ACTOR, note["id"]), "available", f"available:{note['id']}", debit=ledger.AVAILABLE,
            credit=ledger.PENDING, cents=note["net_cents"], reason="settled by the processor",
        )  # fmt: skip
        checkpoints.remove(tx, name)
    return len(notes) == PAGE
