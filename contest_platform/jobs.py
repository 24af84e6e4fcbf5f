"""Background jobs on a grid: a job acts only at multiples of its period, and sleeps through those without work.

The effects are those of a job that ticks at every instant of its grid; only the idle ticks are left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contest_platform.metrics import count_failure
from contest_platform.ports import PortError, Ports, StoreBusy

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Job:
    """`due` gives the earliest instant at which there can be work (now or past: at once), or None until notified.
    `topic` is notified by whoever makes work appear earlier than that."""

    name: str
    topic: str
    period_ms: int
    due: Callable[[], Awaitable[int | None]]
    work: Callable[[], Awaitable[None]]


def next_tick(at: int, period_ms: int) -> int:
    """The first instant of the grid at or after `at`."""
    return -(-at // period_ms) * period_ms


async def run(ports: Ports, job: Job) -> None:
    """Run `job` for ever. What ends in a port's error is begun again, due or not: at the next instant of the grid, or
    at the next full minute where that is sooner. Who does not serve now may serve then, and what has been committed is
    found in the store, whoever got to know of it."""
    runtime, signals, metrics = ports.runtime, ports.signals, ports.metrics
    earliest, failed = 0, False
    while True:
        try:
            if not failed:
                seen = signals.seen(job.topic)
                due = await job.due()
                now = runtime.now()
                tick = None if due is None else next_tick(max(due, now, earliest), job.period_ms)
                if tick is None or tick > now:
                    await signals.wait(job.topic, seen, tick)
                    if tick is None or runtime.now() < tick:
                        continue
            await job.work()
            if failed:
                metrics.remove("database_connection_pool_available")
            failed = False
            earliest = runtime.now() + 1
        except PortError as error:
            failed = True
            count_failure(metrics, error)
            if isinstance(error, StoreBusy):
                metrics.set("database_connection_pool_available", 0)
            await runtime.sleep_until(next_tick(runtime.now() + 1, min(job.period_ms, MINUTE_MS)))
