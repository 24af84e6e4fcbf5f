"""Texts of labels and annotations: `{{ $labels.x }}`, `{{ $value }}`, and the value as a duration or percentage.

Invariant: a template that was compiled can be rendered for every element; what it reads is known beforehand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from operations.alerts.labels import number
from operations.alerts.located import nearest

_ACTION = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.([a-zA-Z_][a-zA-Z0-9_]*)")
_VALUES = ("$value", ".Value")


class TemplateError(Exception):
    """One mistake in a template: `position` is the index of the character where it stands."""

    def __init__(self, position: int, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.position, self.message, self.remedy = position, message, remedy


def _four_digits(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else number(value)


def humanize_duration(seconds: float) -> str:
    """1d 2h 3m 4s; below a minute with four digits, below a second with a prefix."""
    if not math.isfinite(seconds):
        return number(seconds)
    if abs(seconds) >= 1:
        sign, rest = ("-" if seconds < 0 else ""), int(abs(seconds))
        parts = (rest // 86_400, rest // 3_600 % 24, rest // 60 % 60, rest % 60)
        first = next((index for index, part in enumerate(parts[:3]) if part), 3)
        if first == 3:
            return f"{sign}{_four_digits(abs(seconds))}s"
        return sign + " ".join(f"{part}{unit}" for part, unit in list(zip(parts, "dhms", strict=True))[first:])
    prefix = ""
    for smaller in "munpfazy" if seconds else "":
        prefix = smaller
        seconds *= 1000
        if abs(seconds) >= 1:
            break
    return f"{_four_digits(seconds)}{prefix}s"


def humanize_percentage(share: float) -> str:
    return f"{_four_digits(share * 100)}%"


FORMATS: dict[str, Callable[[float], str]] = {
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
}


class Template(NamedTuple):
    """A compiled text: pieces that are literal, or a label's name, or how to write the value."""

    text: str
    pieces: tuple[str | tuple[str] | Callable[[float], str], ...]

    @property
    def reads_value(self) -> bool:
        return any(callable(piece) for piece in self.pieces)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(piece[0] for piece in self.pieces if isinstance(piece, tuple))

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """The text for an element; a label that it lacks is empty."""
        found = []
        for piece in self.pieces:
            if isinstance(piece, str):
                found.append(piece)
            elif isinstance(piece, tuple):
                found.append(labels.get(piece[0], ""))
            else:
                found.append(piece(value))
        return "".join(found)


def compile_template(text: str) -> Template:
    """Raises TemplateError at the first action that is not one of those above."""
    pieces: list[str | tuple[str] | Callable[[float], str]] = []
    at = 0
    for action in _ACTION.finditer(text):
        _literal(text, at, action.start(), pieces)
        at = action.end()
        body = action.group(2).strip()
        place = action.start()
        if action.group(1) or action.group(3):
            raise TemplateError(place, "`{{-` and `-}}` are not read here", "write `{{ … }}`")
        what, _, how = (part.strip() for part in body.partition("|"))
        label = _LABEL.fullmatch(what)
        if label is not None and not how:
            pieces.append((label.group(1),))
        elif what in _VALUES and not how:
            pieces.append(number)
        elif what in _VALUES and how in FORMATS:
            pieces.append(FORMATS[how])
        elif what in _VALUES:
            raise TemplateError(place, f"`{how}` is no way to write a value here",
                                nearest(how, FORMATS, f"there are {', '.join(FORMATS)}"))  # fmt: skip
        else:
            remedy = nearest(what, ("$value", "$labels.x"), "write {{ $value }} or {{ $labels.NAME }}")
            raise TemplateError(place, f"`{{{{ {body} }}}}` is no template action that is read here", remedy)
    _literal(text, at, len(text), pieces)
    return Template(text, tuple(pieces))


def _literal(text: str, start: int, end: int, pieces: list[str | tuple[str] | Callable[[float], str]]) -> None:
    opened = text.find("{{", start, end)
    if opened >= 0:
        raise TemplateError(opened, "`{{` is not closed", "close it with `}}`")
    if end > start:
        pieces.append(text[start:end])
