"""Random rules of the subset, and random series for them. The same seed gives the same.

Invariant: sums do not depend on the order of their series (values are multiples of a quarter): promtool keeps none.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence

from operations.alerts.series import STALE
from tests.support.promtool import MINUTE, Case

Key = tuple[str, tuple[tuple[str, str], ...]]
RANGE = ("rate", "increase", "delta", "changes", "resets", "max_over_time", "min_over_time", "avg_over_time",
         "count_over_time", "sum_over_time")  # fmt: skip


class Rules:
    """Makes expressions about the metrics that it is given."""

    def __init__(self, draw: random.Random, metrics: Sequence[str]) -> None:
        self.draw, self.metrics = draw, list(metrics)

    def duration(self) -> str:
        return self.draw.choice(("1m", "90s", "2m", "3m", "5m", "7m30s", "10m", "20m", "1h"))

    def selector(self, ranged: bool = False) -> str:
        draw = self.draw
        matchers = []
        if draw.random() < 0.35:
            matchers.append(draw.choice(('a="x"', 'a!="x"', 'a=~"x|y"', 'b!~"p.*"', 'b=~"p?"', 'b=""', 'c="no"')))
        text = draw.choice(self.metrics) + ("{" + ",".join(matchers) + "}" if matchers else "")
        if ranged:
            text += f"[{self.duration()}]"
        if draw.random() < 0.1:
            text += f" offset {self.duration()}"
        return text

    def number(self) -> str:
        return self.draw.choice(("0", "1", "2.5", "-1", "5", "7.37", "0.5", "60", "600", "10", "3", "1e2"))

    def scalar(self, depth: int) -> str:
        draw = self.draw
        kind = draw.random()
        if depth <= 0 or kind < 0.6:
            return self.number()
        if kind < 0.75:
            return "time()"
        if kind < 0.85:
            return f"scalar({self.vector(depth - 1)})"
        if kind < 0.93:
            return f"({self.scalar(depth - 1)} {draw.choice('+-*/%')} {self.scalar(depth - 1)})"
        return f"({self.scalar(depth - 1)} {draw.choice(('>', '<=', '=='))} bool {self.scalar(depth - 1)})"

    def matching(self) -> str:
        return self.draw.choice(("", "", "on(a,b) ", "on(a) ", "on() ", "ignoring(b) ", "ignoring(c) "))

    def vector(self, depth: int) -> str:
        draw = self.draw
        kind = draw.random()
        if depth <= 0:
            return self.selector() if kind < 0.6 else f"{draw.choice(RANGE)}({self.selector(ranged=True)})"
        below = depth - 1
        if kind < 0.1:
            return f"{draw.choice(RANGE)}({self.selector(ranged=True)})"
        if kind < 0.25:
            group = draw.choice(("", " by (a)", " by (a,b)", " without (b)", " by (c)", " without (a,b)"))
            return f"{draw.choice(('sum', 'count', 'max', 'min', 'avg'))}{group} ({self.vector(below)})"
        if kind < 0.45:
            bool_ = draw.choice(("", "", " bool"))
            compare = draw.choice((">", "<", ">=", "<=", "==", "!="))
            sides = [self.vector(below), self.scalar(below)]
            if draw.random() < 0.2:
                sides.reverse()
            return f"({sides[0]} {compare}{bool_} {sides[1]})"
        if kind < 0.55:
            sides = [self.vector(below), self.scalar(below)]
            if draw.random() < 0.3:
                sides.reverse()
            return f"({sides[0]} {draw.choice('+-*/%')} {sides[1]})"
        if kind < 0.65:
            operator = draw.choice(("+", "-", "*", "/", ">", "<", "==", "> bool", "!= bool"))
            return f"({self.vector(below)} {operator} {self.matching()}{self.vector(below)})"
        if kind < 0.8:
            return (
                f"({self.vector(below)} {draw.choice(('and', 'or', 'unless'))} {self.matching()}{self.vector(below)})"
            )
        if kind < 0.86:
            return f"absent({self.selector()})"
        if kind < 0.88:
            return f"absent_over_time({self.selector(ranged=True)})"
        if kind < 0.9:
            return f"-{self.selector()}"
        if kind < 0.94:
            one = draw.choice(
                ("abs({})", "ceil({})", "floor({})", "clamp({}, -2, 5)", "clamp_min({}, 1)", "clamp_max({}, 4)")
            )
            return one.format(self.vector(below))
        if kind < 0.97:
            return f"(time() - {self.selector()})"
        return f"vector({self.scalar(below)})"

    def condition(self) -> str:
        """Mostly what alerts are made of: a comparison on top."""
        draw = self.draw
        kind = draw.random()
        if kind < 0.15:
            return f"{self.selector()} {draw.choice(('>', '<', '>=', '==', '!='))} {self.number()}"
        if kind < 0.25:
            return f"time() - {self.selector()} {draw.choice(('>', '>='))} {draw.choice((60, 300, 333.5, 900))}"
        if kind < 0.32:
            return f"{draw.choice(('rate', 'increase', 'changes'))}({self.selector(ranged=True)}) > {self.number()}"
        if kind < 0.37:
            return f"absent({self.selector()})"
        if kind < 0.43:
            return f"{self.metrics[-1]} {draw.choice(('>', '>=', '<'))} {draw.choice((60, 300, 333.5, 900, 2))}"
        if kind < 0.75:
            return f"{self.vector(2)} {draw.choice(('>', '<', '>=', '<=', '!='))} {self.scalar(1)}"
        return self.vector(draw.choice((1, 2, 3)))


def values(draw: random.Random, count: int) -> tuple[list[float | None], bool]:
    """Samples of one series, and whether they are those of a value that holds."""
    kind = draw.random()
    found: list[float | None] = []
    level: float = draw.choice((0, 0, 1, 3, 5, 100))
    held = kind < 0.55
    if draw.random() < 0.4:
        found += [None] * draw.randrange(1, count // 2)
    while len(found) < count:
        length = draw.choice((1, 2, 3, 5, 8, 20))
        step = draw.random()
        if kind < 0.25 or 0.55 <= kind < 0.75:  # a counter, now and then from zero again
            level = 0 if step < 0.1 else level + draw.choice((0, 0.25, 1, 2, 5))
            length = 1 if kind >= 0.55 else length
        elif step < 0.06:
            level = draw.choice((float("nan"), float("inf"), float("-inf")))
        else:
            level = draw.choice((0, 1, 2, 3, 5, 6, 7.25, 10, -1, 60.0 * len(found), 600))
        found += [level] * length
        end = draw.random()
        if end < 0.07:
            found += [STALE] + [None] * draw.choice((0, 1, 4, 6, 12))
        elif end < 0.2 and not held:
            found += [None] * draw.choice((1, 2, 4, 5, 6, 9))
    return found[:count], held


def in_any_order(expr: str) -> bool:
    """Whether the last digits of a value (or the sign of a zero) may hang on the order of series: promtool has none."""
    inexact = re.search(r"rate|increase|delta|avg_over_time|[/%*]", expr)
    return bool(re.search(r"\b(avg|min|max|r\d+)\b", expr) or (inexact and re.search(r"\bsum\b", expr)))


def case(seed: int, families: int, minutes: int) -> Case:
    """A case with `families` metrics and as many alerts, and a few recording rules that alerts read."""
    draw = random.Random(seed)
    spacing = MINUTE if seed % 4 else draw.choice((15_000, 20_000, 45_000))
    series: dict[Key, list[float | None]] = {}
    held: set[Key] = set()
    metrics = [f"m{index}" for index in range(families)]
    for metric in metrics:
        keys = [(a, b) for a in "xyz" for b in ("p", "q", "")]
        for a, b in draw.sample(keys, draw.choice((1, 1, 2, 3))):
            labels = tuple((k, v) for k, v in (("a", a), ("b", b)) if v)
            samples, holds = values(draw, minutes * MINUTE // spacing + 1)
            series[metric, labels] = samples
            if holds and spacing == MINUTE:
                held.add((metric, labels))
    recorded = [f"r{index}" for index in range(max(1, families // 6))]
    rules = []
    for index in range(families):
        near = draw.sample(metrics, min(3, len(metrics))) + ([draw.choice(recorded)] if draw.random() < 0.25 else [])
        if draw.random() < 0.02:
            near.append("ALERTS")
        make = Rules(draw, near)
        rule: dict[str, object] = {"alert": f"A{index}", "expr": make.condition()}
        if draw.random() < 0.6:
            rule["for"] = draw.choice(("1m", "2m", "90s", "5m", "10m"))
        if draw.random() < 0.4:
            rule["keep_firing_for"] = draw.choice(("1m", "3m", "150s", "15m"))
        if draw.random() < 0.3:
            rule["labels"] = {"severity": "warning", **({"b": "own"} if draw.random() < 0.3 else {})}
            if draw.random() < 0.2 and not in_any_order(str(rule["expr"])):
                rule["labels"] = {"level": "at {{ $value }}"}
        if not in_any_order(str(rule["expr"])):
            rule["annotations"] = {
                "summary": "{{ $labels.a }} has {{ $value }}",
                "age": "{{ $value | humanizeDuration }}",
            }
        rules.append(rule)
    for name in recorded:
        make = Rules(draw, draw.sample(metrics, 2))
        expr = make.vector(2)
        if draw.random() < 0.5:
            join = draw.choice(("and on () ", "unless on () ", "and on (a) "))
            expr = f"(time() - {make.selector()}) {join}{make.condition()}"
        rules.insert(draw.randrange(len(rules) + 1), {"record": name, "expr": expr})
    return Case(json.dumps({"groups": [{"name": "g", "rules": rules}]}), series, minutes, spacing, frozenset(held))


def without_failing(made: Case) -> Case:
    """The case without the rules that cannot be evaluated at some instant (two matches for one), or read those."""
    while True:
        engine = made.engine(every_minute=True)
        engine.advance(made.minutes * MINUTE)
        bad = {failure.rule for failure in engine.failures}
        if not bad:
            return made
        groups = json.loads(made.rules)
        rules = groups["groups"][0]["rules"]
        groups["groups"][0]["rules"] = [rule for rule in rules if rule.get("alert", rule.get("record")) not in bad]
        made.rules = json.dumps(groups)
