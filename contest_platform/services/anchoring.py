"""The audit head goes to a book elsewhere every hour: a rewritten log or a cut-off tail then no longer fits.

What was published is remembered only as a hint; the outside book is the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job
from contest_platform.ports import PortError, Ports, Tx
from contest_platform.service import Config, Route

STALE_AFTER_MS = 3 * HOUR_MS


class AnchoringService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._next_at = 0
        self._published_seq = 0
        self._published_at = ports.runtime.now()
        self._paged = False

    def jobs(self) -> Sequence[Job]:
        return (Job("anchoring", "anchoring", HOUR_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        return self._next_at

    async def _work(self) -> None:
        now = self._ports.runtime.now()
        self._next_at = now + HOUR_MS
        head = await self._ports.store.transact("anchoring.head", _head)
        if head is None or head[0] == self._published_seq:
            self._published_at = now
            return
        try:
            await self._ports.runtime.deadline(
                self._ports.anchor.publish(head_seq=head[0], head_hash=head[1]), self._config.anchor_timeout_ms
            )
        except PortError:
            if now - self._published_at >= STALE_AFTER_MS:
                await self._page("trigger", "error")
                self._paged = True
            return
        self._published_seq, self._published_at = head[0], now
        if self._paged:
            await self._page("resolve", "info")
            self._paged = False

    async def _page(self, action: str, severity: str) -> None:
        send = self._ports.pager.send(
            action=action,
            dedup_key="audit_anchor_stale",
            summary="The audit head has not reached the outside anchor",
            severity=severity,
            details={"published_seq": self._published_seq, "minutes": STALE_AFTER_MS // MINUTE_MS},
        )
        try:
            await self._ports.runtime.deadline(send, self._config.pager_timeout_ms)
        except PortError:
            # The next hour tries again; monitoring outside watches for a silent pager.
            return


def _head(tx: Tx) -> tuple[int, str] | None:
    row = tx.one("select seq, hash from audit_log order by seq desc limit 1")
    return None if row is None else (row["seq"], row["hash"])
