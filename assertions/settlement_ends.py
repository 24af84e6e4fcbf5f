"""Family settlement: what a settlement leaves behind at the end of a run: nothing that anybody has to wait for.

Invariant: how much there has to be to look at comes from the processor and the plan; who is alive, from the database
server's own log of sessions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import facts
from assertions.model import Finding, assertion
from assertions.words import MINUTE_MS, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

LEASE = "settlement"
LEASE_MS = 10 * MINUTE_MS
DAEMON = "system:settlement"
BEATS_WITHIN_MS = 10 * MINUTE_MS
"""After the instant at which a daemon said that it would look again: one tick, and as much for its work."""


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


@assertion(
    "settlement.daemons_beat",
    "Every life of the daemon that the database saw at work is on record with its heartbeat, and none let its own "
    "instant pass",
)
def daemons_beat(evidence: Evidence) -> Finding:
    known, sessions = facts(evidence), _sessions(evidence)
    found = Finding("lives of the daemon", 0, sum(session.statements > 0 for session in sessions))
    lives: dict[str, int] = {}
    for holder, started_at, beat_at, due_at, status in evidence.rows(
        "platform.daemon_health", "holder", "started_at", "beat_at", "due_at", "status"
    ):
        lives[holder] = started_at
        subject, session = f"daemon_health/{holder}", _session_of(sessions, started_at)
        if session is None:
            found.breaks(f"{holder} says that it lives, and the database knows of no such session", subject, beat_at)
            continue
        found.saw += 1
        if session.closed_at is not None and beat_at > session.closed_at:
            found.breaks(
                f"{holder} was gone by {instant(session.closed_at)} and gave a sign of life later", subject, beat_at
            )
        alive = session.closed_at is None and status == "ACTIVE"
        if alive and due_at is not None and known.deadline(due_at, BEATS_WITHIN_MS)[0] < known.ended_at:
            found.breaks(
                f"{holder} was to look again at {instant(due_at)}, and has given no sign of life since "
                f"{instant(beat_at)}",
                subject, due_at,
            )  # fmt: skip
    for pack, holder, at in evidence.rows("platform.settlement_packs", "pack_id", "settled_by", "terminalized_at"):
        if holder is not None and lives.get(holder, known.ended_at) > at:
            found.breaks(
                f"{holder}, who ended {pack}, has no heartbeat from before that", f"settlement_packs/{pack}", at
            )
    return found


class _Session(NamedTuple):
    at: int
    closed_at: int | None
    statements: int


def _sessions(evidence: Evidence) -> list[_Session]:
    """The daemon's sessions at the database, by when they began."""
    columns = ("principal", "at", "closed_at", "statements")
    rows = evidence.rows("database.sessions", *columns)
    return sorted((_Session(*told) for principal, *told in rows if principal == DAEMON), key=lambda one: one.at)


def _session_of(sessions: list[_Session], started_at: int) -> _Session | None:
    """The session of the life whose first sign was at `started_at`: the last that had begun by then."""
    place = bisect_right([session.at for session in sessions], started_at) - 1
    return None if place < 0 else sessions[place]


def _is_alive(evidence: Evidence, holder: str) -> bool:
    """Whether the life of a daemon had its session at the database at the end of the run."""
    lives: dict[str, int] = dict(evidence.rows("platform.daemon_health", "holder", "started_at"))
    session = _session_of(_sessions(evidence), lives[holder]) if holder in lives else None
    return session is not None and session.closed_at is None
