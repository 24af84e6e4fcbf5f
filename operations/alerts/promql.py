"""Reads the part of PromQL that operational rules need: text → tree, every node with its place and type.

Invariant: a tree that is returned has a meaning: its types fit, and all of it can be evaluated.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from operations.alerts.labels import LABEL_NAME, METRIC_NAME, NAME, duration_ms
from operations.alerts.located import nearest
from operations.alerts.matchers import Matcher, regex_fault
from operations.alerts.tree import (
    AGGREGATIONS,
    COMPARISONS,
    FUNCTIONS,
    SET_OPERATORS,
    Aggregation,
    Binary,
    Call,
    Expr,
    Negation,
    Number,
    Selector,
    Text,
    Type,
)

_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_UNARY = 6
_NOT_READ = {
    "^": "write the power as a product", "atan2": "operational rules need no angles",
    "group_left": "aggregate the many side first, then match one to one",
    "group_right": "aggregate the many side first, then match one to one",
    "[:]": "give the inner expression a name with a recording rule, and take the range of that", "@": "leave it out",
}  # fmt: skip
_KINDS: dict[Type, str] = {
    "scalar": "a scalar", "vector": "an instant vector", "range": "a range vector", "string": "text",
}  # fmt: skip


class PromqlError(Exception):
    """One mistake in an expression: `position` is the index of the character where it stands."""

    def __init__(self, position: int, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.position, self.message, self.remedy = position, message, remedy


def parse(text: str) -> Expr:
    """The tree of an expression. Raises PromqlError at the first thing that cannot be read or has no meaning."""
    return _Parser(text).whole()


class _Token(NamedTuple):
    kind: str  # number, duration, text, word, symbol, end
    text: str
    position: int


_TOKENS = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![a-zA-Z0-9_.]))
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    |(?P<symbol>=~|!~|==|!=|<=|>=|[-+*/%^=<>(){}\[\],:@])""",
    re.VERBOSE,
)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            if text[at] in "\"'`":
                raise PromqlError(at, "this text has no end", f"close it with {text[at]}")
            raise PromqlError(at, f"`{text[at:].split()[0]}` is nothing that PromQL has", "take it out")
        kind = match.lastgroup or ""
        if kind != "blank":
            found.append(_Token(kind, match.group(), at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip


def _unquoted(token: _Token) -> str:
    body = token.text[1:-1]
    if token.text[0] == "`":
        return body

    def escape(match: re.Match[str]) -> str:
        char = match.group(1)
        if char not in _ESCAPES or (char in "'\"" and char != token.text[0]):
            raise PromqlError(
                token.position + 1 + match.start(),
                f"`\\{char}` is no escape in a PromQL text",
                f"write `\\\\{char}` for a backslash, or the text in backquotes",
            )
        return _ESCAPES[char]

    return re.sub(r"\\(.)", escape, body)


@dataclass(slots=True, eq=False, repr=False)
class _Parser:
    text: str
    tokens: list[_Token] = field(init=False)
    index: int = 0

    def __post_init__(self) -> None:
        self.tokens = _tokens(self.text)

    # --- the stream -----------------------------------------------------------------------------------------------

    @property
    def next(self) -> _Token:
        return self.tokens[self.index]

    def take(self) -> _Token:
        token = self.tokens[self.index]
        self.index += token.kind != "end"
        return token

    def have(self, *texts: str) -> bool:
        return self.next.kind in ("symbol", "word") and self.next.text.lower() in texts

    def expect(self, symbol: str, where: str) -> _Token:
        if not self.have(symbol):
            raise self.unexpected(f"`{symbol}` {where}")
        return self.take()

    def unexpected(self, wanted: str) -> PromqlError:
        token = self.next
        found = "the expression ends" if token.kind == "end" else f"`{token.text}` stands"
        not_read = _NOT_READ.get(token.text.lower())
        if not_read is not None:
            return PromqlError(token.position, f"`{token.text}` is PromQL that is not evaluated here", not_read)
        return PromqlError(token.position, f"{found} where {wanted} is expected", "complete or remove what is there")

    # --- expressions ----------------------------------------------------------------------------------------------

    def whole(self) -> Expr:
        if self.next.kind == "end":
            raise PromqlError(0, "there is no expression", "write one")
        expr = self.binary(1)
        if self.next.kind != "end":
            raise self.unexpected("an operator or the end")
        return expr

    def binary(self, lowest: int) -> Expr:
        left = self.unary()
        while True:
            token = self.next
            operator = token.text.lower()
            power = _PRECEDENCE.get(operator, 0) if token.kind in ("symbol", "word") else 0
            if power < lowest or power == 0:
                if token.kind in ("symbol", "word") and operator in ("^", "atan2", "@"):
                    raise self.unexpected("an operator")
                return left
            self.take()
            returns_bool = self.bool_modifier(operator)
            on, labels = self.matching()
            right = self.binary(power + 1)
            left = _typed(Binary(token.position, operator, left, right, returns_bool, on, labels))

    def bool_modifier(self, operator: str) -> bool:
        if not self.have("bool"):
            return False
        token = self.take()
        if operator not in COMPARISONS:
            raise PromqlError(token.position, "`bool` is for comparisons only", "remove it")
        return True

    def matching(self) -> tuple[bool | None, tuple[str, ...]]:
        on: bool | None = None
        labels: tuple[str, ...] = ()
        if self.have("on", "ignoring"):
            on = self.take().text.lower() == "on"
            labels = self.label_list()
        if self.have("group_left", "group_right"):
            raise self.unexpected("an operand")
        return on, labels

    def unary(self) -> Expr:
        if not self.have("-", "+"):
            return self.postfix()
        token = self.take()
        argument = self.binary(_UNARY)
        if argument.type not in ("scalar", "vector"):
            raise _misfit(argument, "`-` and `+` are for scalars and instant vectors")
        if token.text == "+":
            return argument
        if isinstance(argument, Number):
            return Number(token.position, -argument.value)
        return Negation(token.position, argument)

    def postfix(self) -> Expr:
        expr = self.primary()
        while True:
            if self.have("["):
                expr = self.range(expr)
            elif self.have("offset"):
                expr = self.offset(expr)
            else:
                return expr

    def range(self, expr: Expr) -> Expr:
        bracket = self.take()
        if not isinstance(expr, Selector) or expr.range_ms is not None or expr.offset_ms:
            raise PromqlError(bracket.position, "a range is taken of a selector only", _NOT_READ["[:]"])
        length = self.duration("the length of the range, like 5m,")
        if self.next.text.startswith(":"):
            raise PromqlError(self.next.position, "a subquery is PromQL that is not evaluated here", _NOT_READ["[:]"])
        self.expect("]", "after the length of the range")
        if length <= 0:
            raise PromqlError(bracket.position, "a range of no length", "give it a length, like [5m]")
        return Selector(expr.position, expr.name, expr.matchers, length)

    def offset(self, expr: Expr) -> Expr:
        word = self.take()
        if not isinstance(expr, Selector):
            raise PromqlError(word.position, "an offset is given to a selector only", "move it to the selector")
        if expr.offset_ms:
            raise PromqlError(word.position, "an offset is given once only", "remove one of them")
        negative = self.have("-")
        if negative:
            raise PromqlError(self.next.position, "a negative offset looks into the future", "no rule can: remove it")
        length = self.duration("the offset, like 5m,")
        return Selector(expr.position, expr.name, expr.matchers, expr.range_ms, length)

    def duration(self, what: str) -> int:
        token = self.next
        length = duration_ms(token.text) if token.kind == "duration" else None
        if length is None:
            raise (
                self.unexpected(what)
                if token.kind != "duration"
                else PromqlError(
                    token.position,
                    f"`{token.text}` is no duration",
                    "write its units from the largest down, like 1h30m",
                )
            )
        self.take()
        return length

    def primary(self) -> Expr:
        token = self.next
        if token.kind == "number":
            self.take()
            hexadecimal = token.text[:2].lower() == "0x"
            return Number(token.position, float(int(token.text, 16)) if hexadecimal else float(token.text))
        if token.kind == "text":
            self.take()
            return Text(token.position, _unquoted(token))
        if self.have("("):
            self.take()
            expr = self.binary(1)
            self.expect(")", "to close the bracket")
            return expr
        if self.have("{"):
            return self.selector("", token.position)
        if token.kind == "word":
            return self.word()
        raise self.unexpected("an expression")

    def word(self) -> Expr:
        token = self.take()
        lower = token.text.lower()
        if lower in ("inf", "nan"):
            return Number(token.position, math.inf if lower == "inf" else math.nan)
        if lower in AGGREGATIONS and self.have("(", "by", "without"):
            return self.aggregation(token)
        if self.have("("):
            return self.call(token)
        if lower in (*SET_OPERATORS, "by", "without", "on", "ignoring", "bool", "offset"):
            raise PromqlError(token.position, f"`{token.text}` stands where an expression is expected", "complete it")
        return self.selector(token.text, token.position)

    def aggregation(self, token: _Token) -> Expr:
        by, labels = self.grouping() or (None, ())
        self.expect("(", f"after `{token.text}`")
        argument = self.binary(1)
        self.expect(")", f"to close `{token.text}(`")
        if by is None:
            by, labels = self.grouping() or (True, ())
        if argument.type != "vector":
            raise _misfit(argument, f"`{token.text}` aggregates an instant vector")
        return Aggregation(token.position, token.text.lower(), labels, by, argument)

    def grouping(self) -> tuple[bool, tuple[str, ...]] | None:
        if not self.have("by", "without"):
            return None
        by = self.take().text.lower() == "by"
        return by, self.label_list()

    def label_list(self) -> tuple[str, ...]:
        self.expect("(", "before the list of labels")
        names: list[str] = []
        while not self.have(")"):
            token = self.take()
            if token.kind not in ("word", "duration") or LABEL_NAME.fullmatch(token.text) is None:
                raise PromqlError(token.position, f"`{token.text}` is no label name", "name labels, split by commas")
            names.append(token.text)
            if not self.have(")"):
                self.expect(",", "between two labels")
        self.take()
        return tuple(names)

    def call(self, token: _Token) -> Expr:
        if token.text not in FUNCTIONS:
            known = (*FUNCTIONS, *AGGREGATIONS)
            remedy = nearest(token.text, known, f"there are {', '.join(sorted(known))}")
            raise PromqlError(token.position, f"`{token.text}` is no function that is evaluated here", remedy)
        self.take()
        arguments: list[Expr] = []
        while not self.have(")"):
            arguments.append(self.binary(1))
            if not self.have(")"):
                self.expect(",", "between two arguments")
        self.take()
        wanted = FUNCTIONS[token.text][0]
        if len(arguments) != len(wanted):
            message = f"`{token.text}` has {len(wanted)} arguments, not {len(arguments)}"
            kinds = ", ".join(_KINDS[kind] for kind in wanted)
            raise PromqlError(token.position, message, f"give it {kinds or 'none'}")
        for argument, kind in zip(arguments, wanted, strict=True):
            if argument.type != kind:
                raise _misfit(argument, f"`{token.text}` wants {_KINDS[kind]} here")
        return Call(token.position, token.text, tuple(arguments))

    def selector(self, name: str, position: int) -> Expr:
        matchers: list[Matcher] = []
        if name:
            matchers.append(Matcher(NAME, "=", name))
        if self.have("{"):
            self.take()
            while not self.have("}"):
                matchers.append(self.matcher(bool(name)))
                if not self.have("}"):
                    self.expect(",", "between two label matchers")
            self.take()
        if all(matcher.accepts("") for matcher in matchers):
            raise PromqlError(position, "this selects every series there is", "name a metric or give a label a value")
        return Selector(position, name, tuple(matchers))

    def matcher(self, named: bool) -> Matcher:
        label = self.take()
        if label.kind not in ("word", "duration") or LABEL_NAME.fullmatch(label.text) is None:
            raise PromqlError(label.position, f"`{label.text}` is no label name", 'write label="value"')
        if label.text == NAME and named:
            raise PromqlError(label.position, "the metric has its name already", "remove one of the two")
        if not self.have("=", "!=", "=~", "!~"):
            raise self.unexpected("one of = != =~ !~")
        operator = self.take().text
        token = self.next
        if token.kind != "text":
            raise PromqlError(token.position, f"the value of {label.text} is no text", 'write it in quotes: "…"')
        self.take()
        value = _unquoted(token)
        fault = regex_fault(value) if operator in ("=~", "!~") else None
        if fault is not None:
            raise PromqlError(token.position, f"`{value}` is no regular expression that is read here: {fault}",
                              "use the syntax that RE2 and Python share")  # fmt: skip
        return Matcher(label.text, operator, value)


def _misfit(expr: Expr, wanted: str) -> PromqlError:
    remedies: dict[tuple[Type, bool], str] = {
        ("range", False): "put it into a function like rate(…) or max_over_time(…)",
        ("vector", True): "give its selector a range, like [5m]",
        ("scalar", False): "put it into vector(…)",
        ("vector", False): "put it into scalar(…)",
    }
    remedy = remedies.get((expr.type, "range" in wanted), "write an expression of that type")
    return PromqlError(expr.position, f"{wanted}, and this is {_KINDS[expr.type]}", remedy)


def _typed(expr: Binary) -> Binary:
    for side in (expr.left, expr.right):
        if side.type not in ("scalar", "vector"):
            raise _misfit(side, f"`{expr.operator}` is for scalars and instant vectors")
        if expr.operator in SET_OPERATORS and side.type != "vector":
            raise _misfit(side, f"`{expr.operator}` is for instant vectors")
    scalars = [side for side in (expr.left, expr.right) if side.type == "scalar"]
    if len(scalars) == 2 and expr.operator in COMPARISONS and not expr.as_bool:
        remedy = f"write `{expr.operator} bool`, or put one side into vector(…)"
        raise PromqlError(expr.position, "a comparison of two scalars has nothing to filter", remedy)
    if scalars and expr.on is not None:
        raise PromqlError(expr.position, "`on` and `ignoring` match two instant vectors", "remove them")
    return expr


def is_metric_name(text: str) -> bool:
    return METRIC_NAME.fullmatch(text) is not None
