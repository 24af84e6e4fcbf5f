"""HMAC-SHA256 (RFC 2104) under a key that signs or verifies many messages.

What depends on the key alone, its two padded blocks, is hashed once and copied for each message.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def signer(key: bytes) -> Callable[[bytes], bytes]:
    """A function that gives the authentication code of a message under `key`."""
    block = (key if len(key) <= BLOCK_BYTES else sha256(key).digest()).ljust(BLOCK_BYTES, b"\0")
    inner, outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def sign(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return sign
