"""The kernel: drives coroutines through virtual time on SimPy, with keyed tie-breaking and processes that can die.

Time is integer milliseconds since the epoch. Two events at one instant are ordered by a key drawn from the task that
caused each and its count of events so far, never by the order of unrelated code; a cause comes before its effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from heapq import heappush
from typing import Any, Generic, TypeVar

from simpy.core import Environment
from simpy.events import NORMAL, URGENT, Event, EventPriority, Process, Timeout

from contest_platform.ports import ConnectionLost, DeadlineExceeded, PortError, Runtime, Signals
from evidence.journal import JournalWriter
from seams.draws import GOLDEN, Draws
from simulator.driver import Driver, Life
from simulator.leaves import Gate, Sleep, Wait
from simulator.signals import ProcessSignals, SignalHub

T = TypeVar("T")
Outcome = tuple[bool, Any]
"""How a coroutine ended: (True, value) or (False, exception). SimPy rebuilds exceptions that cross it; values pass."""

FIRST = EventPriority(URGENT - 1)
_MASK = (1 << 64) - 1


class DeadIncarnationError(BaseException):
    """A crashed process tried to touch the world. Not an Exception: the platform's own handlers never see it."""


class Kernel(Environment):
    """Virtual time. `record` writes the journal; `on_failure` is told when a task of a platform process raised."""

    def __init__(self, draws: Draws, journal: JournalWriter, starts_at: int) -> None:
        super().__init__(starts_at)
        self.draws = draws
        self.journal = journal
        self.events = 0
        self.on_failure: Callable[[Incarnation, Exception], None] | None = None
        self.failed = False
        self._root_key = draws.bits("kernel.root")
        self._root_events = 0
        self._root_names: dict[str, int] = {}
        self.root_cause: str | None = None
        self.runtime: Runtime = TaskRuntime(self, None)
        self.signals = SignalHub(self)

    def schedule(self, event: Event, priority: int = NORMAL, delay: Any = 0) -> None:
        """Queue `event`. The tie-break is SplitMix64 of the causing task's key and count, then order of scheduling."""
        task = self._active_proc
        if event is task and event._ok and not event.callbacks:
            event.callbacks = None  # type: ignore[assignment]  # It has ended and nobody waits for it.
            return
        if task is None:
            self._root_events = n = self._root_events + 1
            x = self._root_key + n * GOLDEN & _MASK
        else:
            task.scheduled = n = task.scheduled + 1  # type: ignore[attr-defined]
            x = task.key + n * GOLDEN & _MASK  # type: ignore[attr-defined]
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        self.events = eid = self.events + 1
        entry: Any = (self._now + delay, priority, ((x ^ (x >> 31)) << 40) + eid, event)
        heappush(self._queue, entry)

    # --- tasks ---------------------------------------------------------------------------------------------------

    def start(self, coro: Coroutine[Any, Any, Any], name: str, incarnation: Incarnation | None = None) -> Task:
        """Begin to run `coro`. In an incarnation it dies with it; without one it belongs to the world."""
        return Task(self, coro, name, incarnation)

    def key_of(self, name: str) -> int:
        """The key of the next task of this name that the running task starts: unrelated tasks have no part in it."""
        task = self._active_proc
        parent, names = (self._root_key, self._root_names) if task is None else (task.key, task.names)  # type: ignore[attr-defined]
        count = names[name] = names.get(name, 0) + 1
        return self.draws.bits("task", parent, name, count)

    def call(self, work: Coroutine[Any, Any, T], name: str) -> Pending[T]:
        return Pending(self, work, name, None)

    def never(self) -> Awaitable[None]:
        return Wait(Event(self))

    def fail(self, error: Exception) -> None:
        """End the run with `error` before anything else happens, whatever the running task makes of it."""
        if self.failed:
            return
        self.failed = True

        def end(_: Event) -> None:
            raise error

        last = Event(self)
        last._ok, last._value, last.callbacks = True, None, [end]
        self.schedule(last, FIRST)

    # --- causes --------------------------------------------------------------------------------------------------

    def cause(self) -> str | None:
        task = self._active_proc
        return self.root_cause if task is None else task.cause  # type: ignore[attr-defined]

    def set_cause(self, event_id: str | None) -> None:
        task = self._active_proc
        if task is None:
            self.root_cause = event_id
        else:
            task.cause = event_id  # type: ignore[attr-defined]

    def record(self, actor: str, kind: str, subject: str, **data: Any) -> str:
        try:
            event_id = self.journal.append(int(self._now), actor, kind, subject, self.cause(), data)
        except Exception as error:
            # Whose record it was to be has no part in it: not a failure of that process, but the end of the run.
            self.fail(error)
            raise
        self.set_cause(event_id)
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
    task = Task(kernel, work, name, incarnation, awaited=False)
    await Wait(task)
    ok, value = task.outcome()
    if not ok or not incarnation.alive:
        raise ConnectionLost(name)
    return value  # type: ignore[no-any-return]


