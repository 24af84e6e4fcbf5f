"""A Metrics port that keeps what stands, and refuses what nobody declared."""

from __future__ import annotations

from contest_platform.metrics import METRICS


class KeptMetrics:
    def __init__(self) -> None:
        self.standing: dict[tuple[str, ...], float] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        assert METRICS[name].kind == "gauge", name
        self.standing[_series(name, labels)] = value

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        assert METRICS[name].kind == "counter", name
        series = _series(name, labels)
        self.standing[series] = self.standing.get(series, 0) + amount

    def remove(self, name: str, **labels: str) -> None:
        self.standing.pop(_series(name, labels), None)


def _series(name: str, labels: dict[str, str]) -> tuple[str, ...]:
    assert set(labels) == set(METRICS[name].labels), f"{name} has the labels {METRICS[name].labels}"
    return name, *labels.values()
