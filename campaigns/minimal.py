"""The fewest of many things with which something still happens.

Invariant: what is returned makes it happen, and with any single item less it does not: that was tried.

Delta debugging (Zeller and Hildebrandt, 2002) as a search for prefixes: the last item of the shortest prefix that does
it is needed, and nothing behind it is. With k of n items needed that takes about k log n trials; ddmin takes nearly
twice as many for two items or more (docs/shrink.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def minimal(items: Sequence[Item], happens: Callable[[tuple[Item, ...]], bool]) -> tuple[Item, ...]:
    """The items that are needed, in the order of `items`: the likeliest first is soonest done.

    `happens` has to be true of all `items`, and to answer the same when it is asked again; it is asked about the same
    items more than once, always in their order.
    """

    def does(chosen: Sequence[int]) -> bool:
        return happens(tuple(items[place] for place in sorted(chosen)))

    needed: list[int] = []
    rest = list(range(len(items)))
    while not does(needed):
        shortest = _shortest(len(rest), lambda length: does([*needed, *rest[:length]]))
        needed.append(rest[shortest - 1])
        del rest[shortest - 1 :]
    return tuple(items[place] for place in sorted(_none_to_spare(needed, does)))


def _shortest(longest: int, does: Callable[[int], bool]) -> int:
    """A length from 1 to `longest` that does it while the one before it does not, given that `longest` does and 0 does
    not. In steps that double, for what is needed is likely to stand in front; then by halves."""
    fails, enough, step = 0, longest, 1
    while fails + step < enough:
        if does(fails + step):
            enough = fails + step
        else:
            fails, step = fails + step, 2 * step
    while enough - fails > 1:
        middle = (fails + enough) // 2
        if does(middle):
            enough = middle
        else:
            fails = middle
    return enough


def _none_to_spare(needed: list[int], does: Callable[[Sequence[int]], bool]) -> list[int]:
    """What was needed beside others need not be so without them: one is left out after the other, until none can be."""
    while True:
        spare = next((one for one in needed if does([other for other in needed if other != one])), None)
        if spare is None:
            return needed
        needed = [other for other in needed if other != spare]
