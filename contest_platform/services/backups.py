"""Backups: which were taken, by whom and why. They themselves lie outside, behind the port that takes them.

Invariant: what is said of a backup is compared with what was noted when it was taken; the database in service is never
restored over.
"""

from __future__ import annotations

from typing import Any

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.metrics import Gauge
from contest_platform.ports import BackupContent, Ports, Row, Tx
from contest_platform.service import Refusal

TARGETS = ("scratch",)
"""Where a backup may be restored to while the platform serves."""


async def take(ports: Ports, ctx: Context, backup_id: str, reason: str) -> dict[str, Any]:
    """Take a backup. The same id again, because the answer was lost, answers what was taken."""
    known = await ports.store.transact("backups.look", lambda tx: _find(tx, backup_id))
    if known is not None:
        return {**_told(known), "changed": False}
    taken = await ports.backups.create(backup_id=backup_id)

    def note(tx: Tx) -> dict[str, Any]:
        row = {
            "backup_id": backup_id, "taken_at": tx.now, "taken_by": ctx.actor, "execution_id": ctx.correlation,
            "reason": reason, "size_bytes": taken.size_bytes, "sha256": taken.sha256, "audit_seq": taken.audit_seq,
            "audit_hash": taken.audit_hash,
        }  # fmt: skip
        audit.insert(tx, ctx, "backups", row, reason)
        return row

    row = await ports.store.transact("backups.note", note)
    _tell_last(ports, row["taken_at"])
    return {**_told(row), "changed": True}


async def tell_age(ports: Ports) -> None:
    """Export when the last backup was taken: a process that has just started knows it only from the list."""
    [(taken_at,)] = await ports.store.transact(
        "backups.last", lambda tx: tx.tuples("select max(taken_at) from backups")
    )
    _tell_last(ports, taken_at)


def _tell_last(ports: Ports, taken_at: int | None) -> None:
    Gauge(ports.metrics, "backup_last_success_timestamp_seconds").tell_of(taken_at)


async def verify(ports: Ports, backup_id: str) -> dict[str, Any] | Refusal:
    """Open a backup and read through it: is it what was taken, and could it serve?"""
    row = await ports.store.transact("backups.look", lambda tx: _find(tx, backup_id))
    if row is None:
        return Refusal(404, f"no backup {backup_id}")
    found = await ports.backups.inspect(backup_id=backup_id)
    problem = _problem(row, found)
    item = {"backup_id": backup_id, "intact": problem is None, "problem": problem}
    counts = found or BackupContent("", None, 0, 0, 0, "")
    return {"items": [{**item, "tables": counts.tables, "rows": counts.rows, "audit_seq": counts.audit_seq}]}


async def restore(ports: Ports, ctx: Context, backup_id: str, target: str, reason: str) -> dict[str, Any] | Refusal:
    """Restore a backup to a scratch database, and prove that this holds row for row what the backup holds."""
    if target not in TARGETS:
        return Refusal(409, f"a backup is restored to {', '.join(TARGETS)} only, not {target}")
    row = await ports.store.transact("backups.look", lambda tx: _find(tx, backup_id))
    if row is None:
        return Refusal(404, f"no backup {backup_id}")
    found = await ports.backups.inspect(backup_id=backup_id)
    problem = _problem(row, found)
    if problem is not None or found is None:
        return Refusal(409, f"backup {backup_id} is not restored: {problem}")
    restored = await ports.backups.restore(backup_id=backup_id, target=target)
    if restored is None:
        return Refusal(409, f"backup {backup_id} is not restored: there is nothing under its id")
    equal = restored.problem is None and restored.sha256 == found.sha256
    told = {"backup_id": backup_id, "target": target, "equal": equal, "rows": restored.rows,
            "content_sha256": restored.sha256}  # fmt: skip

    def note(tx: Tx) -> None:
        audit.append(tx, ctx, "backups.restore", f"backups/{backup_id}", after=told, reason=reason)

    await ports.store.transact("backups.restored", note)
    return told


def _find(tx: Tx, backup_id: str) -> Row | None:
    return tx.one("select * from backups where backup_id = :id", {"id": backup_id})


def _told(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("backup_id", "taken_at", "size_bytes", "audit_seq", "sha256")}


def _problem(row: Row, found: BackupContent | None) -> str | None:
    if found is None:
        return "there is nothing under its id"
    if found.sha256 != row["sha256"]:
        return "it is not what was taken"
    if found.problem is not None:
        return found.problem
    if (found.audit_seq, found.audit_hash) != (row["audit_seq"], row["audit_hash"]):
        return "its audit log ends elsewhere than noted"
    return None
