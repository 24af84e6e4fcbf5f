"""The settlement daemon, deployed: `python -m staging.settlementctl --database FILE` and `--once`, `--continuous` or
`--backfill REASON`.

Invariant: it is the platform's own service on ports of its own; one process runs by a PID file, and who may settle the
database alone decides.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import apsw
import orjson

from contest_platform import audit, jobs
from contest_platform.audit import Context
from contest_platform.ports import ConnectionFailed, Ports, StoreBusy, Tx
from contest_platform.service import Config
from contest_platform.services import configuration, settlement_backfill
from contest_platform.services.settlement import SettlementService
from contest_platform.store import sqlite

T = TypeVar("T")
DONE, REFUSED, USAGE, NOT_OURS = 0, 1, 2, 3
"""Exit status. REFUSED: another process has the PID file. NOT_OURS: there is work, and another daemon has the lease."""
CONFIG = Config(webhook_secrets=(), token_key="", hosts={})
"""Settlement asks nobody outside, and so needs no secret."""


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class FileStore:
    """The Store port on an SQLite file. Two processes on one file take turns, transaction by transaction."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self._connection, self._now = sqlite.connect(str(path)), now
        self._count = 0

    async def transact(self, operation: str, fn: Callable[[Tx], T]) -> T:
        """Raises StoreBusy when another process keeps the file for longer than we wait."""
        return self.run(operation, fn)

    def run(self, operation: str, fn: Callable[[Tx], T]) -> T:
        self._count += 1
        cause = f"settlementctl:{os.getpid()}:{self._count}:{operation}"
        try:
            return self._connection.transact(self._now(), cause, fn)[0]
        except apsw.BusyError as error:
            raise StoreBusy(str(error)) from error

    def close(self) -> None:
        self._connection.close()


class WallRuntime:
    """The Runtime port, for a service that sleeps and spawns nothing."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now

    async def sleep_until(self, at: int) -> None:
        await asyncio.sleep(max(0, at - self.now()) / 1000)


class LookingAgain:
    """The Signals port of a process that nobody can wake: it looks by itself, every `every_ms`."""

    def __init__(self, runtime: WallRuntime, every_ms: int) -> None:
        self._runtime, self._every_ms = runtime, every_ms

    def seen(self, topic: str) -> int:
        return 0

    def notify(self, topic: str) -> None:
        """Whoever is notified is another process, which looks by itself too."""

    async def wait(self, topic: str, seen: int, until: int | None) -> None:
        look_at = self._runtime.now() + self._every_ms
        await self._runtime.sleep_until(look_at if until is None else min(until, look_at))


class NewIds:
    """The Ids port."""

    def new(self, kind: str, *parts: str) -> str:
        if not parts:
            return f"{kind}_{uuid.uuid4().hex}"
        return f"{kind}_{sha256('/'.join((kind, *parts)).encode()).hexdigest()}"


class Unscraped:
    """The Metrics port of a process that nobody scrapes: its heartbeat and its results stand in the database."""

    def set(self, name: str, value: float, **labels: str) -> None: ...

    def add(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def remove(self, name: str, **labels: str) -> None: ...


class NotConnected:
    """What settlement never asks. Raises ConnectionFailed whatever is called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def refuse(*args: Any, **options: Any) -> NoReturn:
            raise ConnectionFailed(name)

        return refuse


def daemon(store: FileStore, runtime: WallRuntime, every_ms: int) -> tuple[Ports, SettlementService]:
    nobody = cast(Any, NotConnected())
    ports = Ports(
        runtime=cast(Any, runtime), signals=LookingAgain(runtime, every_ms), store=cast(Any, store), ids=NewIds(),
        entropy=nobody, processor=nobody, provider=nobody, hosts=nobody, auth=nobody, pager=nobody, anchor=nobody,
        metrics=Unscraped(), backups=nobody,
    )  # fmt: skip
    config = store.run("settlementctl.config", lambda tx: configuration.in_force(tx, CONFIG))
    return ports, SettlementService(ports, config)


