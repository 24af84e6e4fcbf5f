"""From an expression's tree to the nodes that evaluate it for one rule.

Invariant: every leaf of the plan is in `leaves`; a series that one of them takes is one that the rule depends on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from operations.alerts import promql
from operations.alerts.functions import go_max, go_min
from operations.alerts.labels import Vector
from operations.alerts.nodes import (
    Absent,
    AbsentOverTime,
    Aggregate,
    Constant,
    Leaf,
    Map,
    Node,
    ScalarNode,
    ScalarOf,
    Select,
    Time,
    VectorNode,
    VectorOf,
    Window,
)
from operations.alerts.operators import Arithmetic, Compare, Matching, Minus, ScalarBinary, ScalarMinus, Sets, let_age


def _rounded(value: float, up: bool) -> float:
    if not math.isfinite(value):
        return value
    return math.copysign(float(math.ceil(value) if up else math.floor(value)), value)


def _clamp(value: float, low: float, high: float) -> float | None:
    return None if high < low else go_max(low, go_min(high, value))


# name → what it does to a value, and whether it keeps (1) or loses (None) the order of values
_MAPS = {
    "abs": (abs, None),
    "ceil": (lambda value: _rounded(value, up=True), 1),
    "floor": (lambda value: _rounded(value, up=False), 1),
    "clamp": (_clamp, 1),
    "clamp_min": (lambda value, low: go_max(low, value), 1),
    "clamp_max": (lambda value, high: go_min(high, value), 1),
}


@dataclass(slots=True)
class Plan:
    """What evaluates one rule: `order` is its place among all rules, `every` how often it has its turn, in ms."""

    expr: promql.Expr
    order: int
    every: int
    values: bool
    leaves: list[Leaf] = field(default_factory=list)
    root: Node = field(init=False)

    def __post_init__(self) -> None:
        self.root = self._node(self.expr)
        self.root.demand(self.values)
        if not self.values:
            let_age(self.root)

    def vector(self, at: int) -> Vector:
        """What the rule's expression gives: a scalar is one element without labels. Raises EvaluationError."""
        root = self.root
        if isinstance(root, ScalarNode):
            return [((), root.number(at))]
        assert isinstance(root, VectorNode)
        return root.vector(at)

    def _node(self, expr: promql.Expr) -> Node:
        match expr:
            case promql.Number():
                return Constant(expr.value)
            case promql.Selector():
                return self._leaf(Select(expr.matchers, expr.offset_ms, self.order, self.every))
            case promql.Negation():
                inner = self._node(expr.argument)
                return ScalarMinus(inner) if isinstance(inner, ScalarNode) else Minus(self._vector(expr.argument, inner))
            case promql.Aggregation():
                return Aggregate(self._vector(expr.argument), expr.operator, expr.labels, expr.by)
            case promql.Call():
                return self._call(expr)
            case promql.Binary():
                return self._binary(expr)
        raise AssertionError(f"{expr} is no expression of a rule")

    def _leaf(self, leaf: Leaf) -> Leaf:
        self.leaves.append(leaf)
        return leaf

    def _vector(self, expr: promql.Expr, node: Node | None = None) -> VectorNode:
        node = node or self._node(expr)
        assert isinstance(node, VectorNode), expr
        return node

    def _scalar(self, expr: promql.Expr) -> ScalarNode:
        node = self._node(expr)
        assert isinstance(node, ScalarNode), expr
        return node

    def _call(self, call: promql.Call) -> Node:
        name, arguments = call.function, call.arguments
        if name == "time":
            return Time()
        first = arguments[0]
        if isinstance(first, promql.Selector) and first.range_ms is not None:
            place = (first.matchers, first.offset_ms, self.order, self.every, first.range_ms)
            return self._leaf(AbsentOverTime(*place) if name == "absent_over_time" else Window(*place, name))
        if name == "absent":
            return Absent(self._vector(first))
        if name == "scalar":
            return ScalarOf(self._vector(first))
        if name == "vector":
            return VectorOf(self._scalar(first))
        compute, slope = _MAPS[name]
        return Map(self._vector(first), tuple(self._scalar(bound) for bound in arguments[1:]), compute, slope)

    def _binary(self, binary: promql.Binary) -> Node:
        left, right = self._node(binary.left), self._node(binary.right)
        name = binary.operator
        if isinstance(left, ScalarNode) and isinstance(right, ScalarNode):
            return ScalarBinary(name, left, right)
        assert isinstance(left, ScalarNode | VectorNode)
        assert isinstance(right, ScalarNode | VectorNode)
        matching = Matching(binary.on, binary.labels)
        if name in promql.SET_OPERATORS:
            return Sets(name, self._vector(binary.left, left), self._vector(binary.right, right), matching)
        if name in promql.COMPARISONS:
            return Compare(name, left, right, matching, binary.bool, self.every)
        return Arithmetic(name, left, right, matching)
