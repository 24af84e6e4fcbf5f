"""The same platform and world on an asyncio loop whose clock jumps: a contest ends as it does on the kernel."""

from __future__ import annotations

import asyncio
import inspect
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import scenarios
from evidence.books import BookSet, book_path, read_rows
from evidence.journal import JournalWriter
from evidence.plan import Plan
from evidence.schemas import BOOKS
from simulator import run
from simulator.driver import Driver
from simulator.world import World
from staging.asyncio_driver import AsyncioDriver
from tests.support.drivers import STARTS_AT
from tests.support.jump_loop import JumpLoop

DAY_S = 86_400


@pytest.fixture
def loop() -> Iterator[JumpLoop]:
    loop = JumpLoop()
    yield loop
    loop.close()


# --- the loop whose clock jumps ----------------------------------------------------------------------------------


def test_the_clock_jumps_to_the_next_timer_when_everything_waits(loop: JumpLoop) -> None:
    async def main() -> list[int]:
        ends = []
        for delay_s in (0.001, 1.5, 400 * DAY_S, 0):
            await asyncio.sleep(delay_s)
            ends.append(loop.now_ms)
        return ends

    begun = time.monotonic()
    assert loop.run_until_complete(main()) == [1, 1_501, 1_501 + 400 * DAY_S * 1_000, 1_501 + 400 * DAY_S * 1_000]
    assert time.monotonic() - begun < 60


def test_the_clock_stands_still_while_code_runs(loop: JumpLoop) -> None:
    async def main() -> tuple[float, float]:
        before = loop.time()
        time.sleep(0.02)
        await asyncio.sleep(0)
        return before, loop.time()

    before, after = loop.run_until_complete(main())
    assert before == after


def test_timers_of_whole_milliseconds_end_at_their_millisecond_a_year_in(loop: JumpLoop) -> None:
    driver = AsyncioDriver(loop, JournalWriter(io.BytesIO()), STARTS_AT)
    off = []

    async def main() -> None:
        at = STARTS_AT + 365 * DAY_S * 1_000
        for step in range(1, 500):
            at += step
            await driver.runtime.sleep_until(at)
            off.append(driver.runtime.now() - at)

    driver.runtime.spawn(main(), "main")
    driver.run(STARTS_AT + 366 * DAY_S * 1_000)
    assert off == [0] * 499
    assert driver.now() == STARTS_AT + 366 * DAY_S * 1_000


def test_a_loop_in_which_nothing_can_happen_any_more_says_so(loop: JumpLoop) -> None:
    with pytest.raises(RuntimeError, match="no timer is set"):
        loop.run_until_complete(asyncio.wait({loop.create_future()}))


# --- the driver --------------------------------------------------------------------------------------------------


def _is_a_driver(driver: AsyncioDriver) -> Driver:
    """Checked by the type checker."""
    return driver


def test_the_asyncio_driver_has_the_shape_of_the_driver_that_the_world_asks_for(loop: JumpLoop) -> None:
    driver = AsyncioDriver(loop, JournalWriter(io.BytesIO()), STARTS_AT)
    methods = [name for name, _ in inspect.getmembers(Driver, inspect.isfunction) if not name.startswith("_")]
    assert methods
    for name in methods:
        wanted, given = inspect.signature(getattr(Driver, name)), inspect.signature(getattr(AsyncioDriver, name))
        assert list(given.parameters) == list(wanted.parameters), name
    assert _is_a_driver(driver).runtime is driver.runtime


def test_what_unwinds_when_the_driver_is_closed_has_no_effect(loop: JumpLoop) -> None:
    stream = io.BytesIO()
    driver = AsyncioDriver(loop, JournalWriter(stream), STARTS_AT)
    signals = driver.signals_of(life := driver.begin("app", 1))
    unwound = []

    async def job() -> None:
        try:
            await driver.runtime_of(life).sleep_until(STARTS_AT + 5_000)
        finally:
            unwound.append(driver.now() - STARTS_AT)
            signals.notify("work")

    driver.runtime_of(life).spawn(job(), "job")
    driver.run(STARTS_AT + 1_000)
    driver.close()
    assert unwound == [1_000]
    assert driver.signals.seen("work") == 0
    assert not asyncio.all_tasks(loop)


