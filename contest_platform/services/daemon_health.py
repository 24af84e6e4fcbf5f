"""The heartbeat of a daemon, on record where anybody can read it: one row a life of it, in daemon_health.

Invariant: a sign of life that would say the same again is not written. `due_at` is when it looks next by itself, none:
when it is told; of a daemon that has work, that instant passes with a beat or with nobody alive to give it.
"""

from __future__ import annotations

from contest_platform.jobs import HOUR_MS
from contest_platform.ports import Tx

AT_LEAST_EVERY_MS = 24 * HOUR_MS
"""A daemon that is woken says so once this long after its last beat, changed or not."""


class Heartbeat:
    """Of the life `holder` of the daemon `name`."""

    def __init__(self, name: str, holder: str) -> None:
        self._name, self._holder = name, holder
        self._beat: tuple[int | None, int] | None = None
        """(due_at, when it was told), once that is committed."""

    def is_news(self, due_at: int | None, now: int) -> bool:
        return self._beat is None or self._beat[0] != due_at or now >= self._beat[1] + AT_LEAST_EVERY_MS

    def beat(self, tx: Tx, due_at: int | None) -> None:
        """Write the sign of life down, if it is news; `told` it once the transaction has committed."""
        if not self.is_news(due_at, tx.now):
            return
        row = {"holder": self._holder, "status": "ACTIVE", "now": tx.now, "due_at": due_at}
        if not tx.run(
            "update daemon_health set status = :status, beat_at = :now, due_at = :due_at where holder = :holder", row
        ):
            tx.insert("daemon_health", {
                "holder": self._holder, "daemon": self._name, "status": "ACTIVE", "started_at": tx.now,
                "beat_at": tx.now, "due_at": due_at,
            })  # fmt: skip

    def told(self, due_at: int | None, now: int) -> None:
        if self.is_news(due_at, now):
            self._beat = (due_at, now)


def stop(tx: Tx, holder: str) -> None:
    """The life ends of its own will."""
    tx.run(
        "update daemon_health set status = 'STOPPED', beat_at = :now, due_at = null where holder = :holder",
        {"holder": holder, "now": tx.now},
    )
