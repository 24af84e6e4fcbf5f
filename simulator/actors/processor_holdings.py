"""What the payment processor holds: its objects by id, and the balance of the account.

Invariant: what can be transferred is the sum of the movements that have become available, to the cent.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from contest_platform.ports import BalanceTransaction
from evidence.books import Book
from simulator.actors.processor_answers import refusal
from simulator.actors.processor_objects import sibling

FEE_MILLI = 29
FEE_FIXED_CENTS = 30
DISPUTE_FEE_CENTS = 15_00
"""Taken with the disputed amount, and kept even when the dispute is won (docs.stripe.com/disputes)."""


def fee_cents(amount_cents: int) -> int:
    """2.9 % + 30 c, half a cent up. It is kept when the charge is refunded."""
    return (amount_cents * FEE_MILLI + 500) // 1000 + FEE_FIXED_CENTS


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


class Shelf(Generic[Item]):
    """Objects of one kind in the order of their creation, found by id."""

    __slots__ = ("items", "places")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.places: dict[str, int] = {}

    def put(self, item: Item) -> Item:
        """Add `item`, or put it in the place of the one with its id."""
        place = self.places.setdefault(item.id, len(self.items))
        if place == len(self.items):
            self.items.append(item)
        else:
            self.items[place] = item
        return item

    def find(self, item_id: str) -> Item:
        """The object with this id. Raises ProcessorError (resource_missing)."""
        place = self.places.get(item_id)
        if place is None:
            raise refusal("resource_missing", f"No such object: '{item_id}'")
        return self.items[place]

    def page(self, after: str | None, limit: int, first: int = 0) -> list[Item]:
        """At most `limit` objects after the one named, oldest first, none before place `first`."""
        start = first
        if after is not None:
            self.find(after)
            start = max(first, self.places[after] + 1)
        return self.items[start : start + limit]


class Balance:
    """The account's balance: every movement, and what of it can be transferred now."""

    __slots__ = ("_available_cents", "_book", "_pending", "movements")

    def __init__(self, book: Book) -> None:
        self._book = book
        self._available_cents = 0
        self._pending: deque[tuple[int, int]] = deque()
        self.movements: Shelf[BalanceTransaction] = Shelf()

    def post(
        self,
        kind: str,
        source_id: str,
        amount_cents: int,
        fee: int,
        now: int,
        available_at: int,
        txn_id: str | None = None,
    ) -> BalanceTransaction:
        """`txn_id`: of a second movement for one source; that of the first follows from the source."""
        net_cents = amount_cents - fee
        entry = BalanceTransaction(
            txn_id or sibling("txn", source_id), kind, source_id, amount_cents, fee, net_cents, now, available_at
        )
        self.movements.put(entry)
        self._book.note(entry.id, kind, source_id, amount_cents, fee, net_cents, now, available_at)
        if available_at <= now:
            self._available_cents += net_cents
        else:
            self._pending.append((available_at, net_cents))
        return entry

    @property
    def rows(self) -> int:
        """How many movements the book has."""
        return self._book.count

    def available_cents(self, now: int) -> int:
        """What can be transferred. Below zero after refunds that were larger than it, until pending funds arrive."""
        while self._pending and self._pending[0][0] <= now:
            self._available_cents += self._pending.popleft()[1]
        return self._available_cents
