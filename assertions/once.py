"""Work done once per evidence: indexes that several assertions share.

Invariant: what is kept lives as long as its evidence and no longer, so a builder holds the evidence weakly or not at
all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from evidence.run import Evidence

T = TypeVar("T")

_DONE: WeakKeyDictionary[Evidence, dict[Callable[..., Any], Any]] = WeakKeyDictionary()


def once(evidence: Evidence, build: Callable[[Evidence], T]) -> T:
    """What `build` makes of this evidence: built when first asked for. A build that raises is tried again."""
    done = _DONE.setdefault(evidence, {})
    if build not in done:
        done[build] = build(evidence)
    made: T = done[build]
    return made
