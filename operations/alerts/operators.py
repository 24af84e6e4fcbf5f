"""Binary operators and the minus sign: comparisons, arithmetic, sets, with one-to-one matching.

Invariant: what a comparison keeps, what it matches and where it refuses is what Prometheus 2 does, element by element.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from operations.alerts.functions import divide, modulo
from operations.alerts.labels import NAME, Labels, Vector, without
from operations.alerts.nodes import (
    Constant,
    EvaluationError,
    Inlined,
    Node,
    ScalarNode,
    Select,
    Time,
    VectorNode,
    Window,
    distinct,
)
from operations.alerts.series import NEVER, OPERATORS

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": divide, "%": modulo,
}  # fmt: skip
FAR_MS = 10 * 365 * 86_400_000  # a threshold that time alone does not reach in ten years it never reaches


class Matching:
    """Which elements of two sides belong together: those equal in `names`, or in all labels but them."""

    def __init__(self, on: bool | None, names: tuple[str, ...]) -> None:
        self.on = on is True
        self.names = frozenset(names)
        self.left_out = frozenset((*names, NAME))
        self._signatures: dict[Labels, Labels] = {}

    def signature(self, labels: Labels) -> Labels:
        signature = self._signatures.get(labels)
        if signature is None:
            pairs = [pair for pair in labels if (pair[0] in self.names if self.on else pair[0] not in self.left_out)]
            signature = self._signatures[labels] = tuple(pairs)
        return signature

    def result(self, labels: Labels, named: bool) -> Labels:
        if self.on:
            return tuple([pair for pair in labels if pair[0] in self.names and (named or pair[0] != NAME)])
        return tuple([pair for pair in labels if pair[0] not in self.names and (named or pair[0] != NAME)])

    def pairs(self, left: Vector, right: Vector) -> list[tuple[Labels, float, float]]:
        """(labels of the left, its value, the value of its match), for each that has one."""
        if not left or not right:
            return []
        ones: dict[Labels, float] = {}
        for labels, value in right:
            signature = self.signature(labels)
            if signature in ones:
                raise EvaluationError(
                    f"found duplicate series for the match group {dict(signature)} on the right hand-side"
                )
            ones[signature] = value
        found = []
        for labels, value in left:
            other = ones.get(self.signature(labels))
            if other is not None:
                found.append((labels, value, other))
        return found

    def once(self, seen: set[Labels], labels: Labels) -> None:
        signature = self.signature(labels)
        if signature in seen:
            raise EvaluationError("multiple matches for labels: many-to-one matching must be explicit")
        seen.add(signature)


def _slope(name: str, left: Node, right: Node) -> int | None:
    """The direction of `left name right`."""
    one, other = left.direction, right.direction
    if one == other == 0:
        return 0
    if one is None or other is None:
        return None
    if name == "-":
        other, name = -other, "+"
    if name == "+":
        return one or other if one == 0 or other == 0 or one == other else None
    if name in "*/" and isinstance(right, Constant):
        return one if right.value > 0 else -one if right.value < 0 else None
    if name == "*" and isinstance(left, Constant):
        return other if left.value > 0 else -other if left.value < 0 else None
    return None


class ScalarBinary(ScalarNode):
    def __init__(self, name: str, left: ScalarNode, right: ScalarNode) -> None:
        self.left, self.right = left, right
        self.arithmetic = ARITHMETIC.get(name)
        self.compare = OPERATORS.get(name)
        self.direction = _slope(name, left, right)

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def number(self, at: int) -> float:
        one, other = self.left.number(at), self.right.number(at)
        if self.arithmetic is not None:
            return self.arithmetic(one, other)
        assert self.compare is not None
        return float(self.compare(one, other))


class ScalarMinus(ScalarNode):
    def __init__(self, argument: ScalarNode) -> None:
        self.argument = argument
        self.direction = None if argument.direction is None else -argument.direction

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def number(self, at: int) -> float:
        return -self.argument.number(at)


def lasting(name: str, at: int, left: VectorNode, right: VectorNode, horizon: Callable[[Node], int]) -> int:
    """Until when the two sides of a match stay as they are, as far as it matters: with an empty side all is empty."""
    no_left = right.safe and not left.vector(at)
    no_right = left.safe and name != "unless" and not right.vector(at)
    if no_left and no_right:
        return max(horizon(left), horizon(right))
    if no_left or no_right:
        return horizon(left if no_left else right)
    return min(horizon(left), horizon(right))


class VectorBinary(VectorNode):
    """What arithmetic and comparisons share: two sides, of which one may be a scalar."""

    def __init__(
        self, name: str, left: VectorNode | ScalarNode, right: VectorNode | ScalarNode, matching: Matching
    ) -> None:
        self.name, self.left, self.right, self.matching = name, left, right, matching
        self.one_to_one = isinstance(left, VectorNode) and isinstance(right, VectorNode)

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def sides(self, at: int) -> list[tuple[Labels, float, float]]:
        """(labels, left, right) of every element that both sides have."""
        left, right = self.left, self.right
        if isinstance(left, ScalarNode):
            assert isinstance(right, VectorNode)
            scalar = left.number(at)
            return [(labels, scalar, value) for labels, value in right.vector(at)]
        if isinstance(right, ScalarNode):
            scalar = right.number(at)
            return [(labels, value, scalar) for labels, value in left.vector(at)]
        return self.matching.pairs(left.vector(at), right.vector(at))

    def horizon(self, at: int) -> int:
        left, right = self.left, self.right
        if isinstance(left, VectorNode) and isinstance(right, VectorNode):
            return lasting(self.name, at, left, right, lambda node: node.horizon(at))
        return min(left.horizon(at), right.horizon(at))


class Arithmetic(VectorBinary):
    def __init__(
        self, name: str, left: VectorNode | ScalarNode, right: VectorNode | ScalarNode, matching: Matching
    ) -> None:
        super().__init__(name, left, right, matching)
        self.compute = ARITHMETIC[name]
        self.direction = _slope(name, left, right)

    def demand(self, values: bool) -> None:
        self.values = values
        for side in (self.left, self.right):
            side.demand(values or isinstance(side, ScalarNode))

    def horizon(self, at: int) -> int:
        if self.values or self.one_to_one:
            return super().horizon(at)
        return (self.left if isinstance(self.left, VectorNode) else self.right).horizon(at)

    def vector(self, at: int) -> Vector:
        found: Vector = []
        seen: set[Labels] = set()
        for labels, left, right in self.sides(at):
            if self.one_to_one:
                self.matching.once(seen, labels)
                result = self.matching.result(labels, named=False)
            else:
                result = without(labels, (NAME,))
            found.append((result, self.compute(left, right)))
        return distinct(found)


class Compare(VectorBinary):
    """A filter, or with `as_bool` 1 and 0. `every`: how often it is looked at."""

    def __init__(
        self,
        name: str,
        left: VectorNode | ScalarNode,
        right: VectorNode | ScalarNode,
        matching: Matching,
        as_bool: bool,
        every: int,
    ) -> None:
        super().__init__(name, left, right, matching)
        self.test, self.as_bool, self.every = OPERATORS[name], as_bool, every
        both = left.direction == right.direction == 0
        self.direction = 0 if both else None
        slope = _slope("-", left, right)
        self.crosses = bool(slope) and name not in ("==", "!=")
        self.age: Select | None = None  # where it is `time() - age > constant`, looked at for its presence
        self.keeps_still = (right if isinstance(left, ScalarNode) else left).direction == 0

    def demand(self, values: bool) -> None:
        self.values = values
        left, right = self.left, self.right
        left.demand(True)
        right.demand(True)
        self.age = None
        if self.as_bool or values or not isinstance(right, Constant):
            return
        if isinstance(left, Select):
            left.limit = (self.name, right.value)
        elif isinstance(left, Window) and self.name == ">" and right.value == 0:
            left.demand_sign()
        elif isinstance(left, Arithmetic) and self.name in (">", ">="):
            aged = left.right
            if left.name == "-" and isinstance(left.left, Time) and isinstance(aged, Select) and not aged.offset:
                self.age = aged

    def horizon(self, at: int) -> int:
        if self.age is not None and isinstance(self.right, Constant):
            limit, every = self.right.value, self.every
            series = self.age.found
            return min((s.next_age(at, at - late, self.name, limit, every) for _, s, late in series), default=NEVER)
        if not self.crosses or (self.values and not self.as_bool and not self.keeps_still):
            return super().horizon(at)
        return self._crossing(at, min(self.data_horizon(at), at + FAR_MS))

    def _crossing(self, at: int, end: int) -> int:
        """The first instant of the grid at which another number of elements is true; until `end` only time goes on.

        Truth moves one way then, because float operations keep the order of what they are given.
        """
        now, every = self._true(at), self.every
        high = at + (end - at - 1) // every * every  # the last instant of the grid before `end`
        if self._true(high) == now:
            return NEVER if end - at >= FAR_MS else end
        low = at
        guess = at + self._guess(at, high) // every * every
        for probe in (guess, guess + every):  # where the values move evenly, one of the two is it
            if low < probe < high:
                if self._true(probe) == now:
                    low = probe
                else:
                    high = probe
        while high - low > every:
            middle = low + (high - low) // (2 * every) * every
            if self._true(middle) == now:
                low = middle
            else:
                high = middle
        return high

    def _guess(self, at: int, end: int) -> int:
        """How long after `at` the first element would cross if all moved evenly until `end`."""
        then = {labels: (left, right) for labels, left, right in self.sides(end)}
        soonest = float(end - at)
        for labels, left, right in self.sides(at):
            other_left, other_right = then.get(labels, (left, right))
            gap, moved = right - left, (other_left - other_right) - (left - right)
            if moved != 0 and 0 <= gap / moved < 1:
                soonest = min(soonest, gap / moved * (end - at))
        return int(soonest)

    def _true(self, at: int) -> int:
        test = self.test
        return sum([test(left, right) for _, left, right in self.sides(at)])

    def vector(self, at: int) -> Vector:
        found: Vector = []
        seen: set[Labels] = set()
        test, as_bool, one_to_one = self.test, self.as_bool, self.one_to_one
        kept_right = isinstance(self.left, ScalarNode)
        for labels, left, right in self.sides(at):
            true = test(left, right)
            if not true and not as_bool:
                continue
            if one_to_one:
                self.matching.once(seen, labels)
                labels = self.matching.result(labels, named=not as_bool)
            elif as_bool:
                labels = without(labels, (NAME,))
            found.append((labels, float(true) if as_bool else right if kept_right else left))
        return distinct(found)


class Sets(VectorNode):
    """and, or, unless."""

    def __init__(self, name: str, left: VectorNode, right: VectorNode, matching: Matching) -> None:
        self.name, self.left, self.right, self.matching = name, left, right, matching
        one, other = left.direction, right.direction
        if one is None or other is None:
            self.direction = None
        elif name == "or":
            self.direction = one or other if one == other or 0 in (one, other) else None
        else:
            self.direction = one

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def demand(self, values: bool) -> None:
        self.values = values
        self.left.demand(values)
        self.right.demand(values and self.name == "or")

    def horizon(self, at: int) -> int:
        if self.name == "or":
            return super().horizon(at)
        return lasting(self.name, at, self.left, self.right, lambda node: node.horizon(at))

    def data_horizon(self, at: int) -> int:
        if self.name == "or":
            return super().data_horizon(at)
        return lasting(self.name, at, self.left, self.right, lambda node: node.data_horizon(at))

    def vector(self, at: int) -> Vector:
        left, right = self.left.vector(at), self.right.vector(at)
        signature = self.matching.signature
        if self.name == "or":
            there = {signature(labels) for labels, _ in left}
            return distinct(left + [element for element in right if signature(element[0]) not in there])
        there = {signature(labels) for labels, _ in right}
        return [element for element in left if (signature(element[0]) in there) == (self.name == "and")]


def let_age(node: Node) -> None:
    """Where a rule is `time() - timestamp > n`, joined by and and or: younger timestamps cannot make it true."""
    if isinstance(node, Sets):
        let_age(node.left)
        if node.name != "unless":
            let_age(node.right)
    elif (
        isinstance(node, Compare) and node.name in (">", ">=") and isinstance(node.right, Constant) and not node.as_bool
    ):
        _let_age(node.left)


def _let_age(age: Node) -> None:
    if isinstance(age, Arithmetic) and age.name == "-" and isinstance(age.left, Time) and isinstance(age.right, Select):
        age.right.aging = True
    elif isinstance(age, Sets) and age.name != "or":
        _let_age(age.left)
    elif isinstance(age, Inlined):
        for inner in age.inner:
            _let_age(inner)


class Minus(VectorNode):
    def __init__(self, argument: VectorNode) -> None:
        self.argument = argument
        self.direction = None if argument.direction is None else -argument.direction

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def vector(self, at: int) -> Vector:
        return distinct([(without(labels, (NAME,)), -value) for labels, value in self.argument.vector(at)])
