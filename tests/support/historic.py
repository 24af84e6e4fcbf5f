"""Settlements from before links, post-mortems and the settlement log were enforced, as an import leaves them.

Invariant: the triggers are as before when the import is over; only the rows are older than they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.contest_world import ContestWorld


@contextmanager
def importing(world: ContestWorld) -> Iterator[None]:
    """While it lasts, no trigger has a say."""
    triggers = world.rows("select name, sql from sqlite_master where type = 'trigger' order by name")
    for trigger in triggers:
        world.connection.execute(f"drop trigger {trigger['name']}")
    try:
        yield
    finally:
        for trigger in triggers:
            world.connection.execute(trigger["sql"])


def unlink(world: ContestWorld, *users: str, contest: str = "c1") -> None:
    """Packs of these users that have lost their links."""
    with importing(world):
        for user in users:
            pack_id = world.row("settlement_packs", entry_id=f"{contest}-{user}")["pack_id"]
            world.connection.execute("delete from outcome_pack_links where pack_id = ?", (pack_id,))
