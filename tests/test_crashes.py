"""A crash is a dead life: nothing that its code still does has an effect, not even in its `finally` blocks."""

from __future__ import annotations

import gc
import inspect
import typing
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest

from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.ports import ConnectionLost, Ports, Runtime, Signals
from contest_platform.service import Config
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE
from simulator.driver import Life
from tests.support.deployment import Deployment, Idle
from tests.support.drivers import BENCHES, DEAD, STARTS_AT, Bench
from tests.support.fake_world import MONDAY


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = BENCHES[request.param]()
    yield bench
    bench.close()


@pytest.fixture
def life(bench: Bench) -> Life:
    return bench.driver.begin("app", 1)


# --- what stops --------------------------------------------------------------------------------------------------


def test_the_tasks_of_a_killed_process_never_go_on_whatever_they_wait_for(bench: Bench, life: Life) -> None:
    driver, runtime, signals = bench.driver, bench.driver.runtime_of(life), bench.driver.signals_of(life)
    begun: list[str] = []
    went_on: list[str] = []
    waits: dict[str, Callable[[], Awaitable[Any]]] = {
        "sleep": lambda: runtime.sleep_until(STARTS_AT + 100),
        "signal": lambda: signals.wait("work", 0, None),
        "signal or timer": lambda: signals.wait("work", 0, STARTS_AT + 100),
        "call": lambda: driver.call(bench.sleep_until(100), "call"),
        "deadline": lambda: runtime.deadline(driver.call(bench.sleep_until(100), "call"), 200),
        "deadline that passes": lambda: runtime.deadline(driver.call(bench.sleep_until(300), "call"), 100),
        "own deadline": lambda: runtime.deadline(task("within deadline", waits["sleep"]), 200),
        "gather": lambda: runtime.gather([task(f"gathered {n}", waits["sleep"]) for n in range(3)], 2),
    }

    async def task(name: str, wait: Callable[[], Awaitable[Any]]) -> None:
        begun.append(name)
        await wait()
        went_on.append(name)

    for name, wait in waits.items():
        runtime.spawn(task(name, wait), name)
    driver.runtime.spawn(_at(bench, 100, lambda: driver.notify("work")), "notifier")
    bench.crash(life, 50)
    bench.run_until(1_000)
    assert {*begun} == {*waits, "within deadline", "gathered 0", "gathered 1"}
    assert went_on == []
    assert bench.failures == []


def test_the_same_tasks_do_go_on_without_the_crash(bench: Bench, life: Life) -> None:
    went_on = []

    async def task() -> None:
        await bench.driver.runtime_of(life).sleep_until(STARTS_AT + 100)
        went_on.append(bench.now)

    bench.driver.runtime_of(life).spawn(task(), "task")
    bench.crash(bench.driver.begin("app", 2), 50)
    bench.run_until(1_000)
    assert went_on == [100]


def test_a_request_in_progress_at_a_crash_loses_its_connection_at_that_instant(bench: Bench, life: Life) -> None:
    bench.crash(life, 50)

    async def customer() -> int:
        with pytest.raises(ConnectionLost):
            await bench.driver.serve(life, bench.sleep_until(100), "request")
        return bench.now

    assert bench.do(customer) == 50


def test_a_request_to_a_dead_process_is_never_begun(bench: Bench, life: Life) -> None:
    begun = []

    async def work() -> None:
        begun.append(bench.now)

    life.kill()
    with pytest.raises(ConnectionLost):
        bench.do(lambda: bench.driver.serve(life, work(), "request"))
    assert begun == []


def test_a_call_already_sent_still_has_its_effect_at_the_callee(bench: Bench, life: Life) -> None:
    effects = []

    async def callee() -> None:
        await bench.sleep_until(100)
        effects.append(bench.now)

    async def platform() -> None:
        await bench.driver.runtime_of(life).deadline(bench.driver.call(callee(), "call"), 500)

    bench.driver.runtime_of(life).spawn(platform(), "platform")
    bench.crash(life, 50)
    bench.run_until(1_000)
    assert effects == [100]


def test_a_task_that_kills_its_own_process_stops_at_its_next_call_of_a_port(bench: Bench, life: Life) -> None:
    runtime, log = bench.driver.runtime_of(life), []

    async def suicide() -> None:
        log.append("before")
        life.kill()
        log.append("still on the stack")
        try:
            runtime.spawn(_at(bench, 5, lambda: log.append("an effect")), "effect")
        except Exception:
            log.append("seen by except Exception")
        log.append("went on")

    with pytest.raises(ConnectionLost):
        bench.do(lambda: bench.driver.serve(life, suicide(), "request"))
    assert log == ["before", "still on the stack"]
    assert bench.failures == []


def test_a_caller_whose_call_kills_his_process_dies_where_he_waits(bench: Bench, life: Life) -> None:
    log = []

    async def callee() -> None:
        life.kill()
        await bench.sleep_until(100)
        log.append(f"had its effect at {bench.now}")

    async def platform() -> None:
        await bench.driver.call(callee(), "call")
        log.append("went on")

    async def customer() -> None:
        with pytest.raises(ConnectionLost):
            await bench.driver.serve(life, platform(), "request")
        log.append(f"lost the connection at {bench.now}")

    bench.do(customer)
    assert log == ["lost the connection at 0", "had its effect at 100"]


