"""What a rule's expression becomes: nodes that give their vector at an instant, and until when it stays as it is.

A node is told once what is demanded of it: its values, or only which elements there are. `horizon` answers for that and
no more, which is why `m > 5` sleeps through every change of m that does not cross 5.

Invariant: from an instant to its horizon a node gives the same, as long as no sample comes that its watchers tell of.
"""

from __future__ import annotations

from collections.abc import Callable

from operations.alerts.functions import COUNTERS, RANGE, SETTLED, RangeFunction
from operations.alerts.labels import NAME, Labels, Vector, without
from operations.alerts.matchers import Matcher, accept
from operations.alerts.series import NEVER, OPERATORS, STALE, Series


class EvaluationError(Exception):
    """The expression has no value at this instant; Prometheus stops the rule's evaluation with the same complaint."""


class Node:
    """`direction`: 0 where only data moves the values, 1 or -1 where time moves them up or down too; None: who knows.

    Where it is not None, time neither adds nor removes elements.
    """

    direction: int | None = 0
    safe = False  # it has a value at every instant, whatever the series
    values = True  # demanded: the values, not only which elements there are

    def children(self) -> tuple[Node, ...]:
        return ()

    def demand(self, values: bool) -> None:
        """What the node is for; tells its children what they are for."""
        self.values = values
        for child in self.children():
            child.demand(values)

    def horizon(self, at: int) -> int:
        """The first instant after `at` at which what is demanded may differ; NEVER where only a new sample can."""
        return min((child.horizon(at) for child in self.children()), default=NEVER)

    def data_horizon(self, at: int) -> int:
        """The same, if time stood still."""
        return min((child.data_horizon(at) for child in self.children()), default=NEVER)


class ScalarNode(Node):
    def number(self, at: int) -> float:
        raise NotImplementedError


class VectorNode(Node):
    def vector(self, at: int) -> Vector:
        raise NotImplementedError


class Constant(ScalarNode):
    def __init__(self, value: float) -> None:
        self.value = value

    def number(self, at: int) -> float:
        return self.value


class Time(ScalarNode):
    direction = 1

    def number(self, at: int) -> float:
        return at / 1000

    def horizon(self, at: int) -> int:
        return at + 1

    def data_horizon(self, at: int) -> int:
        return NEVER


def distinct(vector: Vector) -> Vector:
    """Raises EvaluationError where two elements have the same labels."""
    if len(vector) > 1 and len({labels for labels, _ in vector}) < len(vector):
        raise EvaluationError("vector cannot contain metrics with the same labelset")
    return vector


class Leaf(VectorNode):
    """What reads series. `order` is the place of its rule, `every` how often that is evaluated."""

    def __init__(self, matchers: tuple[Matcher, ...], offset: int, order: int, every: int) -> None:
        self.matchers, self.offset, self.order, self.every = matchers, offset, order, every
        self.found: list[tuple[Labels, Series, int]] = []  # how much less than now its samples are there already
        self.name = next((m.value for m in matchers if m.label == NAME and m.operator == "="), None)

    def attach(self, series: Series) -> bool:
        """Reads the series too, if its labels match."""
        if (self.name is not None and (NAME, self.name) not in series.labels) or not accept(
            self.matchers, series.labels
        ):
            return False
        late = 1 if series.order >= self.order and not self.offset else 0
        self.found.append((self.label(series.labels), series, late))
        return True

    def label(self, labels: Labels) -> Labels:
        return labels

    def concerns(self, before: float, after: float, active: bool) -> bool:
        """Whether a sample like this may change what is demanded. `active`: the rule has elements now."""
        return True

    def data_horizon(self, at: int) -> int:
        return self.horizon(at)


class Select(Leaf):
    """An instant selector. `limit`, `aging` and `presence` say what its only reader looks at."""

    limit: tuple[str, float] | None = None
    aging = False
    presence = False

    def demand(self, values: bool) -> None:
        self.values = values
        self.presence = not values

    def vector(self, at: int) -> Vector:
        at -= self.offset
        found: Vector = []
        for labels, series, late in self.found:
            value = series.value(at, at - late)
            if value is not STALE:
                found.append((labels, value))
        return found

    def horizon(self, at: int) -> int:
        at -= self.offset
        soonest = NEVER
        for _, series, late in self.found:
            if self.limit is not None:
                instant = series.next_truth(at, at - late, *self.limit)
            elif self.presence:
                instant = series.next_presence(at, at - late)
            else:
                instant = series.next_value(at, at - late)
            if instant < soonest:
                soonest = instant
        return min(soonest + self.offset, NEVER)

    def concerns(self, before: float, after: float, active: bool) -> bool:
        if self.limit is not None:
            operator, limit = self.limit
            test = OPERATORS[operator]
            return (before is not STALE and test(before, limit)) != (after is not STALE and test(after, limit))
        if self.presence:
            return (before is STALE) != (after is STALE)
        if self.aging and not active:  # a younger timestamp makes nothing older
            return not (after is STALE or (before is not STALE and after >= before))
        return True


