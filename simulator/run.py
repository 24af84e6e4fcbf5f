"""One run: pre-flight, fourteen days of chaos, recovery, and the closing of all books.

The evidence written here is all that the judgement will see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from contest_platform.http import Request
from contest_platform.ports import PortError
from contest_platform.signing import signer
from contest_platform.store.tables import TABLES
from evidence.books import BookSet
from evidence.journal import JournalWriter
from evidence.plan import Plan
from seams.draws import Draws
from simulator.actors.hosts import HOSTS
from simulator.actors.identity import ABSENT, PROBED_PATH, web_token
from simulator.driver import Life
from simulator.kernel import Kernel
from simulator.lanes import CLOSING, Lanes
from simulator.onlookers import Onlooker, Passage
from simulator.opening import Opener, embedded
from simulator.operations import NONE, Operations
from simulator.world import TOKEN_LIFE_S, World

DAY_MS = 86_400_000

Progress = Callable[[int, int], None]
"""Called with (days done, days in all), the recovery phase included."""


class PreflightFailed(Exception):
    """An item of the checklist did not hold, so the run did not start."""

    def __init__(self, failures: Sequence[str]) -> None:
        super().__init__(*failures)
        self.failures = list(failures)


@dataclass(frozen=True, slots=True)
class Work:
    """How much a run did: what its speed is measured against."""

    events: int
    inserts: int
    transactions: int
    journal_lines: int
    audit_lines: int


def simulate(
    plan: Plan,
    journal: JournalWriter,
    books: BookSet,
    progress: Progress | None = None,
    operations: Operations = NONE,
    opener: Opener = embedded,
    onlookers: Sequence[Onlooker] = (),
    lanes: Lanes | None = None,
) -> Work:
    """Run `plan` in virtual time, writing `journal` and `books`; the platform's database is what `opener` opens. One of
    `onlookers` may end it before its time; `lanes` are told what took how long. Raises PreflightFailed,
    DatabaseRefused."""
    kernel = Kernel(Draws(plan.root_key), journal, plan.starts_at, lanes)
    kernel.record(
        "harness", "run.started", plan.scenario, plan=plan.sha256(), seed=plan.seed, operations=operations.sha256
    )
    with closing(opener(plan, books.directory)) as store:
        return _simulated(World(plan, kernel, books, operations, store), kernel, progress, onlookers)


def _simulated(world: World, kernel: Kernel, progress: Progress | None, onlookers: Sequence[Onlooker]) -> Work:
    plan, books = world.plan, world.books

    def failed(life: Life, error: Exception) -> None:
        if world.connection.failed(error):
            kernel.fail(error)  # the fault of our machine, not of the platform
        else:
            _died(world, life.name, error)

    kernel.on_failure = failed
    world.runtime.spawn(begin(world), "preflight")
    days = -(-(plan.recovery_until_at - plan.starts_at) // DAY_MS)
    passage = Passage(world, kernel, onlookers)
    for day in range(1, days + 1):
        has_arrived = passage.to(min(plan.starts_at + day * DAY_MS, plan.recovery_until_at))
        kernel.lanes.mark(day, int(kernel.now), kernel.events)
        if not has_arrived:
            break
        if progress is not None:
            progress(day, days)
    kernel.enter(kernel.lanes.named(CLOSING))
    finish(world)
    kernel.enter(kernel.lanes.kernel)
    inserts = sum(books[f"platform.{table}"].count for table in TABLES)
    return Work(
        kernel.events, inserts, world.database.transactions, kernel.journal.count, books["platform.audit_log"].count
    )


async def begin(world: World) -> None:
    """The pre-flight phase: deploy, revoke, check; then let the customers and the faults loose."""
    plan = world.plan
    world.install_catalogue()
    world.deployed.fingerprint()
    world.hosts.boot()
    tokens = {principal.id: world.identity.issue(principal.id, TOKEN_LIFE_S) for principal in plan.principals}
    world.identity.revoke_absent(plan.principals)
    ops = {principal.id: tokens[principal.id] for principal in plan.principals if principal.role == "ops"}
    if plan.operations and ops:
        world.go_on_call(ops)
    await _preflight(world)
    world.record("harness", "absence.begins", plan.scenario)
    if plan.operations and ops:
        world.watch(next(iter(ops)))
    world.entrants.start()
    world.schedule_actions()


def finish(world: World) -> None:
    """Take the closing fingerprints and have every party close its books."""
    world.deployed.fingerprint()
    world.record("harness", "run.ended", world.plan.scenario)
    world.close()


def _died(world: World, unit: str, error: Exception) -> None:
    """A platform process raised: it dies, as its host sees it."""
    world.record(f"system:{unit}", "unit.failed", unit, error=type(error).__name__, message=str(error))
    world.hosts.crash(unit)


# --- the checklist -------------------------------------------------------------------------------------------------


async def _services_run(world: World) -> str:
    stopped = [unit for _, units in HOSTS.values() for unit in units if not world.hosts.is_running(unit)]
    return f"not running: {', '.join(stopped)}" if stopped else ""


async def _edge_answers(world: World) -> str:
    try:
        response = await world.edge.request(Request("GET", PROBED_PATH))
    except PortError as error:
        return f"nobody answers: {error.code}"
    return "" if response.status == 401 else f"an unsigned admin call was answered {response.status}"


async def _access_is_revoked(world: World) -> str:
    let_in: list[str] = []
    for principal in world.plan.principals:
        if principal.role not in ABSENT:
            continue
        statuses = await world.identity.probe(principal.id)
        let_in += [principal.id for status in statuses.values() if status not in (401, 403)]
        if not statuses:
            let_in.append(f"{principal.id} (had no credential to revoke)")
    return f"still let in: {', '.join(let_in)}" if let_in else ""


async def _forgery_is_refused(world: World) -> str:
    """A customer's token, well formed and in time, signed with a key that is not the identity provider's. Only the
    signature can tell: nobody is asked about a customer's token."""
    now_s = world.runtime.now() // 1000
    claims = {"sub": "customer:forged", "jti": "forged", "iat": now_s, "exp": now_s + 3600}
    token = web_token(claims, signer(b"not the key of the identity provider"))
    headers = {"Authorization": f"Bearer {token}"}
    response = await world.edge.request(Request("POST", "/api/entries", headers=headers))
    return "" if response.status in (401, 403) else f"a forged customer's token was answered {response.status}"


async def _log_refuses_edits(world: World) -> str:
    """The audit trail must be append-only in the database itself, before anybody relies on it."""
    allowed = [edit for edit in world.connection.edits("audit_log") if not world.connection.refuses(edit)]
    return f"the database allowed: {allowed[0]}" if allowed else ""


CHECKLIST: tuple[tuple[str, Callable[[World], Awaitable[str]]], ...] = (
    ("services are deployed and running", _services_run),
    ("the platform answers, and refuses an unsigned admin call", _edge_answers),
    ("founder and engineer access is revoked, tried with every credential", _access_is_revoked),
    ("a token that the identity provider did not sign is refused", _forgery_is_refused),
    ("the audit trail is append-only in the database", _log_refuses_edits),
)
"""Each item gives "" or what is wrong."""


async def _preflight(world: World) -> None:
    failures = []
    for item, check in CHECKLIST:
        detail = await check(world)
        world.books["preflight.checks"].note(world.runtime.now(), item, not detail, detail)
        if detail:
            failures.append(f"{item}: {detail}")
    if failures:
        raise PreflightFailed(failures)
