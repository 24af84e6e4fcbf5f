"""What a command is given: `--store`, the embedded one or the URL of a PostgreSQL server; a run directory; `--json`.

Invariant: every run makes a schema of its own, whose name no other run has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

if TYPE_CHECKING:
    from simulator.opening import Opener

EMBEDDED = "sqlite"
SCHEMES = ("postgresql://", "postgres://")
SEED = click.IntRange(0, 2**64 - 1)
RUN_DIR = click.Path(exists=True, file_okay=False, path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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
