"""The way to where backups are kept. Invariant: what lies there is touched by no process that is dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from contest_platform.ports import Backup, BackupContent
from contest_platform.store.backup import LogicalBackups
from simulator.actors.context import World

T = TypeVar("T")
LATENCY_MS = (1_000, 5_000)


class BackupWire:
    """The Backups port."""

    def __init__(self, world: World, backups: LogicalBackups, guard: Callable[[], None]) -> None:
        self._world, self._backups, self._guard = world, backups, guard

    def create(self, *, backup_id: str) -> Awaitable[Backup]:
        return self._send("create", backup_id, lambda: self._backups.create(backup_id=backup_id))

    def inspect(self, *, backup_id: str) -> Awaitable[BackupContent | None]:
        return self._send("inspect", backup_id, lambda: self._backups.inspect(backup_id=backup_id))

    def restore(self, *, backup_id: str, target: str) -> Awaitable[BackupContent | None]:
        return self._send("restore", backup_id, lambda: self._backups.restore(backup_id=backup_id, target=target))

    def _send(self, operation: str, backup_id: str, work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        self._guard()
        return self._world.call(self._arrive(operation, backup_id, work), f"backups.{operation}")

    async def _arrive(self, operation: str, backup_id: str, work: Callable[[], Awaitable[T]]) -> T:
        sent_at = self._world.runtime.now()
        latency_ms = self._world.draws.between(*LATENCY_MS, "backups.latency", operation, backup_id, sent_at)
        await self._world.runtime.sleep_until(sent_at + latency_ms)
        self._world.record("backups", f"backup.{operation}", backup_id)
        return await work()
