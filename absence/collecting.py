"""When Python looks for cyclic garbage: seldom, for a run makes many small objects, keeps most and ties few in knots.

Memory stays bounded: what is no longer referred to goes at once, and cycles go when enough has piled up.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = 1_000
"""How many times as much has to pile up as usual. At 100 times the field, a run takes no more memory with 1,000 than with
100 (measured)."""


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


@contextmanager
def rarely() -> Iterator[None]:
    """Collect a thousandth as often here."""
    thresholds = gc.get_threshold()
    gc.set_threshold(thresholds[0] * RARELY, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
