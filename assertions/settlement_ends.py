"""Family settlement: what a settlement leaves behind at the end of a run: nothing that anybody has to wait for.

Invariant: how much there has to be to look at comes from the processor and the plan; who is alive, from the database
server's own log of sessions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.model import Finding, assertion
from assertions.words import MINUTE_MS, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

LEASE = "settlement"
LEASE_MS = 10 * MINUTE_MS
DAEMON = "system:settlement"


@assertion(
    "settlement.nothing_left_behind",
    "At the end no pack waits, each contest was settled by one run that has ended, and no daemon that is gone holds a "
    "lease",
)
def nothing_left_behind(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("packs, runs and leases", 0, sum(map(len, known.valid.values())) + len(known.valid))
    found.owed += 1 if known.valid else 0
    for pack, contest, status, at in evidence.rows(
        "platform.settlement_packs", "pack_id", "contest_id", "status", "created_at"
    ):
        found.saw += 1
        if status == "PENDING":
            found.breaks(
                f"the pack {pack} of {contest} waits since {instant(at)}", f"settlement_packs/{pack}", known.ended_at
            )
    succeeded: Counter[str] = Counter()
    for run, contest, status, started_at, finished_at in evidence.rows(
        "platform.settlement_audit", "run_id", "contest_id", "status", "started_at", "finished_at"
    ):
        succeeded[contest] += status == "SUCCEEDED"
        found.saw += status == "SUCCEEDED" and contest in known.valid
        if status == "RUNNING" or finished_at is None:
            found.breaks(
                f"the settlement of {contest} that began at {instant(started_at)} is {status} at the end",
                f"settlement_audit/{run}", known.ended_at,
            )  # fmt: skip
        if succeeded[contest] > 1:
            found.breaks(
                f"{contest} was settled a second time, by the run that began at {instant(started_at)}",
                f"settlement_audit/{run}", started_at,
            )  # fmt: skip
    for name, holder, acquired_at, expires_at in evidence.rows(
        "platform.leases", "name", "holder", "acquired_at", "expires_at"
    ):
        if name != LEASE:
            continue
        found.saw += 1
        if expires_at > known.ended_at + LEASE_MS:
            found.breaks(
                f"the lease that {holder} took at {instant(acquired_at)} lasts until {instant(expires_at)}, longer "
                f"than a lease lasts",
                f"leases/{name}", known.ended_at,
            )  # fmt: skip
        elif expires_at > known.ended_at and not _is_alive(evidence, holder):
            found.breaks(
                f"{holder} is gone, and holds the lease until {instant(expires_at)}", f"leases/{name}", known.ended_at
            )
    return found


def _is_alive(evidence: Evidence, holder: str) -> bool:
    """Whether the life of a daemon had its session at the database at the end of the run."""
    lives: dict[str, int] = dict(evidence.rows("platform.daemon_health", "holder", "started_at"))
    started_at = lives.get(holder)
    sessions = sorted(
        (at, closed_at)
        for at, principal, closed_at in evidence.rows("database.sessions", "at", "principal", "closed_at")
        if principal == DAEMON
    )
    if started_at is None or not sessions:
        return False
    place = bisect_right([at for at, _ in sessions], started_at) - 1
    return place >= 0 and sessions[place][1] is None
