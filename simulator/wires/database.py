"""The way to the database: pools of connections, connections that break in a transaction, pages that cannot be read and
rows that are not found, where the plan's faults act.

Invariant: a broken transaction is committed as a whole or rolled back as a whole, and the server's log says which. Of a
pool no more connections are in use at once than the process was configured with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from contest_platform.ports import DeadlineExceeded, StoreBusy, StoreDamaged, Tx
from contest_platform.service import Config
from seams.faults import Abort, Delay, Effect, Hang, LoseAnswer, Overlook, Refuse
from simulator.actors.context import World
from simulator.actors.database_server import DatabaseServer, Session

T = TypeVar("T")

ROLLED_BACK, COMMITTED, ROW_MISSED = "rolled_back", "committed_unanswered", "row_missed"
STOOD_STILL = "stood_still"

_PACKS = """
    select p.pack_id, l.linked_at, o.* from settlement_packs p join outcome_pack_links l on l.pack_id = p.pack_id
    join outcomes o on o.outcome_id = l.outcome_id where p.status = 'PENDING' and
"""
OVERLOOKED: dict[str, tuple[str, str]] = {
    "the link of the last": ("outcome_pack_links", f"{_PACKS} o.prize_cents = 0 order by o.place desc, o.entry_id"),
    "the link of the first": ("outcome_pack_links", f"{_PACKS} o.prize_cents > 0 order by o.place, o.entry_id"),
    "the outcome of the first": ("outcomes", f"{_PACKS} o.prize_cents > 0 order by o.place, o.entry_id"),
}
"""What can be overlooked: the table, and the packs that wait, the one first whose row it is."""
_KEYS = {"outcome_pack_links": "pack_id", "outcomes": "outcome_id"}


POOL_EXHAUSTED = "pool_exhausted"


class Pool:
    """The connections of one life of a process. A transaction takes no simulated time, so only one that breaks or hangs
    keeps its connection; any other is given back before somebody else asks."""

    __slots__ = ("_connections", "_server", "_who", "in_use", "timeout_ms")

    def __init__(self, server: DatabaseServer, session: Session, config: Config) -> None:
        self._server, self._who = server, (session.principal, session.role)
        self._connections, self.timeout_ms = config.database_connections, config.database_timeout_ms
        self.in_use = 0

    def admit(self, taken: int = 0) -> None:
        """Raises StoreBusy when there is no connection beside those in use and the `taken` others."""
        if self.in_use + taken >= self._connections:
            self._server.refuse(*self._who, POOL_EXHAUSTED)
            raise StoreBusy(POOL_EXHAUSTED)


class _BrokeError(Exception):
    """The connection is gone, in the middle of a transaction."""


class DatabaseLine:
    """Seam "store", operation "transact": entity the transaction's name, victim the row in database.incidents."""

    def __init__(self, world: World, server: DatabaseServer) -> None:
        self._world, self._server = world, server

    def consult(self, pool: Pool, operation: str) -> Effect | None:
        """What happens to a transaction on a connection of `pool`. Raises StoreBusy if there is none."""
        pool.admit()
        return self._world.bus.consult("store", "transact", operation, str(self._server.next_incident))

    async def befall(
        self,
        effect: Effect,
        pool: Pool,
        session: Session,
        operation: str,
        fn: Callable[[Tx], Any],
        commit: Callable[[str, Callable[[Tx], Any]], Any],
    ) -> Any:
        """Do to the transaction `fn` what `effect` says, with `commit` to run and commit it. Who stands still before it
        begins, begins it when he goes on. Unless it comes to an end all the same, its caller waits in vain. Raises
        DeadlineExceeded, or what `fn` raises by itself."""
        if isinstance(effect, Overlook):
            return commit(operation, self._overlooking(effect, session, operation, fn))
        if isinstance(effect, Delay):
            self._server.broke(session, operation, STOOD_STILL)
            await self._world.runtime.sleep_until(self._world.runtime.now() + effect.by_ms)
            return commit(operation, fn)
        pool.in_use += 1
        try:
            await self._broken(effect, session, operation, fn, commit, pool.timeout_ms)
        finally:
            pool.in_use -= 1

    async def _broken(
        self,
        effect: Effect,
        session: Session,
        operation: str,
        fn: Callable[[Tx], Any],
        commit: Callable[[str, Callable[[Tx], Any]], Any],
        timeout_ms: int,
    ) -> NoReturn:
        match effect:
            case LoseAnswer():
                commit(operation, fn)
                self._server.broke(session, operation, COMMITTED)
            case Abort(k=k):
                try:
                    commit(operation, lambda tx: _break(fn, tx, k))
                except _BrokeError:
                    self._server.broke(session, operation, ROLLED_BACK)
            case Refuse(error_code=reason):
                self._server.broke(session, operation, reason)
                raise StoreDamaged(f"{reason} in {operation}")
            case Hang():
                self._server.broke(session, operation, ROLLED_BACK)
                await self._world.never()
            case _:
                raise TypeError(f"the seam store does not carry out {effect}: see seams.catalogue")
        await self._world.runtime.sleep_until(self._world.runtime.now() + timeout_ms)
        raise DeadlineExceeded(operation)

    def _overlooking(
        self, effect: Overlook, session: Session, operation: str, fn: Callable[[Tx], T]
    ) -> Callable[[Tx], T]:
        """The transaction `fn` by a database that does not find a row as long as it lasts. The row is there before and
        after: only the index that leads to it is not whole."""
        table, packs = OVERLOOKED[effect.what]
        key = _KEYS[table]

        def blind(tx: Tx) -> T:
            pack = tx.one(f"{packs} limit 1")
            if pack is None:
                return fn(tx)
            where = {"key": pack[key]}
            row = tx.one(f"select * from {table} where {key} = :key", where)
            assert row is not None
            tx.run(f"delete from {table} where {key} = :key", where)
            result = fn(tx)
            tx.insert(table, row)
            self._server.broke(session, operation, ROW_MISSED)
            return result

        return blind


def _break(fn: Callable[[Tx], Any], tx: Tx, k: int) -> NoReturn:
    fn(tx if k == 0 else _Breaking(tx, k))
    raise _BrokeError


class _Breaking:
    """A transaction whose connection breaks before its k-th statement; what is no statement passes through."""

    def __init__(self, tx: Tx, k: int) -> None:
        self._tx, self._left = tx, k

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tx, name)
        return self._counted(found) if name in _STATEMENTS else found

    def _counted(self, statement: Callable[..., Any]) -> Callable[..., Any]:
        self._left -= 1
        if self._left <= 0:
            raise _BrokeError
        return statement


_STATEMENTS = frozenset({"one", "all", "tuples", "run", "insert", "insert_many"})