# --- what it does -----------------------------------------------------------------------------------------------------

_ENDED = "select new_status, count(*) from outcome_settlement_log where settled_by = :holder group by new_status"


async def once(store: FileStore, runtime: WallRuntime) -> int:
    """Settle what is due, say what was done, and give the lease back."""
    _, service = daemon(store, runtime, 0)
    [job] = service.jobs()
    due = await job.due()
    if due is not None and due <= runtime.now():
        await job.work()
        due = await job.due()
    ended = dict(store.run("settlementctl.ended", lambda tx: tx.tuples(_ENDED, {"holder": service.holder})))
    await service.stop()
    until_at = store.run("settlementctl.waiting", service.waits_until)
    _say({"holder": service.holder, "ended": dict(sorted(ended.items())), "next_due_at": due,
          "lease_held_by_another_until": until_at})  # fmt: skip
    return DONE if until_at is None else NOT_OURS


async def continuous(store: FileStore, runtime: WallRuntime, every_ms: int, grid_ms: int) -> int:
    """Settle what becomes due until SIGTERM or SIGINT, and then say that it stops and give the lease back."""
    ports, service = daemon(store, runtime, every_ms)
    [job] = service.jobs()
    work = asyncio.create_task(jobs.run(ports, replace(job, period_ms=grid_ms)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    _say({"holder": service.holder, "running": True})
    try:
        await work
    except asyncio.CancelledError:
        await service.stop()
        _say({"holder": service.holder, "running": False})
    return DONE


def backfill(store: FileStore, reason: str, dry_run: bool, evidence: Path | None) -> int:
    """Link packs to the outcomes of their entries, and write down which and which not."""
    ctx = Context("system:settlement", "backfill")
    told = store.run("settlementctl.backfill", lambda tx: settlement_backfill.run(tx, ctx, reason, dry_run))
    if evidence is not None:
        evidence.write_bytes(audit.canonical(told).encode() + b"\n")
    _say({name: told[name] for name in ("dry_run", "totals", "sha256")})
    return DONE


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


@contextmanager
def pid_file(path: Path | None) -> Iterator[bool]:
    """Hold the PID file; False: another process does. Its lock ends with the process, so none is ever stale."""
    if path is None:
        yield True
        return
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        yield False
        return
    try:
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="settlementctl", description="The settlement daemon.")
    parser.add_argument("--database", type=Path, required=True, help="the platform's database, an SQLite file")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--once", action="store_true", help="settle what is due, and end")
    mode.add_argument("--continuous", action="store_true", help="settle what becomes due, until SIGTERM")
    mode.add_argument("--backfill", metavar="REASON", help="link packs that have lost their links, and end")
    parser.add_argument("--pid-file", type=Path, help="where this process says that it runs")
    parser.add_argument("--look-every-s", type=float, default=60.0, help="how often it looks for work (60)")
    parser.add_argument("--grid-s", type=float, default=300.0, help="it works at multiples of this (300)")
    parser.add_argument("--dry-run", action="store_true", help="with --backfill: say what would be done")
    parser.add_argument("--evidence", type=Path, help="with --backfill: the file to write the evidence to")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, now: Callable[[], int] = wall_clock) -> int:
    """Returns the exit status."""
    given = _arguments(argv)
    if not given.database.is_file():
        sys.stderr.write(f"error: no database at {given.database}\n")
        return USAGE
    with pid_file(given.pid_file) as is_ours:
        if not is_ours:
            sys.stderr.write(f"error: it runs already, as process {given.pid_file.read_text().strip()}\n")
            return REFUSED
        store, runtime = FileStore(given.database, now), WallRuntime(now)
        try:
            if given.backfill is not None:
                return backfill(store, given.backfill, given.dry_run, given.evidence)
            if given.once:
                return asyncio.run(once(store, runtime))
            every_ms, grid_ms = int(given.look_every_s * 1000), int(given.grid_s * 1000)
            return asyncio.run(continuous(store, runtime, every_ms, grid_ms))
        finally:
            store.close()


if __name__ == "__main__":
    sys.exit(main())
