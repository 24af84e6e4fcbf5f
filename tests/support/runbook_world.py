"""A platform on which everything that runbooks ask for can happen: AdminWorld with a score provider, the processor's
books, and the jobs of all its daemons.

Invariant: the provider tells the cards of a test, to the hole, unless the test says that it is down or stands still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform.http import Request
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.ports import PortError, ScoreAnswer, ServiceUnavailable
from contest_platform.services.contests import ContestsService
from contest_platform.services.healing import HealingService
from contest_platform.services.ingestion import IngestionService
from contest_platform.services.reconciliation import ReconciliationService
from contest_platform.services.settlement import SettlementService
from tests.support.admin_world import AdminWorld
from tests.support.contest_world import CUTOFF_AT, LOCK_AT, OVER_AT, Clock, ModelProcessor
from tests.support.tried import all_of

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}


class Provider:
    """`told` is every golfer's card; `revision` rises with each `publish`. `wrong`: totals do not add up by so much.
    `down` is what every poll meets with, until the clock stands at `down_until`."""

    def __init__(self, runtime: Clock) -> None:
        self._runtime = runtime
        self.told: dict[str, Sequence[int]] = {}
        self.published_at = 0
        self.revision = 0
        self.complete = False
        self.wrong = 0
        self.wrong_until = 0
        self.down: PortError | None = None
        self.down_until = 0
        self.polls = 0

    def publish(self, cards: Mapping[str, Sequence[int]], complete: bool = False) -> None:
        self.told.update(cards)
        self.revision += 1
        self.published_at, self.complete = self._runtime.at, complete

    async def poll(self, *, event_id: str, since: int | None) -> ScoreAnswer:
        self.polls += 1
        if self._runtime.at < self.down_until or self.down is not None:
            raise self.down or ServiceUnavailable("provider")
        off = self.wrong if self._runtime.at < self.wrong_until else 0
        news = since is None or since < self.revision
        told = self.told if news else {}
        return ScoreAnswer(
            event_id=event_id,
            revision=self.revision,
            published_at=self.published_at,
            full=since is None,
            field=tuple(sorted(self.told)),
            cells=tuple((golfer, 1, hole, strokes, self.published_at) for golfer, card in sorted(told.items())
                        for hole, strokes in enumerate(card, 1)),
            totals={(golfer, 1): sum(card) + off for golfer, card in told.items()},
            statuses=dict.fromkeys(told, "active"),
            complete=self.complete,
        )  # fmt: skip


class Books(ModelProcessor):
    """The processor's books are empty and readable, until the clock stands at `down_until` unreadable."""

    down_until = 0

    async def list_events(self, **asked: Any) -> list[Any]:
        if self._runtime.at < self.down_until:
            raise ServiceUnavailable("processor")
        return []

    async def list_balance_transactions(self, **asked: Any) -> list[Any]:
        return []


class RunbookWorld(AdminWorld):
    def __init__(self) -> None:
        super().__init__()
        self.processor: Books = Books(self.runtime)
        self.provider: Provider = Provider(self.runtime)

    def contests(self) -> list[Job]:
        return all_of(self.life(ContestsService))

    def ingestion(self) -> list[Job]:
        return all_of(self.life(IngestionService))

    def settlement(self) -> list[Job]:
        return all_of(self.life(SettlementService))

    def reconciliation(self) -> list[Job]:
        return all_of(self.life(ReconciliationService))

    def healing(self) -> list[Job]:
        return all_of(self.life(HealingService))

    def poll(self) -> None:
        """A daemon of ingestion that has just begun polls what is due."""
        [job] = self.life(IngestionService).jobs()
        self.run(job.due())
        self.run(job.work())

    def report(self, healing: HealingService, host: str, target: str, check: str = "service_running") -> None:
        """The host's agent reports a failed check."""
        body = {"host": host, "check": check, "target": target, "observed": "stopped"}
        request = Request("POST", "/api/agent/incidents", {}, body)
        handle = healing.routes()["POST", "/api/agent/incidents"].handle
        assert self.run(handle(request, f"agent:{host}")).status == 202  # type: ignore[arg-type]

    def play(self, official: bool = True) -> None:
        """Lock, play and complete every contest on offer, and poll what was played; `official`: also everything that
        was published by the cut-off, so that settlement can begin. Now is ten minutes after the cut-off."""
        contests = self.life(ContestsService)
        self.runtime.at = LOCK_AT
        self.provider.publish(dict.fromkeys(CARDS, ()))
        self.poll()
        self.work(contests)
        self.reconciled(LOCK_AT)
        self.work(contests)
        self.runtime.at = OVER_AT
        self.provider.publish(CARDS, complete=True)
        self.poll()
        self.work(contests)
        self.runtime.at = CUTOFF_AT + 10 * MINUTE_MS
        if official:
            self.poll()

    def entered(self, **more: Any) -> None:
        """c1 with its three entries, ann on g1, bob on g2 and cyd on g3."""
        self.offer(**more)
        for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
            self.enter(user, golfer)
