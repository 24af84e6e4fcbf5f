"""One unit of the platform with every port, in a world without a plan: for tests of how a process lives and dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from contest_platform.jobs import Job
from contest_platform.ports import Ports
from contest_platform.service import Config
from contest_platform.store import sqlite
from contest_platform.store.backup import LogicalBackups
from contest_platform.transports.hosts import HostTransports
from contest_platform.units import Unit
from seams.faults import Fault
from simulator.actors.database_server import DatabaseServer
from simulator.actors.hosts import HOSTS, HostsActor
from simulator.actors.identity import IdentityActor
from simulator.actors.monitoring import MonitoringActor
from simulator.actors.processor import ProcessorActor
from simulator.actors.provider import ProviderActor
from simulator.actors.winrm import WinrmService
from simulator.actors.witnesses import AnchorActor, PagerActor
from simulator.processes import DrawnEntropy, Process, Processes, ProcessIds, ProcessStore
from simulator.wires.backups import BackupWire
from simulator.wires.hosts import SshWire, WsmanWire
from simulator.wires.identity import IdentityWire
from simulator.wires.monitoring import MonitoringWire
from simulator.wires.processor import ProcessorWire
from simulator.wires.provider import ProviderWire
from simulator.wires.witnesses import AnchorWire, PagerWire
from tests.support.fake_world import FakeWorld


class Deployment:
    """One unit named "settlement" with every port, in a world without a plan."""

    def __init__(self, *services: Callable[[Ports, Config], Any], faults: Sequence[Fault] = ()) -> None:
        self.world = FakeWorld(faults=faults)
        self.connection = sqlite.connect()
        self.ports: list[Ports] = []
        """Those of each life."""
        self.processes = Processes(
            self.world.kernel,
            self.world.draws,
            DatabaseServer(self.world),  # type: ignore[arg-type]
            lambda: Config((), "", {}),
            self._ports,
            {"settlement": Unit("settlement", "settlement", True, services)},
            bus=self.world.bus,
        )
        world: Any = self.world
        self._identity = IdentityActor(world, b"k" * 32)
        self._hosts = HostsActor(world, self.processes, lambda _: "token")
        self._winrm = WinrmService(world, self._hosts)
        self._processor = ProcessorActor(world, opening_balance_cents=100, webhook_secret="whsec")
        self._provider = ProviderActor(world, ())
        self._anchor, self._pager = AnchorActor(world), PagerActor(world)
        self._monitoring = MonitoringActor(world, (), PagerWire(world, self._pager, lambda: None))

    def _ports(self, process: Process) -> Ports:
        world: Any = self.world
        driver, draws, guard = world.kernel, world.draws, process.life.guard
        self.ports.append(
            Ports(
                runtime=driver.runtime_of(process.life),
                signals=driver.signals_of(process.life),
                store=ProcessStore(driver, self.connection, process),
                ids=ProcessIds(draws, process),
                entropy=DrawnEntropy(draws),
                processor=ProcessorWire(world, self._processor, "platform", guard),
                provider=ProviderWire(world, self._provider, guard),
                hosts=HostTransports(
                    wsman=WsmanWire(world, self._hosts, self._winrm, guard),
                    ssh=SshWire(world, self._hosts, guard),
                    runtime=driver.runtime_of(process.life),
                    ids=ProcessIds(draws, process),
                    hosts={host: "windows" if how == "winrm" else "linux" for host, (how, _) in HOSTS.items()},
                    timeout_ms=60_000,
                ),
                auth=IdentityWire(world, self._identity, guard),
                pager=PagerWire(world, self._pager, guard),
                anchor=AnchorWire(world, self._anchor, guard),
                metrics=MonitoringWire(self._monitoring, process.unit.name, guard),
                backups=BackupWire(world, LogicalBackups(self.connection, {}, {}), guard),
            )
        )
        return self.ports[-1]

    def leases(self) -> list[str]:
        """Those that somebody holds now."""
        now = self.world.kernel.runtime.now()
        return [
            str(name) for (name,) in self.connection.execute("select name from leases where expires_at > ?", (now,))
        ]


class Idle:
    def __init__(self, ports: Ports, config: Config) -> None: ...

    def jobs(self) -> Sequence[Job]:
        return ()

    def routes(self) -> dict[tuple[str, str], Any]:
        return {}
