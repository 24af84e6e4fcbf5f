"""Contests, settlement and payouts in miniature: a real store, a processor with real keys, one job driven at a time.

Invariant: nothing happens but what a test asks for, and a process can be cut off at any of its transactions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar

from contest_platform import catalogue, checkpoints, ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, Job, next_tick
from contest_platform.ports import (
    ConnectionFailed,
    DeadlineExceeded,
    Ports,
    ProcessorError,
    ServiceUnavailable,
    StoreDamaged,
    Transfer,
    Tx,
)
from contest_platform.service import Config
from contest_platform.services import configuration, payments
from contest_platform.services.ingestion_batches import full_poll_name
from contest_platform.services.reconciliation import RECONCILED
from contest_platform.store import sqlite
from contest_platform.store.backup import LogicalBackups
from tests.support import stores
from tests.support.metrics import KeptMetrics
from tests.support.platform_ports import START, FakeRuntime, FakeSignals

T = TypeVar("T")

DAY_MS = 24 * HOUR_MS
LOCK_AT = START + 2 * DAY_MS
OVER_AT = LOCK_AT + 10 * HOUR_MS
HOLD_S = 86_400
CUTOFF_AT = OVER_AT + HOLD_S * 1000
CONFIG = Config(webhook_secrets=("s",), token_key="k", hosts={"win-1": "windows", "lin-1": "linux"})
CTX = Context("system:test", "test")
STROKES = {"kind": "strokes", "roster_size": 1, "counting": 1, "missed_round_penalty": 2}


class Crash(BaseException):
    """The process dies here. Not an Exception: no handler of the platform sees it."""


class Clock(FakeRuntime):
    async def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> None:
        """One after the other; what a crash leaves undone is never begun."""
        queue = iter(calls)
        try:
            for call in queue:
                await call
        finally:
            for call in queue:
                call.close()


class SteppingStore:
    """The Store port. `log` names the transactions; the one numbered `crash_at` (from 1) is the last of the process,
    `committed` or not. `twice` has every transaction run, rolled back and run again, as after a conflict."""

    def __init__(self, world: ContestWorld) -> None:
        self._world = world
        self.log: list[str] = []
        self.crash_at: int | None = None
        self.committed = True
        self.twice = False
        self.fails: Callable[[str], bool] = lambda _: False
        self.damaged: Callable[[str], bool] = lambda _: False

    async def transact(self, operation: str, fn: Callable[[Any], T]) -> T:
        world, now = self._world, self._world.runtime.at
        self.log.append(operation)
        if self.fails(operation):
            raise ServiceUnavailable(operation)
        if self.damaged(operation):
            raise StoreDamaged(f"data_corrupted in {operation}")
        dies = self.crash_at == len(self.log)
        if self.twice or (dies and not self.committed):
            with suppress(_RolledBackError):
                world.connection.transact(now, "ev-1", lambda tx: _roll_back(fn, tx), stores.ROLE)
        if dies and not self.committed:
            raise Crash(operation)
        result, tx = world.connection.transact(now, "ev-1", fn, stores.ROLE)
        for topic in tx.topics:
            world.signals.notify(topic)
        if dies:
            raise Crash(operation)
        return result


class _RolledBackError(Exception):
    pass


def _roll_back(fn: Callable[[Any], Any], tx: Any) -> None:
    fn(tx)
    raise _RolledBackError


class LifeIds:
    """The Ids port of one life: named parts give the same id for ever, without them each is new."""

    def __init__(self, life: int) -> None:
        self._life, self._count = life, 0

    def new(self, kind: str, *parts: str) -> str:
        if not parts:
            self._count += 1
            return f"{kind}_{self._life}_{self._count}"
        return f"{kind}_{sha256('/'.join((kind, *parts)).encode()).hexdigest()}"


class Drawn:
    """The Entropy port: draws what `draw` says of the bound."""

    def __init__(self) -> None:
        self.draw: Callable[[int], int] = lambda n: n - 1
        self.sites: list[tuple[str, ...]] = []

    def below(self, n: int, site: str, *parts: str) -> int:
        self.sites.append((site, *parts))
        return self.draw(n)


KEY_LIFE_MS = 24 * HOUR_MS


class ModelProcessor:
    """Transfers as Stripe makes them (docs.stripe.com/error-low-level). `script` says what befalls the next requests:

    ok; lost_before, refused (never seen); lost_after (answer lost); crash_before, crash_after (our process dies);
    500_done, 500_not_done (saved under the key); insufficient, closed (rejected, saved); 429, 409 (not saved).
    After the script all is well. A key is remembered for 24 h and replays what was saved under it.
    """

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime
        self.script: list[str] = []
        self.look_ups: list[Exception] = []
        self.transfers: list[Transfer] = []
        self.requests: list[tuple[int, str, str]] = []
        """(at, operation, key or group) of everything that was sent, seen or not."""
        self._saved: dict[str, tuple[int, Any, Transfer | ProcessorError]] = {}

    async def create_transfer(self, *, idempotency_key: str, **params: Any) -> Transfer:
        self.requests.append((self._runtime.at, "create", idempotency_key))
        word = self.script.pop(0) if self.script else "ok"
        if word in _UNSEEN:
            raise _UNSEEN[word]()
        outcome = self._replayed(idempotency_key, params) or self._made(word, idempotency_key, params)
        if word in _UNHEARD:
            raise _UNHEARD[word]()
        if isinstance(outcome, ProcessorError):
            raise outcome
        return outcome

    async def list_transfers(self, *, transfer_group: str) -> list[Transfer]:
        self.requests.append((self._runtime.at, "list", transfer_group))
        if self.look_ups:
            raise self.look_ups.pop(0)
        return [transfer for transfer in self.transfers if transfer.transfer_group == transfer_group]

    def sent(self, operation: str = "create") -> list[str]:
        return [what for _, made, what in self.requests if made == operation]

    def _replayed(self, key: str, params: Any) -> Transfer | ProcessorError | None:
        born_at, same, outcome = self._saved.get(key, (0, None, None))
        if outcome is None or self._runtime.at - born_at >= KEY_LIFE_MS:
            return None
        if same != params:
            return ProcessorError(400, "idempotency_error", None, "other parameters")
        return outcome

    def _made(self, word: str, key: str, params: Any) -> Transfer | ProcessorError:
        error = _ERRORS.get(word)
        made: Transfer | ProcessorError
        if error is None or word == "500_done":
            name = f"tr_{len(self.transfers) + 1}"
            made = Transfer(name, amount_reversed_cents=0, created_at=self._runtime.at, **params)
            self.transfers.append(made)
        if error is not None:
            made = ProcessorError(*error, word)
        if word not in ("429", "409"):
            self._saved[key] = (self._runtime.at, params, made)
        return made


_UNSEEN: dict[str, Callable[[], BaseException]] = {
    "lost_before": DeadlineExceeded,
    "refused": ConnectionFailed,
    "crash_before": Crash,
}
_UNHEARD: dict[str, Callable[[], BaseException]] = {"lost_after": DeadlineExceeded, "crash_after": Crash}
_ERRORS: dict[str, tuple[int, str, str | None]] = {
    "500_done": (500, "api_error", None),
    "500_not_done": (500, "api_error", None),
    "insufficient": (400, "invalid_request_error", "balance_insufficient"),
    "closed": (400, "invalid_request_error", "account_closed"),
    "429": (429, "invalid_request_error", "rate_limit"),
    "409": (409, "api_error", "idempotency_key_in_use"),
    "unheard_of": (402, "card_error", "moon_phase_unsuitable"),
}


class ContestWorld:
    def __init__(self, path: str = "") -> None:
        """`path`: of an embedded database; by default one of the store in use."""
        self.connection: Any = sqlite.connect(path) if path else stores.database()
        self.runtime, self.signals, self.entropy = Clock(), FakeSignals(), Drawn()
        self.store = SteppingStore(self)
        self.processor = ModelProcessor(self.runtime)
        self.hosts: Any = None
        self.pager: Any = None
        self.anchor: Any = None
        self.metrics = KeptMetrics()
        self.backups: dict[str, bytes] = {}
        self.scratch: dict[str, Any] = {}
        self.auth: Any = None
        self.provider: Any = None
        self._lives = 0
        self._earliest: dict[Job, int] = {}
        tournament = {
            "tournament_id": "t1", "provider_event_id": "e1", "name": "Open", "par": [4, 3, 5], "rounds": 1,
            "starts_at": LOCK_AT, "ends_at": OVER_AT, "play": [[LOCK_AT, OVER_AT]],
        }  # fmt: skip
        self.write(lambda tx: catalogue.create_tournament(tx, CTX, tournament))

    # --- driving -----------------------------------------------------------------------------------------------------

    def life(self, make: Callable[[Ports, Config], T]) -> T:
        """`make` built anew, as after a restart: with nothing but ports and configuration."""
        self._lives += 1
        ports = Ports(
            runtime=self.runtime, signals=self.signals, store=self.store, ids=LifeIds(self._lives),
            entropy=self.entropy, processor=self.processor,  # type: ignore[arg-type]
            provider=self.provider, hosts=self.hosts, auth=self.auth, pager=self.pager, anchor=self.anchor,
            metrics=self.metrics, backups=LogicalBackups(self.connection, self.backups, self.scratch),
        )  # fmt: skip
        return make(ports, self.write(lambda tx: configuration.in_force(tx, CONFIG)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise AssertionError("nothing here waits")

    def write(self, fn: Callable[[Tx], T]) -> T:
        return self.connection.transact(self.runtime.at, "ev-1", fn, stores.ROLE)[0]

    def due(self, service: Any) -> int | None:
        return self.run(service.jobs()[0].due())  # type: ignore[no-any-return]

    def work(self, service: Any) -> None:
        """Let the service's job work now, due or not."""
        self.run(service.jobs()[0].work())

    def step(self, service: Any) -> bool:
        """Go to the next instant of the grid at which the service's job has work, and let it. False: it has none."""
        job = service.jobs()[0]
        due = self.run(job.due())
        if due is None:
            return False
        self.runtime.at = next_tick(max(due, self.runtime.at, self._earliest.get(job, 0)), job.period_ms)
        self._earliest[job] = self.runtime.at + 1
        self.run(job.work())
        return True

    # --- what others do ----------------------------------------------------------------------------------------------

    def offer(self, contest_id: str = "c1", **more: Any) -> None:
        contest = {
            "contest_id": contest_id, "tournament_id": "t1", "name": contest_id, "fee_cents": 1_000, "rake_bp": 1_000,
            "prize_shares_bp": [5_000, 3_000, 2_000], "scoring": STROKES, "min_entries": 2, "max_entries": 1_000,
            "opens_at": START, "lock_at": LOCK_AT, "start_at": LOCK_AT, "end_at": OVER_AT + 2 * HOUR_MS,
            "hold_s": HOLD_S, **more,
        }  # fmt: skip
        self.write(lambda tx: catalogue.create_contest(tx, CTX, contest))

    def enter(self, user_id: str, golfer: str = "g1", contest_id: str = "c1", captured_at: int | None = START) -> str:
        """An entry, paid for at `captured_at` (None: not yet)."""
        entry_id = f"{contest_id}-{user_id}"

        def begin(tx: Tx) -> None:
            if tx.one("select 1 from users where user_id = :u", {"u": user_id}) is None:
                account = f"acct_{user_id}"
                user = {"user_id": user_id, "name": user_id, "email": user_id, "account_id": account, "created_at": 0}
                tx.insert("users", {**user, "deleted_at": None})
            entry = {"entry_id": entry_id, "contest_id": contest_id, "user_id": user_id, "status": "PENDING_PAYMENT"}
            tx.insert(
                "entries",
                {**entry, "roster": json.dumps([golfer]), "created_at": 0, "valid_at": None, "closed_at": None},
            )
            fee = tx.one("select fee_cents from contests where contest_id = :c", {"c": contest_id})
            assert fee is not None
            payment = {"entry_id": entry_id, "intent_id": f"pi_{entry_id}", "idempotency_key": f"key_{entry_id}"}
            money = {"amount_cents": fee["fee_cents"], "status": "CREATED", "captured_at": None, "refunded_cents": 0}
            tx.insert("payments", {**payment, **money, "created_at": 0})

        self.write(begin)
        if captured_at is not None:
            self.capture(entry_id, captured_at)
        return entry_id

    def capture(self, entry_id: str, captured_at: int) -> None:
        """The processor tells that the fee was captured then."""
        cents = self.row("payments", entry_id=entry_id)["amount_cents"]
        self.write(lambda tx: payments.capture(tx, CTX, entry_id, f"pi_{entry_id}", cents, captured_at))

    def reconciled(self, through: int) -> None:
        self.write(lambda tx: checkpoints.save(tx, RECONCILED, {"through": through}))

    def field(self, *golfers: str, status: str = "active") -> None:
        """The field comes in, now."""

        def ingest(tx: Tx) -> None:
            for golfer in golfers:
                row = {"tournament_id": "t1", "golfer_id": golfer, "name": golfer, "status": status}
                tx.insert("golfers", row)
            tx.run("update tournaments set field_ingested_at = :at", {"at": tx.now})

        self.write(ingest)

    def scored(self, cards: Mapping[str, Sequence[int]], published_at: int, verdict: str = "ADMIT") -> None:
        """A batch of round 1: strokes from hole 1 on."""

        def receive(tx: Tx) -> None:
            last = tx.one("select coalesce(max(batch_id), 0) as n from ingestion_receipts")
            assert last is not None
            cells = [(golfer, hole, s) for golfer, card in cards.items() for hole, s in enumerate(card, 1)]
            for n, (golfer, hole, strokes) in enumerate(cells, 1):
                key = {"batch_id": last["n"] + 1, "n": n, "tournament_id": "t1", "golfer_id": golfer}
                value = {"round": 1, "hole": hole, "strokes": strokes, "published_at": published_at}
                tx.insert("ingestion_receipts", {**key, **value, "verdict": verdict, "reason": "test"})

        self.write(receive)

    def event_over(self, at: int = OVER_AT) -> None:
        self.connection.execute("update tournaments set completed_at = ?", (at,))

    def full_poll(self, begun_at: int = CUTOFF_AT + 1) -> None:
        self.write(lambda tx: checkpoints.save(tx, full_poll_name("t1"), {"begun_at": begun_at}))

    def played(self, contests: Any, cards: Mapping[str, Sequence[int]]) -> None:
        """Lock, play and complete every contest on offer, with these cards; now is the cut-off."""
        self.runtime.at = LOCK_AT
        self.field(*cards)
        self.work(contests)
        self.reconciled(LOCK_AT)
        self.work(contests)
        self.scored(cards, OVER_AT - HOUR_MS)
        self.runtime.at = OVER_AT
        self.event_over()
        self.work(contests)
        self.runtime.at = CUTOFF_AT

    # --- looking -----------------------------------------------------------------------------------------------------

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return self.connection.query(sql, params)

    def row(self, table: str, **where: Any) -> dict[str, Any]:
        clause = " and ".join(f"{name} = ?" for name in where)
        [found] = self.rows(f"select * from {table} where {clause}", *where.values())
        return found

    def status(self, contest_id: str = "c1") -> str:
        return str(self.row("contests", contest_id=contest_id)["status"])

    def balances(self) -> dict[str, int]:
        """Every account that is not empty, debits minus credits; all of them together make zero."""
        rows = self.rows("select account, sum(amount_cents) as cents from ledger_postings group by account")
        assert sum(row["cents"] for row in rows) == 0
        return {row["account"]: row["cents"] for row in rows if row["cents"]}

    def audited(self, action: str) -> list[dict[str, Any]]:
        return self.rows("select * from audit_log where action = ? order by seq", action)

    def prize_payable(self, user_id: str, contest_id: str = "c1") -> int:
        return -self.balances().get(ledger.prize_payable(contest_id, user_id), 0)

    def story(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is told of every contest, without when and by which life of the daemon."""
        told = {
            "contests": "select contest_id, status, error_code from contests order by 1",
            "outcomes": "select outcome_id, entry_id, score, place, prize_cents, tie_break, scores_hash from outcomes "
            "order by 1",
            "packs": "select pack_id, entry_id, status, fail_reason_code, fail_reason_detail from settlement_packs "
            "order by 1",
            "links": "select pack_id, outcome_id from outcome_pack_links order by 1",
            "log": "select settlement_id, pack_id, prior_status, new_status, outcome_id, settlement_reason_code, "
            "settlement_evidence_hash from outcome_settlement_log order by 1",
            "runs": "select contest_id, status, packs, error_json from settlement_audit order by 1",
            "post_mortems": "select pack_id, fail_reason_code, detail from post_mortem_settlement order by 1",
            "acceptance": "select day_at, link_growth, executed, log_growth, lvi, lvi_executed, lvi_due, log_rows, "
            "evidence from settlement_acceptance order by 1",
            "ledger": "select t.business_key, p.n, p.account, p.amount_cents from ledger_transactions t "
            "join ledger_postings p on p.txn_id = t.txn_id order by 1, 2",
            "transfers": "select transfer_id, amount_cents, destination, status, reason from transfers order by 1",
            "audit": "select subject, action, count(*) from audit_log group by 1, 2 order by 1, 2",
        }
        return {name: [tuple(row) for row in self.connection.execute(sql)] for name, sql in told.items()}
