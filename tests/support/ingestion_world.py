"""A small world around ingestion: real kernel, store, provider and wire; contests are rows that a test moves by hand.

Invariant: the service can be crashed and started again at any instant, and sees the store only through its port.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from contest_platform import jobs
from contest_platform.ports import ConnectionLost, Ports, ScoreAnswer, ServiceUnavailable, Tx
from contest_platform.service import Config
from contest_platform.services.ingestion import IngestionService
from contest_platform.services.score_audit import ScoreAuditService
from contest_platform.store import sqlite
from evidence.plan import Glitch, Golfer, Publication, Tournament
from seams.faults import Fault
from simulator.actors.provider import ProviderActor
from simulator.kernel import Incarnation
from simulator.wires.provider import ProviderWire
from tests.support.fake_world import MONDAY, FakeWorld
from tests.support.metrics import KeptMetrics

T = TypeVar("T")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TEE = MONDAY + 2 * DAY + 12 * HOUR
"""When the small tournament starts: Wednesday noon."""
END = TEE + 4 * HOUR
CONFIG = Config(webhook_secrets=("s",), token_key="k", hosts={})

Cells = Sequence[tuple[str, int, int, int]]


def publication(
    at: int, cells: Cells = (), statuses: Sequence[tuple[str, str]] = (), complete: bool = False
) -> Publication:
    return Publication(at=at, cells=list(cells), statuses=list(statuses), complete=complete)


def tournament(publications: Sequence[Publication], glitches: Sequence[Glitch] = (), play_hours: int = 4) -> Tournament:
    """Three golfers, three holes, two rounds; play for some hours from TEE."""
    return Tournament(
        id="t1",
        event_id="event-t1",
        name="Open",
        par=[4, 3, 5],
        rounds=2,
        starts_at=TEE,
        ends_at=TEE + play_hours * HOUR,
        golfers=[Golfer(id=golfer, name=golfer.upper()) for golfer in ("g1", "g2", "g3")],
        publications=list(publications),
        glitches=list(glitches),
        play=[(TEE, TEE + play_hours * HOUR)],
    )


class Store:
    """The Store port on SQLite. `store_fails` says of each transaction whether it fails "before" it is run, "after" its
    commit, or not (None)."""

    def __init__(self, world: IngestionWorld, life: Incarnation) -> None:
        self._world, self._life = world, life

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        world = self._world
        self._life.guard()
        world.transactions.append(operation)
        failure = world.store_fails(operation)
        if failure == "before":
            raise ConnectionLost(operation)
        result, tx = world.db.transact(world.runtime.now(), world.kernel.cause() or "", fn)
        if "audit.head" in tx.memo:
            world.record("system:ingestion", "commit", operation, audit_seq=tx.memo["audit.head"][0])
        for topic in tx.topics:
            world.notified.append((world.runtime.now(), topic))
            world.kernel.signals.notify(topic)
        if failure == "after":
            raise ConnectionLost(operation)
        return result


class Tampered:
    """The ScoreProvider port with every answer passed through `tamper` of the world."""

    def __init__(self, world: IngestionWorld, wire: ProviderWire) -> None:
        self._world, self._wire = world, wire

    async def poll(self, *, event_id: str, since: int | None) -> ScoreAnswer:
        return self._world.tamper(await self._wire.poll(event_id=event_id, since=since), since)


class Pager:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.down = False

    async def send(self, **event: Any) -> None:
        if self.down:
            raise ServiceUnavailable("pager")
        self.sent.append(event)


class IngestionWorld(FakeWorld):
    def __init__(self, played: Tournament, contests: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        self.db = sqlite.connect()
        self.played = played
        self.notified: list[tuple[int, str]] = []
        self.transactions: list[str] = []
        self.store_fails: Callable[[str], str | None] = lambda _: None
        self.tamper: Callable[[ScoreAnswer, int | None], ScoreAnswer] = lambda answer, _: answer
        self.pager = Pager()
        self.provider = ProviderActor(cast(Any, self), [played])
        self._lives = 0
        self.life: Incarnation | None = None
        self._insert_tournament()
        for contest_id, columns in (contests or {"c1": {}}).items():
            self._insert_contest(contest_id, columns)
        self.start()

    # --- the platform's process -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._lives += 1
        life = self.life = self.kernel.begin("ingestion", self._lives)
        runtime = self.kernel.runtime_of(life)
        ports = Ports(
            runtime=runtime,
            signals=self.kernel.signals_of(life),
            store=Store(self, life),
            provider=Tampered(self, ProviderWire(cast(Any, self), self.provider, life.guard)),
            pager=self.pager,
            metrics=KeptMetrics(),
            **dict.fromkeys(("ids", "entropy", "processor", "hosts", "auth", "anchor", "backups"), cast(Any, None)),
        )
        for service in (IngestionService(ports, CONFIG), ScoreAuditService(ports, CONFIG)):
            for job in service.jobs():
                runtime.spawn(jobs.run(ports, job), job.name)

    def crash(self) -> None:
        assert self.life is not None
        self.life.kill()

    def run_until(self, at: int) -> None:
        self.kernel.run(until=at)

    # --- its tables -------------------------------------------------------------------------------------------------

    def all(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return sqlite.query(self.db, sql, params)

    def table(self, name: str) -> list[dict[str, Any]]:
        return self.all(f"select * from {name} order by 1, 2")

    def checkpoint(self, name: str = "ingestion:t1") -> Any:
        rows = self.all("select value from checkpoints where name = ?", name)
        return json.loads(rows[0]["value"]) if rows else None

    def scores(self) -> dict[tuple[str, int, int], int]:
        return {(row["golfer_id"], row["round"], row["hole"]): row["strokes"] for row in self.table("hole_scores")}

    def verdicts(self, batch_id: int | None = None) -> list[tuple[Any, ...]]:
        """(golfer, round, hole, strokes, verdict, reason) of every receipt, or of those of one batch."""
        return [
            (row["golfer_id"], row["round"], row["hole"], row["strokes"], row["verdict"], row["reason"])
            for row in self.table("ingestion_receipts")
            if batch_id in (None, row["batch_id"])
        ]

    def audited(self, prefix: str = "") -> list[dict[str, Any]]:
        return [row for row in self.table("audit_log") if row["action"].startswith(prefix)]

    def polls(self) -> list[int]:
        """When polls arrived at the provider, to the minute."""
        return [row["at"] // MINUTE * MINUTE for row in self.rows("provider.requests")]

    def set_contest(self, contest_id: str, **columns: Any) -> None:
        """Another service changes a contest and says so."""
        places = ", ".join(f"{column} = ?" for column in columns)
        self.db.execute(f"update contests set {places} where contest_id = ?", (*columns.values(), contest_id))
        self.kernel.signals.notify("ingestion")

    def _insert_tournament(self) -> None:
        played = self.played
        self.db.execute(
            "insert into tournaments values (?, ?, ?, ?, ?, ?, ?, ?, null, null)",
            (
                played.id,
                played.event_id,
                played.name,
                json.dumps(played.par),
                played.rounds,
                played.starts_at,
                played.ends_at,
                json.dumps(played.play),
            ),
        )

    def _insert_contest(self, contest_id: str, columns: Mapping[str, Any]) -> None:
        row = {
            "contest_id": contest_id,
            "tournament_id": self.played.id,
            "name": contest_id,
            "status": "SCHEDULED",
            "fee_cents": 1_000,
            "rake_bp": 1_000,
            "guaranteed_cents": None,
            "prize_shares_bp": "[10000]",
            "scoring": "{}",
            "min_entries": 2,
            "max_entries": 10,
            "opens_at": MONDAY,
            "lock_at": self.played.starts_at,
            "start_at": self.played.starts_at,
            "end_at": self.played.ends_at + DAY,
            "hold_s": 86_400,
            "completed_at": None,
            "cutoff_at": None,
            "settled_at": None,
            "closed_at": None,
            "error_code": None,
            **columns,
        }
        self.db.execute(
            f"insert into contests ({', '.join(row)}) values ({', '.join('?' * len(row))})", tuple(row.values())
        )


def fault_on_polls(world: FakeWorld, do: Callable[[Any], Any]) -> None:
    """Have `do(call)` decide what happens to each poll."""

    class _Fault:
        seam, operation, id, fault_id = "provider", "poll", "test.poll", "f1"
        also = ()

        def effect(self, call: Any) -> Any:
            return do(call)

    world.use(cast(Fault, _Fault()))


def poll(world: IngestionWorld, since: int | None, event_id: str = "event-t1") -> Awaitable[Any]:
    return ProviderWire(cast(Any, world), world.provider, lambda: None).poll(event_id=event_id, since=since)
