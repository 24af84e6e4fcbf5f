"""`absence replay`: does a run happen again, event by event; and how did it stand at an instant of it?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.command_line import without_option
from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.opening import RUN_DIR, STORE, opener_of
from absence.output import print_json

if TYPE_CHECKING:
    from absence.replaying import Stopped
    from absence.until import Until
    from evidence.run import Evidence


@click.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option(
    "--until", "until_text", metavar="T",
    help="Stop there and print how things stand: day 5, 2026-06-05T14:00Z, +3d4h, or an event like e1234.",
)  # fmt: skip
@STORE
@click.option("--defect", metavar="ID", help="Plant this bug in the platform first: that of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def replay(run_dir: Path, until_text: str | None, store: str, defect: str | None, as_json: bool) -> None:
    """Run the plan of RUN_DIR again and compare, event by event and day by day. Exit 0: it is the same; 30: it differs,
    and where.

    \b
    absence replay runs/default-s1-0123456789
    absence replay runs/default-s1-0123456789 --until "day 5 14:00"
    absence replay runs/default-s1-0123456789 --until e1234 --json
    absence replay runs/default-s1-0123456789 --store postgresql://me@localhost/test
    absence replay --defect prizes.rounding_keeps_a_cent runs/default-s1-0123456789
    """
    if defect:
        with reported(as_json):
            from absence.planted import run_planted

            sys.exit(run_planted(defect, without_option("--defect"), wants_scene=False))
    with reported(as_json):
        opener = opener_of(store)
        from absence import incidents, replaying
        from absence.progress import Bar
        from absence.verifying import expect_run
        from evidence.run import Evidence

        expect_run(run_dir)
        evidence = Evidence.open(run_dir)
        until = None if until_text is None else _until(evidence, until_text)
        try:
            with Bar(shown=not as_json) as bar:
                if until is not None:
                    stopped = replaying.replay_until(run_dir, until, bar.day, opener)
                else:
                    same = replaying.replay(run_dir, bar.day, opener)
        except replaying.Diverged as diverged:
            _diverged(replaying.describe(diverged), evidence, as_json, event=f"e{diverged.line}")
        except replaying.SnapshotDiffers as differs:
            _diverged(str(differs), evidence, as_json)
        if until is not None:
            _tell_stopped(stopped, evidence, as_json)
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
            _tell_code(same.same_code, evidence)
            for book in same.differing_books:
                click.echo(f"but the book {book} holds other rows than it did")
        if same.differing_books:
            incidents.remember([f"the book {book} holds other rows than it did" for book in same.differing_books])
            sys.exit(ExitCode.STATE_CORRUPT)


def _until(evidence: Evidence, text: str) -> Until:
    from absence.until import read_until

    instants, plan = evidence.event_instants(), evidence.plan
    ends_at = max(instants, default=plan.recovery_until_at)
    return read_until(text, plan.starts_at, ends_at, len(instants))


def _diverged(told: str, evidence: Evidence, as_json: bool, **more: str) -> None:
    from absence import incidents

    lines = [f"DIVERGED at {told}", *_planted(evidence)]
    incidents.remember(lines)
    if as_json:
        planted = {"defect": evidence.manifest.defect} if evidence.manifest.defect else {}
        print_json({"reproduced": False, **more, "difference": told, **planted})
    else:
        for line in lines:
            click.echo(line)
    sys.exit(ExitCode.STATE_CORRUPT)


def _planted(evidence: Evidence) -> list[str]:
    """What to say of a run whose platform had another bug planted in it, or none, than the one that replays it."""
    from absence.planted import planted_here

    was, here = evidence.manifest.defect, planted_here()
    if was == here:
        return []
    if was is None:
        return [f"The code differs: {here} is planted in it, and the run was made without."]
    return [
        f"The code differs: the run was made with the defect {was} planted. This replays it:",
        f"  absence replay --defect {was} {evidence.path}",
    ]


def _tell_code(same_code: bool, evidence: Evidence) -> None:
    if not same_code:
        click.echo("The code has changed since the run; what it did has not.")
    for line in _planted(evidence):
        click.echo(line)


# --- how things stand ----------------------------------------------------------------------------------------------


def _tell_stopped(stopped: Stopped, evidence: Evidence, as_json: bool) -> None:
    state, plan = stopped.state, evidence.plan
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
    _tell_code(stopped.same_code, evidence)
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
