"""Evidence in memory: books as lists of rows, with the methods of evidence.run.Evidence that a judge uses.

Invariant: rows come as the real one gives them: complete tuples in key order, for names that the schema knows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evidence.halts import Halt
from evidence.journal import Event
from evidence.plan import Plan
from evidence.schemas import BOOKS, VERSION

CHUNK_ROWS = 5
"""So few that what belongs together is often in two chunks, as it can be in a large run."""


class FakeEvidence:
    """`books`: rows by book; a column that a row leaves out is null, one that the schema does not know is an error."""

    def __init__(
        self, plan: Plan, books: Mapping[str, list[dict[str, Any]]] | None = None, events: list[Event] | None = None
    ) -> None:
        self.plan = plan
        self.books: dict[str, list[dict[str, Any]]] = {name: [] for name in BOOKS}
        self.events = events or []
        self.path = Path("nowhere")
        self.halt: Halt | None = None
        self.version = VERSION
        self.lacked: set[str] = set()
        self.texts: dict[str, dict[str, str]] = {}
        """Documents of the run, by directory and name."""
        for name, rows in (books or {}).items():
            self.books[name] = list(rows)

    def rows(self, book: str, *columns: str) -> Iterator[tuple[Any, ...]]:
        schema = BOOKS[book]
        for row in self.books[book]:
            if unknown := row.keys() - schema.columns.keys():
                raise KeyError(f"{book} has no columns {sorted(unknown)}")
        wanted = columns or tuple(schema.columns)
        if unknown := set(wanted) - schema.columns.keys():
            raise KeyError(f"{book} has no columns {sorted(unknown)}")
        ordered = sorted(self.books[book], key=lambda row: tuple(row[name] for name in schema.key))
        return iter([tuple(row.get(name) for name in wanted) for row in ordered])

    def chunks(self, book: str, *columns: str) -> Iterator[list[list[Any]]]:
        rows = list(self.rows(book, *columns))
        for start in range(0, len(rows), CHUNK_ROWS):
            yield list(map(list, zip(*rows[start : start + CHUNK_ROWS], strict=True)))

    @property
    def plan_sha256(self) -> str:
        return self.plan.sha256()

    def columns(self, book: str) -> tuple[str, ...]:
        return tuple(BOOKS[book].columns)

    def count(self, book: str) -> int:
        return len(self.books[book])

    def documents(self, directory: str) -> dict[str, str]:
        return self.texts.get(directory, {})

    def event_instants(self) -> array[int]:
        return array("q", (event.at for event in self.events))
