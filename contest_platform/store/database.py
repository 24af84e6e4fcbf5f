"""What is asked of a database, whichever store it is of: by the platform's processes, by whoever deploys and backs up,
and by humans who reach past the application.

Invariant: what one store answers here, the other answers in the same Python values and the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from contest_platform.ports import Tx
from contest_platform.store.tables import TABLES

T = TypeVar("T")
Values = Mapping[str, Any] | Sequence[Any]
Rows = Iterable[tuple[str, Iterable[Sequence[Any]]]]
"""Tables by name, each with its rows in the order of its columns."""


class DatabaseRefused(Exception):
    """The database cannot be had: the server does not answer, or lacks a right that it would take. Says which."""


class Committed(Tx, Protocol):
    """A transaction once it has been committed."""

    statements: int
    changes: int
    """Rows."""
    topics: list[str]


class Database(Protocol):
    """One database, for one thread at a time."""

    # --- the platform's processes ------------------------------------------------------------------------------------

    def transact(self, now: int, cause: str, fn: Callable[[Tx], T], role: str = "app") -> tuple[T, Committed]:
        """Run `fn` in one transaction, in the role of a unit, and commit. Any exception rolls back and is raised on."""

    # --- whoever deploys, backs up and reads the books ----------------------------------------------------------------

    def scan(self, table: str, columns: Sequence[str], order: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Every row of `table` as it is now, in order, without all of them being held at once."""

    def schema_differences(self) -> list[str]:
        """How the schema differs from the one that was released; nothing: it does not."""

    def restored(self, tables: Rows) -> Database:
        """A new database of the same kind beside this one, with these rows in it; the triggers look on from then."""

    def close(self) -> None: ...

    def failed(self, error: BaseException) -> bool:
        """Whether `error` says that the machine under the database failed: its disk is full, its server is gone."""

    # --- humans, past the application --------------------------------------------------------------------------------

    def query(self, sql: str, values: Values = ()) -> list[dict[str, Any]]:
        """What `sql` gives to its owner. Placeholders are `:name`, or `?` for a sequence."""

    def execute(self, sql: str, values: Values = ()) -> Any:
        """One statement of its owner, committed by itself; gives its rows as tuples. See `forget`."""

    def by_hand(self, statements: Sequence[str], role: str, bypass: str = "") -> tuple[int, int]:
        """Statements of a human, in one transaction and a role ("superuser", "readonly"). `bypass`: a table whose
        triggers do not fire meanwhile. Returns how many statements were run, and how many rows they changed; what is
        refused is rolled back as a whole, and has changed none."""

    def forget(self) -> None:
        """Let nothing be known any more of what was read before: `execute` has changed it."""

    def edits(self, table: str) -> Sequence[str]:
        """Every way to alter an append-only table's rows in one statement that this store has."""

    def refuses(self, statement: str) -> bool:
        """Whether its owner is refused `statement` by what protects the tables. It is rolled back in any case."""


def edits(table: str) -> Sequence[str]:
    """The ways to alter an append-only table's rows that every store has."""
    key, column = TABLES[table].key, TABLES[table].columns[-1]
    change = f"{column} = excluded.{column}"
    return (
        f"update {table} set {column} = {column}",
        f"delete from {table}",
        # `where true`, for otherwise SQLite takes `on` for that of a join.
        f"insert into {table} select * from {table} where true on conflict ({', '.join(key)}) do update set {change}",
    )
