"""The driver for real time: runs the platform's coroutines on an asyncio event loop.

Times are integer milliseconds since the epoch, mapped to the loop's clock once. A call that was sent runs to its end
whoever gives up on it or dies; once a life is over, nothing that its code still does has an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

from contest_platform.ports import ConnectionLost, DeadlineExceeded, PortError, Runtime, Signals
from evidence.journal import JournalWriter

T = TypeVar("T")
Outcome = tuple[bool, Any]
"""How a coroutine ended: (True, value) or (False, exception). asyncio complains of exceptions that nobody took."""

_CAUSE: ContextVar[str | None] = ContextVar("cause", default=None)
"""The event that the running task handles. A task begins with that of the task which started it."""


class DeadLifeError(BaseException):
    """A crashed process tried to touch the world. Not an Exception: the platform's own handlers never see it."""


class Life(Protocol):
    """What a driver is handed back of a life that it began."""

    name: str
    number: int
    alive: bool

    def guard(self) -> None: ...

    def kill(self) -> None: ...


class AsyncioDriver:
    """Drives a world on `loop`, whose time now is `starts_at`. `on_failure` is told when a task of a life raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop, journal: JournalWriter, starts_at: int) -> None:
        self.loop, self.journal = loop, journal
        self.on_failure: Callable[[Life, Exception], None] | None = None
        self._starts_at, self._loop_started_at = starts_at, loop.time()
        self._root_cause: str | None = None
        self._tasks: dict[asyncio.Task[Outcome], None] = {}
        self._lives: list[PlatformLife] = []
        self._broken: asyncio.Future[None] = loop.create_future()
        self.runtime: Runtime = LoopRuntime(self, None)
        self.signals = SignalHub(self)

    # --- time --------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        return self._starts_at + round((self.loop.time() - self._loop_started_at) * 1000)

    def loop_time(self, at: int) -> float:
        """The instant `at` in seconds of the loop's clock."""
        return self._loop_started_at + (at - self._starts_at) / 1000

    async def first(self, future: asyncio.Future[Any], at: int | None) -> None:
        """Return once `future` is done, or at `at` (None: never). Leaves `future` alone, and so does its canceller."""
        wake = self.loop.create_future()
        timer = None if at is None else self.loop.call_at(self.loop_time(at), wake.set_result, None)
        try:
            await asyncio.wait({future, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if timer is not None:
                timer.cancel()

    def run(self, until: int) -> None:
        """Run the loop until the instant `until`. Raises what a task of the world raised."""
        self.loop.run_until_complete(self._run(until))

    async def _run(self, until: int) -> None:
        await self.first(self._broken, until)
        if self._broken.done():
            self._broken.result()

    def close(self) -> None:
        """Stop everything that still runs: the lives first, so that nothing they do while they unwind has an effect."""
        tasks = [*self._tasks, *(task for life in self._lives for task in life.tasks)]
        for life in self._lives:
            life.kill()
        for task in self._tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))

    # --- tasks -------------------------------------------------------------------------------------------------------

    def start(
        self, coro: Coroutine[Any, Any, Any], name: str, life: PlatformLife | None, awaited: bool = True
    ) -> asyncio.Task[Outcome]:
        """Run `coro`, in a life or as the world's. `awaited`: somebody takes its exception, so it is no failure."""
        task = self.loop.create_task(self._main(coro, self.cause(), life, awaited), name=name)
        tasks = self._tasks if life is None else life.tasks

        def ended(_: asyncio.Task[Outcome]) -> None:
            tasks.pop(task, None)
            # One that was cancelled before its first step has never been awaited.
            coro.close()

        tasks[task] = None
        task.add_done_callback(ended)
        return task

    async def _main(
        self, coro: Coroutine[Any, Any, Any], cause: str | None, life: PlatformLife | None, awaited: bool
    ) -> Outcome:
        _CAUSE.set(cause)
        try:
            return True, await coro
        except DeadLifeError as error:
            return False, error
        except Exception as error:
            if life is None:
                # An error in the world's own code is our bug, which no platform code may take for an answer.
                failed = not awaited or not isinstance(error, PortError)
            else:
                failed = not awaited and life.alive
            # Once the run has failed, what else fails until the loop stops follows from that.
            if failed and not self._broken.done():
                if life is not None and self.on_failure is not None:
                    self.on_failure(life, error)
                else:
                    self.fail(error)
            return False, error

    def call(self, work: Coroutine[Any, Any, T], name: str) -> Awaitable[T]:
        return Sent(self, work, name)

    async def never(self) -> None:
        await self.loop.create_future()

    def fail(self, error: Exception) -> None:
        """End the run with `error`, whatever the running task makes of it."""
        if not self._broken.done():
            self._broken.set_exception(error)

    # --- causes ------------------------------------------------------------------------------------------------------

    def cause(self) -> str | None:
        return self._root_cause if asyncio.current_task(self.loop) is None else _CAUSE.get()

    def set_cause(self, event_id: str | None) -> None:
        if asyncio.current_task(self.loop) is None:
            self._root_cause = event_id
        else:
            _CAUSE.set(event_id)

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        try:
            event_id = self.journal.append(self.now(), actor, kind, subject, self.cause(), data)
        except Exception as error:
            # Whose record it was to be has no part in it: not a failure of that process, but the end of the run.
            self.fail(error)
            raise
        self.set_cause(event_id)
        return event_id

    # --- platform processes ------------------------------------------------------------------------------------------

    def begin(self, name: str, number: int) -> Life:
        life = PlatformLife(name, number)
        self._lives = [*filter(lambda other: other.alive, self._lives), life]
        return life

    def runtime_of(self, life: Life) -> Runtime:
        assert isinstance(life, PlatformLife)
        return LoopRuntime(self, life)

    def signals_of(self, life: Life) -> Signals:
        return LifeSignals(self.signals, life, self.cause())

    def notify(self, topic: str) -> None:
        self.signals.notify(topic)

    async def serve(self, life: Life, work: Coroutine[Any, Any, T], name: str) -> T:
        assert isinstance(life, PlatformLife)
        if not life.alive:
            work.close()
            raise ConnectionLost(name)
        ok, value = await _end_of(self.start(work, name, life, awaited=False))
        if not ok or not life.alive:
            raise ConnectionLost(name)
        return value  # type: ignore[no-any-return]


