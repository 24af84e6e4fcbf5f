"""Monitoring, outside of the platform: keeps what its processes export, evaluates the alert rules, tells the pager."""

from __future__ import annotations

from typing import TypeAlias

from simulator.actors.context import World

Series: TypeAlias = tuple[str, ...]
"""(metric, job, values of its labels in their order)"""


class MonitoringActor:
    def __init__(self, world: World) -> None:
        self._world = world
        self._now: dict[Series, float] = {}

    def sample(self, series: Series, value: float | None) -> None:
        """A process says how a series stands from now on; None: not any more."""
        if value is None:
            self._now.pop(series, None)
        else:
            self._now[series] = value
