"""The smoke test before anything long: does what a run needs work here? A small run, and all that is done with one.

Invariant: a check says what it found or why it failed, with the exit code that the command itself would have ended in;
what rests on a check that failed is skipped, and said to be.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from absence.errors import explain
from absence.exit_codes import BY_STATUS, ExitCode
from evidence.layout import VERDICT

if TYPE_CHECKING:
    from absence.pipeline import RunOutcome

SCENARIO, SEED, NAME = "small", 1, "smoke"
MODULES = {
    "simpy": "simpy", "pydantic": "pydantic", "PyYAML": "yaml", "click": "click", "rich": "rich", "Jinja2": "jinja2",
    "orjson": "orjson", "apsw": "apsw", "psycopg": "psycopg", "pyarrow": "pyarrow", "pandas": "pandas",
    "SQLAlchemy": "sqlalchemy",
}  # fmt: skip
"""Package -> what it is imported as."""
CLOCK_STEP_MAX_S = 2.0
"""So far wall clock and monotonic clock may drift apart while the checks run: a clock that is being set leaps."""


class CheckFailed(Exception):
    """What was checked is not so. `code` is what the command ends in."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(slots=True)
class Bench:
    """What the checks work on, and leave to those after them."""

    root: Path
    """Where the small run goes."""
    runs: Path
    """Where runs will go."""
    ran: RunOutcome | None = None
    begun: tuple[float, float] = field(default_factory=lambda: (time.time(), time.monotonic()))

    @property
    def run_dir(self) -> Path:
        assert self.ran is not None
        return self.ran.published.path


@dataclass(frozen=True, slots=True)
class Check:
    """`found` says what it found, or raises. `needs`: another check, without which this one makes no sense. News are
    told and fail nothing."""

    name: str
    found: Callable[[Bench], str]
    needs: str = ""
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How a check went: PASS, FAIL, SKIP, or NEWS of something that may be missing."""

    name: str
    status: str
    message: str
    code: ExitCode = ExitCode.SUCCESS


def smoke(root: Path, runs: Path) -> Iterator[Told]:
    """Every check in its order, each as it is done. The small run is written to `root`."""
    bench, passed = Bench(root, runs), set[str]()
    for check in CHECKS:
        if check.needs and check.needs not in passed:
            yield Told(check.name, "SKIP", f"needs {check.needs}")
            continue
        told = _told(check, bench)
        if told.status != "FAIL":
            passed.add(check.name)
        yield told


def _told(check: Check, bench: Bench) -> Told:
    try:
        return Told(check.name, "NEWS" if check.is_news else "PASS", check.found(bench))
    except CheckFailed as failed:
        return Told(check.name, "FAIL", failed.message, failed.code)
    except Exception as error:
        code, lines = explain(error)
        return Told(check.name, "FAIL", " ".join(lines), code)


# --- the machine ---------------------------------------------------------------------------------------------------


def _dependencies(_: Bench) -> str:
    found, missing = [], []
    for package, module in MODULES.items():
        try:
            import_module(module)
            found.append(f"{package} {version(package)}")
        except (ImportError, PackageNotFoundError) as error:
            missing.append(f"{package} ({error})")
    if missing:
        raise CheckFailed(ExitCode.USAGE, f"cannot be imported: {', '.join(missing)}; set up anew: make clean run")
    return ", ".join([f"Python {platform.python_version()}", *found])


def _root(bench: Bench) -> str:
    from evidence import freezing
    from evidence.writer import check_writable

    root = bench.runs
    was_there = root.exists()
    check_writable(root)
    try:
        freezing.check(root)
    except freezing.RootFrozen as frozen:
        raise CheckFailed(ExitCode.STATE_CORRUPT, str(frozen)) from None
    free = shutil.disk_usage(root).free >> 20
    if not was_there and root != bench.root:
        root.rmdir()
    return f"runs can be written to {root}, {free:,} MiB free"


def _clock(bench: Bench) -> str:
    """A run does not look at it, but its log does; and so do the locks and keys of whoever keeps the evidence."""
    now = time.time()
    made = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    if now < made - CLOCK_STEP_MAX_S:
        raise CheckFailed(ExitCode.USAGE, f"the clock is {made - now:.0f} s behind the newest file of this program")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def _clock_steady(bench: Bench) -> str:
    wall, monotonic = bench.begun
    drift_s = (time.time() - wall) - (time.monotonic() - monotonic)
    if abs(drift_s) > CLOCK_STEP_MAX_S:
        raise CheckFailed(ExitCode.USAGE, f"the clock leapt by {drift_s:+.1f} s meanwhile: somebody is setting it")
    return "the clock has not leapt meanwhile"


def _promtool(_: Bench) -> str:
    found = shutil.which("promtool")
    return found or "not installed: tests of the alert rules against Prometheus itself are skipped"


# --- a run, and what is done with one ------------------------------------------------------------------------------


def _run(bench: Bench) -> str:
    from absence.pipeline import execute
    from assertions.model import Status
    from scenarios import load, make_plan

    plan = make_plan(load(SCENARIO), SEED)
    bench.ran = ran = execute(plan, bench.root, NAME)
    verdict = ran.story.verdict
    if verdict.status is not Status.PASS:
        code = BY_STATUS[verdict.status.value]
        raise CheckFailed(code, f"{SCENARIO}, seed {SEED}, is {verdict.status.value}: see {bench.run_dir}")
    return f"{SCENARIO}, seed {SEED}: PASS, digest {ran.story.digest[:12]}"


def _verify(bench: Bench) -> str:
    from evidence.verify import verify

    problems = verify(bench.run_dir)
    if problems:
        raise CheckFailed(ExitCode.STATE_CORRUPT, f"{problems[0]}")
    return "every file, the journal's chain and every book are as written"


def _replay(bench: Bench) -> str:
    from absence import replaying

    try:
        same = replaying.replay(bench.run_dir)
    except replaying.Diverged as diverged:
        raise CheckFailed(ExitCode.STATE_CORRUPT, f"differs at {replaying.describe(diverged)}") from None
    if same.differing_books:
        raise CheckFailed(ExitCode.STATE_CORRUPT, f"other rows in {', '.join(same.differing_books)}")
    return f"{same.events:,} events and {same.snapshots} snapshots again"


def _gate(bench: Bench) -> str:
    """The smallest policy that there is: the run passes, by the verdict that stands in its directory."""
    from assertions.judge import Verdict
    from assertions.model import Status

    verdict = Verdict.from_json((bench.run_dir / VERDICT).read_bytes())
    held = [result.id for result in verdict.results if result.status in (Status.FAIL, Status.INCONCLUSIVE)]
    if held or verdict.status is not Status.PASS:
        raise CheckFailed(ExitCode.BUSINESS_REJECT, f"would not close: {', '.join(held) or verdict.status.value}")
    proven = sum(result.status is Status.PASS for result in verdict.results)
    return f"would close: {proven} promises proven"


CHECKS = (
    Check("dependencies", _dependencies),
    Check("root", _root),
    Check("clock", _clock),
    Check("promtool", _promtool, is_news=True),
    Check("run", _run, needs="root"),
    Check("verify", _verify, needs="run"),
    Check("replay", _replay, needs="run"),
    Check("gate", _gate, needs="run"),
    Check("clock steady", _clock_steady),
)
