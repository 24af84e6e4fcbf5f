"""What `--store` says: the embedded store, or the URL of a PostgreSQL server.

Invariant: every run makes a schema of its own, whose name no other run has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import click

if TYPE_CHECKING:
    from simulator.opening import Opener

EMBEDDED = "sqlite"
SCHEMES = ("postgresql://", "postgres://")


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
