"""Family healing: what the platform opened on a host it closed, by the host's own book.

Invariant: a shell that was left to time out is excused only if the host's books, or the injector's, show what kept
everybody from closing it: that it was never told of, that it could not be reached, or that its owner died.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from assertions.facts import facts
from assertions.model import Finding, assertion
from assertions.words import instant

if TYPE_CHECKING:
    from evidence.run import Evidence

IDLE_MS = 7_200_000
"""IdleTimeOut PT7200S: after it the host ends a shell that nobody uses."""
AT_WORK_MS = 600_000
"""The longest that one command may be told to take (host_timeout_ms)."""


@assertion(
    "healing.no_shell_left",
    "Every shell that was opened on a Windows host was closed, unless something kept everybody from it; none outlives "
    "its idle time-out",
)
def no_shell_left(evidence: Evidence) -> Finding:
    told, hindered, opened = set[str](), defaultdict[str, list[int]](list), 0
    for at, host, operation, status, soap, related, answered in evidence.rows(
        "hosts.exchanges", "at", "host", "operation", "status", "soap", "related", "answered"
    ):
        is_heard = status == 200 and soap and related and answered
        if operation == "Create":
            opened += status == 200 and soap
        if operation in ("Create", "Delete") and not is_heard:
            hindered[host].append(at)
    if not opened:
        return Finding("shells")
    for at, host, outcome in evidence.rows("hosts.requests", "at", "host", "outcome"):
        if outcome != "ran":
            hindered[host].append(at)
    for at, state in evidence.rows("hosts.services", "at", "state"):
        if state == "stopped":
            hindered[""].append(at)  # whoever had opened a shell may be gone
    for at, seam, operation, entity, victim in evidence.rows(
        "injector.bites", "at", "seam", "operation", "entity", "victim"
    ):
        if seam == "winrm" and operation == "leak":
            told.add(victim)  # somebody else's
        elif seam == "winrm" and operation in ("create", "delete"):
            hindered[entity.partition("/")[0]].append(at)
    for instants in hindered.values():
        instants.sort()

    found, end, idle = Finding("shells", 0, opened), facts(evidence).ended_at, 0
    for host, shell, opened_at, used_at, closed_at, how in evidence.rows(
        "hosts.shells", "host", "shell_id", "opened_at", "used_at", "closed_at", "how"
    ):
        found.saw += shell not in told
        subject, until_at = f"hosts.shells/{shell}", used_at + AT_WORK_MS
        if closed_at is None and end - used_at >= IDLE_MS:
            found.breaks(
                f"the shell {shell} on {host} is open, and nobody has used it since {instant(used_at)}", subject, end
            )
        if shell in told or (closed_at or end) <= min(until_at, opened_at + AT_WORK_MS):
            continue
        idle += how == "idle"
        if not _any_within(hindered[host], opened_at, until_at) and not _any_within(hindered[""], opened_at, until_at):
            found.breaks(
                f"the shell {shell} on {host}, opened at {instant(opened_at)}, was left behind, and nothing kept "
                "anybody from closing it",
                subject, used_at,
            )  # fmt: skip
    if idle:
        found.unit = f"shells, {idle} of them left to time out"
    return found


def _any_within(instants: list[int], from_at: int, until_at: int) -> bool:
    place = bisect_left(instants, from_at)
    return place < len(instants) and instants[place] <= until_at
