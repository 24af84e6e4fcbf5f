"""Two sets of books held against each other: for each that differs, its first row that does, and in which columns.

Of a small book the first is the earliest, as far as its instants tell; of a large one, the first in the order of its
key, which for those that number their rows is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from evidence.books import CHUNK_ROWS, BookDamaged, Row, book_path, open_parquet, read_columns
from evidence.layout import BOOK_DIRECTORY
from evidence.manifest import file_sha256
from evidence.run import Evidence
from evidence.schemas import BOOKS, BookSchema, Column

Pair = tuple[Row | None, Row | None]
_BLOCK = 1 << 16
SMALL_ROWS = 3 * CHUNK_ROWS
"""Of a book of more rows it is not looked which one is the earliest."""


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
    was, now = ours.manifest.books, theirs.manifest.books
    found = []
    for name in BOOKS:
        if (was.get(name) and was[name].sha256) == (now.get(name) and now[name].sha256):
            _check_alike(name, ours, theirs)
        else:
            _check_sealed(name, ours, theirs)
            if (change := first_change(name, ours, theirs)) is not None:
                found.append(change)
    if parted_at is not None:
        found = [change if (change.at or 0) >= parted_at else change._replace(at=None) for change in found]
    return sorted(found, key=lambda change: (change.at is None, change.at or 0, change.book))


def _check_alike(book: str, ours: Evidence, theirs: Evidence) -> None:
    """Only of files that are as they were sealed does the manifest tell that they are alike. Raises BookDamaged."""
    paths = [_path(book, side) for side in (ours, theirs)]
    with suppress(OSError):  # of which file, is said below
        if _alike_until(*paths) == paths[0].stat().st_size == paths[1].stat().st_size:
            return
    _check_sealed(book, ours, theirs)


def _check_sealed(book: str, *sides: Evidence) -> None:
    """Raises BookDamaged for a file that is not what the manifest states of it."""
    for side in sides:
        path = _path(book, side)
        if book not in side.manifest.books:
            continue
        try:
            actual = file_sha256(path)
        except OSError as error:
            raise BookDamaged(f"cannot be read: {error.strerror}", str(path)) from None
        if actual != side.manifest.files.get(path.relative_to(side.path).as_posix()):
            raise BookDamaged("is not what was sealed, by its hash in the manifest", str(path))


def _path(book: str, side: Evidence) -> Path:
    return book_path(side.path / BOOK_DIRECTORY, book)


def first_change(book: str, ours: Evidence, theirs: Evidence) -> BookChange | None:
    """The first row of `book` that differs; None: its rows are the same. Raises BookDamaged."""
    schema = BOOKS[book]
    counts = _rows_stated(book, ours), _rows_stated(book, theirs)
    try:
        with ExitStack() as files:
            pairs = _merged(schema, *(_rows(schema, batches) for batches in _batches(book, (ours, theirs), files)))
            pair = next(pairs, None) if max(counts) > SMALL_ROWS else _earliest(schema, pairs)
    except BookDamaged as damaged:  # and is what was sealed
        raise BookDamaged(str(damaged), book) from None
    return None if pair is None else _change(book, schema, *pair, counts)


def _rows_stated(book: str, side: Evidence) -> int:
    """0 where the version of the run did not have the book."""
    stated = side.manifest.books.get(book)
    return 0 if stated is None else stated.rows


def _batches(book: str, sides: Sequence[Evidence], files: ExitStack) -> list[Iterator[Any]]:
    """The rows of each side in Arrow's form, so many at a time, as long as `files` is open. What both files begin with,
    byte for byte, is left out."""
    held = [side for side in sides if _rows_stated(book, side)]
    paths = [_path(book, side) for side in held]
    opened = [files.enter_context(open_parquet(path, BOOKS[book])) for path in paths]
    alike = _alike_until(*paths) if len(held) == len(sides) else 0
    batches = [_from(file, alike) for file in opened]
    return [batches[held.index(side)] if side in held else iter(()) for side in sides]


def _alike_until(ours: Path, theirs: Path) -> int:
    """How many bytes two files begin with alike, to the block."""
    at = 0
    with ours.open("rb", buffering=0) as one, theirs.open("rb", buffering=0) as other:
        while (block := one.read(_BLOCK)) and block == other.read(_BLOCK):
            at += len(block)
    return at


def _from(file: Any, alike: int) -> Iterator[Any]:
    """The batches of a file from the first row group on that does not end within `alike` bytes."""
    groups = range(file.num_row_groups)
    first = next((group for group in groups if _end(file.metadata.row_group(group)) > alike), len(groups))
    batches: Iterator[Any] = file.iter_batches(CHUNK_ROWS, row_groups=list(groups)[first:], use_threads=False)
    return batches


def _end(group: Any) -> int:
    last = group.column(group.num_columns - 1)
    end: int = last.data_page_offset + last.total_compressed_size
    return end


def _rows(schema: BookSchema, batches: Iterable[Any]) -> Iterator[Row]:
    import pyarrow as pa

    for batch in batches:
        yield from zip(*read_columns(pa.Table.from_batches([batch]), schema, tuple(schema.columns)), strict=True)


def _merged(schema: BookSchema, ours: Iterator[Row], theirs: Iterator[Row]) -> Iterator[Pair]:
    key = itemgetter(*(list(schema.columns).index(name) for name in schema.key))
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


def _earliest(schema: BookSchema, pairs: Iterator[Pair]) -> Pair | None:
    """The first of them, or the first of an earlier instant than that."""
    instants = _instants(schema)
    first = next(pairs, None)
    at = None if first is None else _at(instants, *first)
    if at is not None:
        for pair in pairs:
            its = _at(instants, *pair)
            if its is not None and its < at:
                first, at = pair, its
    return first


def _instants(schema: BookSchema) -> list[int]:
    return [place for place, kind in enumerate(schema.columns.values()) if kind is Column.AT]


def _at(instants: Iterable[int], row: Row | None, other: Row | None) -> int | None:
    """When the two came to differ, by the columns in `instants`: the earliest that is another, else the first."""
    if row is not None and other is not None:
        moved = [side[place] for place in instants if row[place] != other[place] for side in (row, other)]
        if told := [value for value in moved if value is not None]:
            return int(min(told))
    one = row if row is not None else other
    assert one is not None
    at: int | None = next((one[place] for place in instants if one[place] is not None), None)
    return at


def _change(book: str, schema: BookSchema, row: Row | None, other: Row | None, counts: tuple[int, int]) -> BookChange:
    one = row if row is not None else other
    assert one is not None
    named = dict(zip(schema.columns, one, strict=True))
    changed: tuple[tuple[str, Any, Any], ...] = ()
    if row is not None and other is not None:
        changed = tuple(
            (name, ours, theirs) for name, ours, theirs in zip(named, row, other, strict=True) if ours != theirs
        )
    return BookChange(
        book, tuple((name, named[name]) for name in schema.key),
        "theirs" if row is None else "ours" if other is None else None,
        changed, () if changed else tuple(named.items()), _at(_instants(schema), row, other), counts,
    )  # fmt: skip
