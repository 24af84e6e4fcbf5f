"""What went wrong, in words: what it was, where, and what to do about it; with the exit code it ends in.

Invariant: an error that is not foreseen here is our own bug and says so; none is swallowed.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EEXIST, EFBIG, EIO, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any

import click

from absence.exit_codes import INCIDENTS, INTERRUPTED, ExitCode
from absence.output import print_json

_Handled = tuple[ExitCode, list[str]]
_REFUSALS = (EACCES, EDQUOT, EEXIST, EFBIG, EIO, ENOSPC, ENOTDIR, EPERM, EROFS)


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn errors into lines on standard error (with `as_json` also JSON on standard output) and an exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except SystemExit as ended:
        # A code that is not ours to give is that of a command that we started: it has noted its incident.
        if isinstance(ended.code, ExitCode) and ended.code in INCIDENTS:
            click.echo(_noted(ended.code)[1], err=True)
        raise
    except Exception as error:
        code, lines = explain(error)
        trace = "".join(traceback.format_exception(error)) if code is ExitCode.INTERNAL_ERROR else None
        incident, where = _noted(code, lines, trace) if code in INCIDENTS else (None, None)
        if as_json:
            print_json({"error": lines, "exit_code": int(code), "incident": incident and str(incident)})
        for line in lines if where is None else [*lines, where]:
            click.echo(line, err=True)
        sys.exit(code)


def _noted(code: int, lines: list[str] | None = None, trace: str | None = None) -> tuple[Path | None, str]:
    from absence.incidents import note

    return note(code, lines, trace)


def explain(error: Exception) -> _Handled:
    """The exit code for `error`, and the lines to print: what was wrong, and the remedy."""
    handled = _handled(error)
    if handled is not None:
        return handled
    traceback.print_exc()
    return ExitCode.INTERNAL_ERROR, [
        f"This is a bug of ours: {type(error).__name__}: {error}",
        "Nothing half-written was left behind. Please report it with the lines above and the command you gave.",
    ]


def code_of(error: BaseException) -> int:
    """The code in which a command ends that `error` ends."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    handled = _handled(error)
    return int(handled[0] if handled is not None else ExitCode.INTERNAL_ERROR)


def _handled(error: BaseException) -> _Handled | None:
    for base in type(error).__mro__:
        handle = _HANDLERS.get(f"{base.__module__}.{base.__name__}")
        handled = handle(error) if handle else None
        if handled is not None:
            return handled
    return None


def _system(error: OSError) -> _Handled | None:
    """The machine said no: a full disk is not our bug."""
    if error.errno not in _REFUSALS:
        return None
    where = f" ({error.filename})" if error.filename else ""
    return ExitCode.USAGE, [
        f"The system refused: {error.strerror}{where}. Nothing half-written was left behind.",
        "Give a directory that can be written to (--out), or make room on its disk.",
    ]


def _server(error: Exception) -> _Handled:
    """The PostgreSQL server went away, or had no room, as the run went on."""
    return ExitCode.USAGE, [
        f"The database server of --store failed: {str(error).strip().splitlines()[0]}",
        "Nothing half-written was left behind; what the run made on the server, the next run there takes away.",
    ]


def _memory(error: MemoryError) -> _Handled:
    return ExitCode.USAGE, [
        "The machine has no memory left. Nothing half-written was left behind.",
        "Make the field smaller (--field), or run it where there is more memory.",
    ]


def _database(error: Exception) -> _Handled:
    """The database of a large run's platform lies on the disk of the run."""
    return ExitCode.USAGE, [
        f"The system refused: {error}, as the platform's database grew. Nothing half-written was left behind.",
        "Give a directory on another disk (--out), or make room on this one.",
    ]


