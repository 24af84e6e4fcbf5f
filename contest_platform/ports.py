"""The ports: everything that the platform asks of the world, and nothing else.

Services await only what stands here, so the same code runs under any driver that implements these protocols.
Times are integer milliseconds since the Unix epoch (`*_at`), money is integer cents (`*_cents`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = Mapping[str, Any]
Json = dict[str, Any]


# --- outcomes that are not answers ------------------------------------------------------------------------------


class PortError(Exception):
    """A call through a port that gave no usable answer. `code` is in `contest_platform.errors.REGISTRY`."""

    code = "port_error"


class DeadlineExceeded(PortError):
    """No answer in time. The effect at the callee may have happened, may yet happen, or may never happen."""

    code = "deadline_exceeded"


class ConnectionFailed(PortError):
    """The connection was refused or could not be made: the callee did not see the request."""

    code = "connection_failed"


class CertificateExpired(ConnectionFailed):
    """The callee could not prove who it is, so that it was not asked: its certificate has expired."""

    code = "certificate_expired"


class ConnectionLost(PortError):
    """The connection broke after the request was sent: the effect at the callee is unknown."""

    code = "connection_lost"


class ServiceUnavailable(PortError):
    """The callee answered that it cannot serve (HTTP 5xx without an effect that we could know of)."""

    code = "service_unavailable"


class AnswerUnreadable(PortError):
    """The callee answered as if all were well, and what it sent cannot be read."""

    code = "answer_unreadable"


class StoreBusy(PortError):
    """The store had no connection to give: the transaction was not begun, and may be tried again."""

    code = "store_busy"


class StoreDamaged(PortError):
    """The store cannot read what it holds: nothing was changed, and to ask again promises no better answer."""

    code = "store_damaged"


class ProcessorError(PortError):
    """An error answer of the payment processor, in Stripe's terms.

    `status` is the HTTP status, `type` one of api_error, card_error, idempotency_error, invalid_request_error,
    `error_code` Stripe's `error.code` or None. 4xx proves that nothing happened (except 409); 5xx proves nothing.
    """

    code = "processor_error"

    def __init__(self, status: int, type: str, error_code: str | None, message: str) -> None:
        super().__init__(status, type, error_code, message)
        self.status, self.type, self.error_code, self.message = status, type, error_code, message


class HostError(PortError):
    """A host transport failed in a way that has a code: `fault` names it (host_unauthorized, host_shell_not_found, …).

    `may_have_run`: whether the command may have run all the same. Where it is False, it surely did not.
    """

    code = "host_error"

    def __init__(self, fault: str, message: str, *, may_have_run: bool = False) -> None:
        super().__init__(fault, message)
        self.fault, self.message, self.may_have_run = fault, message, may_have_run


# --- time, tasks, wake-ups --------------------------------------------------------------------------------------


class Runtime(Protocol):
    """Clock and tasks."""

    def now(self) -> int:
        """Now, in milliseconds since the epoch."""

    def sleep_until(self, at: int) -> Awaitable[None]:
        """Return at `at`, or at once if that has passed."""

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        """Run `coro` beside the caller. It dies with the process that spawned it."""

    def deadline(self, call: Awaitable[T], after_ms: int) -> Awaitable[T]:
        """The answer of `call`, or DeadlineExceeded after `after_ms`. Interrupts the caller only, never the callee."""

    def gather(self, calls: Sequence[Coroutine[Any, Any, None]], limit: int) -> Awaitable[None]:
        """Run all `calls`, at most `limit` at a time, and return when the last has ended."""

    def cause(self) -> str:
        """The id of the event that the running task handles: the causal parent of what it does next."""


class Signals(Protocol):
    """Wake-ups between services (LISTEN/NOTIFY): a hint that there may be work, never the truth about it."""

    def seen(self, topic: str) -> int:
        """How often `topic` has been notified. Take it before looking for work, hand it to `wait` after."""

    def notify(self, topic: str) -> None:
        """Wake every waiter of `topic`."""

    def wait(self, topic: str, seen: int, until: int | None) -> Awaitable[None]:
        """Return when `topic` has been notified since `seen`, or at `until` (None: never)."""


# --- store ------------------------------------------------------------------------------------------------------


class Tx(Protocol):
    """One open transaction. Statements are SQL with `:name` placeholders that both stores understand."""

    now: int
    """The instant at which the transaction began."""
    cause: str
    """The event that led to it."""
    memo: dict[str, Any]
    """What this transaction has to tell of itself. Gone with it."""
    known: dict[str, Any]
    """What has been read or written and need not be read again: by this transaction, and by those before it as long as
    each was committed and nobody else has committed anything in between. Whoever writes keeps it true."""

    def one(self, sql: str, params: Mapping[str, Any] | None = None) -> Row | None: ...

    def all(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]: ...

    def tuples(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows as plain tuples in the order selected: for bulk reads, where a mapping a row costs too much."""

    def run(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """Execute and return the number of rows changed."""

    def insert(self, table: str, row: Mapping[str, Any]) -> None: ...

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None: ...

    def insert_last(self, table: str, row: tuple[Any, ...]) -> None:
        """Insert `row` (every column of `table`, in order) just before the commit, with all others of its table: for
        rows that this transaction does not read."""

    def notify(self, topic: str) -> None:
        """Notify `topic` once the transaction has committed."""

    def schema_differences(self) -> list[str]:
        """How the schema of the database differs from the one that was released; nothing: it does not."""


class Store(Protocol):
    def transact(self, operation: str, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Run `fn` in one transaction and commit. `fn` is synchronous, calls nothing outside, may be run again.

        `operation` names the transaction ("entries.create"): faults and traces refer to it. Raises StoreBusy when there
        was no connection to be had, and DeadlineExceeded when the database did not answer: all of the transaction is
        there, or nothing of it. Whoever began it begins again from what the store says then, as after a crash.
        """


# --- chance -----------------------------------------------------------------------------------------------------


class Ids(Protocol):
    def new(self, kind: str, *parts: str) -> str:
        """A new identifier, unique for ever, never truncated: `kind_…`. With `parts`: the same parts, the same id."""


class Entropy(Protocol):
    def below(self, n: int, site: str, *parts: str) -> int:
        """An unpredictable integer in [0, n), for jitter."""


# --- payment processor ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent as the processor reports it. `status` is Stripe's; `captured_at` is set once succeeded."""

    id: str
    amount_cents: int
    amount_refunded_cents: int
    status: str
    metadata: Mapping[str, str]
    created_at: int
    captured_at: int | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A Transfer. It has no status: that it exists means that the money moved (Stripe's API reference)."""

    id: str
    amount_cents: int
    amount_reversed_cents: int
    destination: str
    transfer_group: str
    metadata: Mapping[str, str]
    created_at: int


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    amount_cents: int
    intent_id: str
    status: str
    metadata: Mapping[str, str]
    created_at: int


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """One movement of the processor balance. `kind`: charge, refund, transfer, transfer_reversal, topup, …

    `net_cents` = `amount_cents` − `fee_cents`; it is pending until `available_at`.
    """

    id: str
    kind: str
    source_id: str
    amount_cents: int
    fee_cents: int
    net_cents: int
    created_at: int
    available_at: int


@dataclass(frozen=True, slots=True)
class Dispute:
    """A Dispute of a charge. `status` is Stripe's; `movements` is the money that it has moved so far: a withdrawal (of
    the amount and a fee), and a reinstatement if it was won."""

    id: str
    intent_id: str
    amount_cents: int
    status: str
    created_at: int
    movements: tuple[BalanceTransaction, ...]


@dataclass(frozen=True, slots=True)
class ProcessorEvent:
    """An Event: `body` is the JSON object of its snapshot, as a webhook would carry it."""

    id: str
    type: str
    created_at: int
    body: Mapping[str, Any]


class Processor(Protocol):
    """The payment processor. Every call may raise ProcessorError, ConnectionFailed or ConnectionLost.

    List calls return what came after the cursor, oldest first, at most `limit`; fewer than that end the listing.
    """

    def create_intent(
        self, *, amount_cents: int, metadata: Mapping[str, str], idempotency_key: str
    ) -> Awaitable[Intent]: ...

    def cancel_intent(self, *, intent_id: str, idempotency_key: str) -> Awaitable[Intent]: ...

    def create_transfer(
        self,
        *,
        amount_cents: int,
        destination: str,
        transfer_group: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Awaitable[Transfer]: ...

    def create_refund(
        self, *, intent_id: str, amount_cents: int, metadata: Mapping[str, str], idempotency_key: str
    ) -> Awaitable[Refund]: ...

    def list_transfers(self, *, transfer_group: str) -> Awaitable[list[Transfer]]: ...

    def list_refunds(self, *, intent_id: str) -> Awaitable[list[Refund]]: ...

    def list_intents(self, *, after: str | None, limit: int) -> Awaitable[list[Intent]]: ...

    def retrieve_intent(self, *, intent_id: str) -> Awaitable[Intent]: ...

    def retrieve_dispute(self, *, dispute_id: str) -> Awaitable[Dispute]: ...

    def list_events(self, *, after: str | None, limit: int) -> Awaitable[list[ProcessorEvent]]: ...

    def list_balance_transactions(self, *, after: str | None, limit: int) -> Awaitable[list[BalanceTransaction]]: ...


# --- score provider ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScoreAnswer:
    """What the provider served. `cells`: (golfer_id, round, hole, strokes, published_at) that changed after the
    revision asked for, all of them when asked for None; `totals`: (golfer_id, round) -> strokes of the holes played,
    for every round that `cells` touches; `statuses`: golfer_id -> active, cut, withdrawn, disqualified, did_not_start,
    for those that changed (all when asked for None). `field`: golfer ids of the event. `revision` is the cursor to ask
    from next; `published_at` its instant. `complete`: the event is over and official. `statuses_at`: when each of the
    statuses was published, of golfers whose status has changed at all."""

    event_id: str
    revision: int
    published_at: int
    full: bool
    field: tuple[str, ...]
    cells: tuple[tuple[str, int, int, int, int], ...]
    totals: Mapping[tuple[str, int], int]
    statuses: Mapping[str, str]
    complete: bool
    statuses_at: Mapping[str, int] = dataclasses.field(default_factory=dict)


class ScoreProvider(Protocol):
    def poll(self, *, event_id: str, since: int | None) -> Awaitable[ScoreAnswer]:
        """Scores of `event_id` after revision `since`, None: everything. Raises PortError on anything but 200."""


# --- hosts, access, outside witnesses ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandResult:
    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes


class Wsman(Protocol):
    """The WS-Management endpoint of a Windows host: one HTTP exchange, signed in."""

    def post(self, *, host: str, body: bytes) -> Awaitable[HttpAnswer]:
        """Any status is an answer. Raises ConnectionFailed when the host was not reached (refused, no such host, no
        connection in time), ConnectionLost when the connection broke after the request was sent. Sets no end to the
        waiting for an answer."""


class Ssh(Protocol):
    def exec(self, *, host: str, line: str) -> Awaitable[CommandResult]:
        """Run `line` in a shell on the host. Raises ConnectionFailed when the host was not reached or let nobody in,
        ConnectionLost when the connection broke after that. Sets no end to the waiting."""


class HostTransport(Protocol):
    """Runs a command on a host over WinRM or SSH. A lost answer leaves unknown whether the command ran."""

    def run(self, *, host: str, command: str, args: Sequence[str]) -> Awaitable[CommandResult]: ...


@dataclass(frozen=True, slots=True)
class Introspection:
    """What the identity provider says of a token id now."""

    active: bool
    principal: str
    reason: str


class Auth(Protocol):
    def introspect(self, *, token_id: str) -> Awaitable[Introspection]: ...


@dataclass(frozen=True, slots=True)
class PagerIncident:
    """An open incident at the pager: `status` is triggered or acknowledged, `since_at` when it was opened (ms)."""

    dedup_key: str
    status: str
    since_at: int


class Pager(Protocol):
    """PagerDuty Events v2: `action` is trigger, acknowledge or resolve; one incident per open `dedup_key`. `incidents`
    lists those that are open, in the order of their keys (its REST API, `GET /incidents`)."""

    def incidents(self) -> Awaitable[Sequence[PagerIncident]]: ...

    def send(
        self, *, action: str, dedup_key: str, summary: str, severity: str, details: Mapping[str, Any]
    ) -> Awaitable[None]: ...


class Anchor(Protocol):
    """A book elsewhere that the platform can append to and never rewrite."""

    def publish(self, *, head_seq: int, head_hash: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Backup:
    """What was put aside: its size and SHA-256, and the last row of the audit log that is in it."""

    size_bytes: int
    sha256: str
    audit_seq: int
    audit_hash: str


@dataclass(frozen=True, slots=True)
class BackupContent:
    """What a backup, or a database restored from one, holds when it is opened and read through. `problem`: why it could
    not serve as the platform's database, or None. `sha256` is over every row of every table: two that hold the same
    have the same."""

    sha256: str
    problem: str | None
    tables: int
    rows: int
    audit_seq: int
    audit_hash: str


class Backups(Protocol):
    """The store's own backups, kept where the store is not. Any call may raise PortError."""

    def create(self, *, backup_id: str) -> Awaitable[Backup]:
        """Put a consistent copy of the whole store aside. The same id again replaces it."""

    def inspect(self, *, backup_id: str) -> Awaitable[BackupContent | None]:
        """Open and read through what lies under this id; None: nothing does."""

    def restore(self, *, backup_id: str, target: str) -> Awaitable[BackupContent | None]:
        """Make the scratch database `target` anew from a backup, and read through it. Never the one in service."""


class Metrics(Protocol):
    """What monitoring scrapes of this process; names, labels and units as in contest_platform.metrics. A process that
    has ended tells nothing any more, and a new one tells only what it has set itself."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """A gauge stands at `value` from now on."""

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """A counter goes up."""

    def remove(self, name: str, **labels: str) -> None:
        """A gauge has nothing to say any more."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of one service incarnation."""

    runtime: Runtime
    signals: Signals
    store: Store
    ids: Ids
    entropy: Entropy
    processor: Processor
    provider: ScoreProvider
    hosts: HostTransport
    auth: Auth
    pager: Pager
    anchor: Anchor
    metrics: Metrics
    backups: Backups