class Window(Leaf):
    """A function of a range selector."""

    def __init__(
        self, matchers: tuple[Matcher, ...], offset: int, order: int, every: int, length: int, function: str
    ) -> None:
        super().__init__(matchers, offset, order, every)
        self.length, self.function = length, function
        self.compute: RangeFunction = RANGE[function]
        self.settled = function in SETTLED

    def demand_sign(self) -> None:
        """Its only reader asks whether it is above zero; for a counter that hangs on the order of its values alone."""
        self.settled = self.settled or self.function in COUNTERS

    def label(self, labels: Labels) -> Labels:
        return without(labels, (NAME,))

    def vector(self, at: int) -> Vector:
        end = at - self.offset
        begin = end - self.length
        found: Vector = []
        for labels, series, late in self.found:
            runs = series.window(begin, end - late)
            if runs:
                value = self.compute(runs, begin, end, self.length)
                if value is not None:
                    found.append((labels, value))
        return distinct(found)

    def horizon(self, at: int) -> int:
        at -= self.offset
        soonest = NEVER
        for _, series, late in self.found:
            instant = series.next_window(at, self.length, at - late, self.settled, self.every)
            if instant < soonest:
                soonest = instant
        return min(soonest + self.offset, NEVER)


class AbsentOverTime(Window):
    def __init__(self, matchers: tuple[Matcher, ...], offset: int, order: int, every: int, length: int) -> None:
        super().__init__(matchers, offset, order, every, length, "count_over_time")
        self.settled = True
        self.labels = absent_labels(matchers)

    def vector(self, at: int) -> Vector:
        end = at - self.offset
        for _, series, late in self.found:
            if series.window(end - self.length, end - late):
                return []
        return [(self.labels, 1.0)]


def absent_labels(matchers: tuple[Matcher, ...]) -> Labels:
    """The labels of what is absent: those that its selector demands to be equal, once each."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in matchers:
        if matcher.label == NAME:
            continue
        if matcher.operator == "=" and matcher.label not in seen:
            found[matcher.label] = matcher.value
            seen.add(matcher.label)
        else:
            found.pop(matcher.label, None)
    return tuple(sorted((label, value) for label, value in found.items() if value))


class Inlined(VectorNode):
    """What recording rules give, read by a later rule of the same turn: their expressions, under the names they record.

    A recorded sample is as old as its reader then, so nothing depends on samples before it. `raw` are the series of
    that name which no rule records.
    """

    def __init__(
        self, raw: Leaf, inner: tuple[VectorNode | ScalarNode, ...], names: tuple[Callable[[Labels], Labels], ...]
    ) -> None:
        self.raw, self.inner, self.names = raw, inner, names
        directions = {node.direction for node in inner}
        self.direction = directions.pop() if len(directions) == 1 else None

    def children(self) -> tuple[Node, ...]:
        return (self.raw, *self.inner)

    def demand(self, values: bool) -> None:
        self.values = values
        self.raw.demand(values)
        for inner in self.inner:
            inner.demand(values or isinstance(inner, ScalarNode))

    def vector(self, at: int) -> Vector:
        found = self.raw.vector(at)
        for inner, name in zip(self.inner, self.names, strict=True):
            vector = inner.vector(at) if isinstance(inner, VectorNode) else [((), inner.number(at))]
            for labels, value in vector:
                labels = name(labels)
                if accept(self.raw.matchers, labels):
                    found.append((labels, value))
        return distinct(found)


class Absent(VectorNode):
    def __init__(self, argument: VectorNode) -> None:
        self.argument = argument
        leaf = argument.raw if isinstance(argument, Inlined) else argument
        self.labels = absent_labels(leaf.matchers) if isinstance(leaf, Select) else ()
        self.direction = 0 if argument.direction == 0 else None

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def demand(self, values: bool) -> None:
        self.argument.demand(False)

    def vector(self, at: int) -> Vector:
        return [] if self.argument.vector(at) else [(self.labels, 1.0)]


class Map(VectorNode):
    """A function of each value on its own; the metric loses its name."""

    def __init__(
        self,
        argument: VectorNode,
        scalars: tuple[ScalarNode, ...],
        compute: Callable[..., float | None],
        slope: int | None,
    ) -> None:
        self.argument, self.scalars, self.compute = argument, scalars, compute
        if argument.direction == 0 and all(scalar.direction == 0 for scalar in scalars):
            self.direction = 0
        elif slope is not None and argument.direction is not None and all(isinstance(s, Constant) for s in scalars):
            self.direction = slope * argument.direction
        else:
            self.direction = None

    def children(self) -> tuple[Node, ...]:
        return (self.argument, *self.scalars)

    def demand(self, values: bool) -> None:
        self.values = values
        self.argument.demand(values)
        for scalar in self.scalars:
            scalar.demand(True)

    def vector(self, at: int) -> Vector:
        bounds = [scalar.number(at) for scalar in self.scalars]
        found: Vector = []
        for labels, value in self.argument.vector(at):
            result = self.compute(value, *bounds)
            if result is not None:
                found.append((without(labels, (NAME,)), result))
        return distinct(found)


class ScalarOf(ScalarNode):
    """scalar(): the value of the only element, NaN where there is none or more than one."""

    def __init__(self, argument: VectorNode) -> None:
        self.argument = argument
        self.direction = argument.direction

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def number(self, at: int) -> float:
        vector = self.argument.vector(at)
        return vector[0][1] if len(vector) == 1 else float("nan")

    def demand(self, values: bool) -> None:
        self.argument.demand(True)


class VectorOf(VectorNode):
    """vector(): one element without labels."""

    def __init__(self, argument: ScalarNode) -> None:
        self.argument = argument
        self.direction = argument.direction

    def children(self) -> tuple[Node, ...]:
        return (self.argument,)

    def vector(self, at: int) -> Vector:
        return [((), self.argument.number(at))]

    def horizon(self, at: int) -> int:
        return self.argument.horizon(at) if self.values else NEVER
