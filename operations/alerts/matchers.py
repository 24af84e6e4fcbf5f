"""Label matchers: = != =~ !~.

Invariant: a regular expression matches the whole value, and one that RE2 and Python might read differently is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from operations.alerts.labels import Labels

# groups of Python that RE2 lacks, back references, possessive quantifiers, POSIX and Unicode classes, \Q…\E
_UNSHARED = re.compile(r"\(\?(?![:imsP]|[ims]+[):])|\(\?P[^<]|\\[1-9]|[*+?}]\+|\[\[:|\\[pPQEzZCGKXRhHN]")


def regex_fault(pattern: str) -> str | None:
    """Why a pattern is not read here; None where it is."""
    unshared = _UNSHARED.search(pattern)
    if unshared is not None:
        return f"`{unshared.group()}`"
    try:
        re.compile(pattern, re.ASCII)
    except re.error as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Matcher:
    """`label operator "value"`; a label that a series lacks has the value ""."""

    label: str
    operator: str
    value: str
    _regex: re.Pattern[str] | None = field(init=False, compare=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.operator in ("=~", "!~"):
            object.__setattr__(self, "_regex", re.compile(self.value, re.ASCII))

    def accepts(self, value: str) -> bool:
        if self._regex is not None:
            return (self._regex.fullmatch(value) is not None) == (self.operator == "=~")
        return (value == self.value) == (self.operator == "=")


def accept(matchers: tuple[Matcher, ...], labels: Labels) -> bool:
    found = dict(labels)
    return all(matcher.accepts(found.get(matcher.label, "")) for matcher in matchers)
