"""A store that finds out: what the database left unanswered is asked about, what was not committed is done again.

Invariant: a transaction that leaves audit rows is committed once, however often its answer is lost. One that leaves
none is run again without asking, and may be: it reads, or notes what it would note once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from contest_platform.ports import CommitUnknown, RolledBack, Runtime, Store, Tx

T = TypeVar("T")

WAITS_MS = (500, 1_000, 2_000, 4_000, 8_000)
"""Before each further try. With the time that each waits for its answer a caller hears within a minute or so."""

_IS_THERE = "select 1 from audit_log where seq = :seq and hash = :hash"


class SureStore:
    """Implements contest_platform.ports.Store on one that may lose answers."""

    def __init__(self, store: Store, runtime: Runtime) -> None:
        self._store, self._runtime = store, runtime

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        """Raises RolledBack or CommitUnknown when the database has not come back after the last try."""
        try:
            return await self._store.transact(operation, fn)
        except (RolledBack, CommitUnknown) as error:
            failure: RolledBack | CommitUnknown = error
        for wait_ms in WAITS_MS:
            await self._runtime.sleep_until(self._runtime.now() + wait_ms)
            if isinstance(failure, CommitUnknown) and failure.head is not None:
                try:
                    committed = await self._is_there(operation, failure.head)
                except (RolledBack, CommitUnknown):
                    continue  # what was not known is not known yet
                if committed:
                    result: T = failure.result
                    return result
            try:
                return await self._store.transact(operation, fn)
            except (RolledBack, CommitUnknown) as error:
                failure = error
        raise failure

    async def _is_there(self, operation: str, head: tuple[int, str]) -> bool:
        seq, digest = head
        asked = {"seq": seq, "hash": digest}
        return await self._store.transact(f"{operation}.is_there", lambda tx: tx.one(_IS_THERE, asked) is not None)
