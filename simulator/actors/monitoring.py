"""Monitoring, outside of the platform: scrapes what its processes export, evaluates the alert rules, tells the pager.

Rules are evaluated when something could differ and not every minute, with the same result (see operations.alerts).
Invariant: an alert that fires is paged until the pager has taken it, and so is its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from contest_platform.metrics import METRICS
from contest_platform.ports import Pager, PortError
from operations.alerts import Alert, Change, Engine, Group, Series, Store
from simulator.actors.context import World

Key: TypeAlias = tuple[str, ...]
"""(metric, job, values of its labels in their order)"""
RETRY_MS = 60_000
PAGER_TIMEOUT_MS = 10_000
UNPAGED = frozenset({"none"})
"""Severities that nobody is paged for: the Watchdog's, whose silence is what is looked for."""


class MonitoringActor:
    def __init__(self, world: World, groups: Sequence[Group], pager: Pager) -> None:
        self._world, self._pager = world, pager
        self._book = world.books["monitoring.alerts"]
        self._store = Store()
        self._engine = Engine(groups, self._store, start_ms=world.runtime.now())
        self._series: dict[Key, Series] = {}
        """Those that stand now."""
        self._readers: dict[str, Sequence[Callable[[], bool]] | None] = {}
        self._younger: dict[Key, float] = {}
        """Timestamps that have moved on and that no rule minds: told to the engine when it is asked next."""
        self._wakes_at: int | None = None
        self._said: dict[str, str] = {}
        """What the pager has still to be told of each alert, and is being told."""
        self._stands_until: int | None = None
        """Rules are not evaluated before this instant."""

    # --- what is measured --------------------------------------------------------------------------------------------

    def sample(self, key: Key, value: float | None) -> None:
        """A process says how a series stands from now on; None: not any more."""
        now = self._world.runtime.now()
        if value is None:
            self._younger.pop(key, None)
            series = self._series.pop(key, None)
            if series is not None:
                series.stale(now)
            return self._sleep()
        name = key[0]
        if name not in self._readers:
            self._readers[name] = self._engine.readers(name)
        readers = self._readers[name]
        if readers is not None and key in self._series and value >= self._younger.get(key, value):
            for active in readers:
                if active():
                    break
            else:
                self._younger[key] = value
                return None
        self._set(key, value, now)
        return self._sleep()

    def _set(self, key: Key, value: float, now: int) -> None:
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._store.series(key[0], _labels(key))
        series.set(value, now)

    def lives(self, job: str, up: bool) -> None:
        """A process of the platform has begun or ended: scrapes find it, or nobody."""
        now = self._world.runtime.now()
        self._store.set("up", {"job": job}, int(up), now)
        if not up:
            for key in [key for key in self._series if key[1] == job]:
                self._younger.pop(key, None)
                self._series.pop(key).stale(now)
        self._sleep()

    # --- what it comes to --------------------------------------------------------------------------------------------

    def _sleep(self) -> None:
        """Be there when the next change is due, if that is earlier than known so far."""
        runtime = self._world.runtime
        due_at = self._engine.next_change(runtime.now())
        if self._stands_until is not None:
            due_at = max(due_at or 0, self._stands_until)
        if due_at is not None and (self._wakes_at is None or due_at < self._wakes_at):
            self._wakes_at = due_at
            runtime.spawn(self._evaluate(due_at), "monitoring.evaluate")

    async def _evaluate(self, due_at: int) -> None:
        await self._world.runtime.sleep_until(due_at)
        if self._wakes_at != due_at:
            return
        self._wakes_at = None
        if self._stands_until is not None:
            if due_at < self._stands_until:
                self._sleep()
                return
            self._engine.skip(due_at)
            self._stands_until = None
        for key, value in self._younger.items():
            self._set(key, value, due_at)
        self._younger.clear()
        for change in self._engine.advance(due_at):
            self._tell(change)
        self._sleep()

    def stand_still(self, until_at: int) -> None:
        """Evaluate no rule before `until_at`, an instant of their grid. What happens is measured all the same, and what
        the pager is being told goes on."""
        self._world.record("monitoring", "alerting.stood_still", "rules", until_at=until_at)
        self._stands_until = until_at
        self._sleep()

    def _tell(self, change: Change) -> None:
        alert = change.alert
        if alert.state not in ("firing", "resolved"):
            return
        world, key = self._world, dedup_key(alert)
        world.record("monitoring", f"alert.{alert.state}", key)
        labels = json.dumps(alert.labels, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._book.note(change.at_ms, alert.name, key, labels, alert.state, alert.active_at_ms)
        if alert.labels.get("severity") in UNPAGED:
            return
        begun = key in self._said
        self._said[key] = "trigger" if alert.state == "firing" else "resolve"
        if not begun:
            world.runtime.spawn(self._page(key, alert), f"monitoring.page {key}")

    async def _page(self, key: str, alert: Alert) -> None:
        """Say it until it is taken; what has changed in the meantime is said instead."""
        runtime = self._world.runtime
        while True:
            action = self._said[key]
            call = self._pager.send(
                action=action,
                dedup_key=key,
                summary=alert.annotations.get("summary", alert.name),
                severity=alert.labels.get("severity", "error"),
                details={
                    "labels": {**alert.labels, "alertname": alert.name},
                    "runbook_url": alert.annotations.get("runbook_url", ""),
                },
            )
            try:
                await runtime.deadline(call, PAGER_TIMEOUT_MS)
            except PortError:
                await runtime.sleep_until(runtime.now() + RETRY_MS)
                continue
            if self._said[key] == action:
                del self._said[key]
                return


def dedup_key(alert: Alert) -> str:
    """The alert's name, and the labels that tell it from others of that name."""
    labels = [
        f"{name}={value}" for name, value in sorted(alert.labels.items()) if name not in ("severity", "alertname")
    ]
    return ":".join([alert.name, *labels])


def _labels(key: Key) -> Mapping[str, str]:
    name, job, *values = key
    return {"job": job, **dict(zip(METRICS[name].labels, values, strict=True))}
