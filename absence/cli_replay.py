"""`absence replay`: does a run happen again, event by event; and how did it stand at an instant of it?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.command_line import arguments
from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.opening import EMBEDDED, RUN_DIR, STORE, opener_of
from absence.output import print_json
from absence.planted import run_planted
from defects.planting import planted_here
from evidence.layout import MANIFEST

if TYPE_CHECKING:
    from absence.replaying import Read, Stopped
    from absence.until import Until
    from evidence.plan import Plan


@click.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option(
    "--until", "until_text", metavar="T",
    help="Stop there and print how things stand: day 5, 2026-06-05T14:00Z, +3d4h, or an event like e1234.",
)  # fmt: skip
@click.option("--show", "entity", metavar="ENTITY", help="With --until: how this one thing stood, by its id.")
@click.option(
    "--tolerant", is_flag=True,
    help="Run the plan with today's code, whatever made it, and compare what it comes to instead of each event.",
)  # fmt: skip
@STORE
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def replay(
    run_dir: Path, until_text: str | None, entity: str | None, tolerant: bool, store: str, as_json: bool
) -> None:
    """Run the plan of RUN_DIR again and compare, event by event and day by day. Exit 0: it is the same; 30: it differs,
    and where. A run with a planted defect is replayed with it.

    With --tolerant, or where RUN_DIR is a capsule (plan.json and capsule.json), what counts is the first broken
    promise. Exit 0: it breaks again; 10: it does not, or another breaks first. Neither --until nor --store goes with
    that.

    \b
    absence replay runs/default-s1-0123456789
    absence replay runs/default-s1-0123456789 --until "day 5 14:00"
    absence replay runs/default-s1-0123456789 --until e1234 --json
    absence replay runs/default-s1-0123456789 --until +3d4h --show user_00117
    absence replay runs/default-s1-0123456789 --tolerant
    absence replay runs/default-s1-0123456789 --store postgresql://me@localhost/test
    """
    if entity is not None and until_text is None:
        raise click.UsageError("--show says what to look at, --until when: give both.")
    with reported(as_json):
        if tolerant or _is_capsule(run_dir):
            for option, is_given in (("--until", until_text is not None), ("--store", store != EMBEDDED)):
                if is_given:
                    what = "--tolerant" if tolerant else "The replay of a capsule"
                    raise click.UsageError(f"{what} compares what a whole run comes to, on sqlite: leave {option} out.")
            from absence.cli_capsule import replay_capsule

            replay_capsule(run_dir, tolerant, as_json)
        opener = opener_of(store)
        from absence import incidents, replaying
        from absence.progress import Bar
        from absence.verifying import expect_run
        from evidence.run import Evidence

        expect_run(run_dir)
        evidence = Evidence.open(run_dir)
        defect = evidence.manifest.defect
        if defect is not None and defect != planted_here():
            sys.exit(run_planted(defect, arguments(), wants_scene=False))
        until = None if until_text is None else _until(evidence, until_text)
        try:
            with Bar(shown=not as_json) as bar:
                if until is not None:
                    stopped = replaying.replay_until(run_dir, until, bar.day, opener, _look(entity))
                else:
                    same = replaying.replay(run_dir, bar.day, opener)
        except replaying.Diverged as diverged:
            _diverged(replaying.describe(diverged), as_json, event=f"e{diverged.line}")
        except replaying.SnapshotDiffers as differs:
            _diverged(str(differs), as_json)
        if until is not None and entity is not None:
            from absence.cli_show import tell_shown

            tell_shown(run_dir, entity, stopped, evidence.plan, as_json)
            return
        if until is not None:
            _tell_stopped(stopped, evidence.plan, as_json)
            return
        if as_json:
            print_json(
                {
                    "reproduced": not same.differing_books,
                    "digest": same.digest,
                    "events": same.events,
                    "snapshots": same.snapshots,
                    "same_code": same.same_code,
                    "differing_books": list(same.differing_books),
                }
            )
        else:
            click.echo(f"REPRODUCED {same.events:,} events, digest {same.digest}")
            _tell_code(same.same_code)
            for book in same.differing_books:
                click.echo(f"but the book {book} holds other rows than it did")
        if same.differing_books:
            incidents.remember([f"the book {book} holds other rows than it did" for book in same.differing_books])
            sys.exit(ExitCode.STATE_CORRUPT)


def _is_capsule(path: Path) -> bool:
    """Whether a failure is kept there, and no run."""
    return (path / "capsule.json").exists() and not (path / MANIFEST).exists()


def _look(entity: str | None) -> Read:
    from simulator.showing import shown
    from simulator.standing import standing

    if entity is None:
        return standing
    return lambda world, _: {"at": world.runtime.now(), **shown(world, entity)}


def _until(evidence: Any, text: str) -> Until:
    from absence.until import read_until

    instants, plan = evidence.event_instants(), evidence.plan
    ends_at = max(instants, default=plan.recovery_until_at)
    return read_until(text, plan.starts_at, ends_at, len(instants))


def _diverged(told: str, as_json: bool, **more: str) -> None:
    from absence import incidents

    incidents.remember([f"DIVERGED at {told}"])
    if as_json:
        print_json({"reproduced": False, **more, "difference": told})
    else:
        click.echo(f"DIVERGED at {told}")
    sys.exit(ExitCode.STATE_CORRUPT)


def _tell_code(same_code: bool) -> None:
    if not same_code:
        click.echo("The code has changed since the run; what it did has not.")


# --- how things stand ----------------------------------------------------------------------------------------------


def _tell_stopped(stopped: Stopped, plan: Plan, as_json: bool) -> None:
    state = stopped.state
    if as_json:
        print_json({
            "reproduced": True, "events": stopped.events, "snapshots": stopped.snapshots,
            "same_code": stopped.same_code, "state": state,
        })  # fmt: skip
        return
    from reports.words import dollars, instant, plural

    def when(at: int | None) -> str:
        return "-" if at is None else instant(at, plan.starts_at)

    compared = f"{plural(stopped.events, 'event')} and {plural(stopped.snapshots, 'snapshot')} agree"
    click.echo(f"REPRODUCED to {when(state['at'])}: {compared}")
    _tell_code(stopped.same_code)
    head = state["audit"]
    click.echo(f"audit log: row {head['seq']:,}, {head['hash'][:12]}…" if head else "audit log: empty")
    _table("Contests", ("contest", "status", "entries", "locks"), [
        (row["contest_id"], row["status"] + (f" ({row['error_code']})" if row["error_code"] else ""),
         f"{row['valid_entries']:,}", when(row["lock_at"])) for row in state["contests"]
    ])  # fmt: skip
    ledger = sorted(state["ledger"].items())
    _table("Ledger", ("account", "balance"), [(account, dollars(cents)) for account, cents in ledger])
    _table("Open alerts", ("alert", "status", "since"), [
        (alert["dedup_key"], alert["status"], when(alert["since_at"])) for alert in state["alerts"]
    ])  # fmt: skip
    _table("Under way", ("kind", "what", "who", "since"), [
        (kind.removesuffix("s"), row["what"], row.get("who", "-"), when(row["since_at"]))
        for kind, rows in state["under_way"].items() for row in rows
    ])  # fmt: skip
    click.echo("\nStopped services: " + (", ".join(state["stopped"]) or "none"))


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    click.echo(f"\n{title}" + ("" if rows else ": none"))
    if not rows:
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo(f"  {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))}".rstrip())