def test_the_cause_goes_with_the_tasks_that_others_start_on_the_loop(loop: JumpLoop) -> None:
    """A web framework makes tasks of its own for what a handler does."""
    driver = AsyncioDriver(loop, JournalWriter(io.BytesIO()), STARTS_AT)
    causes = []

    async def handler() -> None:
        event = driver.record("test", "noted", "request")

        async def step() -> None:
            causes.append((driver.cause(), event))

        await asyncio.create_task(step())

    driver.runtime.spawn(handler(), "handler")
    driver.run(STARTS_AT + 1)
    assert causes == [("e1", "e1")]


# --- one contest on both -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan() -> Plan:
    return scenarios.make_plan(scenarios.load("small"), 1)


@pytest.fixture(scope="module")
def on_the_kernel(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernel")
    books = BookSet(folder)
    run.simulate(plan, JournalWriter(io.BytesIO()), books)
    books.close()
    return folder


@pytest.fixture(scope="module")
def on_asyncio(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asyncio")
    books, loop = BookSet(folder), JumpLoop()
    driver = AsyncioDriver(loop, JournalWriter(io.BytesIO()), plan.starts_at)
    driver.record("harness", "run.started", plan.scenario, plan=plan.sha256(), seed=plan.seed)
    world = World(plan, driver, books)
    world.runtime.spawn(run.begin(world), "preflight")
    driver.run(plan.recovery_until_at)
    run.finish(world)
    driver.close()
    loop.close()
    world.connection.close()
    books.close()
    return folder


def test_the_contest_is_paid_out_on_asyncio(on_asyncio: Path) -> None:
    assert {row["status"] for row in _rows(on_asyncio, "platform.contests")} == {"PAID_OUT"}
    assert len(_rows(on_asyncio, "processor.transfers")) == 3


@pytest.mark.parametrize(
    ("book", "columns"),
    [
        ("platform.contests", "contest_id status error_code"),
        ("platform.entries", "contest_id user_id roster status"),
        ("platform.payments", "entry_id amount_cents status"),
        ("platform.outcomes", "contest_id entry_id score place prize_cents scores_hash"),
        ("platform.settlement_packs", "contest_id entry_id status fail_reason_code"),
        ("platform.transfers", "contest_id entry_id user_id amount_cents status idempotency_key"),
        ("processor.transfers", "amount_cents reversed_cents destination transfer_group entry_id"),
        ("platform.hole_scores", "tournament_id golfer_id round hole strokes"),
        ("processor.intents", "intent_id amount_cents refunded_cents status"),
    ],
)
def test_both_drivers_end_in_the_same_states(on_the_kernel: Path, on_asyncio: Path, book: str, columns: str) -> None:
    ends = [
        sorted(tuple(row[name] for name in columns.split()) for row in _rows(folder, book))
        for folder in (on_the_kernel, on_asyncio)
    ]
    assert ends[0]
    assert ends[0] == ends[1]


def test_both_drivers_end_in_the_same_balance_of_every_account(on_the_kernel: Path, on_asyncio: Path) -> None:
    kernel, loop = map(_balances, (on_the_kernel, on_asyncio))
    assert len(kernel) > 10
    assert kernel == loop


def _rows(folder: Path, book: str) -> list[dict[str, Any]]:
    columns = list(BOOKS[book].columns)
    return [dict(zip(columns, row, strict=True)) for row in read_rows(book_path(folder, book), BOOKS[book], columns)]


def _balances(folder: Path) -> dict[str, int]:
    balances: dict[str, int] = {}
    for row in _rows(folder, "platform.ledger_postings"):
        balances[row["account"]] = balances.get(row["account"], 0) + row["amount_cents"]
    return balances