_HANDLERS: dict[str, Callable[[Any], _Handled | None]] = {
    "located.Invalid": lambda e: (ExitCode.DATA_INVALID, [str(located) for located in e.errors]),
    "closure.runs.NotVerified": lambda e: (
        ExitCode.STATE_CORRUPT,
        [
            *(f"{path}: {problem}" for path, problem in e.problems),
            "That is not what was written: take it from a copy, or run it again. Nothing was decided.",
        ],
    ),
    "closure.runs.NotEvidence": lambda e: (
        ExitCode.DATA_INVALID,
        [
            *(f"{path}: it was run with the defect {defect} planted in the platform" for path, defect in e.planted),
            "Such a run is evidence of nothing but the harness: run it without --defect. Nothing was decided.",
        ],
    ),
    "operations.runbooks.problems.RunbooksInvalid": lambda e: (ExitCode.DATA_INVALID, list(map(str, e.problems))),
    "operations.alerts.located.RulesInvalid": lambda e: (ExitCode.DATA_INVALID, list(map(str, e.mistakes))),
    # The platform let somebody in, or does not run: that is the platform's failure, not the input's.
    "simulator.run.PreflightFailed": lambda e: (
        ExitCode.BUSINESS_REJECT,
        [
            "FAIL: the run did not start, for the checklist before it found:",
            *(f"  {failure}" for failure in e.failures),
        ],
    ),
    "fault_injectors.DeclarationError": lambda e: (
        ExitCode.INTERNAL_ERROR,
        [f"A fault is not declared as it must be: {e}"],
    ),
    "campaigns.lenient.PlanUnreadable": lambda e: (ExitCode.DATA_INVALID, [str(e)]),
    "campaigns.capsules.CapsuleInvalid": lambda e: (ExitCode.DATA_INVALID, [str(e)]),
    "campaigns.capsules.ReplayFailed": lambda e: (
        ExitCode.INTERNAL_ERROR,
        ["With its defect planted it was not run to the end:", *str(e).splitlines()],
    ),
    "absence.shrunk.NothingBroken": lambda e: (ExitCode.USAGE, [str(e)]),
    "absence.shrunk.LostOnTheWay": lambda e: (e.code, e.lines),
    "campaigns.shrinking.NotTheSame": lambda e: (
        ExitCode.INCONCLUSIVE,
        [
            f"It broke {e.target} first; run today, it "
            + ("breaks nothing." if e.trial.first is None else f"breaks {e.trial.first} first."),
            "The code has changed since, or the run depends on more than its plan (absence lockstep). To shrink what "
            "is broken today, run the scenario again and give that run.",
        ],
    ),
    "defects.UnknownDefect": lambda e: (ExitCode.USAGE, [str(e), "`absence defects list` shows what there is."]),
    "defects.planting.StaleEdit": lambda e: (
        ExitCode.DATA_INVALID,
        [f"defect {e}", "Write its edit anew, for the text as it is now: see docs/defects.md."],
    ),
    "campaigns.trial.TrialFailed": lambda e: (ExitCode.DATA_INVALID, ["There is no trial.", *str(e).splitlines()]),
    "campaigns.sweep_book.OtherSweep": lambda e: (ExitCode.USAGE, [str(e)]),
    "campaigns.sweep_book.BookBroken": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "campaigns.corpus.CorpusInvalid": lambda e: (ExitCode.DATA_INVALID, [f"--corpus: {e}"]),
    "campaigns.cluster.ClusterRefused": lambda e: (ExitCode.USAGE, [f"--cluster: {e}"]),
    "campaigns.seeds.CodeDiffers": lambda e: (
        ExitCode.USAGE,
        [
            f"{e}: it was edited meanwhile.",
            "Nothing of what that worker would have found out was taken down. Begin anew.",
        ],
    ),
    "campaigns.executors.WorkersDie": lambda e: (ExitCode.USAGE, [str(e), "Fewer at a time (--workers) need less."]),
    "absence.locking.LockSkipped": lambda e: (ExitCode.BUSINESS_SKIP, e.lines),
    "absence.locking.LockTimeout": lambda e: (ExitCode.LOCK_TIMEOUT, e.lines),
    "evidence.freezing.RootFrozen": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "evidence.store.RecordUnreadable": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "evidence.writer.OutputRefused": lambda e: (ExitCode.USAGE, [str(e)]),
    "evidence.writer.IdentityConflict": lambda e: (
        ExitCode.USAGE,
        [str(e), "To keep both, give the new run a name (--name NAME) or another place (--out DIRECTORY)."],
    ),
    "evidence.run.NotARun": lambda e: (ExitCode.DATA_INVALID, [str(e)]),
    "evidence.manifest.ManifestBroken": lambda e: (ExitCode.STATE_CORRUPT, [f"manifest.json {e}"]),
    "evidence.journal.JournalBroken": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "evidence.books.BookDamaged": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "campaigns.lockstep.SideFailed": lambda e: (
        ExitCode.INTERNAL_ERROR,
        [f"One of the two processes did not come to an end: {e}"],
    ),
    "absence.replaying.NotReached": lambda e: (ExitCode.USAGE, [str(e)]),
    "absence.replaying.SnapshotDiffers": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "closure.baseline.NotComparable": lambda e: (
        ExitCode.DATA_INVALID,
        [
            f"{e.candidate} cannot be held against {e.baseline}:",
            *(f"  {told}" for told in e.differences),
            "Give a baseline of the same plan, or rails (--rails) whose `comparable` leaves that out.",
        ],
    ),
    "closure.reopen.NotReopened": lambda e: (ExitCode.DATA_INVALID, e.reasons),
    "absence.replaying.PlanAltered": lambda e: (ExitCode.STATE_CORRUPT, [str(e)]),
    "absence.covering.RunFailed": lambda e: (e.code, e.lines),
    "absence.progress.OverBudget": lambda e: (ExitCode.INCONCLUSIVE, [str(e)]),
    "builtins.MemoryError": _memory,
    "builtins.OSError": _system,
    "contest_platform.store.database.DatabaseRefused": lambda e: (ExitCode.USAGE, [f"--store: {e}"]),
    "psycopg.OperationalError": _server,
    "psycopg.errors.OperationalError": _server,
    "apsw.FullError": _database,
    "apsw.IOError": _database,
}
"""By qualified name, so that naming an error does not import the room that raises it."""
