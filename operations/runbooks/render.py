"""From a template and its bindings to what is sent.

Invariant: what is sent is the template with every placeholder replaced, and has the arguments of the template: no value
can split one or add one. Nothing here knows a shell, because none is ever asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PROGRAM = "opsctl"
PLACEHOLDER = re.compile(r"\{((?:alert\.)?[A-Za-z_][A-Za-z0-9_]*)\}")
"""`{alert.label}` or `{captured_name}`. A quantifier of a regular expression, `{3}`, is none."""
_VALUE = re.compile(r"[A-Za-z0-9_.:/@+,=%~-]{1,200}")
_FORBIDDEN = re.compile(r"[|&;<>$`\\'#()\x00-\x1f\x7f]")
_TOKEN = re.compile(r'"(?P<quoted>[^"]*)"|(?P<plain>[^ "]+)')


class TemplateInvalid(ValueError):
    """A line is no command: `offset` (from 0) says where in it."""

    def __init__(self, offset: int, message: str) -> None:
        self.offset = offset
        super().__init__(message)


class Refused(Exception):
    """A binding is missing, or would change the arguments."""


@dataclass(frozen=True, slots=True)
class Token:
    """One argument, without its quotes, and where in the template it begins (from 0)."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """`argv`: the arguments after `opsctl`. `sent`: the whole line, in UTF-8."""

    argv: tuple[str, ...]
    sent: bytes


def tokens(template: str) -> list[Token]:
    """The arguments of a command line, `opsctl` first. Raises TemplateInvalid."""
    forbidden = _FORBIDDEN.search(template)
    if forbidden:
        raise TemplateInvalid(
            forbidden.start(), f"{forbidden[0]!r} has no place in a command: there is no shell, pipe or redirection"
        )
    found: list[Token] = []
    offset = 0
    while offset < len(template):
        token = _TOKEN.match(template, offset)
        if token is None:
            reason = "this quote is not closed" if template[offset] == '"' else "arguments are parted by one blank"
            raise TemplateInvalid(offset, reason)
        found.append(Token(token["plain"] if token["quoted"] is None else token["quoted"], offset))
        offset = token.end()
        if offset < len(template):
            if template[offset] != " ":
                raise TemplateInvalid(offset, "a quoted argument stands in quotes from its beginning to its end")
            offset += 1
            if offset == len(template):
                raise TemplateInvalid(offset - 1, "the line ends in a blank")
    for brace in re.finditer(r"[{}]", PLACEHOLDER.sub(lambda m: "_" * len(m[0]), template)):
        raise TemplateInvalid(
            brace.start(), "a placeholder is {alert.LABEL} or {NAME}, with letters, digits and underscores"
        )
    if not found or found[0].text != PROGRAM:
        raise TemplateInvalid(0, f"a command is one line that begins with {PROGRAM}")
    return found


def placeholders(text: str) -> list[tuple[str, int]]:
    """The names that `text` has to be given, and where each placeholder begins (from 0)."""
    return [(found[1], found.start()) for found in PLACEHOLDER.finditer(text)]


def fill(text: str, bindings: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """`text` with every placeholder replaced. Raises Refused where a binding is missing."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in bindings:
            raise Refused(f"nothing has been bound to {{{found[1]}}}")
        return escape(bindings[found[1]])

    return PLACEHOLDER.sub(value, text)


def render(template: str, bindings: Mapping[str, str]) -> Rendered:
    """What is sent for `template`. Raises Refused for a binding that is missing, or that would split or add an
    argument; TemplateInvalid for what is no command."""
    split = tokens(template)
    for token in split:
        for name, offset in placeholders(token.text):
            value = bindings.get(name, "-")
            if name in bindings and not _VALUE.fullmatch(value):
                raise Refused(f"{{{name}}} is {value[:80]!r}, which is not one plain argument")
            if name in bindings and offset == 0 and value.startswith("-"):
                raise Refused(f"{{{name}}} is {value!r}, which would be an option of its own")
    argv = tuple(fill(token.text, bindings) for token in split[1:])
    return Rendered(argv, fill(template, bindings).encode())
