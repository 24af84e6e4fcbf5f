"""What an assertion sees of a run: its plan, its journal and every party's book, read from the files and nothing else.

Books that fit are read once and kept column by column; larger ones stream on every call, so memory stays bounded.
What the version of a run did not have yet reads as empty (a book) or null (a column), and is noted.
"""

from __future__ import annotations

from array import array
from collections import namedtuple
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evidence import journal
from evidence.books import BookDamaged, Row, book_path, open_parquet, read_chunks, read_columns
from evidence.columns import arrow_schema
from evidence.halts import Halt, halt_of
from evidence.layout import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
from evidence.manifest import Manifest, ManifestBroken
from evidence.plan import Plan
from evidence.schemas import BOOKS, VERSION, BookSchema, since

if TYPE_CHECKING:
    import pandas

KEPT_ROWS_MAX = 32_768
"""A book of more rows is streamed instead of kept: all books are judged together, and there are fifty of them."""


class NotARun(Exception):
    """The directory does not hold a run."""


class UnknownName(LookupError):
    """No such book, or no such column in it."""

    def __init__(self, what: str, name: str, known: Sequence[str]) -> None:
        close = get_close_matches(name, known, 1)
        super().__init__(f"no {what} {name!r}" + (f": did you mean {close[0]}?" if close else ""))