async def _end_of(task: asyncio.Task[Outcome]) -> Outcome:
    """How `task` ended. Whoever waits here can be cancelled without it."""
    await asyncio.wait({task})
    return (False, ConnectionLost("the task was cancelled")) if task.cancelled() else task.result()


def _unwrap(outcome: Outcome) -> Any:
    ok, value = outcome
    if ok:
        return value
    raise value


class PlatformLife:
    """One life of a platform process. Once dead, nothing that its code still does has an effect."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.alive = True
        self.tasks: dict[asyncio.Task[Outcome], None] = {}

    def guard(self) -> None:
        """Raise if this process has died: called first by everything that it can reach the world through."""
        if not self.alive:
            raise DeadLifeError(f"{self.name}#{self.number}")

    def kill(self) -> None:
        """Crash. The ports are dead at once; the loop unwinds the tasks when it comes to them."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()


class Sent(Generic[T]):
    """A call that runs on its own once awaited: giving up on it does not stop it."""

    def __init__(self, driver: AsyncioDriver, work: Coroutine[Any, Any, T], name: str) -> None:
        self._driver, self._work, self._name = driver, work, name
        self._task: asyncio.Task[Outcome] | None = None

    def begin(self) -> asyncio.Task[Outcome]:
        if self._task is None:
            self._task = self._driver.start(self._work, self._name, None)
        return self._task

    def __await__(self) -> Generator[Any, Any, T]:
        return _unwrap((yield from _end_of(self.begin()).__await__()))  # type: ignore[no-any-return]


