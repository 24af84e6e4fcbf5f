"""The settlement lease: one daemon settles at a time, and whoever comes next does so under the next epoch.

Invariant: the database itself refuses what was written under an epoch that is over (store/compile.py).
"""

from __future__ import annotations

from contest_platform.jobs import MINUTE_MS
from contest_platform.ports import Tx

LEASE = "settlement"
LEASE_MS = 10 * MINUTE_MS


def take(tx: Tx, holder: str) -> int | None:
    """Take or renew the lease; its epoch, or None while somebody else holds it."""
    held = tx.one("select holder, epoch, expires_at from leases where name = :name", {"name": LEASE})
    expires_at = tx.now + LEASE_MS
    if held is None:
        row = {"name": LEASE, "holder": holder, "epoch": 1, "acquired_at": tx.now, "expires_at": expires_at}
        tx.insert("leases", row)
        return 1
    epoch = int(held["epoch"])
    if held["expires_at"] <= tx.now:
        epoch += 1
    elif held["holder"] != holder:
        return None
    tx.run(
        "update leases set holder = :holder, epoch = :epoch, expires_at = :expires_at,"
        " acquired_at = case when epoch = :epoch then acquired_at else :now end where name = :name",
        {"holder": holder, "epoch": epoch, "expires_at": expires_at, "now": tx.now, "name": LEASE},
    )
    return epoch


def held_by_another_until(tx: Tx, holder: str) -> int | None:
    """When the lease ends that keeps `holder` from settling; None: nothing does."""
    lease = tx.one("select holder, expires_at from leases where name = :name", {"name": LEASE})
    return None if lease is None or lease["holder"] == holder else int(lease["expires_at"])


def give_back(tx: Tx, holder: str) -> None:
    """End the lease now, if it is `holder`'s and has not ended: nobody has to wait for a daemon that has stopped."""
    tx.run(
        "update leases set expires_at = :now where name = :name and holder = :holder and expires_at > :now",
        {"name": LEASE, "holder": holder, "now": tx.now},
    )
