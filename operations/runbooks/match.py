"""Whether an output is the one that a step expects.

Invariant: every line of an output is accounted for. What the expectation does not mention is a mismatch, unless `...`
stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operations.runbooks.document import Branch, Condition, Expectation, Line, Step
from operations.runbooks.render import Refused, fill


@dataclass(frozen=True, slots=True)
class Output:
    """What a command answered: its exit status, and its text. `sent_at`: when it was sent, if whoever sent it says so;
    from then on an answer takes its time."""

    status: int
    text: str
    sent_at: int | None = None

    @property
    def lines(self) -> list[str]:
        """Its lines, without blanks at their ends: one at least, if an empty one. A last newline begins no line."""
        return [line.rstrip() for line in self.text.removesuffix("\n").split("\n")]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an output came to. `matched`: `expected`, `otherwise`, `branch N` (from 1) or `mismatch`; `why` one."""

    matched: str
    branch: Branch | None = None
    captured: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def ok(self) -> bool:
        return self.matched != "mismatch"


def judge(step: Step, output: Output, bindings: Mapping[str, str], took_ms: int) -> Judgement:
    """Branches first, from the top: the first whose condition holds is taken. If none does, the output has to be as
    expected, and `otherwise` is taken, or the next step. `took_ms`: how long the answer took."""
    try:
        return _judge(step, output, bindings, took_ms)
    except Refused as refused:
        return Judgement("mismatch", why=str(refused))


def _judge(step: Step, output: Output, bindings: Mapping[str, str], took_ms: int) -> Judgement:
    for number, branch in enumerate(step.branches, start=1):
        if branch.condition is not None and holds(branch.condition, output, bindings):
            return Judgement(f"branch {number}", branch)
    expected = step.expectation
    captured, missing = captures(expected, output, bindings)
    if output.status != expected.status:
        why = f"expected exit {expected.status}, got exit {output.status}: {_first(output)}"
    elif (unlike := first_unlike(expected.lines, output.lines, bindings)) is not None:
        why = unlike
    elif missing:
        why = f"nothing in the output is what capture {missing[0]} looks for"
    elif expected.every_s is None and took_ms > expected.within_s * 1000:
        why = f"expected within {expected.within_s}s, took {-(-took_ms // 1000)}s"
    else:
        otherwise = next((branch for branch in step.branches if branch.condition is None), None)
        return Judgement("expected" if otherwise is None else "otherwise", otherwise, captured)
    return Judgement("mismatch", why=why)


def holds(condition: Condition, output: Output, bindings: Mapping[str, str]) -> bool:
    """Whether a branch is to be taken. Raises Refused where a placeholder is not bound."""
    if output.status != condition.status:
        return False
    return condition.line is None or any(like(condition.line, text, bindings) for text in output.lines)


def captures(
    expected: Expectation, output: Output, bindings: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the captures find, and the names of those that find nothing."""
    found: dict[str, str] = {}
    missing = []
    for capture in expected.captures:
        pattern = re.compile(fill(capture.pattern, bindings, re.escape))
        for text in output.lines:
            hit = pattern.search(text)
            if hit and hit[1] is not None:
                found[capture.name] = hit[1]
                break
        else:
            missing.append(capture.name)
    return found, tuple(missing)


def like(line: Line, text: str, bindings: Mapping[str, str]) -> bool:
    """Whether one line of output is like the one expected. Globs know `*` and `?`, and nothing else."""
    if line.kind == "any":
        return True
    if line.kind == "line":
        return fill(line.text, bindings).rstrip() == text
    if line.kind == "regex":
        return re.fullmatch(fill(line.text, bindings, re.escape), text) is not None
    # A value is text even if it has a `*` in it: only the stars of the document are wild.
    parts = re.split(r"(\{[^{}]*\}|[*?])", line.text)
    wild = {"*": ".*", "?": "."}
    pattern = "".join(wild.get(part) or re.escape(fill(part, bindings)) for part in parts)
    return re.fullmatch(pattern, text) is not None


def first_unlike(lines: Sequence[Line], output: Sequence[str], bindings: Mapping[str, str]) -> str | None:
    """In words, the first line that is not as expected; None when all are."""
    dropped, added = align(lines, output, bindings)
    if not dropped and not added:
        return None
    at = min((n for n, _ in added), default=len(lines))
    if dropped and dropped[0] <= at:
        expected = lines[dropped[0]].text
        came = next((output[j] for n, j in added if n in (dropped[0], dropped[0] + 1)), None)
        return (
            f"expected {expected!r}, got {came!r}" if came is not None else f"expected {expected!r}, and it never came"
        )
    return f"got {output[added[0][1]]!r}, which was not expected"


def align(
    lines: Sequence[Line], output: Sequence[str], bindings: Mapping[str, str]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The cheapest way to make the expected lines into those that came: indexes of `lines` to drop,
    and (before which of `lines`, index in `output`) of what to add. Nothing of either: it is as expected.
    """
    rows, columns = len(lines), len(output)
    same = [[like(line, text, bindings) for text in output] for line in lines]
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            cost[i][j] = min((price for price, *_ in _moves(lines, same, cost, i, j, columns)), default=0)
    dropped: list[int] = []
    added: list[tuple[int, int]] = []
    i = j = 0
    while i < rows or j < columns:
        _, what, down, right = min(_moves(lines, same, cost, i, j, columns), key=lambda move: move[0])
        if what == "drop":
            dropped.append(i)
        elif what == "add":
            added.append((i, j))
        i, j = i + down, j + right
    return dropped, added


def _moves(
    lines: Sequence[Line], same: Sequence[Sequence[bool]], cost: Sequence[Sequence[int]], i: int, j: int, columns: int
) -> list[tuple[int, str, int, int]]:
    """From expected line i and output line j: (price of the whole way, what, lines down, outputs right)."""
    moves = []
    if i < len(lines):
        if lines[i].kind == "any":
            moves.append((cost[i + 1][j], "keep", 1, 0))
            if j < columns:
                moves.append((cost[i][j + 1], "absorb", 0, 1))
        else:
            if j < columns and same[i][j]:
                moves.append((cost[i + 1][j + 1], "keep", 1, 1))
            moves.append((cost[i + 1][j] + 1, "drop", 1, 0))
    if j < columns:
        moves.append((cost[i][j + 1] + 1, "add", 0, 1))
    return moves


def _first(output: Output) -> str:
    return output.lines[0] or "(no output)"
