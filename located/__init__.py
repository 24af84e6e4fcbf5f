"""Mistakes in files that people write, each with its place, and YAML read so that every value knows where it stood.

Invariant: whoever finds mistakes collects all of them and raises once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Located:
    """An error at a place: `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class Invalid(Exception):
    """A file cannot be used; `errors` says everything that is wrong with it, in the order of the file."""

    def __init__(self, errors: Sequence[Located]) -> None:
        self.errors = sorted(errors, key=lambda e: (e.file, e.line, e.column, e.message))
        super().__init__("\n".join(map(str, self.errors)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the closest of `known`, or nothing when none is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