class Task(Process):
    """A running coroutine. Its value is an Outcome. `cause` is the journal event that it is handling.

    `awaited` says that somebody takes its exception; otherwise that is a failure of the process, or of the world.
    """

    def __init__(
        self,
        kernel: Kernel,
        coro: Coroutine[Any, Any, Any],
        name: str,
        incarnation: Incarnation | None,
        awaited: bool = True,
    ) -> None:
        self.key = kernel.key_of(name)
        self.names: dict[str, int] = {}
        self.scheduled = 0
        self.cause = kernel.cause()
        self.incarnation = incarnation
        self._coro = coro
        self._killed = False
        if incarnation is not None:
            incarnation.tasks[self] = None
        # Its first event is its own: to start one task more moves none of its parent's events.
        parent, kernel._active_proc = kernel._active_proc, self
        super().__init__(kernel, self._main(kernel, coro, incarnation, awaited))  # type: ignore[arg-type]
        kernel._active_proc = parent

    async def _main(
        self, kernel: Kernel, coro: Coroutine[Any, Any, Any], incarnation: Incarnation | None, awaited: bool
    ) -> Outcome:
        try:
            return True, await coro
        except DeadIncarnationError as error:
            return False, error
        except Exception as error:
            if incarnation is None:
                # An error in the world's own code is our bug, which no platform code may take for an answer.
                failed = not awaited or not isinstance(error, PortError)
            else:
                failed = not awaited and incarnation.alive
            if failed and not kernel.failed:
                if incarnation is not None and kernel.on_failure is not None:
                    kernel.on_failure(incarnation, error)
                else:
                    kernel.fail(error)
            return False, error
        finally:
            if incarnation is not None:
                incarnation.tasks.pop(self, None)

    def _resume(self, event: Event) -> None:
        if not self._killed:
            super()._resume(event)

    def outcome(self) -> Outcome:
        """How the coroutine ended; only once it has."""
        return self.value  # type: ignore[return-value]

    def kill(self) -> None:
        """Stop at once. The coroutine is closed, so its `finally` blocks do run, with every port dead."""
        if self.env.active_process is self:
            return
        self._killed = True
        for coro in (self._generator, self._coro):
            try:
                coro.close()
            except (DeadIncarnationError, Exception):
                # It raised while unwinding, or awaited and so ignored the exit. Either way it is gone.
                continue
        self.succeed((False, DeadIncarnationError("killed")))


class Incarnation:
    """One life of a platform process. Once dead, nothing that its code still does has an effect."""

    __slots__ = ("alive", "name", "number", "tasks")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.alive = True
        self.tasks: dict[Task, None] = {}

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


class Pending(Generic[T]):
    """A call that runs on its own once awaited: giving up on it does not stop it."""

    __slots__ = ("_args", "_task")

    def __init__(
        self, kernel: Kernel, work: Coroutine[Any, Any, T], name: str, incarnation: Incarnation | None
    ) -> None:
        self._args = (kernel, work, name, incarnation)
        self._task: Task | None = None

    def begin(self) -> Task:
        if self._task is None:
            self._task = Task(*self._args)
        return self._task

    def __await__(self) -> Generator[Event, Any, T]:
        task = self.begin()
        if task.callbacks is not None:
            yield task
        return _unwrap(task.outcome())  # type: ignore[no-any-return]


def _unwrap(outcome: Outcome) -> Any:
    ok, value = outcome
    if ok:
        return value
    raise value


# --- the Runtime and Signals ports ------------------------------------------------------------------------------------


class TaskRuntime:
    """The Runtime port of one platform process, or of the world (incarnation None)."""

    __slots__ = ("_incarnation", "_kernel")

    def __init__(self, kernel: Kernel, incarnation: Incarnation | None) -> None:
        self._kernel, self._incarnation = kernel, incarnation

    def _guard(self, *calls: object) -> None:
        if self._incarnation is not None and not self._incarnation.alive:
            for call in calls:
                if isinstance(call, Coroutine):
                    call.close()
            self._incarnation.guard()

    def now(self) -> int:
        return self._kernel._now  # type: ignore[return-value]

    def cause(self) -> str:
        return self._kernel.cause() or ""

    def sleep_until(self, at: int) -> Awaitable[None]:
        self._guard()
        kernel = self._kernel
        return Sleep(kernel, max(0, at - kernel._now))

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        self._guard(coro)
        Task(self._kernel, coro, name, self._incarnation, awaited=False)

    def deadline(self, call: Awaitable[T], after_ms: int) -> Awaitable[T]:
        self._guard(call)
        return self._deadline(call, after_ms)

    async def _deadline(self, call: Awaitable[T], after_ms: int) -> T:
        kernel = self._kernel
        if isinstance(call, Pending):
            task = call.begin()
        elif isinstance(call, Coroutine):
            task = Task(kernel, call, "deadline", self._incarnation)
        else:
            raise TypeError(f"deadline() takes a port call or a coroutine, not {type(call).__name__}")
        if task.callbacks is not None:
            await Gate(kernel, task, Timeout(kernel, after_ms))
        if not task.triggered:
            raise DeadlineExceeded(f"no answer within {after_ms} ms")
        return _unwrap(task.outcome())  # type: ignore[no-any-return]

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
            for task in [
                Task(self._kernel, worker(), "gather", self._incarnation) for _ in range(min(limit, len(calls)))
            ]:
                if task.callbacks is not None:
                    await Wait(task)
        finally:
            for call in queue:
                call.close()
        if errors:
            raise errors[0]


def _implements(kernel: Kernel) -> Driver:
    """Checked by the type checker."""
    return kernel
