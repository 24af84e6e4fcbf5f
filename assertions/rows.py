"""Rows of books as named tuples, and what is worked out from them: the words that facts and assertions share.

Invariant: data only. The fields of a row are columns of its book, so that `read` can ask for them by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from evidence.run import Evidence

Row = TypeVar("Row", bound=tuple[object, ...])


def read(evidence: Evidence, book: str, row: type[Row]) -> Iterator[Row]:
    """The rows of a book as named tuples whose fields are columns of it."""
    # What `_make` does, without its check of the length: `rows` gives the columns asked for.
    return map(partial(tuple.__new__, row), evidence.rows(book, *row._fields))  # type: ignore[attr-defined]


def apart(evidence: Evidence, book: str, key: str, *columns: str) -> dict[Any, list[list[Any]]]:
    """A book's `columns` for each value of the column `key`, the rows in their order."""
    found: dict[Any, list[list[Any]]] = {}
    for keys, *chunk in evidence.chunks(book, key, *columns):
        start = 0
        for value, rows in groupby(keys):
            end = start + len(list(rows))
            for whole, column in zip(found.setdefault(value, [[] for _ in columns]), chunk, strict=True):
                whole += column[start:end]
            start = end
    return found


class Intent(NamedTuple):
    intent_id: str
    amount_cents: int
    refunded_cents: int
    status: str
    contest_id: str
    entry_id: str
    user_id: str
    created_at: int
    captured_at: int | None


class Transfer(NamedTuple):
    """A transfer in the processor's books. A human at the dashboard may leave its metadata out."""

    transfer_id: str
    amount_cents: int
    reversed_cents: int
    destination: str
    contest_id: str | None
    entry_id: str | None
    user_id: str | None
    caller: str
    created_at: int

    @property
    def net_cents(self) -> int:
        return self.amount_cents - self.reversed_cents


class Refund(NamedTuple):
    refund_id: str
    intent_id: str
    amount_cents: int
    status: str
    caller: str
    created_at: int


class ContestRow(NamedTuple):
    contest_id: str
    status: str
    completed_at: int | None
    cutoff_at: int | None
    settled_at: int | None
    closed_at: int | None
    error_code: str | None


class Standing(NamedTuple):
    user_id: str
    score: int
    place: int
    prize_cents: int


class TransferRequest(NamedTuple):
    at: int
    request_hash: str | None
    replayed: bool
    status: int
    error_code: str | None
    object_id: str | None
    answered: bool
