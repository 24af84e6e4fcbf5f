"""`absence runs`: what a run root holds, what of it goes, how a frozen one is thawed, and what went wrong there."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.command_line import DEFAULT_ROOT
from absence.errors import reported
from absence.locking import Wanted, lock_options, writing
from absence.opening import AS_JSON
from absence.output import print_json

if TYPE_CHECKING:
    from evidence.store import Run

ROOT = click.argument(
    "root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=DEFAULT_ROOT, metavar="[ROOT]"
)
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")


@click.group()
def runs() -> None:
    """The runs that a root holds: list and prune them, thaw the root, see its incidents. See docs/runs.md.

    \b
    absence runs list
    absence runs prune runs --keep-last 20 --keep-failing
    """


# --- list ----------------------------------------------------------------------------------------------------------


@runs.command("list")
@ROOT
@click.option("--verdict", "verdicts", type=click.Choice(VERDICTS), multiple=True, help="Only these (repeatable).")
@AS_JSON
def runs_list(root: Path, verdicts: tuple[str, ...], as_json: bool) -> None:
    """The runs of ROOT (by default `runs`), newest first, and what stands there that is no run.

    \b
    absence runs list
    absence runs list nightly --verdict FAIL --verdict INCONCLUSIVE
    """
    with reported(as_json):
        from evidence import freezing, lock, store
        from evidence.sweeping import leftovers

        found, others = store.scan(root)
        shown = [run for run in found if not verdicts or run.verdict in verdicts]
        others += [store.NoRun(left.path, _of(left)) for left in leftovers(root)]
        held, frozen = lock.found(root), freezing.found(root)
        if as_json:
            print_json({
                "root": str(root), "runs": [_told(run) for run in shown],
                "not_runs": [{"name": str(other.path.relative_to(root)), "what": other.what} for other in others],
                "lock": None if held is None else {"owner": str(held.owner or lock.NOBODY),
                                                   "stale": held.stale.why if held.stale else None},
                "frozen": None if frozen is None else {"at": frozen.at, "run": frozen.run, "problem": frozen.problem},
            })  # fmt: skip
            return
        _table(shown, _same(found))
        for other in others:
            click.echo(f"No run: {other.path}: {other.what}")
        if held is not None:
            click.echo(f"{held}" + (f"; stale: {held.stale.why}" if held.stale else ""))
        if frozen is not None:
            click.echo(str(freezing.RootFrozen(root, frozen)))


def _of(left: Any) -> str:
    return f"{left.what}, by a command at work" if left.in_use else f"{left.what} when its command died"


def _told(run: Run) -> dict[str, Any]:
    return {
        "name": run.name, "scenario": run.scenario, "seed": run.seed, "digest": run.digest, "identity": run.identity,
        "verdict": run.verdict, "size_bytes": run.size_bytes, "at": _when(run),
    }  # fmt: skip


def _when(run: Run) -> str:
    return datetime.fromtimestamp(run.at, UTC).isoformat(timespec="seconds")


def _same(found: list[Run]) -> dict[str, str]:
    """For each run that is another one under another name: that name, of the oldest."""
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for run in reversed(found):
        if first.setdefault(run.identity, run.name) != run.name:
            same[run.name] = first[run.identity]
    return same


def _table(shown: list[Run], same: dict[str, str]) -> None:
    if not shown:
        click.echo("No runs.")
        return
    head = ("run", "scenario", "seed", "digest", "verdict", "size", "begun (UTC)")
    rows = [
        (run.name, run.scenario, str(run.seed), run.digest[:12], run.verdict, f"{run.size_bytes / 1e6:.1f} MB",
         _when(run)[:19].replace("T", " "))
        for run in shown
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for name, row in zip((None, *(run.name for run in shown)), (head, *rows), strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo((line + (f"  the same run as {same[name]}" if name in same else "")).rstrip())


# --- prune ---------------------------------------------------------------------------------------------------------


@runs.command()
@ROOT
@click.option("--keep", multiple=True, metavar="ID", help="Keep this run: name, or start of identity or digest.")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="Keep the N newest.")
@click.option("--keep-failing", is_flag=True, help="Keep every run whose verdict is FAIL.")
@click.option("--decisions", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              metavar="DIR", help="Keep what the decisions in here refer to, as in ROOT/decisions.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do it; otherwise it is only said what would go.")
@lock_options
@AS_JSON
def prune(
    root: Path,
    keep: tuple[str, ...],
    keep_last: int | None,
    keep_failing: bool,
    decisions: tuple[Path, ...],
    yes: bool,
    lock: Wanted,
    as_json: bool,
) -> None:
    """Remove the runs of ROOT that nothing keeps. Says what would go, what stays and why; --yes does it.

    What a decision of the gate or an open incident refers to stays in any case, and so does what is damaged.

    \b
    absence runs prune runs --keep-last 20 --keep-failing
    absence runs prune runs --keep default-s1-0123456789 --yes
    """
    if not (keep or keep_failing) and keep_last is None:
        raise click.UsageError("Say what to keep: --keep ID, --keep-last N (0: nothing but what is referred to), …")
    with reported(as_json):
        if not yes:
            _prune(root, keep, keep_last or 0, keep_failing, decisions, as_json, done=False)
            return
        with writing(root, lock):
            _prune(root, keep, keep_last or 0, keep_failing, decisions, as_json, done=True)


def _prune(
    root: Path, keep: tuple[str, ...], last: int, failing: bool, decisions: tuple[Path, ...], as_json: bool, done: bool
) -> None:
    from evidence import store

    found, others = store.scan(root)
    try:
        choice = store.choose(found, store.references(root, decisions), keep, last, failing)
    except store.UnknownRun as unknown:
        raise click.UsageError(_unknown(str(unknown), found, root)) from None
    gone_bytes = 0
    for run in choice.go:
        if done:
            store.prune(run)
        gone_bytes += run.size_bytes
        if not as_json:
            click.echo(f"{'gone ' if done else 'would go'}  {run.name}")
    if as_json:
        print_json({
            "done": done, "go": [run.name for run in choice.go], "bytes": gone_bytes,
            "stay": [{"name": run.name, "why": why} for run, why in choice.stay],
            "not_runs": [{"name": other.path.name, "what": other.what} for other in others],
        })  # fmt: skip
        return
    for run, why in choice.stay:
        click.echo(f"stays     {run.name}: {why}")
    for other in others:
        click.echo(f"stays     {other.path.name}: {other.what}")
    of_all = f"{len(choice.go)} of {len(found)} runs, {gone_bytes / 1e6:.1f} MB"
    click.echo(f"Pruned {of_all}." if done else f"{of_all} would go. Nothing was done: add --yes.")


def _unknown(wanted: str, found: list[Run], root: Path) -> str:
    from difflib import get_close_matches

    close = get_close_matches(wanted, [run.name for run in found], 1)
    near = f" (did you mean {close[0]}?)" if close else ""
    return f"--keep {wanted}: there is no such run in {root}{near}. Nothing was pruned."


# --- thaw and incidents --------------------------------------------------------------------------------------------


@runs.command()
@ROOT
@lock_options
@AS_JSON
def thaw(root: Path, lock: Wanted, as_json: bool) -> None:
    """Let ROOT be written to again, after evidence in it did not verify. --reason is kept, with who and when.

    \b
    absence runs thaw runs --reason "restored default-s1-0123456789 from the copy of Tuesday"
    """
    if not lock.reason:
        raise click.UsageError("Say why it may be written to again: --reason TEXT. It is kept.")
    with reported(as_json), writing(root, lock, frozen_too=True):
        from evidence import freezing

        now = datetime.now(UTC).isoformat(timespec="seconds")
        was = freezing.thaw(root, now, _who(), lock.reason)
        if as_json:
            print_json({"thawed": was is not None, "run": was and was.run, "problem": was and was.problem})
        elif was is None:
            click.echo(f"{root} is not frozen: there is nothing to thaw.")
        else:
            click.echo(f"{root} is thawed. It was frozen since {was.at}: {was.run} did not verify ({was.problem}).")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have a number only
        return str(os.getuid())


@runs.command("incidents")
@ROOT
@AS_JSON
def runs_incidents(root: Path, as_json: bool) -> None:
    """The open incidents of ROOT, newest first. One is closed by moving its file into ROOT/incidents/closed.

    \b
    absence runs incidents
    """
    with reported(as_json):
        from absence import incidents

        found = incidents.listed(root)
        if as_json:
            print_json([
                {"file": str(one.path), "at": one.at, "code": one.code, "name": one.name, "command": one.command,
                 "run": one.run or None, "told": one.told}
                for one in found
            ])  # fmt: skip
            return
        for one in found:
            click.echo(f"{one.at[:19]}  {one.code} {one.name}  {one.command}")
            click.echo(f"    {one.told}")
            click.echo(f"    {one.path}")
        if not found:
            click.echo("No open incidents.")
