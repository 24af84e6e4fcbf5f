"""sum, count, max, min and avg by and without labels.

Invariant: float operations come in Prometheus' order, over elements in the order in which their series began.
"""

from __future__ import annotations

from collections.abc import Callable

from operations.alerts.labels import NAME, Labels, Vector
from operations.alerts.nodes import Node, VectorNode


class Aggregate(VectorNode):
    def __init__(self, argument: VectorNode, operator: str, names: tuple[str, ...], by: bool) -> None:
        self.argument, self.operator, self.by = argument, operator, by
        self.names = frozenset(names if by else (*names, NAME))
        moves = {"sum": 1, "max": 1, "min": 1}.get(operator)
        if argument.direction == 0 or (operator == "count" and argument.direction is not None):
            self.direction = 0
        else:
            self.direction = argument.direction if moves else None
        self._groups: dict[Labels, Labels] = {}

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def demand(self, values: bool) -> None:
        self.values = values
        self.argument.demand(values and self.operator != "count")

    def group(self, labels: Labels) -> Labels:
        group = self._groups.get(labels)
        if group is None:
            group = tuple([pair for pair in labels if (pair[0] in self.names) == self.by])
            self._groups[labels] = group
        return group

    def vector(self, at: int) -> Vector:
        groups: dict[Labels, list[float]] = {}
        for labels, value in self.argument.vector(at):
            groups.setdefault(self.group(labels), []).append(value)
        combine = AGGREGATES[self.operator]
        return [(labels, combine(values)) for labels, values in groups.items()]


def _sum(values: list[float]) -> float:
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _largest(values: list[float]) -> float:
    found = values[0]
    for value in values:
        if found < value or found != found:
            found = value
    return found


def _smallest(values: list[float]) -> float:
    found = values[0]
    for value in values:
        if found > value or found != found:
            found = value
    return found


def _mean(values: list[float]) -> float:
    mean = values[0]
    for count, value in enumerate(values[1:], 2):
        if mean in (float("inf"), float("-inf")) and (value == mean or abs(value) < float("inf")):
            continue
        mean += value / count - mean / count
    return mean


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": _sum, "count": lambda values: float(len(values)), "max": _largest, "min": _smallest, "avg": _mean,
}  # fmt: skip
