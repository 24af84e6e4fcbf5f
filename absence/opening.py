"""What a command is given: `--store`, the embedded one or the URL of a PostgreSQL server; a run directory.

Invariant: every run makes a schema of its own, whose name no other run has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

if TYPE_CHECKING:
    from simulator.opening import Opener

DEFAULT_OUT = Path("runs")
EMBEDDED = "sqlite"
SCHEMES = ("postgresql://", "postgres://")
RUN_DIR = click.Path(exists=True, file_okay=False, path_type=Path)
STORE = click.option(
    "--store", default="sqlite", show_default=True, metavar="URL",
    help="The platform's database: sqlite, or postgresql://… where the run makes a schema, and takes it away again.",
)  # fmt: skip


def opener_of(store: str) -> Opener:
    """Raises UsageError for what is no store."""
    from simulator import opening

    if store == EMBEDDED:
        return opening.embedded
    if not store.startswith(SCHEMES):
        raise click.BadParameter(
            f"{store!r} is neither {EMBEDDED} nor {SCHEMES[0]}USER@HOST/DATABASE", param_hint="--store"
        )
    return opening.postgresql(store, f"absence_{uuid4().hex[:16]}")


def open_run(run_dir: Path) -> None:
    """Raise NotARun when nothing in `run_dir` is of a run, and say which runs lie below it, if any do."""
    from evidence.manifest import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
    from evidence.run import NotARun

    if any((run_dir / name).exists() for name in (MANIFEST, PLAN, JOURNAL, BOOK_DIRECTORY)):
        return
    runs = sorted(path.parent for path in run_dir.glob(f"[!.]*/{MANIFEST}"))
    raise NotARun(f"{run_dir} is not a run directory" + (f"; did you mean {runs[-1]}?" if runs else ""))
