"""Keyed draws: chance as a pure function of (root key, site, entity, occurrence), in integer arithmetic only.

A new draw in one place moves no other, and no draw depends on the machine's libm, hash seed or library versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): 64 bits in, 64 well-mixed bits out."""
    x &= _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class Draws:
    """Draws under one root key. `site` names the decision, `parts` whom it is about and which occurrence it is."""

    __slots__ = ("_bits", "_hex", "_key")

    def __init__(self, root_key: str) -> None:
        self._key = key = bytes.fromhex(root_key)
        # Keyed once: to copy a hash costs less than to make one.
        self._bits = blake2b(digest_size=8, key=key)
        self._hex = blake2b(digest_size=12, key=key)

    def bits(self, site: str, *parts: object) -> int:
        """64 bits. Parts are joined by a byte that no id holds, so ("a", "bc") and ("ab", "c") differ."""
        keyed = self._bits.copy()
        keyed.update((site + "\x1f%s" * len(parts) % parts).encode())
        return int.from_bytes(keyed.digest(), "big")

    def hex(self, site: str, *parts: object) -> str:
        """96 bits as 24 hexadecimal digits: for identifiers."""
        keyed = self._hex.copy()
        keyed.update((site + "\x1f%s" * len(parts) % parts).encode())
        return keyed.hexdigest()

    def below(self, n: int, site: str, *parts: object) -> int:
        """An integer in [0, n); the bias of at most n / 2**64 is accepted."""
        if n <= 0:
            raise ValueError(f"nothing to draw from at {site}: n = {n}")
        return (self.bits(site, *parts) * n) >> 64

    def between(self, low: int, high: int, site: str, *parts: object) -> int:
        """An integer in [low, high], both included."""
        if high < low:
            raise ValueError(f"nothing to draw from at {site}: {low} to {high}")
        return low + ((self.bits(site, *parts) * (high - low + 1)) >> 64)

    def choice(self, options: Sequence[T], site: str, *parts: object) -> T:
        return options[self.below(len(options), site, *parts)]

    def weighted(self, options: Sequence[tuple[T, int]], site: str, *parts: object) -> T:
        """One of `options`, each an (option, integer weight)."""
        point = self.below(sum(weight for _, weight in options), site, *parts)
        for option, weight in options:
            if point < weight:
                return option
            point -= weight
        raise AssertionError("unreachable: the point lies below the sum of the weights")

    def shuffled(self, items: Sequence[T], site: str, *parts: object) -> list[T]:
        """All items, in an order drawn by position (ties of 64-bit keys fall back to position)."""
        seed = self.bits(site, *parts)
        return [items[i] for i in sorted(range(len(items)), key=lambda i: (mix(seed + i * GOLDEN), i))]

    def derive(self, site: str, *parts: object) -> Draws:
        """Draws under a key of their own."""
        text = site + "\x1f%s" * len(parts) % parts
        return Draws(blake2b(text.encode(), digest_size=16, key=self._key).hexdigest())
