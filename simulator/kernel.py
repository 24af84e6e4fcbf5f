"""The kernel: drives coroutines through virtual time on SimPy, with keyed tie-breaking and processes that can die.

Time is integer milliseconds since the epoch. Two events at one instant are ordered by a key drawn from the task that
caused each and its count of events so far, never by the order of unrelated code; a cause comes before its effect.
What would be the next event whatever its key is done at once and never queued: that moves no other event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from functools import cached_property
from heapq import heappop
from inspect import CORO_RUNNING, getcoroutinestate
from math import inf
from time import perf_counter
from typing import Any, Generic, TypeVar

from simpy.core import Environment
from simpy.events import NORMAL, PENDING, URGENT, Event, EventPriority

from contest_platform.ports import ConnectionLost, DeadlineExceeded, PortError, Runtime, Signals
from evidence.journal import JournalWriter
from seams.draws import Draws
from simulator.driver import Driver, Life
from simulator.lanes import HEAD, Lane, Lanes
from simulator.leaves import Gate, Moment, Wait
from simulator.signals import ProcessSignals, SignalHub

T = TypeVar("T")
Outcome = tuple[bool, Any]
"""How a coroutine ended: (True, value) or (False, exception). SimPy rebuilds exceptions that cross it; values pass."""

FIRST = EventPriority(URGENT - 1)


class DeadIncarnationError(BaseException):
    """A crashed process tried to touch the world. Not an Exception: the platform's own handlers never see it."""


class Origin:
    """What events come from: a task or, outside of all tasks, the world. `cause` is the journal event that it handles,
    `scheduled` counts its events, and `names` the tasks that it has begun by name; the time it takes is `lane`'s."""

    key: int
    lane: Lane
    cause: str | None = None
    scheduled = 0

    def __init__(self, key: int) -> None:
        self.key = key
        self.names: dict[str, int] = {}


