"""What an expression is once it has been read: nodes with their place in the text and their type.

Invariant: nodes are values: equal text gives equal trees.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from operations.alerts.matchers import Matcher

Type = Literal["scalar", "vector", "range", "string"]

AGGREGATIONS = ("avg", "count", "max", "min", "sum")
COMPARISONS = ("==", "!=", "<=", "<", ">=", ">")
SET_OPERATORS = ("and", "or", "unless")
RANGE_FUNCTIONS = (
    "absent_over_time", "avg_over_time", "changes", "count_over_time", "delta", "increase", "max_over_time",
    "min_over_time", "rate", "resets", "sum_over_time",
)  # fmt: skip
# name → types of its arguments, type of its result
FUNCTIONS: dict[str, tuple[tuple[Type, ...], Type]] = {
    "abs": (("vector",), "vector"),
    "absent": (("vector",), "vector"),
    "ceil": (("vector",), "vector"),
    "clamp": (("vector", "scalar", "scalar"), "vector"),
    "clamp_max": (("vector", "scalar"), "vector"),
    "clamp_min": (("vector", "scalar"), "vector"),
    "floor": (("vector",), "vector"),
    "scalar": (("vector",), "scalar"),
    "time": ((), "scalar"),
    "vector": (("scalar",), "vector"),
    **dict.fromkeys(RANGE_FUNCTIONS, (("range",), "vector")),
}


class Number(NamedTuple):
    position: int
    value: float
    type: Type = "scalar"


class Text(NamedTuple):
    position: int
    value: str
    type: Type = "string"


class Selector(NamedTuple):
    """`name{matchers}[range] offset …`; without a range an instant vector."""

    position: int
    name: str
    matchers: tuple[Matcher, ...]
    range_ms: int | None = None
    offset_ms: int = 0

    @property
    def type(self) -> Type:
        return "vector" if self.range_ms is None else "range"


class Call(NamedTuple):
    position: int
    function: str
    arguments: tuple[Expr, ...]

    @property
    def type(self) -> Type:
        return FUNCTIONS[self.function][1]


class Aggregation(NamedTuple):
    position: int
    operator: str
    labels: tuple[str, ...]
    by: bool
    argument: Expr
    type: Type = "vector"


class Negation(NamedTuple):
    position: int
    argument: Expr

    @property
    def type(self) -> Type:
        return self.argument.type


class Binary(NamedTuple):
    """`on` None: matched on all labels; with `on` true on `labels` only, else on all but them."""

    position: int
    operator: str
    left: Expr
    right: Expr
    as_bool: bool = False
    on: bool | None = None
    labels: tuple[str, ...] = ()

    @property
    def type(self) -> Type:
        return "scalar" if self.left.type == self.right.type == "scalar" else "vector"


Expr = Number | Text | Selector | Call | Aggregation | Negation | Binary


def selectors(expr: Expr) -> list[Selector]:
    """Every selector in an expression, in the order of its text."""
    match expr:
        case Selector():
            return [expr]
        case Call():
            return [found for argument in expr.arguments for found in selectors(argument)]
        case Aggregation() | Negation():
            return selectors(expr.argument)
        case Binary():
            return selectors(expr.left) + selectors(expr.right)
        case _:
            return []