@pytest.mark.parametrize("at", [0, 10])
def test_a_bug_that_kills_its_process_ends_what_raised_and_what_waited_once(bench: Bench, life: Life, at: int) -> None:
    log: list[str] = []

    def died(whose: Any, error: Exception) -> None:
        log.append(type(error).__name__)
        life.kill()

    async def bug() -> None:
        if at:
            await bench.sleep_until(at)
        raise KeyError("a bug of the platform")

    async def customer(work: Coroutine[Any, Any, None]) -> None:
        with pytest.raises(ConnectionLost):
            await bench.driver.serve(life, work, "request")
        log.append(f"lost at {bench.now}")

    bench.driver.on_failure = died  # type: ignore[attr-defined]
    for work in (bench.sleep_until(100), bench.sleep_until(200)):
        bench.driver.runtime.spawn(customer(work), "customer")
    bench.driver.runtime_of(life).spawn(bug(), "job")
    bench.driver.runtime.spawn(customer(bench.sleep_until(300)), "customer")
    bench.run_until(1_000)
    assert log == ["KeyError", *[f"lost at {at}"] * 3]


def test_tasks_and_calls_killed_before_they_began_leave_no_warning(bench: Bench, life: Life) -> None:
    runtime, begun = bench.driver.runtime_of(life), []

    async def never_begun() -> None:
        begun.append(bench.now)

    async def gathering() -> None:
        await runtime.gather([bench.sleep_until(100), never_begun()], 1)

    async def unwinding() -> None:
        try:
            await bench.sleep_until(100)
        except BaseException:
            for refused in (
                lambda: runtime.spawn(never_begun(), "spawned"),
                lambda: runtime.deadline(never_begun(), 5),
                lambda: runtime.gather([never_begun(), never_begun()], 1),
            ):
                with pytest.raises(DEAD):
                    refused()
            raise

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for work in (gathering(), unwinding()):
            runtime.spawn(work, "begun")
        bench.run_until(50)
        runtime.spawn(never_begun(), "not begun")
        life.kill()
        bench.run_until(200)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert begun == []


# --- what unwinding cannot do ------------------------------------------------------------------------------------


def test_a_bug_that_shows_only_while_unwinding_troubles_nobody(bench: Bench, life: Life) -> None:
    async def job() -> None:
        try:
            await bench.sleep_until(100)
        finally:
            raise KeyError("forgotten")

    bench.driver.runtime_of(life).spawn(job(), "job")
    bench.crash(life, 50)
    bench.run_until(1_000)
    assert bench.failures == []


@pytest.mark.parametrize("block", ["finally", "except BaseException"])
def test_blocks_that_unwind_a_crash_touch_no_port_of_runtime_and_signals(bench: Bench, life: Life, block: str) -> None:
    driver, runtime, signals = bench.driver, bench.driver.runtime_of(life), bench.driver.signals_of(life)
    effects: list[str] = []
    refused: list[str] = []

    async def effect(name: str) -> None:
        effects.append(name)

    touches: dict[str, Callable[[], Awaitable[Any] | int | None]] = {
        "spawn": lambda: runtime.spawn(effect("spawn"), "spawn"),
        "deadline": lambda: runtime.deadline(effect("deadline"), 10),
        "gather": lambda: runtime.gather([effect("gather")], 1),
        "sleep": lambda: runtime.sleep_until(STARTS_AT + 200),
        "notify": lambda: signals.notify("work"),
        "seen": lambda: signals.seen("work"),
        "wait": lambda: signals.wait("work", 0, None),
    }

    async def touch(name: str) -> None:
        try:
            touches[name]()
        except Exception:
            effects.append(f"{name} was seen by except Exception")
        except DEAD:
            refused.append(name)
            raise

    async def with_finally(name: str) -> None:
        try:
            await bench.sleep_until(100)
        finally:
            await touch(name)

    async def with_except(name: str) -> None:
        try:
            await bench.sleep_until(100)
        except BaseException:
            await touch(name)

    for name in touches:
        runtime.spawn((with_finally if block == "finally" else with_except)(name), name)
    bench.crash(life, 50)
    bench.run_until(1_000)
    assert sorted(refused) == sorted(touches)
    assert effects == []
    assert driver.signals_of(driver.begin("app", 2)).seen("work") == 0
    assert bench.failures == []


# --- a deployed unit with all its ports --------------------------------------------------------------------------


