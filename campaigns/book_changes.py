"""Two sets of books held against each other: for each that differs, its first row that does, and in which columns.

Of a book that is kept in memory the first is the earliest, as far as its instants tell; of one that is streamed, the
first in the order of its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from evidence.books import BookDamaged, Row, book_path
from evidence.layout import BOOK_DIRECTORY
from evidence.manifest import file_sha256
from evidence.run import KEPT_ROWS_MAX, Evidence
from evidence.schemas import BOOKS, BookSchema, Column

Pair = tuple[Row | None, Row | None]


class BookChange(NamedTuple):
    """The first row of `book` that differs. `columns`: (name, in ours, in theirs) of each that does; none where only
    one of the two has such a row: `only_in` says which, "ours" or "theirs", and `row` what it holds. `at`: when it came
    about (ms), as near as its instants tell. `rows`: how many each of the two has."""

    book: str
    key: tuple[tuple[str, Any], ...]
    only_in: str | None
    columns: tuple[tuple[str, Any, Any], ...]
    row: tuple[tuple[str, Any], ...]
    at: int | None
    rows: tuple[int, int]


def book_changes(ours: Evidence, theirs: Evidence, parted_at: int | None) -> list[BookChange]:
    """One for each book whose rows are not the same, the earliest first. `parted_at`: when the journals part (ms): a
    row that seems to be older has changed later, nobody knows when. Raises BookDamaged, ManifestBroken."""
    for side in (ours, theirs):
        _check_files(side)
    was, now = ours.manifest.books, theirs.manifest.books
    names = [name for name in BOOKS if (was.get(name) and was[name].sha256) != (now.get(name) and now[name].sha256)]
    found = [change for name in names if (change := first_change(name, ours, theirs)) is not None]
    if parted_at is not None:
        found = [change if (change.at or 0) >= parted_at else change._replace(at=None) for change in found]
    return sorted(found, key=lambda change: (change.at is None, change.at or 0, change.book))


def _check_files(side: Evidence) -> None:
    """Only of books that still are what was sealed does the manifest tell which are alike. Raises BookDamaged."""
    for book in side.manifest.books:
        path = book_path(side.path / BOOK_DIRECTORY, book)
        try:
            actual = file_sha256(path)
        except OSError as error:
            raise BookDamaged(f"cannot be read: {error.strerror}", str(path)) from None
        if actual != side.manifest.files.get(path.relative_to(side.path).as_posix()):
            raise BookDamaged("is not what was sealed, by its hash in the manifest", str(path))


def first_change(book: str, ours: Evidence, theirs: Evidence) -> BookChange | None:
    """The first row of `book` that differs; None: its rows are the same."""
    schema = BOOKS[book]
    counts = ours.count(book), theirs.count(book)
    first: BookChange | None = None
    for row, other in _differing(schema, ours.rows(book), theirs.rows(book)):
        change = _change(book, schema, row, other, counts)
        if first is None or (first.at is not None and change.at is not None and change.at < first.at):
            first = change
        if max(counts) > KEPT_ROWS_MAX:
            break
    return first


def _differing(schema: BookSchema, ours: Iterator[Row], theirs: Iterator[Row]) -> Iterator[Pair]:
    """The rows that are not the same, in the order of the key; None for a side that has no row of that key."""
    places = [list(schema.columns).index(name) for name in schema.key]

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[place] for place in places)

    row, other = next(ours, None), next(theirs, None)
    while row is not None or other is not None:
        if row == other:
            row, other = next(ours, None), next(theirs, None)
        elif other is None or (row is not None and key(row) < key(other)):
            yield row, None
            row = next(ours, None)
        elif row is None or key(other) < key(row):
            yield None, other
            other = next(theirs, None)
        else:
            yield row, other
            row, other = next(ours, None), next(theirs, None)


def _change(book: str, schema: BookSchema, row: Row | None, other: Row | None, counts: tuple[int, int]) -> BookChange:
    one = row if row is not None else other
    assert one is not None
    names = list(schema.columns)
    named = dict(zip(names, one, strict=True))
    instants = [name for name, kind in schema.columns.items() if kind is Column.AT]
    if row is None or other is None:
        changed: tuple[tuple[str, Any, Any], ...] = ()
        told: Sequence[Any] = [named[name] for name in instants]
    else:
        changed = tuple(
            (name, ours, theirs) for name, ours, theirs in zip(names, row, other, strict=True) if ours != theirs
        )
        moved = [value for name, *both in changed if name in instants for value in both if value is not None]
        told = [min(moved)] if moved else [named[name] for name in instants]
    at = next((value for value in told if value is not None), None)
    return BookChange(
        book, tuple((name, named[name]) for name in schema.key),
        "theirs" if row is None else "ours" if other is None else None,
        changed, () if changed else tuple(named.items()), at, counts,
    )  # fmt: skip
