"""How a run stands at an instant, for somebody who has stopped it there to look: contests, money, alerts, what runs.

Invariant: it is read between two events, and lists are in an order of their own; who wants to see one thing more of the
world there adds it here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.actors.hosts import HOSTS
from simulator.kernel import Kernel
from simulator.snapshots import Posted, state
from simulator.world import World

_CONTESTS = """
    select c.contest_id, c.status, c.error_code, c.lock_at, c.start_at, c.cutoff_at,
           (select count(*) from entries e where e.contest_id = c.contest_id and e.status = 'VALID') as valid_entries
    from contests c order by c.contest_id
"""
_UNDER_WAY = {
    "settlements": "select contest_id as what, started_at as since_at from settlement_audit where finished_at is null",
    "executions": "select id, runbook_name as what, executed_by as who, start_time as since_at"
    " from runbook_executions where status = 'in_progress'",
    "orders": "select order_id as id, runbook_id as what, host as who, issued_at as since_at"
    " from remediation_orders where finished_at is null",
    "transfers": "select transfer_id as id, status as what, user_id as who, created_at as since_at"
    " from transfers where status in ('PENDING', 'SUBMITTED', 'RETRYABLE')",
    "refunds": "select refund_id as id, status as what, entry_id as who, created_at as since_at"
    " from refunds where status = 'PENDING'",
}
"""What has begun and is not over, by kind."""


def standing(world: World, kernel: Kernel) -> dict[str, Any]:
    """Everything of it as JSON; money is cents, instants are ms."""
    query = world.connection.query
    return {
        "at": world.runtime.now(),
        **state(world, kernel, Posted()),
        "contests": query(_CONTESTS),
        "alerts": [asdict(incident) for incident in world.pager.incidents()],
        "stopped": sorted(
            f"{unit} on {host}" for host, (_, units) in HOSTS.items() for unit in units
            if not world.hosts.is_running(unit)
        ),
        "under_way": {
            kind: sorted(query(sql), key=lambda row: (row["since_at"], str(row.get("id") or row["what"])))
            for kind, sql in _UNDER_WAY.items()
        },
    }  # fmt: skip