_LEASE_ROW: dict[str, Any] = {"name": "x", "holder": "x", "epoch": 1, "acquired_at": 0, "expires_at": 0}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "transact": {"operation": "x", "fn": lambda tx: tx.insert("leases", _LEASE_ROW)},
    "new": {"kind": "x"},
    "create_intent": {"amount_cents": 1, "metadata": {}, "idempotency_key": "k"},
    "cancel_intent": {"intent_id": "pi", "idempotency_key": "k"},
    "create_transfer": {
        "amount_cents": 1, "destination": "acct", "transfer_group": "g", "metadata": {}, "idempotency_key": "k",
    },
    "create_refund": {"intent_id": "pi", "amount_cents": 1, "metadata": {}, "idempotency_key": "k"},
    "list_transfers": {"transfer_group": "g"},
    "list_refunds": {"intent_id": "pi"},
    "list_intents": {"after": None, "limit": 1},
    "retrieve_intent": {"intent_id": "pi"},
    "retrieve_dispute": {"dispute_id": "dp"},
    "list_events": {"after": None, "limit": 1},
    "list_balance_transactions": {"after": None, "limit": 1},
    "poll": {"event_id": "e", "since": None},
    "run": {"host": "lin-app-1", "command": "systemctl", "args": ("start", "app")},
    "introspect": {"token_id": "t"},
    "send": {"action": "trigger", "dedup_key": "d", "summary": "s", "severity": "error", "details": {}},
    "incidents": {},
    "publish": {"head_seq": 1, "head_hash": "h"},
    "set": {"name": "remediation_orders", "value": 1},
    "add": {"name": "webhook_signature_failures_total"},
    "remove": {"name": "remediation_orders"},
    "create": {"backup_id": "b"},
    "inspect": {"backup_id": "b"},
    "restore": {"backup_id": "b", "target": "scratch"},
}  # fmt: skip
"""A call of each method of each port that reaches anything outside; Runtime and Signals have tests of their own."""

_HARMLESS = {"below"}


def _methods() -> dict[str, str]:
    """Each method of the ports -> the port that has it."""
    methods = {}
    for port, protocol in typing.get_type_hints(Ports).items():
        if protocol not in (Runtime, Signals):
            for name, _ in inspect.getmembers(protocol, inspect.isfunction):
                if not name.startswith("_"):
                    methods[name] = port
    return methods


def test_the_calls_below_are_all_that_the_ports_have() -> None:
    assert set(ARGUMENTS) | _HARMLESS == set(_methods())


@pytest.mark.parametrize("method", ARGUMENTS)
def test_no_port_of_a_dead_process_does_anything(method: str) -> None:
    deployment = Deployment(Idle)
    world = deployment.world
    deployment.processes.start("settlement")
    deployment.processes.kill("settlement")
    journal = world.journal.getvalue()
    call = getattr(getattr(deployment.ports[0], _methods()[method]), method)

    async def touch() -> None:
        started = call(**ARGUMENTS[method])
        if isinstance(started, Awaitable):
            await started

    with pytest.raises(DEAD):
        world.run(_unguarded(touch()))
    world.run_for(MINUTE_MS)
    assert deployment.leases() == []
    assert world.journal.getvalue() == journal


class ReleasingDaemon(SettlementService):
    """A defect: it gives the lease back in a `finally`, which a crash never runs."""

    def jobs(self) -> Sequence[Job]:
        return (Job("settlement", "settlement", 5 * MINUTE_MS, self._now, self._hold),)

    async def _now(self) -> int:
        return MONDAY

    async def _hold(self) -> None:
        store, runtime = self._ports.store, self._ports.runtime
        try:
            assert await store.transact("settlement.lease", self._lease) is not None
            await runtime.sleep_until(runtime.now() + MINUTE_MS)
        finally:
            await self.stop()


def test_a_lease_released_in_a_finally_is_gone_when_the_work_is_done() -> None:
    deployment = Deployment(ReleasingDaemon)
    deployment.processes.start("settlement")
    deployment.world.run_for(MINUTE_MS // 2)
    assert deployment.leases() == [LEASE]
    deployment.world.run_for(MINUTE_MS)
    assert deployment.leases() == []


def test_a_crash_during_the_work_leaves_the_lease_although_a_finally_would_release_it() -> None:
    deployment = Deployment(ReleasingDaemon)
    deployment.processes.start("settlement")
    deployment.world.run_for(MINUTE_MS // 2)
    deployment.processes.kill("settlement")
    assert deployment.leases() == [LEASE]
    deployment.world.run_for(MINUTE_MS)
    assert deployment.leases() == [LEASE]


def test_the_successor_of_a_crashed_daemon_waits_until_its_lease_has_expired() -> None:
    deployment, holders = Deployment(SettlementService), []
    for _ in range(2):
        deployment.processes.start("settlement")
        service = SettlementService(deployment.ports[-1], Config((), "", {}))
        transact = deployment.ports[-1].store.transact
        deployment.world.run(_unguarded(transact("settlement.lease", service._lease)))
        holders.append([tuple(row) for row in deployment.connection.execute("select holder, epoch from leases")])
        deployment.processes.kill("settlement")
    assert holders[0] == holders[1]
    deployment.world.run_for(11 * MINUTE_MS)
    deployment.processes.start("settlement")
    service = SettlementService(deployment.ports[-1], Config((), "", {}))
    epoch = deployment.world.run(_unguarded(deployment.ports[-1].store.transact("settlement.lease", service._lease)))
    assert epoch == 2


def _unguarded(call: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    async def run() -> Any:
        return await call

    return run()


async def _at(bench: Bench, at: int, act: Callable[[], None]) -> None:
    await bench.sleep_until(at)
    act()
