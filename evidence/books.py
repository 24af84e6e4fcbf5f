"""Books: typed tables that each party writes while it lives, kept as Parquet afterwards.

A book only grows; its rows are tuples in the order of the schema's columns. They stream to disk in chunks, so memory is
bounded, and once closed they stand in key order, whatever the order in which they came.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice, pairwise
from operator import itemgetter, lt
from pathlib import Path
from typing import Any

from evidence.columns import CanonicalDigest, arrow_schema, decode, encode
from evidence.schemas import BOOKS, READABLE, VERSION, BookSchema, Column

CHUNK_ROWS = 4096
"""Rows of a row group: few enough that the cells of a column stay in the processor's cache while it is packed."""
PENDING_CHUNKS_MAX = 4
"""Of each book: what waits to be hashed and compressed is held in memory."""
_PARQUET = {
    # Measured on 50 books of 65,000 rows: dictionaries cost more time than they save bytes; zstd makes files half as
    # large, but takes a quarter longer to write and to read them.
    "compression": "lz4",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}

Row = tuple[Any, ...]


class BookRefused(ValueError):
    """What was offered to a book is not a row of its schema."""


class BookDamaged(Exception):
    """A book cannot be read as its schema says. `where` names the row or column, if one is known."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message, where)
        self.message, self.where = message, where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True)
class BookDigest:
    """What a book holds: how many rows, and the SHA-256 of them in key order (see CanonicalDigest). `shared_key` is a
    key that two rows carry, which no honest book has. `version` and `columns` are of the file that was read."""

    rows: int
    sha256: str
    shared_key: Any = None
    version: int = field(default=VERSION, compare=False)
    columns: tuple[str, ...] = field(default=(), compare=False)


class Book:
    """One party's book, open for writing."""

    __slots__ = ("_cells", "_cells_max", "_file", "_width", "count", "name")

    def __init__(self, name: str, schema: BookSchema, path: Path, packer: ThreadPoolExecutor) -> None:
        self.name = name
        self.count = 0
        """How many rows the book holds."""
        self._file = _BookFile(name, schema, path, packer)
        self._width = len(schema.columns)
        # The cells of the rows end to end: a column is then a stride, and no tuple outlives its call.
        self._cells: list[Any] = []
        self._cells_max = CHUNK_ROWS * self._width

    def add(self, *values: Any) -> int:
        """Append one row, its values in the schema's column order. Returns how many rows the book now holds.

        Raises BookRefused: at once for a wrong number of values; for a value of a wrong type when its chunk is written.
        """
        cells, n = self._cells, self.count + 1
        if len(values) != self._width:
            raise self._file.width_refused(n, values)
        cells += values
        self.count = n
        if len(cells) >= self._cells_max:
            self._flush()
        return n

    def note(self, *values: Any) -> int:
        """Append one row to a book whose first column `n` numbers the rows; `values` are the columns after it.
        Returns n. Raises as `add` does."""
        return self.add(self.count + 1, *values)

    def extend(self, rows: Iterable[Row]) -> None:
        """Append many rows; `rows` may be a database cursor. Raises as `add` does."""
        cells, width = self._cells, self._width
        offered = iter(rows)
        while some := list(islice(offered, CHUNK_ROWS - len(cells) // width)):
            if set(map(len, some)) != {width}:
                place = next(place for place, row in enumerate(some) if len(row) != width)
                raise self._file.width_refused(self.count + 1 + place, some[place])
            cells += chain.from_iterable(some)
            self.count += len(some)
            if len(cells) >= self._cells_max:
                self._flush()

    def end(self) -> None:
        """Hand over what is pending; a book that has ended stays so. Raises BookRefused."""
        self._file.end(self._cells)
        self._cells.clear()

    def close(self) -> BookDigest:
        """End the book, and wait until its file is written. Raises BookRefused."""
        self.end()
        return self._file.digest()

    def _flush(self) -> None:
        self._file.write(self._cells)
        self._cells.clear()


class _BookFile:
    """The Parquet file of a book. One that fits a chunk is sorted before it is written; a larger one streams, and is
    sorted at its end if its rows did not come in key order.

    Values become Arrow arrays where they are offered, so what is wrong with them is said there. To hash and compress
    whole chunks takes none of the interpreter's time, so another thread, the packer, does it a little later: in the
    order in which it is asked, so the file is the same.
    """

    __slots__ = (
        "_digest",
        "_ended",
        "_file",
        "_last",
        "_name",
        "_ordered",
        "_packer",
        "_path",
        "_pending",
        "_rows",
        "_schema",
        "_writer",
    )

    def __init__(self, name: str, schema: BookSchema, path: Path, packer: ThreadPoolExecutor) -> None:
        self._name, self._schema, self._path, self._packer = name, schema, path, packer
        self._rows = 0
        self._ordered = True
        self._last: Row | None = None
        self._pending: deque[Future[None]] = deque()
        self._ended: Future[BookDigest] | None = None
        # The packer's, while anything is pending.
        self._writer: Any = None
        self._file: Any = None
        self._digest: CanonicalDigest

    def write(self, cells: list[Any]) -> None:
        """Write whole rows, as their cells end to end. Raises BookRefused, and OSError when there was no room for
        earlier ones."""
        if len(self._pending) == PENDING_CHUNKS_MAX:
            self._pending.popleft().result()
        self._pending.append(self._packer.submit(self._pack, self._arrays(cells)))

    def end(self, cells: list[Any]) -> None:
        """Write the last rows; none may come after them. Raises as `write` does."""
        if self._ended is not None:
            return
        if self._pending:
            if cells:
                self.write(cells)
            self._ended = self._packer.submit(self._finish)
        elif cells:
            self._ended = self._packer.submit(self._finish_small, *self._sorted(cells))
        else:
            self._ended = self._packer.submit(self._finish_empty)

    def digest(self) -> BookDigest:
        """What the file holds, once it is written. Raises OSError when there was no room for it."""
        for pending in self._pending:
            pending.result()
        assert self._ended is not None, "a book ends before it is closed"
        return self._ended.result()

    def _arrays(self, cells: list[Any]) -> list[Any]:
        """The cells of whole rows as Arrow arrays, one a column. Raises BookRefused."""
        kinds = list(self._schema.columns.values())
        columns = [cells[place :: len(kinds)] for place in range(len(kinds))]
        try:
            arrays = [encode(kind, values) for kind, values in zip(kinds, columns, strict=True)]
        except (TypeError, ValueError, OverflowError):
            raise self._value_refused(columns) from None
        places = _key_places(self._schema)
        if any(arrays[place].null_count for place in places):
            raise self._value_refused(columns)
        if self._ordered:
            self._ordered, self._last = _ascends([columns[place] for place in places], self._last)
        self._rows += len(columns[0])
        return arrays

    def _pack(self, arrays: list[Any]) -> None:
        import pyarrow as pa

        writer = self._open()
        self._digest.feed(arrays)
        writer.write_table(pa.Table.from_arrays(arrays, schema=arrow_schema(self._schema)))

    def _open(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            schema = arrow_schema(self._schema)
            # Opened here: given a path, pyarrow looks for its file system first, which takes a sixth of the time.
            self._file = pa.OSFile(os.fspath(self._path), "wb")
            self._writer = pq.ParquetWriter(self._file, schema, **_PARQUET)
            self._writer.add_key_value_metadata(schema.metadata)
            self._digest = CanonicalDigest(self._schema.columns)
        return self._writer

    def _close(self) -> None:
        self._open().close()
        self._file.close()

    def _finish(self) -> BookDigest:
        self._close()
        return self._rewrite() if not self._ordered else self._told(None)

    def _finish_empty(self) -> BookDigest:
        file, digest = _empty(self._schema)
        self._path.write_bytes(file)
        return digest

    def _sorted(self, cells: list[Any]) -> tuple[list[Any], Any]:
        """The cells of all rows as arrays in key order; a key that two of them share, or None. Raises BookRefused."""
        arrays = self._arrays(cells)
        if self._ordered:
            return arrays, None
        width = len(self._schema.columns)
        came = (tuple(cells[start : start + width]) for start in range(0, len(cells), width))
        rows, shared_key = _in_key_order(came, self._schema)
        return self._arrays(list(chain.from_iterable(rows))), shared_key

    def _finish_small(self, arrays: list[Any], shared_key: Any) -> BookDigest:
        self._pack(arrays)
        self._close()
        return self._told(shared_key)

    def _rewrite(self) -> BookDigest:
        rows, shared_key = _in_key_order(read_rows(self._path, self._schema, tuple(self._schema.columns)), self._schema)
        self._writer = None
        for start in range(0, len(rows), CHUNK_ROWS):
            self._pack(self._arrays(list(chain.from_iterable(rows[start : start + CHUNK_ROWS]))))
        self._close()
        return self._told(shared_key)

    def _told(self, shared_key: Any) -> BookDigest:
        return BookDigest(self._digest.rows, self._digest.hexdigest(), shared_key)

    def width_refused(self, number: int, row: Sequence[Any]) -> BookRefused:
        columns = self._schema.columns
        return BookRefused(
            f"{self._name} row {number} has {len(row)} values, the schema {len(columns)} columns "
            f"({', '.join(columns)}): {row!r}"
        )

    def _value_refused(self, columns: Sequence[Sequence[Any]]) -> BookRefused:
        """Name the first value at fault, its row and its column."""
        schema = self._schema
        for number, row in enumerate(zip(*columns, strict=True), self._rows + 1):
            for (name, kind), value in zip(schema.columns.items(), row, strict=True):
                where = f"{self._name} row {number}, column {name}"
                if value is None and name in schema.key:
                    return BookRefused(f"{where}: is part of the key and may not be null")
                try:
                    encode(kind, [value])
                except (TypeError, ValueError, OverflowError):
                    return BookRefused(f"{where}: takes {kind.value}, not {value!r}")
        return BookRefused(f"{self._name}: its rows do not fit the schema")


@lru_cache(maxsize=256)
def _empty(schema: BookSchema) -> tuple[bytes, BookDigest]:
    """The file and the digest of a book without rows: always the same, and a quarter of the books of a run are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, arrow_schema(schema), **_PARQUET) as writer:
        writer.add_key_value_metadata(arrow_schema(schema).metadata)
    return bytes(file.getvalue()), BookDigest(0, CanonicalDigest(schema.columns).hexdigest())


class BookSet:
    """All books of a run under one directory. Books nobody opened are written empty: absence of rows is a fact too."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._packer = packer = ThreadPoolExecutor(1, "packer")
        self._books = {name: Book(name, schema, book_path(directory, name), packer) for name, schema in BOOKS.items()}

    def __getitem__(self, name: str) -> Book:
        return self._books[name]

    def end(self) -> None:
        """Hand over what is pending in every book. Raises BookRefused."""
        for book in self._books.values():
            book.end()

    def close(self) -> dict[str, BookDigest]:
        """Write everything and close the files. Raises BookRefused."""
        self.end()
        digests = {name: book.close() for name, book in self._books.items()}
        self._packer.shutdown()
        return digests

    def abandon(self) -> None:
        """From here on nothing more is written, whatever was pending."""
        self._packer.shutdown(cancel_futures=True)


def book_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.parquet"


def _ascends(keys: Sequence[Sequence[Any]], last: Row | None) -> tuple[bool, Row]:
    """Whether rows with these key columns each come after the one before, the first after `last`; and the last key."""
    if len(keys) == 1:
        within = all(map(lt, keys[0], islice(keys[0], 1, None)))
    else:
        within = all(map(lt, zip(*keys, strict=True), islice(zip(*keys, strict=True), 1, None)))
    first = tuple(part[0] for part in keys)
    return within and (last is None or last < first), tuple(part[-1] for part in keys)


def _key_places(schema: BookSchema) -> list[int]:
    names = list(schema.columns)
    return [names.index(name) for name in schema.key]


def _in_key_order(rows: Iterable[Row], schema: BookSchema) -> tuple[list[Row], Any]:
    """The rows in key order, those of one key in the order of their text; and a key that two rows share, or None."""
    key = itemgetter(*_key_places(schema))
    ordered = sorted(rows, key=lambda row: (key(row), repr(row)))
    return ordered, next((key(row) for row, after in pairwise(ordered) if key(row) == key(after)), None)


@contextmanager
def open_parquet(path: Path, schema: BookSchema) -> Iterator[Any]:
    """A book's ParquetFile, its version and columns checked. Raises BookDamaged for whatever is wrong with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pa.memory_map(os.fspath(path)) as mapped, pq.ParquetFile(mapped, pre_buffer=False) as file:
            _check_columns(file, schema)
            yield file
    except FileNotFoundError:
        raise BookDamaged("is missing") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise BookDamaged(f"is not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _check_columns(file: Any, schema: BookSchema) -> None:
    stated = (file.metadata.metadata or {}).get(b"version", b"").decode(errors="replace")
    known = list(map(str, READABLE))
    if stated not in known:
        raise BookDamaged(
            f"is written in version {stated or '(none)'} of the book contract; this reader knows "
            f"{' and '.join(known)}: read it with the release that wrote it"
        )
    found = file.schema_arrow
    if stated == str(VERSION) and found.equals(arrow_schema(schema)):
        return
    held = dict(zip(found.names, found.types, strict=True))
    expected = arrow_schema(schema)
    for name, kind in zip(expected.names, expected.types, strict=True):
        if name not in held:
            if stated == str(VERSION) or name in schema.key:
                raise BookDamaged("is missing", f"column {name}")
        elif held[name] != kind:
            raise BookDamaged(f"holds {held[name]}, not {kind}", f"column {name}")
    for name in held:
        if name not in schema.columns:
            raise BookDamaged("is not in the schema", f"column {name}")


def read_columns(batch: Any, schema: BookSchema, columns: Sequence[str]) -> list[list[Any]]:
    """Columns of an Arrow table as lists; one that the previous version of the contract did not have is all null."""
    places = [(name, batch.schema.get_field_index(name)) for name in columns]
    return [
        decode(schema.columns[name], batch.column(place)) if place >= 0 else [None] * batch.num_rows
        for name, place in places
    ]


def read_rows(path: Path, schema: BookSchema, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a book, in the order written, as tuples of the columns asked for; instants as integer milliseconds.

    Streams: no more than a chunk is held. Raises BookDamaged.
    """
    for chunk in read_chunks(path, schema, columns):
        yield from zip(*chunk, strict=True)


def read_chunks(path: Path, schema: BookSchema, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """The same, column by column: a list of values for each column asked for, of a chunk of rows at a time."""
    with open_parquet(path, schema) as file:
        for table in _tables(file, columns):
            yield read_columns(table, schema, columns)


def _tables(file: Any, columns: Sequence[str] | None = None) -> Iterator[Any]:
    import pyarrow as pa

    held = file.schema_arrow.names
    wanted = [name for name in held if columns is None or name in columns]
    for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=wanted, use_threads=False):
        yield pa.Table.from_batches([batch])


def canonical_digest(path: Path, schema: BookSchema) -> BookDigest:
    """The digest of a book's rows in key order, whatever wrote the file and in whatever order. Streams when the rows
    stand in key order. Raises BookDamaged, also for a null in the key."""
    with open_parquet(path, schema) as file:
        held, version = tuple(file.schema_arrow.names), int(file.metadata.metadata[b"version"])
        columns = {name: kind for name, kind in schema.columns.items() if name in held}
        digest, last = CanonicalDigest(columns), None
        for table in _tables(file):
            for name in schema.key:
                if table.column(name).null_count:
                    raise BookDamaged("is part of the key and holds a null", f"column {name}")
            ordered, last = _ascends(read_columns(table, schema, schema.key), last)
            if not ordered:
                break
            digest.feed([table.column(name).chunk(0) for name in columns])
        else:
            return BookDigest(digest.rows, digest.hexdigest(), None, version, held)
    return replace(_sorted_digest(path, schema, columns), version=version, columns=held)


def _sorted_digest(path: Path, schema: BookSchema, columns: Mapping[str, Column]) -> BookDigest:
    held = replace(schema, columns=columns)
    rows, shared_key = _in_key_order(read_rows(path, held, tuple(columns)), held)
    digest = CanonicalDigest(columns)
    digest.feed([encode(kind, values) for kind, values in zip(columns.values(), zip(*rows, strict=True), strict=True)])
    return BookDigest(digest.rows, digest.hexdigest(), shared_key)
