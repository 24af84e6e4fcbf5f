"""The way from a process to monitoring: what it exports is seen at once, and is stale once it has died.

A counter counts in its process: it starts from nothing with every life, as in Prometheus' client libraries.
"""

from __future__ import annotations

from collections.abc import Callable

from contest_platform.metrics import METRICS
from simulator.actors.monitoring import Key, MonitoringActor


class MonitoringWire:
    """The Metrics port of one life of a process. Raises KeyError for a metric that nobody declared."""

    __slots__ = ("_actor", "_counts", "_guard", "_job")

    def __init__(self, actor: MonitoringActor, job: str, guard: Callable[[], None]) -> None:
        self._actor, self._job, self._guard = actor, job, guard
        self._counts: dict[Key, int] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        self._guard()
        self._actor.sample(_series(name, self._job, labels), value)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        self._guard()
        series = _series(name, self._job, labels)
        count = self._counts[series] = self._counts.get(series, 0) + amount
        self._actor.sample(series, count)

    def remove(self, name: str, **labels: str) -> None:
        self._guard()
        self._actor.sample(_series(name, self._job, labels), None)


def _series(name: str, job: str, labels: dict[str, str]) -> Key:
    return name, job, *[labels[label] for label in METRICS[name].labels]
