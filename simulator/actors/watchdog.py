"""A receiver outside, for the alert that always fires: who hears nothing of it any more sends the page that it names.

Invariant: a page is sent for as long as nothing is heard, and each is taken back once something is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from contest_platform.instants import rfc3339
from contest_platform.ports import Pager, PortError
from operations.alerts import AlertRule, Group
from simulator.actors.context import World
from simulator.actors.monitoring import PAGER_TIMEOUT_MS, RETRY_MS

MINUTE_MS = 60_000
SILENT_MS, AGAIN_MS = 15 * MINUTE_MS, 60 * MINUTE_MS
"""After so long without the alert the page is sent, and so often again."""


class WatchdogReceiver:
    """Expects what `groups` always fire, with every evaluation."""

    def __init__(self, world: World, groups: Sequence[Group], pager: Pager) -> None:
        self._world, self._pager = world, pager
        self._expected = [
            rule
            for group in groups
            for rule in group.rules
            if isinstance(rule, AlertRule) and "when_missed" in rule.annotations
        ]

    async def misses(self, since_at: int, until_at: int) -> list[str]:
        """Hear nothing between these instants, and then of it again. Returns what was paged, by dedup key."""
        runtime, pages = self._world.runtime, list[tuple[AlertRule, str]]()
        for due_at in range(since_at + SILENT_MS, until_at, AGAIN_MS):
            await runtime.sleep_until(due_at)
            for rule in self._expected:
                pages.append((rule, f"{rule.annotations['when_missed'].text}:{rfc3339(due_at)}"))
                await self._send("trigger", *pages[-1], until_at)
        await runtime.sleep_until(until_at)
        for rule, key in pages:
            await self._send("resolve", rule, key)
        return [key for _, key in pages]

    async def _send(
        self, action: Literal["trigger", "resolve"], rule: AlertRule, key: str, until_at: int | None = None
    ) -> None:
        """Say it until the pager has taken it, or until it is not so any more."""
        runtime = self._world.runtime
        while True:
            call = self._pager.send(
                action=action,
                dedup_key=key,
                summary=f"{rule.name} is missed: alerting is down",
                severity="critical",
                details={
                    "labels": {"alertname": rule.annotations["when_missed"].text},
                    "runbook_url": rule.annotations["runbook_url"].text,
                },
            )
            try:
                return await runtime.deadline(call, PAGER_TIMEOUT_MS)
            except PortError:
                await runtime.sleep_until(runtime.now() + RETRY_MS)
                if until_at is not None and runtime.now() >= until_at:
                    return None