class Evidence:
    """A run directory, published or still being written (its books closed). Everything is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lacked: set[str] = set()
        """Books, and columns as `book.column`, that were asked for and that the version of this run did not have."""
        self._kept: dict[str, _Kept] = {}

    @classmethod
    def open(cls, path: Path) -> Evidence:
        """Raises NotARun when the plan, the journal or the books are not there."""
        missing = [name for name in (PLAN, JOURNAL, BOOK_DIRECTORY) if not (path / name).exists()]
        if missing:
            raise NotARun(f"{path} is not a run directory: it holds no {' and no '.join(missing)}")
        return cls(path)

    @cached_property
    def plan(self) -> Plan:
        """Raises NotARun when plan.json cannot be read as a plan."""
        try:
            return Plan.model_validate_json(self._plan_bytes)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise NotARun(
                f"{self.path / PLAN} is no plan that this version can read: {place}: {first['msg']}"
            ) from None

    @cached_property
    def plan_sha256(self) -> str:
        """The SHA-256 of plan.json as it stands on the disk, which is what the manifest states of it."""
        return sha256(self._plan_bytes).hexdigest()

    @cached_property
    def _plan_bytes(self) -> bytes:
        return (self.path / PLAN).read_bytes()

    @cached_property
    def manifest(self) -> Manifest:
        """Raises ManifestBroken; there is none before the run is published."""
        return Manifest.read(self.path / MANIFEST)

    @cached_property
    def halt(self) -> Halt | None:
        """Why the run was ended before its time, if it was."""
        return halt_of(self.path / JOURNAL)

    @cached_property
    def version(self) -> int:
        """The version of the contract in which the run was written; today's before it is published."""
        try:
            return self.manifest.schema_version if (self.path / MANIFEST).exists() else VERSION
        except ManifestBroken:
            return VERSION

    def afresh(self) -> Evidence:
        """The same run, of which nothing has been read and nothing was lacked."""
        return Evidence(self.path)

    def journal(self, verify: bool = True) -> Iterator[journal.Event]:
        """The events in order. Raises JournalBroken at the first that does not hold, unless `verify` is off."""
        return journal.read(self.path / JOURNAL, verify)

    def event_instants(self) -> array[int]:
        """When each event of the journal was: that of event `e<k>` is number k - 1. The chain is not looked at."""
        return journal.instants(self.path / JOURNAL)

    def documents(self, directory: str) -> dict[str, str]:
        """The texts that were in force during the run (`runbooks`, `alerts`), by file name; none if it had none."""
        folder = self.path / directory
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.name: file.read_bytes().decode() for file in files}

    def count(self, book: str) -> int:
        """How many rows a book holds. Raises BookDamaged, as everything that reads a book."""
        return self._asked(book).rows

    def columns(self, book: str) -> tuple[str, ...]:
        """The columns that a book of this run has, in order: none, for a book that its version did not have. To ask
        is not to lack."""
        return (self._kept.get(book) or self._load(book)).held

    def rows(self, book: str, *columns: str) -> Iterator[Row]:
        """The rows of a book in key order, as tuples of the columns asked for (all, if none is named). Instants are
        integer milliseconds. Raises UnknownName and BookDamaged."""
        return chain.from_iterable(zip(*chunk, strict=True) for chunk in self.chunks(book, *columns))

    def chunks(self, book: str, *columns: str) -> Iterator[list[list[Any]]]:
        """The same, column by column: a list of values for each column asked for, of some rows at a time (of all rows,
        where the book is kept) and never of none. The lists are the evidence's own: they are to be read only."""
        kept = self._kept.get(book) or self._load(book)
        wanted = columns or tuple(kept.schema.columns)
        for name in wanted:
            if name not in kept.schema.columns:
                raise UnknownName(f"column of {book}", name, list(kept.schema.columns))
        if kept.lacks:
            self._asked(book, wanted)
        if not kept.rows:
            return iter(())
        if kept.table is None:
            return read_chunks(book_path(self.path / BOOK_DIRECTORY, book), kept.schema, wanted)
        return iter([list(map(kept.column, wanted))])

    def records(self, book: str, *columns: str) -> list[Any]:
        """The rows as named tuples: a new list on every call. For a book of millions of rows use `rows`."""
        rows = self.rows(book, *columns)
        return list(map(_record_maker(columns or tuple(BOOKS[book].columns)), rows))

    def table(self, book: str) -> pandas.DataFrame:
        """A book as a frame; instants as UTC timestamps, integers that may be null as nullable Int64."""
        import pandas as pd
        import pyarrow as pa

        kept = self._asked(book, tuple(BOOKS[book].columns) if book in BOOKS else ())
        table = kept.table
        if table is None and not kept.held:
            table = arrow_schema(kept.schema).empty_table()
        elif table is None:
            with open_parquet(book_path(self.path / BOOK_DIRECTORY, book), kept.schema) as file:
                table = file.read(use_threads=False)
        nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame: pandas.DataFrame = table.to_pandas(types_mapper=nullable.get)
        return frame

    def _load(self, book: str) -> _Kept:
        if book not in BOOKS:
            raise UnknownName("book", book, list(BOOKS))
        schema, path = BOOKS[book], book_path(self.path / BOOK_DIRECTORY, book)
        try:
            with open_parquet(path, schema) as file:
                rows, held = file.metadata.num_rows, file.schema_arrow.names
                table = file.read(use_threads=False) if 0 < rows <= KEPT_ROWS_MAX else None
        except BookDamaged as damaged:
            if path.exists() or since(book) <= self.version or book in self.manifest.books:
                raise BookDamaged(str(damaged), str(path)) from None
            rows, held, table = 0, [], None
        kept = self._kept[book] = _Kept(schema, rows, table, tuple(held))
        return kept

    def _asked(self, book: str, columns: tuple[str, ...] = ()) -> _Kept:
        """A book, of which `columns` are asked for: what it lacks of them is noted."""
        kept = self._kept.get(book) or self._load(book)
        if kept.lacks:
            self.lacked.update([f"{book}.{name}" for name in columns if name not in kept.held] if kept.held else [book])
        return kept


class _Kept:
    """A book held in memory: as Arrow, and as a list for each column that was asked for. `held`: the columns it has."""

    __slots__ = ("_columns", "held", "lacks", "rows", "schema", "table")

    def __init__(self, schema: BookSchema, rows: int, table: Any, held: tuple[str, ...]) -> None:
        self.schema, self.rows, self.table, self.held = schema, rows, table, held
        self.lacks = len(held) < len(schema.columns)
        self._columns: dict[str, list[Any]] = {}

    def column(self, name: str) -> list[Any]:
        values = self._columns.get(name)
        if values is None:
            [values] = read_columns(self.table, self.schema, [name])
            self._columns[name] = values
        return values


@lru_cache(maxsize=1024)
def _record_maker(columns: tuple[str, ...]) -> Any:
    record = namedtuple("Record", columns)  # type: ignore[misc]
    return partial(tuple.__new__, record)
