"""The types of book columns. Money is int64 cents, instants are UTC milliseconds, ids are whole strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Column(Enum):
    """What a column holds; each maps to one Parquet type (see evidence.books)."""

    STR = "str"
    INT = "int"
    CENTS = "cents"
    BOOL = "bool"
    AT = "at"  # instant: milliseconds since the epoch, written as timestamp[ms, tz=UTC]
    JSON = "json"  # canonical JSON text


@dataclass(frozen=True, slots=True, eq=False)
class BookSchema:
    """One book: who keeps it, what a row is, its columns in order, and the columns that order it totally.

    Every column may be null except those in `key`.
    """

    party: str
    row: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [column for column in self.key if column not in self.columns]
        if missing:
            raise ValueError(f"key columns {missing} are not columns of the book")
