"""Grid jobs: the effects of a job that ticks at every instant of its grid, without its idle ticks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contest_platform import jobs
from contest_platform.jobs import MINUTE_MS, Job, next_tick
from contest_platform.ports import DeadlineExceeded, StoreBusy
from tests.support.drivers import STARTS_AT, KernelBench
from tests.support.metrics import KeptMetrics

PERIOD = 100
DAY_MS = 86_400_000


class Desk:
    """Items come to it, each ready some time later; a job takes those that are ready, and `work_ms` to do so."""

    def __init__(self, work_ms: int = 0) -> None:
        self.bench = KernelBench()
        life = self.bench.driver.begin("app", 1)
        self.runtime = self.bench.driver.runtime_of(life)
        self.metrics = KeptMetrics()
        self.ports: Any = SimpleNamespace(
            runtime=self.runtime, signals=self.bench.driver.signals_of(life), metrics=self.metrics
        )
        self.ready: dict[int, int] = {}
        self.took: list[tuple[int, int]] = []
        self.ticks: list[int] = []
        self._work_ms = work_ms

    def bring(self, item: int, at: int, ready_at: int, notify: bool = True) -> None:
        async def come() -> None:
            await self.bench.sleep_until(at)
            self.ready[item] = ready_at
            if notify:
                self.bench.driver.notify("desk")

        self.bench.driver.runtime.spawn(come(), f"item {item}")

    async def due(self) -> int | None:
        return min(self.ready.values()) + STARTS_AT if self.ready else None

    async def work(self) -> None:
        now = self.bench.now
        self.ticks.append(now)
        taken = [item for item, ready_at in self.ready.items() if ready_at <= now]
        for item in taken:
            self.took.append((item, now))
            del self.ready[item]
        if taken:
            await self.bench.sleep_until(now + self._work_ms)

    def start_job(self, period: int = PERIOD) -> None:
        self.runtime.spawn(jobs.run(self.ports, Job("desk", "desk", period, self.due, self.work)), "job")

    def start_ticker(self) -> None:
        """The job as it would be without the grid's shortcut."""

        async def tick() -> None:
            while True:
                await self.work()
                await self.runtime.sleep_until(next_tick(self.runtime.now() + 1, PERIOD))

        self.runtime.spawn(tick(), "ticker")


