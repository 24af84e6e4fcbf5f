"""`absence smoke`: in seconds, whether what a run needs works on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from absence.command_line import DEFAULT_ROOT
from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.output import print_json


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Keep the small run here; by default it is removed.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def smoke(out: Path | None, as_json: bool) -> None:
    """Check this machine before anything long: dependencies, clock, a small run, and verify, replay and gate of it.

    A line a check; the last is STATUS=PASS, or STATUS=FAIL with the check that failed. The exit code is that in which
    the command itself would have ended.

    \b
    absence smoke
    absence smoke --out runs --json
    """
    with reported(as_json):
        from absence.smoke import CHECKS
        from absence.smoke import smoke as checks

        width = max(len(check.name) for check in CHECKS)
        told = []
        with _directory(out) as root:
            for one in checks(root, out or DEFAULT_ROOT):
                told.append(one)
                if not as_json:
                    click.echo(f"{one.status}  {one.name:<{width}}  {one.message}")
        failed = next((one for one in told if one.status == "FAIL"), None)
        code = ExitCode.SUCCESS if failed is None else failed.code
        if as_json:
            print_json({
                "status": "PASS" if failed is None else "FAIL",
                "failed": None if failed is None else failed.name,
                "exit_code": int(code),
                "checks": [{"name": one.name, "status": one.status, "message": one.message} for one in told],
            })  # fmt: skip
        else:
            click.echo("STATUS=PASS" if failed is None else f"STATUS=FAIL {failed.name}")
        sys.exit(code)


@contextmanager
def _directory(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    from tempfile import TemporaryDirectory  # which takes a while to load

    with TemporaryDirectory(prefix="absence-smoke-") as temporary:
        yield Path(temporary)