class Kernel(Environment):
    """Virtual time, in which only moments happen (see leaves.Moment). `record` writes the journal; `on_failure` is told
    when a task of a platform process raised.

    The wall clock is shared out among `lanes`: `lane` is the one whose time it is, and `since` when that began."""

    __slots__ = ("events", "known", "lane", "running", "since")  # what is asked for at every event

    def __init__(self, draws: Draws, journal: JournalWriter, starts_at: int, lanes: Lanes | None = None) -> None:
        super().__init__(starts_at)
        self._now: int
        self._queue: Any = []
        """(instant, priority, event)"""
        self.draws = draws
        self.journal = journal
        self.events = 0
        self.on_failure: Callable[[Incarnation, Exception], None] | None = None
        self.failed = False
        self.lanes = Lanes() if lanes is None else lanes
        self.running = Origin(draws.bits("kernel.root"))
        self.running.lane = self.lane = self.lanes.kernel
        self.known, self.since = self.lanes.known, perf_counter()
        self.lanes.begun = self.since
        self.runtime: Runtime = TaskRuntime(self, None)
        self.signals = SignalHub(self)

    def would_be_next(self, priority: EventPriority) -> bool:
        """Whether an event of this instant and `priority` would be the next to happen, whatever its key: then what it
        would do can be done at once."""
        queue = self._queue
        return not queue or queue[0][0] > self._now or queue[0][1] > priority

    def run(self, until: float | Event | None = None, unless: Event | None = None) -> Any:
        """Have everything happen that is due before the instant `until`, or until that event has; None: everything.
        Returns the event's value. Once `unless` has happened nothing more does, and time stands where it has."""
        queue, awaited = self._queue, until if isinstance(until, Event) else unless
        end = inf if until is None or isinstance(until, Event) else until
        while queue and queue[0][0] < end and (awaited is None or awaited.callbacks is not None):
            self._now, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None
            for callback in callbacks or ():
                callback(event)
        if isinstance(until, Event):
            return until.value
        if end != inf and (awaited is None or awaited.callbacks is not None):
            self._now = int(end)
        return None

    def enter(self, lane: Lane) -> None:
        """Time is `lane`'s from here on. `Task._resume` does the same in place."""
        now = perf_counter()
        self.lane.seconds += now - self.since
        self.lane, self.since = lane, now

    # --- tasks ---------------------------------------------------------------------------------------------------

    def start(self, coro: Coroutine[Any, Any, T], name: str, incarnation: Incarnation | None = None) -> Task[T]:
        """Begin to run `coro` soon. In an incarnation it dies with it; without one it belongs to the world."""
        return Task(self, coro, name, incarnation).begin(soon=True)

    def call(self, work: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """`work` runs on its own once awaited: giving up on it does not stop it."""
        return Task(self, work, name, None)

    def never(self) -> Awaitable[None]:
        return Gate(self)

    def fail(self, error: Exception) -> None:
        """End the run with `error` before anything else happens, whatever the running task makes of it."""
        if self.failed:
            return
        self.failed = True

        def end(_: Event) -> None:
            raise error

        Moment(self, self._now, FIRST).callbacks.append(end)

    # --- causes --------------------------------------------------------------------------------------------------

    def cause(self) -> str | None:
        return self.running.cause

    def set_cause(self, event_id: str | None) -> None:
        self.running.cause = event_id

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        try:
            event_id = self.journal.append(self._now, actor, kind, subject, self.running.cause, data)
        except Exception as error:
            # Whose record it was to be has no part in it: not a failure of that process, but the end of the run.
            self.fail(error)
            raise
        self.running.cause = event_id
        return event_id

    # --- platform processes -----------------------------------------------------------------------------------------

    def begin(self, name: str, number: int) -> Incarnation:
        return Incarnation(name, number)

    def runtime_of(self, life: Life) -> Runtime:
        assert isinstance(life, Incarnation)
        return TaskRuntime(self, life)

    def signals_of(self, life: Life) -> Signals:
        assert isinstance(life, Incarnation)
        return ProcessSignals(self.signals, life, self.cause())

    def notify(self, topic: str) -> None:
        self.signals.notify(topic)

    def serve(self, life: Life, work: Coroutine[Any, Any, T], name: str) -> Awaitable[T]:
        assert isinstance(life, Incarnation)
        return _serve(self, life, work, name)


async def _serve(kernel: Kernel, incarnation: Incarnation, work: Coroutine[Any, Any, T], name: str) -> T:
    if not incarnation.alive:
        work.close()
        raise ConnectionLost(name)
    task = Task(kernel, work, name, incarnation, awaited=False).begin()
    await Wait(task)
    ok, value = task.outcome()
    if not ok or not incarnation.alive:
        raise ConnectionLost(name)
    return value  # type: ignore[no-any-return]


class Task(Event, Origin, Generic[T]):
    """A running coroutine, awaited for what it gives or raises. Giving up on it does not stop it.

    `awaited` says that somebody takes its exception; otherwise that is a failure of the process, or of the world.
    """

    # Read or written whenever it goes on, so at fixed places; what is seldom asked for has the dictionary of an Event.
    __slots__ = (
        "_awaited", "_coro", "_incarnation", "_name", "_nth", "_parent", "_value", "callbacks", "cause", "env", "lane",
        "names", "scheduled",
    )  # fmt: skip
    env: Kernel
    _ok = True

    def __init__(
        self,
        kernel: Kernel,
        coro: Coroutine[Any, Any, T],
        name: str,
        incarnation: Incarnation | None,
        awaited: bool = True,
    ) -> None:
        self.env = kernel
        self.callbacks = []
        self._coro, self._name, self._incarnation, self._awaited = coro, name, incarnation, awaited
        self._parent: Origin | None = None
        self._value = PENDING
        self.scheduled = 0

    @cached_property
    def key(self) -> int:  # type: ignore[override]
        """Unrelated tasks have no part in it."""
        assert self._parent is not None, "only a task that has begun causes events"
        return self.env.draws.bits("task", self._parent.key, self._name, self._nth)

    def begin(self, soon: bool = False) -> Task[T]:
        """Run for whoever runs now and is about to wait for it. `soon`: once he waits, for this or for something else;
        of several, in the order of their keys. A task that has begun is left alone."""
        if self._parent is not None:
            return self
        kernel, name = self.env, self._name
        self._parent = parent = kernel.running
        named = parent.names
        self._nth = named[name] = named.get(name, 0) + 1
        self.names = {}
        self.cause = parent.cause
        head = name[:HEAD] if self._incarnation is None else name
        try:
            self.lane = kernel.known[head] or parent.lane
        except KeyError:
            self.lane = kernel.lanes.learn(head) or parent.lane
        if self._incarnation is not None:
            self._incarnation.tasks[self] = None
        # Its beginning is its own first event, queued or not: to begin one task more moves no event of its parent.
        if soon or not kernel.would_be_next(URGENT):
            kernel.running = self
            Moment(kernel, kernel._now, URGENT).callbacks.append(self._resume)
            kernel.running = parent
        else:
            self.scheduled = 1
            self._resume(self)
            if self._value is not PENDING and kernel.lane is not parent.lane:
                kernel.enter(parent.lane)
        return self

    def _resume(self, event: Event) -> None:
        if self._value is not PENDING:
            return
        kernel, incarnation = self.env, self._incarnation
        before, kernel.running = kernel.running, self
        # A party of the world that is called waits for the message to arrive first: that is no work of its own.
        if event is not self or incarnation is not None:
            lane = self.lane
            lane.resumptions += 1
            if kernel.lane is not lane:
                now = perf_counter()
                kernel.lane.seconds += now - kernel.since
                kernel.lane, kernel.since = lane, now
        try:
            self._coro.send(None).callbacks.append(self._resume)
        except StopIteration as end:
            self._value = True, end.value
        except DeadIncarnationError as error:
            self._value = False, error
        except Exception as error:
            self._raised(error)
            self._value = False, error
        else:
            if incarnation is not None and not incarnation.alive:
                self._stop()
            kernel.running = before
            return
        if incarnation is not None:
            incarnation.tasks.pop(self, None)
        if kernel.would_be_next(NORMAL):
            self._tell(self)
        elif self.callbacks or event is self:  # who has begun it in place is about to wait: not on the list yet
            Moment(kernel, kernel._now).callbacks.append(self._tell)
        else:
            self.callbacks = None  # type: ignore[assignment]
        kernel.running = before

    def _raised(self, error: Exception) -> None:
        kernel, incarnation = self.env, self._incarnation
        if incarnation is None:
            # An error in the world's own code is our bug, which no platform code may take for an answer.
            failed = not self._awaited or not isinstance(error, PortError)
        else:
            failed = not self._awaited and incarnation.alive
        if failed and not kernel.failed:
            if incarnation is not None and kernel.on_failure is not None:
                kernel.on_failure(incarnation, error)
            else:
                kernel.fail(error)

    def _tell(self, _: Event) -> None:
        """Whoever waits for the end goes on."""
        callbacks, self.callbacks = self.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(self)

    def outcome(self) -> Outcome:
        """How the coroutine ended; only once it has."""
        return self.value  # type: ignore[return-value]

    def result(self) -> T:
        """What the coroutine gave, or raised; only once it has ended."""
        ok, value = self._value
        if ok:
            return value  # type: ignore[no-any-return]
        raise value

    def __await__(self) -> Generator[Event, Any, T]:
        if self.begin().callbacks is not None:
            yield self
        return self.result()

    def kill(self) -> None:
        """Stop where it waits. A task that runs, or that has just begun the one that runs, stops at its next wait."""
        if self.env.running is not self and getcoroutinestate(self._coro) != CORO_RUNNING:
            self._stop()

    def _stop(self) -> None:
        """The coroutine is closed, so its `finally` blocks do run, with every port dead."""
        self._value = False, DeadIncarnationError("killed")
        # It may raise while unwinding, or await and so ignore the exit. Either way it is gone.
        with suppress(DeadIncarnationError, Exception):
            self._coro.close()
        Moment(self.env, self.env._now).callbacks.append(self._tell)


class Incarnation:
    """One life of a platform process. Once dead, nothing that its code still does has an effect."""

    __slots__ = ("alive", "name", "number", "tasks")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.alive = True
        self.tasks: dict[Task[Any], None] = {}

    def guard(self) -> None:
        """Raise if this process has died: called first by everything that it can reach the world through."""
        if not self.alive:
            raise DeadIncarnationError(f"{self.name}#{self.number}")

    def kill(self) -> None:
        """Crash. Tasks end where they stand; who waits for an answer learns that the connection broke."""
        if not self.alive:
            return
        self.alive = False
        for task in list(self.tasks):
            task.kill()
        self.tasks.clear()


# --- the Runtime and Signals ports ------------------------------------------------------------------------------------


class TaskRuntime:
    """The Runtime port of one platform process, or of the world (incarnation None)."""

    __slots__ = ("_incarnation", "_kernel")

    def __init__(self, kernel: Kernel, incarnation: Incarnation | None) -> None:
        self._kernel, self._incarnation = kernel, incarnation

    def _guard(self, calls: Sequence[object]) -> None:
        incarnation = self._incarnation
        if incarnation is not None and not incarnation.alive:
            for call in calls:
                if isinstance(call, Coroutine):
                    call.close()
            incarnation.guard()

    def now(self) -> int:
        return self._kernel._now

    def cause(self) -> str:
        return self._kernel.running.cause or ""

    def sleep_until(self, at: int) -> Awaitable[None]:
        kernel, incarnation = self._kernel, self._incarnation
        if incarnation is not None:
            incarnation.guard()
        return Moment(kernel, at if at > kernel._now else kernel._now)

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        self._guard((coro,))
        Task(self._kernel, coro, name, self._incarnation, awaited=False).begin(soon=True)

    def deadline(self, call: Awaitable[T], after_ms: int) -> Awaitable[T]:
        self._guard((call,))
        return self._deadline(call, after_ms)

    async def _deadline(self, call: Awaitable[T], after_ms: int) -> T:
        kernel = self._kernel
        if not isinstance(call, Task):
            if not isinstance(call, Coroutine):
                raise TypeError(f"deadline() takes a port call or a coroutine, not {type(call).__name__}")
            call = Task(kernel, call, "deadline", self._incarnation)
        # The clock first: whether the call ends at once or in a moment, the caller's next event is the same one.
        gate = Gate(kernel, kernel._now + after_ms)
        if call.begin().callbacks is not None:
            call.callbacks.append(gate.open)
            await gate
            if call._value is PENDING:
                raise DeadlineExceeded(f"no answer within {after_ms} ms")
        return call.result()

    def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> Awaitable[None]:
        self._guard(calls)
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
            workers = [self._kernel.start(worker(), "gather", self._incarnation) for _ in range(min(limit, len(calls)))]
            for task in workers:
                await Wait(task)
        finally:
            for call in queue:
                call.close()
        if errors:
            raise errors[0]


def _implements(kernel: Kernel) -> Driver:
    """Checked by the type checker."""
    return kernel
