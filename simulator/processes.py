"""The platform's own processes in the simulated world: what each reaches the world through, and how it lives and dies.

Every port of a process first asks whether that life is over; once it is, nothing that its code does has an effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from contest_platform import units
from contest_platform.app import App
from contest_platform.http import Request, Response
from contest_platform.ports import ConnectionFailed, Ports, Tx
from contest_platform.service import Config
from contest_platform.store.database import Database
from contest_platform.units import Unit
from seams.bus import SeamBus
from seams.draws import Draws
from seams.faults import LoseAnswer, LoseRequest
from simulator.actors.database_server import DatabaseServer, Session
from simulator.driver import Driver, Life
from simulator.wires.database import DatabaseLine, Pool

T = TypeVar("T")

MakePorts = Callable[["Process"], Ports]
LATENCY_MS = (15, 120)
STARTED_TWICE = "application, started twice"


class Process:
    """One life of a unit: its session and its connections at the database and, once started, its edge."""

    def __init__(
        self, unit: Unit, life: Life, session: Session, pool: Pool, config: Config, is_hosted: bool = True
    ) -> None:
        """`is_hosted`: whether its host runs it, and so knows of its life and death, and monitoring with it."""
        self.unit, self.life, self.session, self.pool = unit, life, session, pool
        self.config, self.is_hosted = config, is_hosted
        self.actor = f"system:{unit.name}"
        self.unit_name, self.role, self.guard = unit.name, unit.role, life.guard
        self.app: App | None = None


class Processes:
    """Starts and kills the platform's units, and is its public address (the Edge)."""

    def __init__(
        self,
        driver: Driver,
        draws: Draws,
        database: DatabaseServer,
        config: Callable[[], Config],
        ports: MakePorts,
        deployed: Mapping[str, Unit] = units.UNITS,
        tell: Callable[[str, bool], None] = lambda *_: None,
        bus: SeamBus | None = None,
    ) -> None:
        """`config` is asked at each start. `tell` is told of each unit that begins to run, and that ends. `bus`: where
        faults act on what comes to the platform's address; None where the plan has none for it."""
        self._driver, self._draws, self._database, self._config, self._ports = driver, draws, database, config, ports
        self._deployed, self._tell, self._bus = deployed, tell, bus
        self._lives: dict[str, int] = {}
        self._running: dict[str, Process] = {}

    # --- ServiceControl: what a host does to its services ------------------------------------------------------------

    def start(self, unit: str) -> int:
        """Begin a new life of `unit`; returns its number, from 1. One that runs is left alone."""
        running = self._running.get(unit)
        if running is not None:
            return running.life.number
        process = self._running[unit] = self._begin(unit, "application", is_hosted=True)
        self._tell(unit, True)
        return process.life.number

    def _begin(self, unit: str, purpose: str, is_hosted: bool) -> Process:
        number = self._lives[unit] = self._lives.get(unit, 0) + 1
        definition = self._deployed[unit]
        life = self._driver.begin(unit, number)
        session = self._database.open(f"system:{unit}", definition.role, purpose)
        self._driver.record(f"system:{unit}", "unit.started", unit, life=number)
        config = self._config()
        process = Process(definition, life, session, Pool(self._database, session, config), config, is_hosted)
        process.app = units.start(definition, self._ports(process), config)
        return process

    async def run_beside(self, unit: str, until_at: int) -> int:
        """A life of `unit` beside the one that its host runs and knows of, from now until then: somebody has started it
        a second time. Returns the number of its session at the database."""
        process = self._begin(unit, STARTED_TWICE, is_hosted=False)
        await self._driver.runtime.sleep_until(until_at)
        self._driver.record(f"system:{unit}", "unit.died", unit, life=process.life.number)
        process.life.kill()
        return process.session.close()

    def kill(self, unit: str) -> None:
        """End `unit` where it stands."""
        process = self._running.pop(unit, None)
        if process is not None:
            self._driver.record(f"system:{unit}", "unit.died", unit, life=process.life.number)
            process.life.kill()
            process.session.close()
            self._tell(unit, False)

    def is_current(self, life: Life) -> bool:
        process = self._running.get(life.name)
        return process is not None and process.life is life

    # --- Edge: how the world reaches the platform --------------------------------------------------------------------

    def request(self, request: Request) -> Awaitable[Response]:
        return self._driver.call(self._request(request), f"edge {request.method} {request.path}")

    async def _request(self, request: Request) -> Response:
        runtime = self._driver.runtime
        sent_at = runtime.now()
        latency_ms = self._draws.between(*LATENCY_MS, "edge.latency", request.path, sent_at)
        await runtime.sleep_until(sent_at + latency_ms)
        effect = None if self._bus is None else self._bus.consult("edge", "request", request.path, request.path)
        if effect is not None and isinstance(effect, LoseRequest):
            await self._driver.never()
        for process in self._running.values():
            if process.unit.public and process.app is not None:
                break
        else:
            raise ConnectionFailed(f"nothing listens at {request.path}")
        name = f"{process.unit.name} {request.method} {request.path}"
        response = await self._driver.serve(process.life, process.app.handle(request), name)
        if effect is not None and isinstance(effect, LoseAnswer):
            await self._driver.never()
        await runtime.sleep_until(runtime.now() + latency_ms)
        return response


class ProcessStore:
    """The Store port of one process: a transaction takes no simulated time and is on record once it has committed.

    `line`: the way to the database, where faults act on it; None where the plan has none for it.
    """

    def __init__(self, driver: Driver, database: Database, process: Process, line: DatabaseLine | None = None) -> None:
        self._driver, self._transact, self._actor, self._line = driver, database.transact, process.actor, line
        self._guard, self._now, self._session = process.life.guard, driver.runtime.now, process.session
        self._pool, self._role = process.pool, process.role

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        self._guard()
        line = self._line
        if line is None or (effect := line.consult(self._pool, operation)) is None:
            return self._commit(operation, fn)
        answer: T = await line.befall(effect, self._pool, self._session, operation, fn, self._commit)
        return answer

    def _commit(self, operation: str, fn: Callable[[Tx], T]) -> T:
        driver = self._driver
        result, tx = self._transact(self._now(), driver.cause() or "", fn, self._role)
        self._session.committed(tx.statements, tx.changes)
        head = tx.memo.get("audit.head")
        if head is not None:
            driver.record(self._actor, "commit", operation, audit_seq=head[0], audit_hash=head[1])
        for topic in tx.topics:
            driver.notify(topic)
        return result


class ProcessIds:
    """The Ids port: named parts give the same id for ever; without them each id is new in this life of the process."""

    def __init__(self, draws: Draws, process: Process) -> None:
        self._draws, self._process, self._count = draws, process, 0

    def new(self, kind: str, *parts: str) -> str:
        if not parts:
            self._process.life.guard()
            self._count += 1
            parts = ("new", self._process.unit.name, str(self._process.life.number), str(self._count))
        return f"{kind}_{self._draws.hex('id', kind, *parts)}"


class DrawnEntropy:
    """The Entropy port."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def below(self, n: int, site: str, *parts: str) -> int:
        return self._draws.below(n, site, *parts)
