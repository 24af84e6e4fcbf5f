"""The audit head goes to a book elsewhere every hour: a rewritten log or a cut-off tail then no longer fits.

What was published is remembered only as a hint, across restarts; the outside book is the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform import audit, checkpoints
from contest_platform.audit import Context
from contest_platform.errors import code_of
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job, next_tick
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, Tx
from contest_platform.service import Config, Route

ACTOR = "system:anchor"
CHECKPOINT = "anchoring"
"""`seq` is the last head published, `at` when nothing was last left to publish, `paged` whether somebody was told of a
stale anchor and not yet of its end."""
STALE_AFTER_MS = 3 * HOUR_MS
DEDUP_KEY = "audit_anchor_stale"
RUNBOOK = "runbooks/audit_anchor_stale.md"


class AnchoringService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._next_at: int | None = None
        """None until it is known what was published before this process began."""
        self._told = Gauge(ports.metrics, "audit_anchor_last_success_timestamp_seconds")

    def jobs(self) -> Sequence[Job]:
        return (Job("anchoring", "anchoring", HOUR_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        if self._next_at is None:
            known = await self._ports.store.transact("anchoring.known", _known)
            self._told.tell_of(known["at"])
            self._next_at = 0
        return self._next_at

    async def _work(self) -> None:
        ports = self._ports
        now = ports.runtime.now()
        next_at = next_tick(now + 1, HOUR_MS)  # not an hour from now: this may have come late
        unsaid = await ports.store.transact("anchoring.head", _unsaid)
        if unsaid is None:
            self._told.tell_of(now)
            self._next_at = next_at
            return
        seq, head, known = unsaid
        if seq == known["seq"] or await self._publish(seq, head):
            known = {**known, "seq": seq, "at": now}
        self._told.tell_of(known["at"])
        stale = now - known["at"] >= STALE_AFTER_MS
        tells = stale or known["paged"]
        unanswered = await self._page("trigger" if stale else "resolve", known["seq"]) if tells else None
        paged = tells and unanswered is None

        def remember(tx: Tx) -> None:
            ctx, subject = Context(ACTOR, DEDUP_KEY), f"pager/{DEDUP_KEY}"
            if paged:
                reason = "the anchor is stale" if stale else "the anchor is up to date"
                audit.append(tx, ctx, "call.page", subject, reason=reason)
            elif unanswered is not None:
                audit.append(tx, ctx, "call.page_unanswered", subject, reason=unanswered)
            checkpoints.save(tx, CHECKPOINT, {**known, "paged": stale if paged else known["paged"]})

        await ports.store.transact("anchoring.done", remember)
        self._next_at = next_at

    async def _publish(self, seq: int, head: str) -> bool:
        publication = self._ports.anchor.publish(head_seq=seq, head_hash=head)
        try:
            await self._ports.runtime.deadline(publication, self._config.anchor_timeout_ms)
        except PortError:
            return False
        return True

    async def _page(self, action: str, published_seq: int) -> str | None:
        """None once the pager has taken it; else the code of what came instead. The next hour tries again then, and
        monitoring outside watches for silence."""
        send = self._ports.pager.send(
            action=action,
            dedup_key=DEDUP_KEY,
            summary="The audit head has not reached the outside anchor",
            severity="error" if action == "trigger" else "info",
            details={
                "published_seq": published_seq,
                "minutes": STALE_AFTER_MS // MINUTE_MS,
                "runbook_url": RUNBOOK,
            },
        )
        try:
            await self._ports.runtime.deadline(send, self._config.pager_timeout_ms)
        except PortError as error:
            return code_of(error)
        return None


def _unsaid(tx: Tx) -> tuple[int, str, dict[str, Any]] | None:
    """(seq, hash) of the last audit row, 0 without any, and what we know of the outside book. None when that has it all
    and nobody is left to be told, which is noted here."""
    seq, head = audit.head(tx)
    known = _known(tx)
    if seq == known["seq"] and not known["paged"]:
        checkpoints.save(tx, CHECKPOINT, {**known, "at": tx.now})
        return None
    return seq, head, known


def _known(tx: Tx) -> dict[str, Any]:
    """What we know of the outside book: up to where it goes, since when it is whole, and whether somebody was paged."""
    return checkpoints.read(tx, CHECKPOINT) or {"seq": 0, "at": tx.now, "paged": False}
