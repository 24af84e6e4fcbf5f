"""The world of one run: the platform's processes, the parties around it, the faults between them, from a plan.

Whatever drives it, the world is built only from the plan: same plan, same code, same journal.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import fault_injectors
from contest_platform import catalogue
from contest_platform.audit import Context, canonical
from contest_platform.ports import Ports, ScoreProvider, Store, Tx
from contest_platform.service import Config
from contest_platform.services import configuration
from contest_platform.store import sqlite
from contest_platform.store.backup import SqliteBackups
from contest_platform.transports.hosts import HostTransports
from evidence.books import BookSet
from evidence.plan import Contest, FaultPlan, Plan, Tournament
from evidence.schemas import BOOKS
from seams.bus import SeamBus
from seams.draws import Draws
from seams.faults import Action, Binding, Call, Effect, Fault
from simulator.actors.context import Edge, NoteAction
from simulator.actors.database_server import DatabaseServer
from simulator.actors.deployed import DeployedActor
from simulator.actors.entrants import EntrantsActor
from simulator.actors.hosts import HOSTS, HostsActor
from simulator.actors.identity import IdentityActor
from simulator.actors.processor import ProcessorActor
from simulator.actors.processor_levers import ProcessorLevers
from simulator.actors.provider import ProviderActor
from simulator.actors.winrm import WinrmService
from simulator.actors.witnesses import AnchorActor, PagerActor
from simulator.driver import Driver
from simulator.operations import NONE, Operations
from simulator.processes import DrawnEntropy, Process, Processes, ProcessIds, ProcessStore
from simulator.wires.backups import BackupWire
from simulator.wires.clocks import HostRuntime, HostSignals
from simulator.wires.database import DatabaseLine
from simulator.wires.fleet import HostProvider, HostStore
from simulator.wires.hosts import SshWire, WsmanWire
from simulator.wires.identity import IdentityWire
from simulator.wires.monitoring import Unscraped
from simulator.wires.processor import CustomerWire, ProcessorWire
from simulator.wires.provider import ProviderWire
from simulator.wires.store import StoreWire
from simulator.wires.witnesses import AnchorWire, PagerWire

if TYPE_CHECKING:
    from simulator.attendance import Attendance

T = TypeVar("T")

PROCESSOR_CALLER = "platform"
TOKEN_LIFE_S = 60 * 86_400
ENTRIES_IN_MEMORY_MAX = 5_000
"""An entry takes 12 KiB of database. To write every commit to a file costs the default run 3 % (measured)."""
Lever = Callable[[Action, NoteAction], Awaitable[None]]


class World:
    """Implements simulator.actors.context.World for the actors and wires in it."""

    def __init__(self, plan: Plan, driver: Driver, books: BookSet, operations: Operations = NONE) -> None:
        self.plan, self.driver, self.books = plan, driver, books
        self.runtime, self.call, self.never, self.record = driver.runtime, driver.call, driver.never, driver.record
        self.draws = Draws(plan.root_key)
        in_memory = len(plan.entries) <= ENTRIES_IN_MEMORY_MAX
        self.connection = sqlite.connect() if in_memory else sqlite.connect_unnamed(books.directory)
        self.backups = SqliteBackups(self.connection, {}, {})
        self._bites = books["injector.bites"]
        self._faults = [_build(fault) for fault in plan.faults]
        self.bus = SeamBus(self._faults, self.runtime.now, self._note_effect)

        webhook_secret = f"whsec_{self.draws.hex('secret.webhook')}"
        self._next_secret = f"whsec_{self.draws.hex('secret.webhook', 'next')}"
        token_key = self.draws.hex("secret.tokens") * 2
        self.config = Config(
            webhook_secrets=(webhook_secret, self._next_secret),
            token_key=token_key,
            **dict[str, Any](plan.settings),
            hosts={host: "windows" if transport == "winrm" else "linux" for host, (transport, _) in HOSTS.items()},
        )
        self.database = DatabaseServer(self)
        acts_at = self.bus.acts_at
        broken = acts_at("store", "transact")
        self._database_line = DatabaseLine(self, self.database) if broken else None
        self.processes = Processes(
            driver, self.draws, self.database, self._configured, self._ports,
            tell=self._lives, bus=self.bus if acts_at("edge", "request") else None,
        )  # fmt: skip
        self.edge: Edge = self.processes
        self.identity = IdentityActor(self, token_key.encode())
        self.hosts = HostsActor(self, self.processes, lambda host: self._token(f"agent:{host}"))
        self.winrm = WinrmService(self, self.hosts)
        self.deployed = DeployedActor(self, self.hosts, self.connection)
        self.processor = ProcessorActor(
            self, opening_balance_cents=plan.owner_capital_cents, webhook_secret=webhook_secret
        )
        self.provider = ProviderActor(self, plan.tournaments)
        self.anchor, self.pager = AnchorActor(self), PagerActor(self)
        self.attendance = _attendance(self, operations) if plan.operations or operations.groups else None
        self.entrants = EntrantsActor(
            self, plan, lambda user_id: self._token(f"customer:{user_id}"), CustomerWire(self, self.processor).confirm
        )
        levers = ProcessorLevers(self.processor)
        self._levers: Mapping[str, Lever] = {
            "services.crash": self.hosts.pull_crash,
            "services.kill": self.hosts.pull_kill,
            "provider.correct": self.provider.pull_correct,
            "provider.retire": self.provider.pull_retire,
            "processor.roll_secret": self._pull_roll_secret,
            "attacker.forge": levers.pull_forge,
            "bank.dispute": levers.pull_dispute,
            "bank.decide": levers.pull_decide,
            "entrants.withdraw": self.entrants.pull_withdraw,
            "identity.login": self.identity.pull_login,
            "entrants.delete": self.entrants.pull_delete,
            "hosts.skew": self.hosts.pull_skew,
            "hosts.silence": self.hosts.pull_silence,
            "hosts.report": self.hosts.pull_report,
            "hosts.drift": self.hosts.drifts.pull_drift,
            "hosts.reboot": self.hosts.drifts.pull_reboot,
            "winrm.leak": self.winrm.pull_leak,
            "database.run": self._pull_run,
            "database.rot": self._pull_rot,
            "dashboard.transfer": self._pull_transfer,
            "processor.reverse": levers.pull_reverse,
            "dashboard.refund": self.processor.dashboard.pull_refund,
            "dashboard.intent": self.processor.dashboard.pull_intent,
            "dashboard.webhook_endpoint": self.processor.dashboard.pull_webhook_endpoint,
            "deployment.change": self.deployed.pull_change,
        } | (self.attendance.levers if self.attendance else {})

    def _lives(self, unit: str, runs: bool) -> None:
        if self.attendance:
            self.attendance.lives(unit, runs)

    # --- wiring ------------------------------------------------------------------------------------------------------

    def _ports(self, process: Process) -> Ports:
        guard = process.life.guard
        runtime, signals = self.driver.runtime_of(process.life), self.driver.signals_of(process.life)
        drifts = self.bus.acts_at("hosts", "drift")
        if drifts or self.bus.acts_at("hosts", "skew"):
            clock = self.hosts.clock_of(process.unit_name)
            runtime, signals = HostRuntime(runtime, clock), HostSignals(signals, clock)
        store: Store = ProcessStore(self.driver, self.connection, process, self._database_line)
        if self.bus.acts_at("store", "begin") or self.bus.acts_at(
            "store", "commit"
        ):  # nobody else pays for a look at every transaction
            store = StoreWire(self, store, self.database, self.hosts, process)
        ids = ProcessIds(self.draws, process)
        provider: ScoreProvider = ProviderWire(self, self.provider, guard)
        if drifts:
            host = self.hosts.host_of(process.unit_name)
            store = HostStore(store, self.database, self.hosts.drifts, host, process)
            provider = HostProvider(provider, self.hosts.drifts, host)
        return Ports(
            runtime=runtime,
            signals=signals,
            store=store,
            ids=ids,
            entropy=DrawnEntropy(self.draws),
            processor=ProcessorWire(self, self.processor, PROCESSOR_CALLER, guard),
            provider=provider,
            hosts=HostTransports(
                wsman=WsmanWire(self, self.hosts, self.winrm, guard),
                ssh=SshWire(self, self.hosts, guard),
                runtime=runtime,
                ids=ids,
                hosts=process.config.hosts,
                timeout_ms=process.config.host_timeout_ms,
            ),
            auth=IdentityWire(self, self.identity, guard),
            pager=PagerWire(self, self.pager, guard),
            anchor=AnchorWire(self, self.anchor, guard),
            metrics=self.attendance.metrics(process.unit.name, guard) if self.attendance else Unscraped(),
            backups=BackupWire(self, self.backups, guard),
        )

    def _configured(self) -> Config:
        """What a process that starts now reads: the last version of the configuration, over what was deployed."""
        return sqlite.transact(
            self.connection, self.runtime.now(), "", lambda tx: configuration.in_force(tx, self.config)
        )[0]

    def _token(self, principal: str) -> str:
        return self.identity.issue(principal, TOKEN_LIFE_S)

    def install_catalogue(self) -> None:
        """Bring the tournaments and contests of the plan into the platform, as a release does."""
        ctx = Context("system:catalogue", "release")
        session = self.database.open("system:catalogue", "app", "import the catalogue")

        def fill(tx: Tx) -> None:
            for tournament in self.plan.tournaments:
                catalogue.create_tournament(tx, ctx, _tournament_row(tournament))
            for contest in self.plan.contests:
                catalogue.create_contest(tx, ctx, _contest_row(contest))

        _, tx = sqlite.transact(self.connection, self.runtime.now(), self.driver.cause() or "", fill)
        seq, digest = tx.memo["audit.head"]
        self.record("system:catalogue", "commit", "catalogue", audit_seq=seq, audit_hash=digest)
        session.committed(tx.statements, tx.changes)
        session.close()

    def go_on_call(self, tokens: Mapping[str, str]) -> None:
        """Ops, by principal, are there from now on."""
        assert self.attendance is not None
        self.attendance.go_on_call(tokens, self.plan.drills, self.plan.recovery_until_at)

    def watch(self, principal: str) -> None:
        """Somebody outside looks at the dashboards from now on, with a token of this principal of ops."""
        assert self.attendance is not None
        self.attendance.watch(self._token(principal), self.plan.starts_at, self.plan.recovery_until_at)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _note_effect(self, call: Call, fault: Fault, effect: Effect, victim: str) -> None:
        self._note(fault, call.seam, call.operation, call.entity, call.occurrence, type(effect).__name__, victim)

    def _note(
        self, fault: Fault, seam: str, operation: str, entity: str, occurrence: int, effect: str, victim: str
    ) -> None:
        self._bites.note(
            self.runtime.now(), fault.id, fault.fault_id, seam, operation, entity, occurrence, effect, victim
        )
        self.record(
            "injector", "fault.bit", fault.fault_id, fault=fault.id, entity=entity, effect=effect, victim=victim
        )

    def schedule_actions(self) -> None:
        """Put the timed actions of the plan's faults on the clock."""
        for fault in self._faults:
            for number, action in enumerate(fault.actions(), 1):
                self.runtime.spawn(self._act(fault, action, number), f"fault {fault.fault_id} {number}")

    async def _act(self, fault: Fault, action: Action, number: int) -> None:
        await self.runtime.sleep_until(action.at)
        seam, _, operation = action.lever.partition(".")

        def note(action: Action, victim: str) -> None:
            self._note(fault, seam, operation, action.entity, number, "Action", victim)

        await self._levers[action.lever](action, note)

    async def _pull_run(self, action: Action, note: NoteAction) -> None:
        await self.database.pull_run(action, note, self.connection)

    async def _pull_rot(self, action: Action, note: NoteAction) -> None:
        await self.database.pull_rot(action, note, self.connection)

    async def _pull_transfer(self, action: Action, note: NoteAction) -> None:
        user = next(entrant for entrant in self.plan.entrants if entrant.id == action.params["user_id"])
        await self.processor.dashboard.pull_transfer(action, note, user.account_id)

    async def _pull_roll_secret(self, action: Action, note: NoteAction) -> None:
        self.processor.roll_secret(action.entity, self._next_secret)
        note(action, action.entity)

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Have every party close its books, and copy the platform's tables into theirs, one after the other: no more of
        a table is held than the few chunks that wait to be packed."""
        self.processor.close_books()
        self.provider.close_books()
        self.winrm.close_books()
        self.database.end()
        cursor = self.connection.cursor()
        for name, schema in BOOKS.items():
            if schema.party != "platform":
                continue
            self.books[name].extend(
                cursor.execute(
                    f"select {', '.join(schema.columns)} from {name.partition('.')[2]} order by {', '.join(schema.key)}"
                )
            )
            self.books[name].end()


def _attendance(world: World, operations: Operations) -> Attendance:
    from simulator.attendance import Attendance  # what it brings is loaded where somebody is there to use it

    return Attendance(world, operations, world.pager)


def _build(planned: FaultPlan) -> Fault:
    binding = Binding(planned.entity, planned.occurrence, planned.from_at, planned.until_at)
    return fault_injectors.build(planned.fault, planned.id, binding, planned.params)


def _tournament_row(tournament: Tournament) -> dict[str, Any]:
    return {
        "tournament_id": tournament.id,
        "provider_event_id": tournament.event_id,
        "name": tournament.name,
        "par": json.dumps(tournament.par),
        "rounds": tournament.rounds,
        "starts_at": tournament.starts_at,
        "ends_at": tournament.ends_at,
        "play": json.dumps(tournament.play),
        "field_ingested_at": None,
        "completed_at": None,
    }


def _contest_row(contest: Contest) -> dict[str, Any]:
    scoring = contest.scoring
    return {
        "contest_id": contest.id,
        "tournament_id": contest.tournament_id,
        "name": contest.name,
        "status": "SCHEDULED",
        "fee_cents": contest.fee_cents,
        "rake_bp": contest.rake_bp,
        "guaranteed_cents": contest.guaranteed_cents,
        "prize_shares_bp": json.dumps(contest.prize_shares_bp),
        "scoring": canonical(_scoring_json(scoring.model_dump(mode="json"))),
        "min_entries": contest.min_entries,
        "max_entries": contest.max_entries,
        "opens_at": contest.opens_at,
        "lock_at": contest.lock_at,
        "start_at": contest.start_at,
        "end_at": contest.end_at,
        "hold_s": contest.hold_s,
        "completed_at": None,
        "cutoff_at": None,
        "settled_at": None,
        "closed_at": None,
        "error_code": None,
    }


def _scoring_json(scoring: dict[str, Any]) -> dict[str, Any]:
    """The platform's configuration form: only the fields of its kind."""
    other = "points_tenths finish_tenths" if scoring["kind"] == "strokes" else "missed_round_penalty"
    return {name: value for name, value in scoring.items() if name not in other.split()}
