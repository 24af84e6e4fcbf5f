"""The way from a process to monitoring: what it exports is seen at once, and is stale once it has died.

A counter counts in its process: it starts from nothing with every life, as in Prometheus' client libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from contest_platform.metrics import METRICS

if TYPE_CHECKING:
    from simulator.actors.monitoring import Key, MonitoringActor


class MonitoringWire:
    """The Metrics port of one life of a process. Raises KeyError for a metric that nobody declared."""

    __slots__ = ("_actor", "_counts", "_guard", "_job", "_stands")

    def __init__(self, actor: MonitoringActor, job: str, guard: Callable[[], None]) -> None:
        self._actor, self._job, self._guard = actor, job, guard
        self._counts: dict[Key, int] = {}
        self._stands: dict[Key, float] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        self._guard()
        key = _key(name, self._job, labels)
        if self._stands.get(key) != value:
            self._stands[key] = value
            self._actor.sample(key, value)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        self._guard()
        key = _key(name, self._job, labels)
        count = self._counts[key] = self._counts.get(key, 0) + amount
        self._actor.sample(key, count)

    def remove(self, name: str, **labels: str) -> None:
        self._guard()
        key = _key(name, self._job, labels)
        if self._stands.pop(key, None) is not None:
            self._actor.sample(key, None)


class Unscraped:
    """The Metrics port where nobody scrapes: what is exported stays in its process."""

    __slots__ = ()

    def set(self, name: str, value: float, **labels: str) -> None:
        pass

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        pass

    def remove(self, name: str, **labels: str) -> None:
        pass


def _key(name: str, job: str, labels: dict[str, str]) -> Key:
    return name, job, *[labels[label] for label in METRICS[name].labels]
