"""An asyncio event loop whose clock jumps to the next timer when everything waits (after Trio's MockClock).

Time stands still while code runs and is whole milliseconds throughout: a merely accelerated clock would let time-outs
fire because the machine was slow.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class JumpLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_ms = 0
        super().__init__(_JumpSelector(self))
        # asyncio runs a timer that lies before now plus this. Half a year in, the 1 ns that it has set is less than the
        # precision of a double, and a timer that is due would never run.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now_ms / 1000


class _JumpSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready now. With nothing ready, `timeout` seconds pass at once."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise RuntimeError("everything waits and no timer is set: this would wait for ever")
        self._loop.now_ms += max(1, round(timeout * 1000))
        return ready
