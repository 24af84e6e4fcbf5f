"""Books: typed tables that each party writes while it lives, kept as Parquet afterwards.

A book only grows. Rows are tuples in the order of the schema's columns; they stream to disk in chunks, so memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from evidence.schemas import BOOKS, VERSION, BookSchema, Column

CHUNK_ROWS = 65_536


class Book:
    """One party's book, open for writing."""

    __slots__ = ("_pending", "_schema", "_sink", "count", "name")

    def __init__(self, name: str, schema: BookSchema, sink: _Sink) -> None:
        self.name, self._schema, self._sink = name, schema, sink
        self._pending: list[tuple[Any, ...]] = []
        self.count = 0

    def add(self, *values: Any) -> int:
        """Append one row, its values in the schema's column order. Returns how many rows the book now holds."""
        self._pending.append(values)
        self.count += 1
        if len(self._pending) >= CHUNK_ROWS:
            self.flush()
        return self.count

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.add(*row)

    def note(self, *values: Any) -> int:
        """Append one row to a book whose first column `n` numbers the rows; `values` are the columns after it.
        Returns n."""
        return self.add(self.count + 1, *values)

    def flush(self) -> None:
        if self._pending:
            self._sink.write(self._schema, self._pending)
            self._pending = []


class _Sink:
    """Where the chunks of one book go: a Parquet file, opened at the first chunk or at the close."""

    __slots__ = ("_path", "_writer")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, schema: BookSchema, rows: Sequence[tuple[Any, ...]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrow = arrow_schema(schema)
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in arrow]
        if len(columns) != len(arrow):
            raise ValueError(f"{self._path.name}: rows have {len(columns)} values, the schema {len(arrow)} columns")
        table = pa.Table.from_arrays(
            [pa.array(column, type=field.type) for column, field in zip(columns, arrow, strict=True)], schema=arrow
        )
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, arrow, compression="zstd", write_statistics=False)
        self._writer.write_table(table)

    def close(self, schema: BookSchema) -> None:
        if self._writer is None:
            self.write(schema, [])
        self._writer.close()


class BookSet:
    """All books of a run under one directory. Books nobody opened are written empty: absence of rows is a fact too."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._sinks = {name: _Sink(directory / f"{name}.parquet") for name in BOOKS}
        self._books = {name: Book(name, schema, self._sinks[name]) for name, schema in BOOKS.items()}

    def __getitem__(self, name: str) -> Book:
        return self._books[name]

    def close(self) -> None:
        for name, book in self._books.items():
            book.flush()
            self._sinks[name].close(BOOKS[name])


def arrow_schema(schema: BookSchema) -> Any:
    """The Arrow schema of a book: int64 cents, string ids, UTC instants."""
    import pyarrow as pa

    kinds = {
        Column.STR: pa.string(),
        Column.JSON: pa.string(),
        Column.INT: pa.int64(),
        Column.CENTS: pa.int64(),
        Column.BOOL: pa.bool_(),
        Column.AT: pa.timestamp("ms", tz="UTC"),
    }
    fields = [pa.field(name, kinds[kind], nullable=name not in schema.key) for name, kind in schema.columns.items()]
    return pa.schema(fields, metadata={"party": schema.party, "row": schema.row, "version": str(VERSION)})


def read_rows(path: Path, schema: BookSchema, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows of a book as tuples of the columns asked for; instants as integer milliseconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=list(columns)):
            values = []
            for name in columns:
                column = batch.column(batch.schema.get_field_index(name))
                if schema.columns[name] is Column.AT:
                    column = column.cast(pa.int64())
                values.append(column.to_pylist())
            yield from zip(*values, strict=True)


def canonical_sha256(path: Path, schema: BookSchema) -> str:
    """The digest of a book over its rows in key order, whatever the Parquet writer did: part of a run's identity."""
    columns = tuple(schema.columns)
    places = [columns.index(key) for key in schema.key]
    rows = sorted(read_rows(path, schema, columns), key=lambda row: tuple(row[place] for place in places))
    digest = sha256()
    for row in rows:
        digest.update(repr(row).encode())
        digest.update(b"\n")
    return digest.hexdigest()
