"""Mistakes in rule files, each with its place and what to do about it.

Invariant: whoever finds mistakes collects all of them and raises once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Mistake(NamedTuple):
    """A mistake at a place: `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}; {self.remedy}"


class RulesInvalid(Exception):
    """Rule files cannot be used; `mistakes` says everything that is wrong with them, in the order of the files."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy: the closest of `known`, or `otherwise` when none is close."""
    import difflib  # needed by nobody whose files are in order, and slow to load

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else otherwise
