"""The kernel's own promises: keyed ties that unrelated code does not move, causes before effects, exact killing."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from simpy.events import EventPriority

from contest_platform.ports import DeadlineExceeded
from evidence.journal import JournalWriter
from seams.draws import Draws
from simulator.kernel import DeadIncarnationError, Kernel
from tests.support.drivers import STARTS_AT, KernelBench

NAMES = tuple(f"task-{number}" for number in range(12))
ROUNDS = 5


def order_of_ties(key: str, before: Callable[[KernelBench], None] = lambda _: None) -> list[tuple[str, int]]:
    """The order in which tasks that always meet at the same instants get there."""
    bench, order = KernelBench(key), []

    async def arrive(name: str, at: int) -> None:
        await bench.sleep_until(at)
        order.append((name, at))

    async def meet(name: str) -> None:
        runtime = bench.driver.runtime
        order.append((name, 0))
        for at in range(10, 10 * ROUNDS + 1, 10):
            await arrive(name, at)
            # Tasks that everybody starts under the same names must not depend on each other either.
            await runtime.deadline(bench.driver.call(arrive(name, at + 3), "call"), 8)
            await runtime.deadline(arrive(name, at + 4), 8)
            await runtime.gather([arrive(name, at + 5), arrive(name, at + 5)], 2)

    before(bench)
    for name in NAMES:
        bench.driver.runtime.spawn(meet(name), name)
    bench.run_until(1_000)
    return order


# --- ties --------------------------------------------------------------------------------------------------------


def test_ties_come_in_the_same_order_in_ten_runs_of_one_key() -> None:
    orders = {tuple(order_of_ties("07" * 16)) for _ in range(10)}
    assert len(orders) == 1
    (order,) = orders
    assert len(order) == len(NAMES) * (1 + 5 * ROUNDS)


def test_ties_come_in_another_order_under_another_key_and_in_each_round() -> None:
    orders = [order_of_ties(f"{number:02x}" * 16) for number in range(10)]
    assert len({tuple(order) for order in orders}) == 10
    rounds = {tuple(name for name, at in orders[0] if at == 10 * n) for n in range(ROUNDS + 1)}
    assert len(rounds) == ROUNDS + 1
    assert tuple(NAMES) not in rounds


def test_every_task_is_first_at_times() -> None:
    firsts = [order_of_ties(f"{number:04x}" * 8)[0][0] for number in range(100)]
    assert set(firsts) == set(NAMES)


async def _busy(bench: KernelBench, name: str) -> None:
    """An unrelated task that meets the others at their instants and uses tasks of the names that they use."""
    runtime = bench.driver.runtime
    for at in range(0, 60, 2):
        await runtime.deadline(bench.driver.call(bench.sleep_until(at), "call"), 50)
        await runtime.deadline(bench.sleep_until(at), 50)
        await runtime.gather([bench.sleep_until(at), bench.sleep_until(at)], 2)
        bench.driver.notify(name)


def _more_draws(bench: KernelBench) -> None:
    for number in range(100):
        bench.kernel.draws.bits("task", number)


@pytest.mark.parametrize(
    "before",
    [
        lambda bench: bench.driver.runtime.spawn(_busy(bench, "unrelated"), "unrelated"),
        lambda bench: [bench.driver.runtime.spawn(_busy(bench, f"x{n}"), f"x{n}") for n in range(7)],
        lambda bench: bench.kernel.start(bench.sleep_until(30), "unrelated"),
        _more_draws,
        lambda bench: bench.kernel.run(until=STARTS_AT + 1),
    ],
    ids=["a task", "seven tasks", "a sleeper", "draws elsewhere", "a pause"],
)
def test_unrelated_tasks_and_draws_do_not_move_the_order_of_others(before: Callable[[KernelBench], None]) -> None:
    for key in ("07" * 16, "08" * 16):
        assert order_of_ties(key, before) == order_of_ties(key)


class QueuesEverything(Kernel):
    """Puts every beginning and every end of a task into the queue, and lets it take its turn by its key."""

    def would_be_next(self, priority: EventPriority) -> bool:
        return False


def crowd(kernel: Kernel) -> list[str]:
    """Tasks that call, serve, gather, spawn, notify and wait at few instants, so that nearly all of it is a tie."""
    runtime, order = kernel.runtime, []
    life = kernel.begin("app", 1)
    signals = kernel.signals_of(life)

    async def step(name: str, ms: int) -> str:
        order.append(f"{name} begins")
        if ms:
            await runtime.sleep_until(runtime.now() + ms)
        order.append(f"{name} ends")
        return name

    async def job(name: str) -> None:
        for n in range(6):
            seen = signals.seen("work")
            await signals.wait("work", seen, runtime.now() + 4)
            order.append(f"{name} woke")
            with suppress(DeadlineExceeded):
                order.append(await runtime.deadline(kernel.call(step(f"{name} job {n}", n % 3), "call"), 2))

    async def visitor(name: str) -> None:
        for n in range(6):
            await kernel.call(step(f"{name} call {n}", n % 2), "call")
            order.append(await kernel.serve(life, step(f"{name} request {n}", n % 3), "request"))
            kernel.notify("work")
            runtime.spawn(_discard(step(f"{name} spawn {n}", n % 2)), "spawn")
            await runtime.gather([_discard(step(f"{name} gather {m}", (n + m) % 2)) for m in range(3)], 2)

    for number in range(4):
        kernel.runtime_of(life).spawn(job(f"job {number}"), f"job {number}")
        runtime.spawn(visitor(f"visitor {number}"), f"visitor {number}")
    kernel.run(until=STARTS_AT + 1_000)
    return order


async def _discard(work: Awaitable[object]) -> None:
    await work


@pytest.mark.parametrize("number", range(20))
def test_what_begins_or_ends_at_once_does_so_exactly_when_its_turn_would_have_come(number: int) -> None:
    key, journal = f"{number:02x}" * 16, JournalWriter(io.BytesIO())
    at_once, queued = (kind(Draws(key), journal, STARTS_AT) for kind in (Kernel, QueuesEverything))
    order = crowd(at_once)
    assert len(order) > 350
    assert order == crowd(queued)
    assert at_once.events < 0.9 * queued.events


@pytest.mark.parametrize("number", range(20))
def test_a_cause_always_runs_before_its_effect_at_the_same_instant(number: int) -> None:
    bench, order = KernelBench(f"{number:02x}" * 16), []
    driver, runtime = bench.driver, bench.driver.runtime
    signals = driver.signals_of(driver.begin("app", 1))

    async def waiter() -> None:
        await signals.wait("work", 0, None)
        order.append("woken")
        runtime.spawn(spawned("spawned by woken"), "a")

    async def spawned(name: str) -> None:
        order.append(name)
        await runtime.sleep_until(STARTS_AT + 10)
        order.append(f"{name}, slept")

    async def notifier() -> None:
        await bench.sleep_until(10)
        runtime.spawn(spawned("spawned"), "a")
        driver.notify("work")
        order.append("notified")

    async def other() -> None:
        await bench.sleep_until(10)

    for work in (waiter(), other(), notifier(), other()):
        runtime.spawn(work, "work")
    bench.run_until(11)
    assert len(order) == 6
    for cause, effect in (
        ("notified", "woken"),
        ("notified", "spawned"),
        ("woken", "spawned by woken"),
        ("spawned", "spawned, slept"),
        ("spawned by woken", "spawned by woken, slept"),
    ):
        assert order.index(cause) < order.index(effect)


# --- killing -----------------------------------------------------------------------------------------------------


def test_of_two_tasks_that_one_event_resumes_the_first_may_kill_the_second() -> None:
    bench = KernelBench()
    life, log = bench.driver.begin("app", 1), []
    shared = bench.driver.call(bench.sleep_until(10), "shared")

    async def wait(name: str) -> None:
        await shared
        log.append(name)
        life.kill()

    for name in ("first", "second"):
        bench.driver.runtime_of(life).spawn(wait(name), name)
    bench.run_until(100)
    assert len(log) == 1


def test_killing_takes_effect_at_once_and_not_only_when_the_loop_comes_round() -> None:
    bench = KernelBench()
    life, unwound = bench.driver.begin("app", 1), []

    async def job() -> None:
        try:
            await bench.driver.never()
        finally:
            unwound.append(bench.now)

    bench.driver.runtime_of(life).spawn(job(), "job")
    bench.run_until(10)
    life.kill()
    assert unwound == [10]


def test_the_outcome_of_a_killed_task_says_that_its_process_is_dead() -> None:
    bench = KernelBench()
    life = bench.kernel.begin("app", 1)
    task = bench.kernel.start(bench.sleep_until(100), "sleep", life)
    bench.crash(life, 10)
    bench.run_until(200)
    ok, error = task.outcome()
    assert not ok
    assert isinstance(error, DeadIncarnationError)
    assert not life.tasks
