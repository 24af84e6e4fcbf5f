"""Onlookers of tests: who reaches into the database and leaves no trace of it, and who ends a run for no reason.

Invariant: unlike an honest onlooker these change what they look at; no run of the harness has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from evidence.halts import HALTED
from simulator.kernel import Kernel
from simulator.onlookers import Calls
from simulator.world import World

HOUR_MS = 3_600_000
NEVER = 1 << 62


class Tamperer:
    """Alters rows at an instant, past the triggers of `table`, and nobody is told: neither journal nor any book."""

    calls: Calls | None = None

    def __init__(self, at: int, table: str, *statements: str) -> None:
        self.next_at, self._table, self._statements = at, table, statements
        self.changed = 0

    def look(self, world: World, kernel: Kernel) -> bool:
        self.next_at = NEVER
        _, self.changed = world.connection.by_hand(self._statements, "superuser", self._table)
        return True


class Halter:
    """Ends a run in which nothing is wrong, as the guard ends others."""

    calls: Calls | None = None

    def __init__(self, at: int, saw: Sequence[str] = ("nothing at all",)) -> None:
        self.next_at, self._saw = at, list(saw)

    def look(self, world: World, kernel: Kernel) -> bool:
        world.record("guard", HALTED, "test", saw=self._saw)
        return False
