"""From an expression's tree to the nodes that evaluate it for one rule.

Invariant: every leaf of the plan is in `leaves`; a series that one of them takes is one that the rule depends on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from operations.alerts import tree
from operations.alerts.aggregates import Aggregate
from operations.alerts.functions import go_max, go_min
from operations.alerts.labels import NAME, Labels, Vector, label_set
from operations.alerts.nodes import (
    Absent,
    AbsentOverTime,
    Constant,
    Inlined,
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
from operations.alerts.rules import AlertRule, Group, RecordRule


def _rounded(value: float, up: bool) -> float:
    if not math.isfinite(value):
        return value
    return math.copysign(float(math.ceil(value) if up else math.floor(value)), value)


def _clamp(value: float, low: float, high: float) -> float | None:
    return None if high < low else go_max(low, go_min(high, value))


# name → what it does to a value, and whether it keeps (1) or loses (None) the order of values
_MAPS: dict[str, tuple[Callable[..., float | None], int | None]] = {
    "abs": (abs, None),
    "ceil": (lambda value: _rounded(value, up=True), 1),
    "floor": (lambda value: _rounded(value, up=False), 1),
    "clamp": (_clamp, 1),
    "clamp_min": (lambda value, low: go_max(low, value), 1),
    "clamp_max": (lambda value, high: go_min(high, value), 1),
}


def naming(rule: RecordRule) -> Callable[[Labels], Labels]:
    """The labels under which a recording rule records an element."""
    names: dict[Labels, Labels] = {}

    def name(labels: Labels) -> Labels:
        named = names.get(labels)
        if named is None:
            named = names[labels] = label_set({**dict(labels), **rule.labels}, rule.name)
        return named

    return name


class Recorded:
    """Which recording rules need not be evaluated in their turn, because their readers can read the expression instead.

    That is the same where the reader comes later in the same turn, looks at nothing but the latest sample, and the
    expression never fails; where one reader of a name cannot do it, the name is recorded for all of them.
    """

    def __init__(self, rules: Sequence[tuple[Group, RecordRule | AlertRule]]) -> None:
        self._by_name: dict[str, list[tuple[int, RecordRule]]] = {}
        intervals = [group.interval_ms for group, _ in rules]
        for order, (_, rule) in enumerate(rules):
            if isinstance(rule, RecordRule):
                self._by_name.setdefault(rule.name, []).append((order, rule))
        for name, recorders in list(self._by_name.items()):
            if any(rule.labels or not never_fails(rule.expr) for _, rule in recorders):
                del self._by_name[name]
        changed = True
        while changed:  # a recorder that fell out may be read by one that has been left in, from before it
            changed = False
            for order, (_, rule) in enumerate(rules):
                for selector in tree.selectors(rule.expr):
                    for name, recorders in list(self._by_name.items()):
                        plain = selector.name == name and selector.range_ms is None and not selector.offset_ms
                        after = all(at < order and intervals[at] == intervals[order] for at, _ in recorders)
                        if not (plain and after) and may_name(selector, name):
                            del self._by_name[name]
                            changed = True

    def inlined(self, selector: tree.Selector) -> Sequence[tuple[int, RecordRule]]:
        """(place, rule) of those that record what a selector reads; none where it reads recorded samples."""
        return self._by_name.get(selector.name, ())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name


def may_name(selector: tree.Selector, name: str) -> bool:
    """Whether a selector may take series of this metric."""
    return all(matcher.accepts(name) for matcher in selector.matchers if matcher.label == NAME)


def never_fails(expr: tree.Expr) -> bool:
    """Whether an expression has a value whatever the series: one metric a selector, nothing to be matched."""
    match expr:
        case tree.Number():
            return True
        case tree.Selector():
            return bool(expr.name)
        case tree.Call():
            return all(never_fails(argument) for argument in expr.arguments)
        case tree.Aggregation() | tree.Negation():
            return never_fails(expr.argument)
        case tree.Binary():
            sets = expr.operator in ("and", "unless")
            matched = expr.left.type == expr.right.type == "vector"
            return (sets or not matched) and never_fails(expr.left) and never_fails(expr.right)
        case _:
            return False


@dataclass(slots=True, eq=False, repr=False)
class Plan:
    """What evaluates one rule: `order` is its place among all rules, `every` how often it has its turn, in ms."""

    expr: tree.Expr
    order: int
    every: int
    values: bool
    recorded: Recorded | None = None
    leaves: list[Leaf] = field(default_factory=list)
    root: Node = field(init=False)
    _order: int = field(init=False)  # of the rule whose expression is being read: this one or one that it inlines

    def __post_init__(self) -> None:
        self._order = self.order
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

    def _node(self, expr: tree.Expr) -> Node:
        node = self._bare(expr)
        node.safe = never_fails(expr)
        return node

    def _bare(self, expr: tree.Expr) -> Node:
        match expr:
            case tree.Number():
                return Constant(expr.value)
            case tree.Selector():
                return self._selector(expr)
            case tree.Negation():
                inner = self._node(expr.argument)
                return (
                    ScalarMinus(inner) if isinstance(inner, ScalarNode) else Minus(self._vector(expr.argument, inner))
                )
            case tree.Aggregation():
                return Aggregate(self._vector(expr.argument), expr.operator, expr.labels, expr.by)
            case tree.Call():
                return self._call(expr)
            case tree.Binary():
                return self._binary(expr)
        raise AssertionError(f"{expr} is no expression of a rule")

    def _selector(self, selector: tree.Selector) -> Node:
        leaf = Select(selector.matchers, selector.offset_ms, self._order, self.every)
        self._leaf(leaf)
        inlined = self.recorded.inlined(selector) if self.recorded is not None else ()
        if not inlined:
            return leaf
        order = self._order
        inner: list[VectorNode | ScalarNode] = []
        for self._order, rule in inlined:
            node = self._node(rule.expr)
            assert isinstance(node, VectorNode | ScalarNode)
            inner.append(node)
        self._order = order
        return Inlined(leaf, tuple(inner), tuple(naming(rule) for _, rule in inlined))

    def _leaf(self, leaf: Leaf) -> Leaf:
        self.leaves.append(leaf)
        return leaf

    def _vector(self, expr: tree.Expr, node: Node | None = None) -> VectorNode:
        node = node or self._node(expr)
        assert isinstance(node, VectorNode), expr
        return node

    def _scalar(self, expr: tree.Expr) -> ScalarNode:
        node = self._node(expr)
        assert isinstance(node, ScalarNode), expr
        return node

    def _call(self, call: tree.Call) -> Node:
        name, arguments = call.function, call.arguments
        if name == "time":
            return Time()
        first = arguments[0]
        if isinstance(first, tree.Selector) and first.range_ms is not None:
            place = (first.matchers, first.offset_ms, self._order, self.every, first.range_ms)
            return self._leaf(AbsentOverTime(*place) if name == "absent_over_time" else Window(*place, name))
        if name == "absent":
            return Absent(self._vector(first))
        if name == "scalar":
            return ScalarOf(self._vector(first))
        if name == "vector":
            return VectorOf(self._scalar(first))
        compute, slope = _MAPS[name]
        return Map(self._vector(first), tuple(self._scalar(bound) for bound in arguments[1:]), compute, slope)

    def _binary(self, binary: tree.Binary) -> Node:
        left, right = self._node(binary.left), self._node(binary.right)
        name = binary.operator
        if isinstance(left, ScalarNode) and isinstance(right, ScalarNode):
            return ScalarBinary(name, left, right)
        assert isinstance(left, ScalarNode | VectorNode)
        assert isinstance(right, ScalarNode | VectorNode)
        matching = Matching(binary.on, binary.labels)
        if name in tree.SET_OPERATORS:
            return Sets(name, self._vector(binary.left, left), self._vector(binary.right, right), matching)
        if name in tree.COMPARISONS:
            return Compare(name, left, right, matching, binary.as_bool, self.every)
        return Arithmetic(name, left, right, matching)
