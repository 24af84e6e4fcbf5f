"""What every driver of the world promises: calls, deadlines, gather, signals, causes, failures; SimPy and asyncio."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from contest_platform import ports
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, HostError, PortError, ProcessorError
from tests.support.drivers import BENCHES, HOUR_MS, STARTS_AT, Bench

ERRORS = (
    PortError("nothing usable"),
    ports.DeadlineExceeded("no answer within 5 ms"),
    ports.ConnectionFailed("refused"),
    ports.CertificateExpired("expired"),
    ports.ConnectionLost("reset"),
    ports.ServiceUnavailable("503"),
    ports.AnswerUnreadable("cut off"),
    ports.StoreBusy("too_many_connections"),
    ports.StoreDamaged("data_corrupted in settlement.open"),
    ProcessorError(402, "card_error", "card_declined", "the card was declined"),
    HostError("shell_not_found", "the shell is gone"),
)


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = BENCHES[request.param]()
    yield bench
    bench.close()


# --- values, deadlines and errors ------------------------------------------------------------------------------------


def test_coroutines_run_side_by_side_and_values_cross(bench: Bench) -> None:
    async def answer(after_ms: int) -> tuple[str, int]:
        await bench.sleep_until(after_ms)
        return "value", bench.now

    async def main() -> list[Any]:
        return [await bench.driver.call(answer(250), "a"), await bench.driver.call(answer(20), "b"), bench.now]

    assert bench.do(main) == [("value", 250), ("value", 250), 250]


def test_a_sleep_ends_at_its_millisecond_and_one_in_the_past_at_once(bench: Bench) -> None:
    async def main() -> list[int]:
        instants = []
        for at in (1, 2, 1_001, 86_400_001, 5, 40 * 86_400_000 + 7):
            await bench.sleep_until(at)
            instants.append(bench.now)
        return instants

    seen: list[list[int]] = []
    bench.driver.runtime.spawn(_into(seen, main), "main")
    bench.run_until(41 * 86_400_000)
    assert seen == [[1, 2, 1_001, 86_400_001, 86_400_001, 40 * 86_400_000 + 7]]


@pytest.mark.parametrize("whose", ["a call", "a coroutine of the platform"])
def test_a_deadline_interrupts_the_caller_only_and_the_effect_still_happens(bench: Bench, whose: str) -> None:
    runtime, effects = bench.driver.runtime_of(bench.driver.begin("app", 1)), []

    async def slow() -> None:
        await bench.sleep_until(900)
        effects.append(bench.now)

    async def main() -> int:
        call = bench.driver.call(slow(), "slow") if whose == "a call" else slow()
        with pytest.raises(DeadlineExceeded):
            await runtime.deadline(call, 300)
        assert effects == []
        return bench.now

    assert bench.do(main) == 300
    assert effects == [900]


def test_a_call_that_ends_before_its_deadline_gives_its_value(bench: Bench) -> None:
    async def quick() -> str:
        await bench.sleep_until(299)
        return "in time"

    assert bench.do(lambda: bench.driver.runtime.deadline(bench.driver.call(quick(), "quick"), 300)) == "in time"
    assert bench.do(lambda: bench.driver.runtime.deadline(quick(), 300)) == "in time"


def test_an_answer_that_never_comes_ends_in_the_deadline(bench: Bench) -> None:
    async def silence() -> None:
        await bench.driver.never()

    with pytest.raises(DeadlineExceeded):
        bench.do(lambda: bench.driver.runtime.deadline(bench.driver.call(silence(), "silence"), 80_000))


def test_a_deadline_takes_nothing_but_calls_and_coroutines(bench: Bench) -> None:
    bench.driver.runtime.spawn(_into([], lambda: bench.driver.runtime.deadline(bench.sleep_until, 5)), "main")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="port call or a coroutine"):
        bench.run_until(10)


def test_the_errors_tested_here_are_all_that_the_ports_have() -> None:
    assert {type(error) for error in ERRORS} == {
        PortError, *PortError.__subclasses__(), *ports.ConnectionFailed.__subclasses__(),
    }  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", ["call", "deadline", "own deadline", "edge", "gather"])
def test_errors_of_the_ports_cross_unchanged(bench: Bench, error: PortError, way: str) -> None:
    driver, runtime = bench.driver, bench.driver.runtime
    before, caught = dict(vars(error)), []

    async def callee() -> None:
        await bench.sleep_until(bench.now + 10)
        raise error

    async def edge() -> None:
        await driver.call(callee(), "inner")

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "call": lambda: driver.call(callee(), "call"),
        "deadline": lambda: runtime.deadline(driver.call(callee(), "call"), 1_000),
        "own deadline": lambda: driver.runtime_of(life).deadline(callee(), 1_000),
        "edge": lambda: driver.call(edge(), "outer"),
        "gather": lambda: driver.runtime_of(life).gather([callee()], 2),
    }

    async def platform() -> str:
        try:
            await ways[way]()
        except PortError as received:
            caught.append(received)
        return "went on"

    life = driver.begin("app", 1)
    assert bench.do(lambda: driver.serve(life, platform(), "request")) == "went on"
    assert caught[0] is error
    assert vars(error) == before
    assert error.args == type(error)(*error.args).args
    assert bench.failures == []


# --- gather ----------------------------------------------------------------------------------------------------------


def test_gather_runs_all_calls_and_never_more_than_its_limit_at_once(bench: Bench) -> None:
    running, most, ended = 0, 0, []

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await bench.sleep_until(bench.now + 10 + number % 3)
        running -= 1
        ended.append(number)

    async def main() -> int:
        await bench.driver.runtime.gather([call(number) for number in range(20)], 4)
        assert sorted(ended) == list(range(20))
        return bench.now

    assert 50 <= bench.do(main) <= 60
    assert most == 4


def test_gather_returns_when_the_last_call_has_ended_and_raises_the_first_error(bench: Bench) -> None:
    ended = []

    async def call(number: int) -> None:
        await bench.sleep_until(10 * number)
        ended.append(number)
        if number in (2, 3):
            raise ConnectionFailed(f"call {number}")

    with pytest.raises(ConnectionFailed, match="call 2"):
        bench.do(lambda: bench.driver.runtime.gather([call(number) for number in (4, 2, 3, 1)], 2))
    assert sorted(ended) == [1, 2, 3, 4]


def test_gather_of_nothing_returns_at_once(bench: Bench) -> None:
    async def main() -> int:
        await bench.driver.runtime.gather([], 4)
        return bench.now

    assert bench.do(main) == 0


# --- signals ---------------------------------------------------------------------------------------------------------


def test_a_notification_between_look_and_wait_is_not_lost(bench: Bench) -> None:
    signals = bench.driver.signals_of(bench.driver.begin("app", 1))

    async def main() -> int:
        seen = signals.seen("work")
        await bench.sleep_until(100)
        await signals.wait("work", seen, None)
        return bench.now

    bench.driver.runtime.spawn(_at(bench, 50, lambda: bench.driver.notify("work")), "notifier")
    assert bench.do(main) == 100


def test_a_wait_ends_with_the_first_notification_of_its_own_topic(bench: Bench) -> None:
    signals = bench.driver.signals_of(bench.driver.begin("app", 1))

    async def main() -> list[int]:
        await signals.wait("work", signals.seen("work"), STARTS_AT + 500)
        return [bench.now, signals.seen("work"), signals.seen("other")]

    for at, topic in ((70, "other"), (90, "work")):
        bench.driver.runtime.spawn(_at(bench, at, lambda topic=topic: bench.driver.notify(topic)), "notifier")  # type: ignore[misc]
    assert bench.do(main) == [90, 1, 1]


def test_a_wait_without_a_notification_ends_at_its_instant(bench: Bench) -> None:
    signals = bench.driver.signals_of(bench.driver.begin("app", 1))

    async def main() -> list[int]:
        ends = []
        for until in (500, 400, 800):
            await signals.wait("work", signals.seen("work"), STARTS_AT + until)
            ends.append(bench.now)
        return ends

    assert bench.do(main) == [500, 500, 800]


def test_one_notification_wakes_every_waiter(bench: Bench) -> None:
    woken: list[tuple[str, int]] = []
    for name in ("app", "ingestion", "settlement"):
        signals = bench.driver.signals_of(bench.driver.begin(name, 1))

        async def wait(name: str = name, signals: ports.Signals = signals) -> None:
            await signals.wait("work", 0, None)
            woken.append((name, bench.now))

        bench.driver.runtime.spawn(wait(), name)
    bench.driver.runtime.spawn(_at(bench, 60, lambda: bench.driver.notify("work")), "notifier")
    bench.run_until(100)
    assert sorted(woken) == [("app", 60), ("ingestion", 60), ("settlement", 60)]


# --- causes ----------------------------------------------------------------------------------------------------------


def test_an_event_names_the_event_that_led_to_it_across_tasks(bench: Bench) -> None:
    driver, runtime = bench.driver, bench.driver.runtime
    life = driver.begin("app", 1)

    async def note(subject: str) -> None:
        await bench.sleep_until(bench.now + 10)
        driver.record("test", "noted", subject)

    async def main() -> None:
        driver.record("test", "noted", "main")
        runtime.spawn(note("spawned"), "spawned")
        await driver.call(note("called"), "called")
        await runtime.deadline(driver.call(note("in time"), "in time"), 100)
        await driver.runtime_of(life).deadline(note("own deadline"), 100)
        await runtime.gather([note("gathered")], 1)
        await driver.serve(life, note("served"), "served")
        driver.record("test", "noted", "after")
        await driver.call(note("called after"), "called")

    driver.record("test", "noted", "root")
    runtime.spawn(main(), "main")
    driver.record("test", "noted", "root again")
    bench.run_until(1_000)
    assert bench.causes() == {
        "root": None,
        "root again": "root",
        "main": "root",
        **dict.fromkeys(("spawned", "called", "in time", "own deadline", "gathered", "served", "after"), "main"),
        "called after": "after",
    }


def test_a_woken_task_takes_over_the_cause_of_its_notification_and_an_idle_one_that_of_its_start(bench: Bench) -> None:
    driver = bench.driver
    driver.record("test", "noted", "started")
    life = driver.begin("app", 1)
    signals = driver.signals_of(life)

    async def job() -> None:
        for subject, until in (("woken", None), ("timed out", 500), ("late for it", None)):
            seen = signals.seen("work")
            if subject == "late for it":
                await bench.sleep_until(700)
            await signals.wait("work", seen, None if until is None else STARTS_AT + until)
            driver.record("test", "noted", subject)

    def notify(subject: str) -> None:
        driver.record("test", "noted", subject)
        driver.notify("work")

    driver.runtime_of(life).spawn(job(), "job")
    for at, subject in ((100, "commit 1"), (600, "commit 2")):
        driver.runtime.spawn(_at(bench, at, lambda subject=subject: notify(subject)), "notifier")  # type: ignore[misc]
    bench.run_until(1_000)
    causes = bench.causes()
    assert [causes[subject] for subject in ("woken", "timed out", "late for it")] == ["commit 1", "started", "commit 2"]


def test_the_runtime_tells_the_cause_to_the_platform(bench: Bench) -> None:
    runtime = bench.driver.runtime_of(bench.driver.begin("app", 1))

    async def main() -> list[str]:
        return [runtime.cause(), bench.driver.record("test", "noted", "x"), runtime.cause()]

    assert bench.do(main) == ["", "e1", "e1"]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyError("a bug"), ConnectionFailed("nobody awaits this")], ids=["bug", "port error"]
)
def test_an_exception_in_a_task_of_the_world_ends_the_run_loudly(bench: Bench, error: Exception) -> None:
    bench.driver.runtime.spawn(_at(bench, 10, _raises(error)), "world")
    with pytest.raises(type(error)) as caught:
        bench.run_until(HOUR_MS)
    assert caught.value is error


def test_a_bug_of_the_world_in_a_call_is_no_answer_to_the_platform_but_the_end_of_the_run(bench: Bench) -> None:
    life = bench.driver.begin("app", 1)

    async def platform() -> None:
        await bench.driver.call(_at(bench, 10, _raises(KeyError("a bug"))), "call")

    bench.driver.runtime_of(life).spawn(platform(), "platform")
    with pytest.raises(KeyError, match="a bug"):
        bench.run_until(HOUR_MS)
    assert bench.failures == []


def test_a_bug_of_the_world_is_loud_even_when_the_caller_gave_up(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await bench.driver.runtime.deadline(bench.driver.call(_at(bench, 500, _raises(KeyError("bug"))), "c"), 10)

    bench.driver.runtime.spawn(main(), "main")
    with pytest.raises(KeyError, match="bug"):
        bench.run_until(HOUR_MS)


def test_a_late_port_error_that_nobody_waits_for_is_forgotten(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await bench.driver.runtime.deadline(
                bench.driver.call(_at(bench, 500, _raises(ConnectionFailed("late"))), "call"), 10
            )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.do(main)


def test_an_exception_in_a_task_of_the_platform_reaches_on_failure_under_its_cause(bench: Bench) -> None:
    life, error = bench.driver.begin("app", 1), ValueError("a bug of the platform")

    async def job() -> None:
        bench.driver.record("test", "noted", "x")
        raise error

    bench.driver.runtime_of(life).spawn(job(), "job")
    bench.run_until(10)
    assert bench.failures == [("app", error)]
    assert bench.causes()["app failed"] == "x"


def test_an_exception_in_a_request_reaches_on_failure_and_its_sender_loses_the_connection(bench: Bench) -> None:
    life, error = bench.driver.begin("app", 1), ValueError("a bug of the platform")
    with pytest.raises(ports.ConnectionLost):
        bench.do(lambda: bench.driver.serve(life, _at(bench, 5, _raises(error)), "request"))
    assert bench.failures == [("app", error)]


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised on", "swallowed"])
def test_a_journal_that_cannot_be_written_ends_the_run_and_is_nobodys_failure(bench: Bench, swallowed: bool) -> None:
    life, went_on = bench.driver.begin("app", 1), []

    async def platform() -> None:
        bench.driver.record("test", "noted", "before")
        bench.stream.full = True
        try:
            bench.driver.record("test", "noted", "lost")
        except OSError:
            if not swallowed:
                raise
        await bench.sleep_until(10)
        went_on.append(bench.now)

    bench.driver.runtime_of(life).spawn(platform(), "platform")
    with pytest.raises(OSError, match="No space left"):
        bench.run_until(HOUR_MS)
    assert bench.failures == []
    assert went_on == []
    assert [event["subject"] for event in bench.events()] == ["before"]


def _raises(error: Exception) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw


async def _at(bench: Bench, at: int, act: Callable[[], None]) -> None:
    await bench.sleep_until(at)
    act()


async def _into(results: list[Any], call: Callable[[], Awaitable[Any]]) -> None:
    results.append(await call())