# --- the Runtime and Signals ports -----------------------------------------------------------------------------------


class LoopRuntime:
    """The Runtime port of one platform process, or of the world (life None)."""

    def __init__(self, driver: AsyncioDriver, life: PlatformLife | None) -> None:
        self._driver, self._life = driver, life

    def _guard(self, *calls: object) -> None:
        if self._life is not None and not self._life.alive:
            for call in calls:
                if isinstance(call, Coroutine):
                    call.close()
            self._life.guard()

    def now(self) -> int:
        return self._driver.now()

    def cause(self) -> str:
        return self._driver.cause() or ""

    def sleep_until(self, at: int) -> Awaitable[None]:
        self._guard()
        return self._sleep_until(at)

    async def _sleep_until(self, at: int) -> None:
        await self._driver.first(self._driver.loop.create_future(), at)

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        self._guard(coro)
        self._driver.start(coro, name, self._life, awaited=False)

    def deadline(self, call: Awaitable[T], after_ms: int) -> Awaitable[T]:
        self._guard(call)
        return self._deadline(call, after_ms)

    async def _deadline(self, call: Awaitable[T], after_ms: int) -> T:
        if isinstance(call, Sent):
            task = call.begin()
        elif isinstance(call, Coroutine):
            task = self._driver.start(call, "deadline", self._life)
        else:
            raise TypeError(f"deadline() takes a port call or a coroutine, not {type(call).__name__}")
        await self._driver.first(task, self._driver.now() + after_ms)
        if not task.done():
            raise DeadlineExceeded(f"no answer within {after_ms} ms")
        return _unwrap(await _end_of(task))  # type: ignore[no-any-return]

    def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> Awaitable[None]:
        self._guard(*calls)
        return self._gather(calls, limit)

    async def _gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> None:
        queue = iter(calls)
        errors: list[Exception] = []

        async def worker() -> None:
            for call in queue:
                try:
                    await call
                except Exception as error:
                    errors.append(error)

        try:
            workers = [self._driver.start(worker(), "gather", self._life) for _ in range(min(limit, len(calls)))]
            if workers:
                await asyncio.wait(workers)
        finally:
            for call in queue:
                call.close()
        if errors:
            raise errors[0]


class SignalHub:
    """Notifications shared by all processes. A waiter that is woken takes over the cause of the notification."""

    def __init__(self, driver: AsyncioDriver) -> None:
        self._driver = driver
        self._counts: dict[str, int] = {}
        self._causes: dict[str, str | None] = {}
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    def seen(self, topic: str) -> int:
        return self._counts.get(topic, 0)

    def notify(self, topic: str) -> None:
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._causes[topic] = self._driver.cause()
        for waiter in self._waiting.pop(topic, ()):
            waiter.set_result(None)

    async def wait(self, topic: str, seen: int, until: int | None, idle_cause: str | None) -> None:
        driver = self._driver
        if self.seen(topic) == seen:
            waiter = driver.loop.create_future()
            waiting = self._waiting.setdefault(topic, {})
            waiting[waiter] = None
            try:
                await driver.first(waiter, until)
            finally:
                waiting.pop(waiter, None)
        driver.set_cause(self._causes.get(topic) if self.seen(topic) != seen else idle_cause)


class LifeSignals:
    """The Signals port of one platform process."""

    def __init__(self, hub: SignalHub, life: Life, started_by: str | None) -> None:
        self._hub, self._life, self._started_by = hub, life, started_by

    def seen(self, topic: str) -> int:
        self._life.guard()
        return self._hub.seen(topic)

    def notify(self, topic: str) -> None:
        self._life.guard()
        self._hub.notify(topic)

    def wait(self, topic: str, seen: int, until: int | None) -> Awaitable[None]:
        self._life.guard()
        return self._hub.wait(topic, seen, until, self._started_by)