ITEMS = st.lists(st.tuples(st.integers(0, 1_900), st.integers(-300, 900)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(ITEMS, st.sampled_from((0, 30, 99, 200, 250)))
def test_a_job_has_the_effects_of_one_that_ticks_at_every_instant_of_its_grid(
    items: list[tuple[int, int]], work_ms: int
) -> None:
    took = []
    for start in (Desk.start_job, Desk.start_ticker):
        desk = Desk(work_ms)
        for item, (comes, delay) in enumerate(items):
            # Not at an instant of the grid, where chance decides which of the two comes first.
            at = comes + 1 if comes % PERIOD == 0 else comes
            desk.bring(item, at, at + delay)
        start(desk)
        desk.bench.run_until(6_000)
        took.append(desk.took)
        assert len(desk.took) == len(items)
        assert all(at % PERIOD == 0 for at in desk.ticks)
    assert took[0] == took[1]


def test_a_job_sleeps_through_what_is_idle() -> None:
    desk = Desk()
    desk.start_job(MINUTE_MS)
    desk.bring(1, 5 * DAY_MS + 1, 9 * DAY_MS + 1)
    desk.bench.run_until(14 * DAY_MS)
    assert desk.took == [(1, 9 * DAY_MS + MINUTE_MS)]
    assert desk.ticks == [9 * DAY_MS + MINUTE_MS]
    assert desk.bench.kernel.events < 15


@pytest.mark.parametrize(("comes", "tick"), [(101, 200), (199, 200), (201, 300)])
def test_a_signal_brings_a_job_to_the_next_instant_of_its_grid(comes: int, tick: int) -> None:
    desk = Desk()
    desk.start_job()
    desk.bring(1, comes, comes)
    desk.bench.run_until(1_000)
    assert desk.took == [(1, tick)]


def test_a_signal_brings_a_job_forward_that_slept_until_later_work() -> None:
    desk = Desk()
    desk.start_job()
    desk.bring(1, 10, 800)
    desk.bring(2, 250, 250)
    desk.bench.run_until(1_000)
    assert desk.took == [(2, 300), (1, 800)]


def test_without_a_signal_nobody_tells_the_job() -> None:
    desk = Desk()
    desk.start_job()
    desk.bring(1, 101, 101, notify=False)
    desk.bench.run_until(1_000)
    assert desk.took == []


def test_a_signal_without_work_wakes_nobody_for_long() -> None:
    desk = Desk()
    desk.start_job()
    for number in range(5):
        desk.bring(1, 110 + number, 900)
    desk.bench.run_until(1_000)
    assert desk.ticks == [900]


def test_a_job_whose_work_stays_due_ticks_once_a_period() -> None:
    desk = Desk()
    desk.ready[1] = -1_000

    async def fail() -> None:
        desk.ticks.append(desk.bench.now)

    desk.runtime.spawn(jobs.run(desk.ports, Job("desk", "desk", PERIOD, desk.due, fail)), "job")
    desk.bench.run_until(1_000)
    assert desk.ticks == list(range(0, 1_000, PERIOD))


def test_signals_do_not_make_a_job_tick_twice_at_one_instant() -> None:
    desk = Desk()
    desk.ready[1] = -1_000

    async def work() -> None:
        desk.ticks.append(desk.bench.now)
        desk.bench.driver.notify("desk")

    desk.runtime.spawn(jobs.run(desk.ports, Job("desk", "desk", PERIOD, desk.due, work)), "job")
    desk.bench.run_until(1_000)
    assert desk.ticks == list(range(0, 1_000, PERIOD))


def test_work_that_outlasts_its_period_is_followed_by_the_next_instant_of_the_grid() -> None:
    desk = Desk(work_ms=250)
    desk.start_job()
    for item, comes in enumerate((1, 130, 160)):
        desk.bring(item, comes, comes)
    desk.bench.run_until(1_000)
    assert desk.took == [(0, 100), (1, 400), (2, 400)]


@pytest.mark.parametrize("fails_in", ["due", "work"])
def test_a_job_outlives_what_it_depends_on_and_tries_again_a_minute_later(fails_in: str) -> None:
    desk = Desk()
    desk.ready[1] = 200
    asked: list[int] = []

    async def ask(what: str) -> None:
        if what == fails_in and desk.bench.now >= 200:
            asked.append(desk.bench.now)
            if len(asked) < 3:
                raise StoreBusy("too_many_connections")

    async def due() -> int | None:
        await ask("due")
        return await desk.due()

    async def work() -> None:
        await ask("work")
        await desk.work()

    desk.runtime.spawn(jobs.run(desk.ports, Job("desk", "desk", PERIOD, due, work)), "job")
    desk.bring(2, 450, 500)
    desk.bench.run_until(4 * MINUTE_MS)
    assert [item for item, _ in desk.took] == [1, 2]
    assert desk.took[0][1] <= 200 + 3 * MINUTE_MS


@pytest.mark.parametrize(("at", "tick"), [(0, 0), (1, 100), (99, 100), (100, 100), (101, 200), (-1, 0)])
def test_the_next_tick_is_the_first_multiple_of_the_period_not_before(at: int, tick: int) -> None:
    assert next_tick(at, PERIOD) == tick


def test_a_job_without_a_connection_tries_again_at_each_instant_and_tells_until_it_has_one() -> None:
    desk, refused = Desk(), [1, 1]
    desk.ready[1] = 0

    async def work() -> None:
        if refused:
            refused.pop()
            raise StoreBusy("too_many_connections")
        await desk.work()

    desk.runtime.spawn(jobs.run(desk.ports, Job("desk", "desk", PERIOD, desk.due, work)), "job")
    desk.bench.run_until(PERIOD + 1)
    assert desk.took == []
    assert desk.metrics.standing == {
        ("database_connection_pool_available",): 0,
        ("database_connection_timeouts_total",): 2,
    }
    desk.bench.run_until(2 * PERIOD + 1)
    assert desk.took == [(1, 2 * PERIOD)]
    assert desk.metrics.standing == {("database_connection_timeouts_total",): 2}


# --- trouble -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["due", "work"])
def test_a_job_that_met_silence_begins_again_at_the_next_instant_of_its_grid(where: str) -> None:
    desk, real = Desk(), {"due": Desk.due, "work": Desk.work}
    failures: list[int] = []

    async def fails_twice() -> Any:
        if len(failures) < 2:
            failures.append(desk.bench.now)
            await desk.bench.sleep_until(desk.bench.now + 30)
            raise DeadlineExceeded(where)
        return await real[where](desk)

    setattr(desk, where, fails_twice)
    desk.bring(1, STARTS_AT + 10, 10)
    desk.start_job()
    desk.bench.run_until(STARTS_AT + 10 * PERIOD)
    assert len(failures) == 2
    assert [item for item, _ in desk.took] == [1]
    assert all(at % PERIOD == 0 for _, at in desk.took)
