"""What would have to stand in a runbook for its step to have been as expected: a patch that a reviewer can read.

Invariant: with the patch applied, the step takes the output that came as the expected one, unless a branch takes it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from operations.runbooks.document import Runbook, Step
from operations.runbooks.match import Output, align, captures
from operations.runbooks.problems import Place
from operations.runbooks.render import PLACEHOLDER
from operations.runbooks.syntax import read_line

_EXIT = re.compile(r"\s*exit +\d+\s*$")
_WITHIN = re.compile(r"(\s*within +)\d+s(.*)$")


def as_it_came(runbook: Runbook, step: Step, output: Output, bindings: Mapping[str, str], took_ms: int) -> str:
    """A unified diff of the document, in which the expectation of `step` is what `output` really was."""
    expected = step.expectation
    dropped, added = align(expected.lines, output.lines, bindings)
    _, missing = captures(expected, output, bindings)
    before = runbook.source.split("\n")
    indent = " " * (expected.place.column - 1)
    gone = {expected.lines[index].place.line for index in dropped}
    gone |= {capture.place.line for capture in expected.captures if capture.name in missing}
    insert: dict[int, list[str]] = {}
    lines_end = max((line.place.line for line in expected.lines), default=expected.place.line)
    for index, which in added:
        at = expected.lines[index].place.line if index < len(expected.lines) else lines_end + 1
        insert.setdefault(at, []).append(indent + as_line(output.lines[which]))
    if output.status != expected.status:
        gone |= {n for n in range(expected.place.line + 1, expected.ends) if _EXIT.match(before[n - 1])}
        insert.setdefault(expected.ends, []).append(f"{indent}exit {output.status}")
    if expected.every_s is None and took_ms > expected.within_s * 1000:
        said = [n for n in range(expected.place.line + 1, expected.ends) if _WITHIN.match(before[n - 1])]
        gone |= set(said)
        rest = "".join(found[2] for n in said if (found := _WITHIN.match(before[n - 1])))
        insert.setdefault(expected.ends, []).append(f"{indent}within {-(-took_ms // 1000)}s{rest}")
    after: list[str] = []
    for number, text in enumerate(before, start=1):
        after += insert.get(number, [])
        if number not in gone:
            after.append(text)
    return _diff(runbook.file, before, after)


def as_line(text: str) -> str:
    """A line of output in the words of an `expect` block: itself, where it can be taken for nothing else."""
    if PLACEHOLDER.search(text):
        return "regex: " + re.escape(text)
    read = read_line(text, Place("", 1), lambda *_: None)
    plain = read is not None and read.kind == "line" and read.text == text
    plain = plain and text not in ("", "...") and "```" not in text
    return text if plain else f"line: {text}".rstrip()


def _diff(file: str, before: list[str], after: list[str]) -> str:
    """Lines are parted by newlines alone: an output may hold other characters that Python would break lines at."""
    if before[-1] == "":  # what comes after the last newline is no line
        before, after = before[:-1], after[:-1]
    names = (f"a/{file}", f"b/{file}")
    return "".join(f"{line}\n" for line in difflib.unified_diff(before, after, *names, lineterm=""))
