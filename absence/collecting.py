"""When Python looks for cyclic garbage: seldom, for a run makes many small objects, keeps most and ties few in knots.

Memory stays bounded: what is no longer referred to goes at once, and cycles go when enough has piled up.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

PILED_UP = 700_000
"""So many objects make it look, of those made and still there: a thousand times as many as Python's own rule has it. At
100 times the field, a run takes no more memory than with a hundred times as many (measured)."""


@contextmanager
def to_stay() -> Iterator[None]:
    """What is made here (modules, the plan) is not garbage: looking for some among it would cost a fifth of the time
    that it takes to make."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def rarely() -> None:
    """From here on, this process looks for garbage rarely."""
    gc.set_threshold(PILED_UP)
