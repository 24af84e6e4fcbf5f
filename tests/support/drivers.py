"""One bench for both drivers: what the Driver protocol promises is tested on the kernel and on asyncio alike."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from evidence.journal import JournalWriter
from seams.draws import Draws
from simulator.driver import Driver, Life
from simulator.kernel import DeadIncarnationError, Kernel
from staging.asyncio_driver import AsyncioDriver, DeadLifeError
from tests.support.jump_loop import JumpLoop

T = TypeVar("T")

HOUR_MS = 3_600_000
STARTS_AT = 1_799_020_800_000
"""2027-01-04 00:00 UTC, a whole hour."""
KEY = "00" * 16
DEAD = (DeadIncarnationError, DeadLifeError)


class Disk(io.BytesIO):
    full = False

    def write(self, data: Any) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(data)


class Bench:
    """A driver without a world, and what it wrote. Times are given and told in milliseconds since STARTS_AT."""

    driver: Driver

    def __init__(self) -> None:
        self.stream = Disk()
        self.journal = JournalWriter(self.stream)
        self.failures: list[tuple[str, Exception]] = []

    @property
    def now(self) -> int:
        return self.driver.runtime.now() - STARTS_AT

    def run_until(self, at: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def do(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` gives within an hour, or raises, when a task of the world makes it."""
        ends: list[tuple[bool, Any]] = []

        async def main() -> None:
            try:
                ends.append((True, await call()))
            except Exception as error:
                ends.append((False, error))

        self.driver.runtime.spawn(main(), "main")
        self.run_until(self.now + HOUR_MS)
        (end,) = ends
        if end[0]:
            return end[1]  # type: ignore[no-any-return]
        raise end[1]

    async def sleep_until(self, at: int) -> None:
        await self.driver.runtime.sleep_until(STARTS_AT + at)

    def crash(self, life: Life, at: int) -> None:
        """Have the world kill `life` at `at`."""

        async def kill() -> None:
            await self.sleep_until(at)
            life.kill()

        self.driver.runtime.spawn(kill(), "crash")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def causes(self) -> dict[str, str | None]:
        """The subject of each event -> the subject of the event that caused it."""
        subjects = {event["id"]: event["subject"] for event in self.events()}
        return {event["subject"]: subjects.get(event["cause"]) for event in self.events()}

    def _failed(self, life: Life, error: Exception) -> None:
        self.failures.append((life.name, error))
        self.driver.record("test", "failed", f"{life.name} failed")


class KernelBench(Bench):
    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self.kernel = Kernel(Draws(key), self.journal, STARTS_AT)
        self.kernel.on_failure = self._failed
        self.driver = self.kernel

    def run_until(self, at: int) -> None:
        self.kernel.run(until=STARTS_AT + at)

    def close(self) -> None:
        pass


class AsyncioBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.loop = JumpLoop()
        self.asyncio = AsyncioDriver(self.loop, self.journal, STARTS_AT)
        self.asyncio.on_failure = self._failed
        self.driver = self.asyncio

    def run_until(self, at: int) -> None:
        self.asyncio.run(STARTS_AT + at)

    def close(self) -> None:
        self.asyncio.close()
        self.loop.close()


BENCHES: dict[str, Callable[[], Bench]] = {"simpy": KernelBench, "asyncio": AsyncioBench}
