"""`absence verify`: is the evidence what was written, and does the verdict follow? Exit 30 names what is not so."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.output import print_json

if TYPE_CHECKING:
    from absence.verifying import Checked

_HASH = re.compile(r"[0-9a-f]{64}")


@click.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN...",
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@click.option("--anchor", metavar="HASH", help="Of one run, noted elsewhere: the manifest's hash, identity, digest or "
              "journal head.")  # fmt: skip
@click.option("--anchor-file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Such hashes of many runs, a line each: NAME HASH.")  # fmt: skip
@click.option("--no-freeze", is_flag=True, help="Let its root be written to though it does not verify: for copies.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(
    run_dirs: tuple[Path, ...], anchor: str | None, anchor_file: Path | None, no_freeze: bool, as_json: bool
) -> None:
    """Check that each RUN is what was written: every file, the journal's chain, every book; and judge it again: the
    verdict has to follow from the books. Exit 30 names the file, and the record in it where that can be told.

    What does not verify freezes the root that it stands in: nothing is written there until `absence runs thaw`.

    A run that other code judged is judged by today's assertions too; where they say otherwise, that is told, and no
    corruption. Who alters evidence and then all its hashes is found by a hash that was noted elsewhere.

    \b
    absence verify runs/default-s1-0123456789
    absence verify runs/*/ --anchor-file anchors.txt
    """
    with reported(as_json):
        from absence import incidents
        from absence.progress import Bar
        from absence.verifying import check, expect_run

        for run_dir in run_dirs:
            expect_run(run_dir)
        noted = _noted(run_dirs, anchor, anchor_file)
        checked = []
        with Bar(shown=not as_json, unit="run") as bar:
            for done, run_dir in enumerate(run_dirs):
                bar.say(f"verifying {run_dir.name}")
                bar.day(done, len(run_dirs))
                checked.append(check(run_dir, noted.get(run_dir)))
        print_checked(checked, as_json)
        corrupt = [run for run in checked if run.problems]
        for run in corrupt:
            incidents.corrupt(run.path, list(map(str, run.problems)), freeze=not no_freeze)
        if corrupt:
            sys.exit(ExitCode.STATE_CORRUPT)


def print_checked(checked: Sequence[Checked], as_json: bool) -> None:
    """What was found of each run, and where all is well a hash of it to be noted elsewhere."""
    if as_json:
        print_json({"verified": not any(run.problems for run in checked), "runs": [run.json() for run in checked]})
        return
    for run in checked:
        if run.problems:
            click.echo(f"{run.path} does not verify:")
            for problem in run.problems:
                click.echo(f"  {problem}")
            click.echo("It is not what was written: take it from a copy, or run it again.")
        else:
            follows = "" if run.news else ", and the verdict follows from them"
            click.echo(f"{run.path} verifies: every file, the journal's chain and every book are as written{follows}.")
            click.echo(f"  anchor: {run.path.resolve().name} {run.anchors['self']}")
        for news in run.news:
            click.echo(f"  news, no corruption: {news}")
    if len(checked) > 1:
        corrupt = sum(bool(run.problems) for run in checked)
        click.echo(f"{len(checked)} runs: {len(checked) - corrupt} verify, {corrupt} do not.")


def _noted(run_dirs: Sequence[Path], anchor: str | None, anchor_file: Path | None) -> Mapping[Path, str]:
    """The anchor of each run; none at all where none was given. Raises UsageError: a run that has none could be any."""
    if anchor is not None and (anchor_file is not None or len(run_dirs) > 1):
        raise click.UsageError("--anchor is of one run; for several, give --anchor-file.")
    if anchor is not None:
        if not _HASH.fullmatch(anchor):
            raise click.BadParameter("an anchor is a SHA-256 in hex, 64 digits", param_hint="--anchor")
        return {run_dirs[0]: anchor}
    if anchor_file is None:
        return {}
    known = _read_anchors(anchor_file)
    unknown = [run_dir.resolve().name for run_dir in run_dirs if run_dir.resolve().name not in known]
    if unknown:
        raise click.BadParameter(f"{anchor_file} notes no anchor of {', '.join(unknown)}", param_hint="--anchor-file")
    return {run_dir: known[run_dir.resolve().name] for run_dir in run_dirs}


def _read_anchors(path: Path) -> dict[str, str]:
    """By the name of the run directory. Empty lines and lines that begin with # are none."""
    known: dict[str, str] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.strip().removeprefix("anchor:").split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _HASH.fullmatch(words[1]):
            raise click.BadParameter(f"{path}:{number}: expected NAME HASH, got {line!r}", param_hint="--anchor-file")
        if known.setdefault(words[0], words[1]) != words[1]:
            raise click.BadParameter(f"{path}:{number}: another anchor of {words[0]}", param_hint="--anchor-file")
    return known
